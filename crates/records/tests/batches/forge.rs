//! Batches for the tests: valid ones, random ones, and ones that are wrong in one place only.

use bytes::Bytes;
use ottla_records::batch::{ATTRIBUTES_AT, CRC_AT, LENGTH_AT, LENGTH_EXCLUDES};
use ottla_records::{BatchBuilder, BuildError, NewHeader, NewRecord, TimestampMs, crc};
use proptest::prelude::*;

/// A record that owns what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Up to 40 records, with timestamps from `timestamps`.
pub fn records(timestamps: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<OwnedRecord>> {
    let field = || prop::option::of(prop::collection::vec(any::<u8>(), 0..100));
    let headers = prop::collection::vec(("[a-zé]{0,5}", field()), 0..4);
    let record = (timestamps, field(), field(), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers });
    prop::collection::vec(record, 1..40)
}

/// Adds all records to the builder, checks the sizes that it announces, and builds.
pub fn build(builder: BatchBuilder, records: &[OwnedRecord]) -> Bytes {
    build_with(builder, records, BatchBuilder::build)
}

/// The same, built in another way.
pub fn build_with(
    mut builder: BatchBuilder,
    records: &[OwnedRecord],
    build: impl FnOnce(BatchBuilder) -> Result<Bytes, BuildError>,
) -> Bytes {
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| NewHeader { key, value: value.as_deref() }).collect();
        let record = NewRecord {
            timestamp: TimestampMs(record.timestamp),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let announced = builder.would_be_size(&record);
        builder.push(&record).unwrap();
        assert_eq!(builder.size(), announced);
    }
    build(builder).unwrap()
}

/// A batch of three records: with a key, with a header, and with nothing but a value.
pub fn valid() -> Vec<u8> {
    let record = |timestamp, key: Option<&str>, headers| OwnedRecord {
        timestamp,
        key: key.map(Into::into),
        value: Some(b"value".to_vec()),
        headers,
    };
    let headers = vec![("trace".to_owned(), Some(b"1".to_vec())), ("empty".to_owned(), None)];
    build(
        BatchBuilder::new(),
        &[record(1000, Some("key"), vec![]), record(900, Some("key"), headers), record(1100, None, vec![])],
    )
    .to_vec()
}

/// The valid batch with other bytes at one place, and with a CRC that fits.
pub fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = valid();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    fix_crc(&mut batch);
    batch
}

/// The header of the valid batch with one record made by hand, and with length, CRC and count that fit.
pub fn with_payload(count: i32, payload: &[u8]) -> Vec<u8> {
    let mut batch = valid();
    batch.truncate(ottla_records::batch::HEADER_SIZE);
    batch.extend_from_slice(payload);
    let length = (batch.len() - LENGTH_EXCLUDES) as i32;
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    let last = count.wrapping_sub(1);
    batch[23..27].copy_from_slice(&last.to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    fix_crc(&mut batch);
    batch
}

/// Writes the CRC that fits.
pub fn fix_crc(batch: &mut [u8]) {
    let crc = crc::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}
