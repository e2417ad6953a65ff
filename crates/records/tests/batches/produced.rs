//! What a broker accepts from a client, and with which error it refuses the rest.

use bytes::Bytes;
use ottla_records::batch::{HEADER_SIZE, MAGIC_AT};
use ottla_records::{
    BatchBuilder, BatchError, BatchMut, Checked, Compression, NewRecord, ProduceLimits, ProducerEpoch,
    ProducerId, RecordBatch, RecordFault, Sequence, TimestampMs, check_produced, invalid_records,
};

use crate::forge::{fix_crc, valid, with, with_payload};

fn refusal(batch: &[u8]) -> BatchError {
    refusal_within(batch, &ProduceLimits::default())
}

fn refusal_within(batch: &[u8], limits: &ProduceLimits) -> BatchError {
    check_produced(batch, limits).expect_err("the batch must be refused")
}

fn accept(batch: &[u8]) -> Checked {
    check_produced(batch, &ProduceLimits::default()).expect("the batch must be accepted")
}

#[test]
fn a_valid_batch_is_accepted_with_its_timestamps() {
    let checked = accept(&valid());
    assert_eq!(checked.header.record_count, 3);
    assert_eq!(checked.min_timestamp, TimestampMs(900));
    assert_eq!(checked.max_timestamp, TimestampMs(1100));
    assert!(!checked.max_timestamp_differs());
}

#[test]
fn a_header_that_kafka_forbids_is_refused() {
    let producer = |producer_id, producer_epoch, base_sequence| BatchError::Producer {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        base_sequence: Sequence(base_sequence),
    };
    let of_producer = |id: i64, epoch: i16, sequence: i32| {
        [&id.to_be_bytes()[..], &epoch.to_be_bytes(), &sequence.to_be_bytes()].concat()
    };
    let cases: &[(usize, &[u8], BatchError)] = &[
        (MAGIC_AT, &[0], BatchError::OldMagic { magic: 0 }),
        (MAGIC_AT, &[1], BatchError::OldMagic { magic: 1 }),
        (MAGIC_AT, &[3], BatchError::UnknownMagic { magic: 3 }),
        (MAGIC_AT, &[0xff], BatchError::UnknownMagic { magic: -1 }),
        (8, &48_i32.to_be_bytes(), BatchError::BadLength { length: 48 }),
        (8, &0_i32.to_be_bytes(), BatchError::BadLength { length: 0 }),
        (8, &(-1_i32).to_be_bytes(), BatchError::BadLength { length: -1 }),
        (8, &i32::MIN.to_be_bytes(), BatchError::BadLength { length: i32::MIN }),
        (
            8,
            &i32::MAX.to_be_bytes(),
            BatchError::Torn { size: valid().len(), expected: i32::MAX as usize + 12 },
        ),
        (8, &49_i32.to_be_bytes(), BatchError::MoreThanOneBatch { extra: valid().len() - HEADER_SIZE }),
        (57, &0_i32.to_be_bytes(), BatchError::RecordCount { count: 0 }),
        (57, &i32::MIN.to_be_bytes(), BatchError::RecordCount { count: i32::MIN }),
        (57, &4_i32.to_be_bytes(), BatchError::LastOffsetDelta { last_offset_delta: 2, count: 4 }),
        (57, &i32::MAX.to_be_bytes(), BatchError::LastOffsetDelta { last_offset_delta: 2, count: i32::MAX }),
        (23, &1_i32.to_be_bytes(), BatchError::LastOffsetDelta { last_offset_delta: 1, count: 3 }),
        (23, &(-1_i32).to_be_bytes(), BatchError::LastOffsetDelta { last_offset_delta: -1, count: 3 }),
        (21, &[0, 0x20], BatchError::ControlBatch),
        (21, &[0, 0x08], BatchError::AppendTime),
        (21, &[0, 0x40], BatchError::DeleteHorizon),
        (21, &[0, 0x05], BatchError::UnknownCompression { id: 5 }),
        (21, &[0, 0x07], BatchError::UnknownCompression { id: 7 }),
        (21, &[0, 0x10], BatchError::TransactionalWithoutProducer),
        (43, &of_producer(7, -1, 0), producer(7, -1, 0)),
        (43, &of_producer(7, 0, -1), producer(7, 0, -1)),
        (43, &of_producer(7, 0, i32::MIN), producer(7, 0, i32::MIN)),
        (43, &of_producer(-2, 0, 0), producer(-2, 0, 0)),
    ];
    for (at, bytes, error) in cases {
        assert_eq!(refusal(&with(*at, bytes)), *error, "{bytes:?} at {at}");
    }
}

