//! What the builder writes, the walk reads and the broker accepts.

use bytes::Bytes;
use ottla_records::batch::{APPEND_TIME_FLAG, TRANSACTIONAL_FLAG};
use ottla_records::{
    BatchBuilder, BatchMut, Batches, BuildError, LeaderEpoch, NewHeader, NewRecord, Offset, ProduceLimits,
    ProducerEpoch, ProducerId, Record, RecordBatch, Records, Sequence, TimestampMs, TimestampType,
    check_produced,
};
use proptest::prelude::*;

use crate::forge::{OwnedRecord, build, records};

pub fn owned(record: &Record<'_>) -> OwnedRecord {
    OwnedRecord {
        timestamp: record.timestamp.0,
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: record
            .headers
            .clone()
            .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), header.value.map(Into::into)))
            .collect(),
    }
}

fn read(batch: &RecordBatch) -> Vec<(i64, OwnedRecord)> {
    batch
        .records()
        .unwrap()
        .map(|record| record.map(|record| (record.offset.0, owned(&record))).unwrap())
        .collect()
}

#[test]
fn a_batch_without_records_is_not_built() {
    assert_eq!(BatchBuilder::new().build(), Err(BuildError::Empty));
}

/// One allocation of 64 MiB, which nothing touches, stands for 2.5 GiB.
#[test]
fn a_batch_past_its_length_field_is_refused_before_it_is_built() {
    let large = vec![0; 64 << 20];
    let headers = [NewHeader { key: "k", value: Some(&large) }; 40];
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord::default()).unwrap();
    let before = builder.size();
    let size = builder.would_be_size(&NewRecord { headers: &headers, ..NewRecord::default() });
    assert!(size > 40 * large.len());
    let pushed = builder.push(&NewRecord { headers: &headers, ..NewRecord::default() });
    assert_eq!(pushed, Err(BuildError::TooLarge { size }));
    assert_eq!((builder.size(), builder.record_count()), (before, 1));
    assert!(check_produced(&builder.build().unwrap(), &ProduceLimits::default()).is_ok());
}

proptest! {
    #[test]
    fn a_walk_goes_on_where_it_was_left(records in records(any::<i64>())) {
        let batch = RecordBatch::parse(build(BatchBuilder::new(), &records)).unwrap();
        let (mut walk, mut read) = (batch.records().unwrap(), Vec::new());
        let mut mark = walk.mark();
        loop {
            let mut resumed = Records::resume(batch.header(), batch.payload(), mark).unwrap();
            prop_assert_eq!(walk.next().is_none(), resumed.clone().next().is_none());
            let Some(record) = resumed.next() else { break };
            read.push(owned(&record.unwrap()));
            mark = resumed.mark();
            prop_assert_eq!(mark, walk.mark());
        }
        prop_assert_eq!(read, records);
    }

    #[test]
    fn records_survive(records in records(any::<i64>()), base in 0..i64::MAX - 100) {
        let bytes = build(BatchBuilder::new().base_offset(Offset(base)), &records);
        let checked = check_produced(&bytes, &ProduceLimits::default()).unwrap();
        let timestamps = || records.iter().map(|record| record.timestamp);
        let min = timestamps().filter(|&timestamp| timestamp != -1).min().unwrap_or(-1);
        prop_assert_eq!(checked.min_timestamp.0, min);
        prop_assert_eq!(checked.max_timestamp.0, timestamps().max().unwrap().max(-1));
        prop_assert!(!checked.max_timestamp_differs());

        let batch = RecordBatch::parse(bytes).unwrap();
        prop_assert_eq!(batch.check_crc(), Ok(()));
        prop_assert_eq!(batch.header().next_offset(), Offset(base + records.len() as i64));
        let expected: Vec<_> = (base..).zip(records).collect();
        prop_assert_eq!(read(&batch), expected);
    }

    #[test]
    fn a_header_survives(
        offset: i64, epoch: i32, producer: (i64, i16, i32), transactional: bool, append_time: Option<i64>,
    ) {
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(offset))
            .leader_epoch(LeaderEpoch(epoch))
            .producer(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(producer.2));
        if transactional {
            builder = builder.transactional();
        }
        if let Some(now) = append_time {
            builder = builder.append_time(TimestampMs(now));
        }
        builder.push(&NewRecord { timestamp: TimestampMs(77), ..NewRecord::default() }).unwrap();
        prop_assert_eq!(builder.record_count(), 1);
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        let header = batch.header();
        prop_assert_eq!(header.base_offset, Offset(offset));
        prop_assert_eq!(header.leader_epoch, LeaderEpoch(epoch));
        prop_assert_eq!(
            (header.producer_id.0, header.producer_epoch.0, header.base_sequence.0),
            producer
        );
        let flags = if transactional { TRANSACTIONAL_FLAG } else { 0 }
            | if append_time.is_some() { APPEND_TIME_FLAG } else { 0 };
        prop_assert_eq!(header.attributes, flags);
        prop_assert_eq!(header.max_timestamp.0, append_time.unwrap_or(77));
        prop_assert_eq!(read(&batch)[0].1.timestamp, append_time.unwrap_or(77));
        prop_assert_eq!(&batch.bytes()[..61], &header.to_bytes());
    }

    #[test]
    fn a_patched_batch_is_as_if_built_so(
        records in records(any::<i64>()), offset: i64, epoch: i32, now: i64,
    ) {
        let mut bytes = build(BatchBuilder::new(), &records).to_vec();
        let mut batch = BatchMut::parse(&mut bytes).unwrap();
        batch.set_base_offset(Offset(offset));
        batch.set_leader_epoch(LeaderEpoch(epoch));
        batch.set_append_time(TimestampMs(now));
        let header = *batch.header();
        prop_assert_eq!(header.timestamp_type(), TimestampType::AppendTime);
        prop_assert!(header.crc_matches(&bytes));
        let builder = BatchBuilder::new()
            .base_offset(Offset(offset))
            .leader_epoch(LeaderEpoch(epoch))
            .append_time(TimestampMs(now));
        prop_assert_eq!(&build(builder, &records), &bytes);
        prop_assert_eq!(*RecordBatch::parse(Bytes::from(bytes)).unwrap().header(), header);
    }

    #[test]
    fn patching_a_timestamp_does_not_hide_damage(at in 61..100_usize, now: i64) {
        let mut bytes = crate::forge::valid();
        bytes[at] ^= 1;
        BatchMut::parse(&mut bytes).unwrap().set_append_time(TimestampMs(now));
        prop_assert!(RecordBatch::parse(Bytes::from(bytes)).unwrap().check_crc().is_err());
    }

    #[test]
    fn consecutive_batches_come_out_as_they_went_in(
        batches in prop::collection::vec(records(0..1000_i64), 0..5),
    ) {
        let built: Vec<Bytes> = batches.iter().map(|records| build(BatchBuilder::new(), records)).collect();
        let buffer = Bytes::from(built.concat());
        let read: Vec<Bytes> = Batches::new(buffer).map(|batch| batch.unwrap().into_bytes()).collect();
        prop_assert_eq!(read, built);
    }
}
