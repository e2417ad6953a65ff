//! Against `kafka-protocol`, which others wrote: what one writes, the other reads.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use ottla_records::{
    BatchBuilder, LeaderEpoch, Offset, ProduceLimits, ProducerEpoch, ProducerId, RecordBatch, Sequence,
    check_produced,
};
use proptest::prelude::*;

use crate::forge::{OwnedRecord, build, records};

/// The parts of a header that both can express.
#[derive(Clone, Copy, Debug)]
struct Common {
    base_offset: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
}

fn common() -> impl Strategy<Value = Common> {
    let numbers = (0..1_i64 << 40, -1..100, 0..1_i64 << 40, 0..i16::MAX, 0..i32::MAX - 100, any::<bool>());
    numbers.prop_map(
        |(base_offset, leader_epoch, producer_id, producer_epoch, base_sequence, transactional)| Common {
            base_offset,
            leader_epoch,
            producer_id,
            producer_epoch,
            base_sequence,
            transactional,
        },
    )
}

/// They keep headers in a map, so that only the last of equal keys is left.
pub fn without_equal_headers(mut records: Vec<OwnedRecord>) -> Vec<OwnedRecord> {
    for record in &mut records {
        let mut seen = std::collections::HashSet::new();
        record.headers.retain(|(key, _)| seen.insert(key.clone()));
    }
    records
}

fn ours(common: Common, records: &[OwnedRecord]) -> Bytes {
    let builder = BatchBuilder::new()
        .base_offset(Offset(common.base_offset))
        .leader_epoch(LeaderEpoch(common.leader_epoch))
        .producer(
            ProducerId(common.producer_id),
            ProducerEpoch(common.producer_epoch),
            Sequence(common.base_sequence),
        );
    build(if common.transactional { builder.transactional() } else { builder }, records)
}

pub fn as_theirs(record: &OwnedRecord) -> theirs::Record {
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: theirs::TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
            .collect::<IndexMap<_, _>>(),
    }
}

fn all_theirs(common: Common, records: &[OwnedRecord]) -> Vec<theirs::Record> {
    (0..)
        .zip(records)
        .map(|(index, record)| theirs::Record {
            transactional: common.transactional,
            partition_leader_epoch: common.leader_epoch,
            producer_id: common.producer_id,
            producer_epoch: common.producer_epoch,
            offset: common.base_offset + i64::from(index),
            sequence: common.base_sequence + index,
            ..as_theirs(record)
        })
        .collect()
}

pub fn encode(records: &[theirs::Record]) -> Bytes {
    let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
    let mut bytes = BytesMut::new();
    theirs::RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
    bytes.freeze()
}

proptest! {
    #[test]
    fn they_read_what_we_write(
        common in common(),
        records in records(0..1_i64 << 45).prop_map(without_equal_headers),
    ) {
        let mut bytes = ours(common, &records);
        let read = theirs::RecordBatchDecoder::decode(&mut bytes).unwrap();
        prop_assert_eq!(read.records, all_theirs(common, &records));
    }

    #[test]
    fn we_read_what_they_write(
        common in common(),
        records in records(0..1_i64 << 45).prop_map(without_equal_headers),
    ) {
        let written = all_theirs(common, &records);
        let bytes = encode(&written);
        let checked = check_produced(&bytes, &ProduceLimits::default()).unwrap();
        prop_assert!(!checked.max_timestamp_differs());
        let batch = RecordBatch::parse(bytes).unwrap();
        let header = batch.header();
        let read: Vec<theirs::Record> = batch
            .records()
            .unwrap()
            .zip(0..)
            .map(|(record, index)| {
                let record = record.unwrap();
                theirs::Record {
                    transactional: header.is_transactional(),
                    control: header.is_control(),
                    delete_horizon: header.has_delete_horizon(),
                    partition_leader_epoch: header.leader_epoch.0,
                    producer_id: header.producer_id.0,
                    producer_epoch: header.producer_epoch.0,
                    timestamp_type: theirs::TimestampType::Creation,
                    offset: record.offset.0,
                    sequence: header.base_sequence.plus(index).0,
                    timestamp: record.timestamp.0,
                    key: record.key.map(Bytes::copy_from_slice),
                    value: record.value.map(Bytes::copy_from_slice),
                    headers: record
                        .headers
                        .map(|header| {
                            let key = StrBytes::from_utf8(Bytes::copy_from_slice(header.key)).unwrap();
                            (key, header.value.map(Bytes::copy_from_slice))
                        })
                        .collect(),
                }
            })
            .collect();
        prop_assert_eq!(read, written);
    }

    /// They count timestamps from the least, and we, like Kafka, from the first: where that is the same
    /// one, the bytes are equal.
    #[test]
    fn the_bytes_are_equal(
        common in common(),
        records in records(0..1_i64 << 45).prop_map(without_equal_headers),
    ) {
        let mut records = records;
        records.sort_by_key(|record| record.timestamp);
        prop_assert_eq!(ours(common, &records), encode(&all_theirs(common, &records)));
    }
}