#[test]
fn a_producer_is_accepted_with_all_three_numbers_or_with_none() {
    for (id, epoch, sequence) in
        [(0_i64, 0_i16, 0_i32), (i64::MAX, i16::MAX, i32::MAX), (-1, 0, 5), (-1, -1, -1)]
    {
        let numbers = [&id.to_be_bytes()[..], &epoch.to_be_bytes(), &sequence.to_be_bytes()].concat();
        let header = accept(&with(43, &numbers)).header;
        assert_eq!(header.producer_id, ProducerId(id));
        assert_eq!(header.has_producer_id(), id >= 0);
    }
}

#[test]
fn a_transactional_batch_with_a_producer_is_accepted() {
    let mut builder =
        BatchBuilder::new().producer(ProducerId(4), ProducerEpoch(1), Sequence(i32::MAX)).transactional();
    builder.push(&NewRecord::default()).unwrap();
    builder.push(&NewRecord::default()).unwrap();
    let header = accept(&builder.build().unwrap()).header;
    assert!(header.is_transactional());
    assert_eq!(header.last_sequence(), Sequence(0));
}

#[test]
fn exactly_one_batch_is_accepted() {
    assert_eq!(refusal(&[]), BatchError::NoBatch);
    let batch = valid();
    let two = [batch.clone(), batch.clone()].concat();
    assert_eq!(refusal(&two), BatchError::MoreThanOneBatch { extra: batch.len() });
    let one_byte_more = [&batch[..], &[0]].concat();
    assert_eq!(refusal(&one_byte_more), BatchError::MoreThanOneBatch { extra: 1 });
}

#[test]
fn a_message_of_the_old_formats_is_told_from_a_torn_batch() {
    // A message set entry of format v1 with an empty key and value: shorter than a batch header.
    let mut old = vec![0; 34];
    old[MAGIC_AT] = 1;
    assert_eq!(refusal(&old), BatchError::OldMagic { magic: 1 });
}

#[test]
fn a_batch_is_accepted_up_to_the_size_of_the_topic() {
    let batch = valid();
    let limits = |size_max| ProduceLimits { size_max, ..ProduceLimits::default() };
    assert!(check_produced(&batch, &limits(batch.len())).is_ok());
    assert_eq!(
        refusal_within(&batch, &limits(batch.len() - 1)),
        BatchError::TooLarge { size: batch.len(), size_max: batch.len() - 1 }
    );
}

