//! What must hold for any bytes at all that claim to be record batches. The fuzz target runs this on what it
//! makes up, the tests on the corpus and on what they damage.

use bytes::Bytes;
use ottla_records::{
    BatchBuilder, BatchHeader, BatchMut, Batches, Checked, Compression, ControlRecord, NewHeader, NewRecord,
    ProduceLimits, Record, RecordBatch, Records, TimestampMs, TimestampType,
    batch::{ATTRIBUTES_AT, CRC_AT, HEADER_SIZE, LENGTH_AT, LENGTH_EXCLUDES, MAGIC, MAGIC_AT},
    check_produced, crc, invalid_records,
};

use crate::allocations::peak_bytes;

/// Reads `data` as batches, and once more as one batch whose length, magic and CRC are right: hardly any made-up
/// bytes would get past these.
pub fn check_batches(data: &[u8]) {
    check_as_they_are(data);
    let mut mended = data.to_vec();
    if mend(&mut mended) {
        check_as_they_are(&mended);
        check_patches(&mended);
    }
}

/// Gives a batch that fills `batch` the length, the magic and the CRC that fit. False if it has no room for a
/// header.
pub fn mend(batch: &mut [u8]) -> bool {
    if batch.len() < HEADER_SIZE {
        return false;
    }
    let length = i32::try_from(batch.len() - LENGTH_EXCLUDES).expect("inputs are short");
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    batch[MAGIC_AT] = MAGIC as u8;
    let crc = crc::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    true
}

/// Does with the bytes all that is ever done with bytes. None of it may panic, or allocate.
fn check_as_they_are(bytes: &[u8]) {
    let ((), allocated) = peak_bytes(|| {
        if let Ok(header) = BatchHeader::parse(bytes) {
            check_header(&header, bytes);
            // As if the records had been decompressed to all these bytes.
            if let Ok(records) = Records::new(&header, bytes) {
                walk(records, bytes.len());
            }
        }
    });
    assert_eq!(allocated, 0, "a header and the records after it are views");
    check_consecutive(bytes);
    for limits in [
        ProduceLimits::default(),
        ProduceLimits { size_max: bytes.len().saturating_sub(1), ..ProduceLimits::default() },
        ProduceLimits { key_required: true, ..ProduceLimits::default() },
        ProduceLimits { earliest: TimestampMs(0), latest: TimestampMs(1 << 41), ..ProduceLimits::default() },
    ] {
        check_as_produced(bytes, &limits);
    }
}

/// What a header tells agrees with its bytes and with itself.
fn check_header(header: &BatchHeader, bytes: &[u8]) {
    let mut written = header.to_bytes();
    assert_eq!(written, bytes[..HEADER_SIZE], "a header is written as it was read");
    assert!(BatchHeader::parse(&written).as_ref() == Ok(header));
    written[MAGIC_AT] = 1;
    assert!(BatchHeader::parse(&written).is_err(), "an old format is refused");
    if header.last_offset_delta >= 0 {
        assert!(header.base_offset <= header.last_offset() && header.last_offset() <= header.next_offset());
    }
    let _ = (header.last_sequence(), header.compression(), header.crc_matches(bytes));
}

/// Batches one after the other end where the bytes do or at the first that is none, and lie in the bytes.
fn check_consecutive(bytes: &[u8]) {
    let buffer = Bytes::copy_from_slice(bytes);
    let limits = ProduceLimits { key_required: true, ..ProduceLimits::default() };
    let mut batches = Batches::new(buffer.clone());
    let mut position = 0;
    while let Some(Ok(batch)) = batches.next() {
        assert_eq!(batch.bytes().as_ptr(), buffer[position..].as_ptr(), "a batch is a view");
        position += batch.header().length;
        assert_eq!(batches.position(), position);
        assert_eq!(batch.check_crc().is_ok(), batch.header().crc_matches(batch.bytes()));
        let faults = invalid_records(&batch, &limits).count();
        match batch.records() {
            Ok(records) => assert!(faults <= walk(records, batch.payload().len())),
            Err(_) => assert_eq!(faults, 0),
        }
    }
    assert!(position <= bytes.len());
    assert!(batches.next().is_none(), "the end is the end");
}

/// Reads records to their end and gives back how many there are.
fn walk(mut records: Records<'_>, size: usize) -> usize {
    let mut count = 0;
    let mut failed = false;
    for record in records.by_ref() {
        assert!(!failed, "an error is the last");
        match record {
            Ok(record) => {
                count += 1;
                assert_eq!(record.headers.clone().count(), record.headers.len());
                let _ = ControlRecord::parse(&record);
            }
            Err(_) => failed = true,
        }
        // The smallest record has seven bytes, so no count in a header keeps a reader busy.
        assert!(7 * count <= size);
    }
    assert!(records.next().is_none(), "the end is the end");
    count
}