#[test]
fn a_record_that_does_not_fill_its_length_is_refused() {
    // Length 6 is 0x0c: attributes, timestamp delta, offset delta, no key, no value, no headers.
    let whole = [0x0c, 0, 0, 0, 1, 1, 0];
    accept(&with_payload(1, &whole));
    let layout = RecordFault::Layout;
    let negative = |length| RecordFault::NegativeLength { length };
    for (payload, fault) in [
        (&[][..], RecordFault::CutOff),
        (&[0x80], RecordFault::CutOff),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], RecordFault::CutOff),
        (&[0x0e, 0, 0, 0, 1, 1, 0], RecordFault::CutOff),
        (&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0], RecordFault::CutOff),
        (&[0x01, 0, 0, 0, 1, 1, 0], negative(-1)),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], negative(i32::MIN)),
        (&[0x00], layout),
        (&[0x02, 0], layout),
        (&[0x04, 0, 0], layout),
        (&[0x06, 0, 0, 0], layout),
        (&[0x08, 0, 0, 0, 1], layout),
        (&[0x0a, 0, 0, 0, 1, 1], layout),
        // One byte after the last field, without headers and with one.
        (&[0x0e, 0, 0, 0, 1, 1, 0, 0], layout),
        (&[0x12, 0, 0, 0, 1, 1, 2, 0, 1, 0], layout),
        // A key, a value and a header key that are longer than the record.
        (&[0x0c, 0, 0, 0, 0x06, 1, 0], layout),
        (&[0x0c, 0, 0, 0, 1, 0x04, 0], layout),
        (&[0x10, 0, 0, 0, 1, 1, 2, 0x02, 0x01], layout),
        // Only -1 stands for no key or value.
        (&[0x0c, 0, 0, 0, 3, 1, 0], negative(-2)),
        (&[0x0c, 0, 0, 0, 1, 5, 0], negative(-3)),
        (&[0x0c, 0, 0, 0, 1, 1, 1], negative(-1)),
        // A header without a key, one without a value, and fewer headers than claimed.
        (&[0x10, 0, 0, 0, 1, 1, 2, 1, 1], negative(-1)),
        (&[0x10, 0, 0, 0, 1, 1, 2, 0, 3], negative(-2)),
        (&[0x0e, 0, 0, 0, 1, 1, 2, 0], layout),
        (&[0x14, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f], layout),
        (&[0x10, 0, 0, 0, 1, 1, 0x04, 0, 1], layout),
        // A timestamp delta with more than 64 bits.
        (&[0x1e, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 1, 1, 0], layout),
        (&[0x0c, 0, 0, 2, 1, 1, 0], RecordFault::OffsetDelta { offset_delta: 1 }),
        (&[0x0c, 0, 0, 1, 1, 1, 0], RecordFault::OffsetDelta { offset_delta: -1 }),
    ] {
        let error = BatchError::Record { index: 0, fault };
        assert_eq!(refusal(&with_payload(1, payload)), error, "{payload:x?}");
        // The same record behind a valid one: the index tells which of them it is.
        let second = [&whole[..], payload].concat();
        let error = match error {
            // Delta 1 is right for the second record, so that this one is valid now.
            BatchError::Record { fault: RecordFault::OffsetDelta { offset_delta: 1 }, .. } => continue,
            _ => BatchError::Record { index: 1, fault },
        };
        assert_eq!(refusal(&with_payload(2, &second)), error, "{payload:x?}");
    }
}

#[test]
fn the_count_and_the_records_must_agree() {
    let two = [0x0c, 0, 0, 0, 1, 1, 0, 0x0c, 0, 0, 2, 1, 1, 0];
    accept(&with_payload(2, &two));
    assert_eq!(refusal(&with_payload(1, &two)), BatchError::AfterLastRecord { extra: 7, count: 1 });
    let third_is_missing = BatchError::Record { index: 2, fault: RecordFault::CutOff };
    assert_eq!(refusal(&with_payload(3, &two)), third_is_missing);
    assert_eq!(refusal(&with_payload(i32::MAX, &two)), third_is_missing);
}

#[test]
fn a_wrong_max_timestamp_is_reported_and_can_be_corrected() {
    for claimed in [0_i64, 1099, 1101, -1, i64::MAX] {
        let mut batch = with(35, &claimed.to_be_bytes());
        let checked = accept(&batch);
        assert!(checked.max_timestamp_differs());
        assert_eq!(checked.max_timestamp, TimestampMs(1100));
        BatchMut::parse(&mut batch).unwrap().set_max_timestamp(checked.max_timestamp);
        assert_eq!(batch, valid());
    }
}

#[test]
fn a_record_without_a_timestamp_counts_for_neither_bound() {
    let batch = |timestamps: &[i64]| {
        let mut builder = BatchBuilder::new();
        for &timestamp in timestamps {
            builder.push(&NewRecord { timestamp: TimestampMs(timestamp), ..NewRecord::default() }).unwrap();
        }
        builder.build().unwrap()
    };
    for (timestamps, min, max) in [
        (&[-1][..], -1, -1),
        (&[-1, 5, 3], 3, 5),
        (&[5, -1], 5, 5),
        (&[0], 0, 0),
        (&[-7, -1], -7, -1),
        (&[i64::MIN, i64::MAX], i64::MIN, i64::MAX),
        (&[i64::MAX], i64::MAX, i64::MAX),
        (&[-1, i64::MAX], i64::MAX, i64::MAX),
    ] {
        let checked = accept(&batch(timestamps));
        let bounds = (checked.min_timestamp.0, checked.max_timestamp.0);
        assert_eq!(bounds, (min, max), "{timestamps:?}");
    }
    let limits =
        ProduceLimits { earliest: TimestampMs(3), latest: TimestampMs(5), ..ProduceLimits::default() };
    assert!(check_produced(&batch(&[-1, 3, 5]), &limits).is_ok());
}

#[test]
fn records_outside_of_the_topics_limits_are_refused_and_all_named() {
    let limits = |key_required, earliest, latest| ProduceLimits {
        key_required,
        earliest: TimestampMs(earliest),
        latest: TimestampMs(latest),
        ..ProduceLimits::default()
    };
    let timestamp = |timestamp, earliest, latest| RecordFault::Timestamp {
        timestamp: TimestampMs(timestamp),
        earliest: TimestampMs(earliest),
        latest: TimestampMs(latest),
    };
    for (limits, faults) in [
        (limits(true, 0, 2000), vec![(2, RecordFault::NoKey)]),
        (limits(false, 950, 2000), vec![(1, timestamp(900, 950, 2000))]),
        (limits(false, 0, 950), vec![(0, timestamp(1000, 0, 950)), (2, timestamp(1100, 0, 950))]),
        (limits(true, 950, 1000), vec![(1, timestamp(900, 950, 1000)), (2, RecordFault::NoKey)]),
        (limits(false, 900, 1100), vec![]),
    ] {
        let first = faults.first().map(|&(index, fault)| BatchError::Record { index, fault });
        assert_eq!(check_produced(&valid(), &limits).err(), first, "{limits:?}");
        let batch = RecordBatch::parse(Bytes::from(valid())).unwrap();
        assert_eq!(invalid_records(&batch, &limits).collect::<Vec<_>>(), faults, "{limits:?}");
    }
}

#[test]
fn a_compressed_batch_is_checked_by_its_header() {
    for (id, compression) in
        [(1, Compression::Gzip), (2, Compression::Snappy), (3, Compression::Lz4), (4, Compression::Zstd)]
    {
        let mut batch = with_payload(1000, b"whatever the codec makes of this");
        batch[22] = id;
        batch[35..43].copy_from_slice(&1234_i64.to_be_bytes());
        fix_crc(&mut batch);
        let checked = accept(&batch);
        assert_eq!(checked.header.compression(), Ok(compression));
        assert_eq!((checked.min_timestamp, checked.max_timestamp), (TimestampMs(1000), TimestampMs(1234)));

        let limits = ProduceLimits { latest: TimestampMs(1233), ..ProduceLimits::default() };
        let error = BatchError::Timestamp {
            timestamp: TimestampMs(1234),
            earliest: limits.earliest,
            latest: limits.latest,
        };
        assert_eq!(refusal_within(&batch, &limits), error);
        let opened = RecordBatch::parse(Bytes::from(batch)).unwrap();
        assert_eq!(opened.records().unwrap_err(), BatchError::Compressed { compression });
    }
}