/// What a broker accepts, consumers can read, and a builder makes a batch of that says the same.
fn check_as_produced(bytes: &[u8], limits: &ProduceLimits) {
    let (result, allocated) = peak_bytes(|| check_produced(bytes, limits));
    assert_eq!(allocated, 0, "checking a batch takes no memory");
    let Ok(checked) = result else { return };
    assert!(bytes.len() <= limits.size_max && checked.header.length == bytes.len());
    let batch = RecordBatch::parse(Bytes::copy_from_slice(bytes)).expect("what is accepted is a batch");
    batch.check_crc().expect("what is accepted is undamaged");
    assert_eq!(invalid_records(&batch, limits).next(), None);
    if checked.header.compression() == Ok(Compression::None) {
        let records = read(&batch);
        check_accepted_records(&checked, limits, &records);
        check_built_again(&checked, &records);
    }
}

fn read(batch: &RecordBatch) -> Vec<Record<'_>> {
    let records = batch.records().expect("the records are not compressed");
    records.map(|record| record.expect("what is accepted can be read")).collect()
}

fn check_accepted_records(checked: &Checked, limits: &ProduceLimits, records: &[Record<'_>]) {
    assert_eq!(records.len(), checked.header.record_count as usize);
    for (index, record) in (0..).zip(records) {
        assert_eq!(record.offset, checked.header.base_offset.plus(index));
        assert!(record.key.is_some() || !limits.key_required);
    }
    let timestamps =
        || records.iter().map(|record| record.timestamp).filter(|time| *time != TimestampMs::NONE);
    assert_eq!(checked.min_timestamp, timestamps().min().unwrap_or(TimestampMs::NONE));
    assert_eq!(checked.max_timestamp, timestamps().max().unwrap_or(TimestampMs::NONE).max(TimestampMs::NONE));
    assert!(timestamps().all(|time| limits.earliest <= time && time <= limits.latest));
}

/// Numbers may be written in more bytes than they need, so that the bytes can differ and what they say cannot.
fn check_built_again(checked: &Checked, records: &[Record<'_>]) {
    let header = &checked.header;
    let mut builder = BatchBuilder::new()
        .base_offset(header.base_offset)
        .leader_epoch(header.leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence);
    if header.is_transactional() {
        builder = builder.transactional();
    }
    for record in records {
        let Some(headers) = new_headers(record) else { return };
        let new = NewRecord {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        let size = builder.would_be_size(&new);
        builder.push(&new).expect("it fits a batch as it did before");
        assert_eq!(builder.size(), size);
    }
    let built = builder.build().expect("there are records");
    assert!(built.len() <= header.length, "a builder wastes no byte");
    let again = check_produced(&built, &ProduceLimits::default()).expect("what is built is accepted");
    assert_eq!((again.min_timestamp, again.max_timestamp), (checked.min_timestamp, checked.max_timestamp));
    let batch = RecordBatch::parse(built).expect("what is accepted is a batch");
    assert!(said(&read(&batch)).eq(said(records)));
}

/// The headers for a builder, unless a key is no text, which only a builder refuses.
fn new_headers<'a>(record: &Record<'a>) -> Option<Vec<NewHeader<'a>>> {
    let headers = record.headers.clone();
    headers
        .map(|header| Some(NewHeader { key: std::str::from_utf8(header.key).ok()?, value: header.value }))
        .collect()
}

/// All that records say.
fn said<'a>(records: &'a [Record<'a>]) -> impl Iterator<Item = impl PartialEq + 'a> + 'a {
    records.iter().map(|record| {
        let headers: Vec<_> = record.headers.clone().map(|header| (header.key, header.value)).collect();
        (record.offset, record.timestamp, record.key, record.value, headers)
    })
}

/// A batch whose CRC matches still matches after a broker's changes, and a damaged one stays damaged.
fn check_patches(batch: &[u8]) {
    for damage in [0, 1] {
        let mut bytes = batch.to_vec();
        *bytes.last_mut().expect("a batch has a header") ^= damage;
        let mut patched = BatchMut::parse(&mut bytes).expect("its length and its magic are right");
        patched.set_base_offset(ottla_records::Offset(i64::MAX));
        patched.set_leader_epoch(ottla_records::LeaderEpoch(7));
        patched.set_max_timestamp(TimestampMs(i64::MAX));
        patched.set_append_time(TimestampMs(i64::MIN));
        let header = *patched.header();
        assert_eq!(header.timestamp_type(), TimestampType::AppendTime);
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        assert_eq!(header.crc_matches(&bytes), damage == 0);
    }
}
