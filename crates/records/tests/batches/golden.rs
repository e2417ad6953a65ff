//! Fixed bytes: the layout may never change.
//!
//! They were written by a script from the published layout, with a CRC-32C computed bit by bit, and the plain
//! batch is also what the independent encoder writes.

use bytes::Bytes;
use ottla_records::control::{abort_batch, commit_batch};
use ottla_records::{
    BatchBuilder, BatchError, BatchHeader, Compression, ControlError, ControlRecord, LeaderEpoch, NewHeader,
    NewRecord, Offset, ProduceLimits, ProducerEpoch, ProducerId, RecordBatch, Sequence, TimestampMs,
    TimestampType, check_produced,
};

use crate::differential::{as_theirs, encode};
use crate::forge::{OwnedRecord, with_payload};

const NOW: i64 = 1_700_000_000_000;

/// Three records at offset 1000, epoch 5: a key and a value; headers and no key; an empty key and no value.
pub const PLAIN: &str = concat!(
    "00000000000003e8000000a80000000502cee6266f0000000000020000018bcfe568000000018bcfe568faffffffffff",
    "ffffffffffffffffff000000031c000000066b65790a76616c756500be0100f40302018c017878787878787878787878",
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878",
    "7878787878787878787878040a7472616365066162630a656d707479010c000604000100",
);

/// Producer 4000 in its epoch 3 commits at offset 42, says the coordinator of epoch 9.
pub const COMMIT: &str = concat!(
    "000000000000002a0000004200000007023a9760040030000000000000018bcfe568000000018bcfe568000000000000",
    "000fa00003ffffffff000000012000000008000000010c00000000000900",
);

/// The same, but aborted.
pub const ABORT: &str = concat!(
    "000000000000002a000000420000000702cea9b64c0030000000000000018bcfe568000000018bcfe568000000000000",
    "000fa00003ffffffff000000012000000008000000000c00000000000900",
);

pub fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_builder_writes_the_golden_bytes() {
    let long = [b'x'; 70];
    let headers = [NewHeader { key: "trace", value: Some(b"abc") }, NewHeader { key: "empty", value: None }];
    let mut builder = BatchBuilder::new().base_offset(Offset(1000)).leader_epoch(LeaderEpoch(5));
    for (delta, key, value, headers) in [
        (0, Some(&b"key"[..]), Some(&b"value"[..]), &[][..]),
        (250, None, Some(&long), &headers),
        (3, Some(b""), None, &[]),
    ] {
        builder.push(&NewRecord { timestamp: TimestampMs(NOW + delta), key, value, headers }).unwrap();
    }
    assert_eq!(builder.build().unwrap(), bytes(PLAIN));
}

#[test]
fn the_independent_encoder_writes_the_golden_bytes() {
    let headers = vec![("trace".to_owned(), Some(b"abc".to_vec())), ("empty".to_owned(), None)];
    let records = [
        (0, Some(b"key".to_vec()), Some(b"value".to_vec()), vec![]),
        (250, None, Some(vec![b'x'; 70]), headers),
        (3, Some(vec![]), None, vec![]),
    ];
    let records: Vec<_> = (0..)
        .zip(records)
        .map(|(index, (delta, key, value, headers))| {
            let mut record = as_theirs(&OwnedRecord { timestamp: NOW + delta, key, value, headers });
            record.offset = 1000 + index;
            record.sequence = -1 + index as i32;
            record.partition_leader_epoch = 5;
            record
        })
        .collect();
    assert_eq!(encode(&records), bytes(PLAIN));
}

#[test]
fn the_golden_header_is_read_field_by_field() {
    let header = BatchHeader::parse(&bytes(PLAIN)).unwrap();
    assert_eq!(
        header,
        BatchHeader {
            base_offset: Offset(1000),
            length: 180,
            leader_epoch: LeaderEpoch(5),
            magic: 2,
            crc: 0xcee6_266f,
            attributes: 0,
            last_offset_delta: 2,
            base_timestamp: TimestampMs(NOW),
            max_timestamp: TimestampMs(NOW + 250),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            record_count: 3,
        }
    );
    assert_eq!(header.last_offset(), Offset(1002));
    assert_eq!(header.next_offset(), Offset(1003));
    assert_eq!(header.last_sequence(), Sequence::NONE);
    assert_eq!(header.compression(), Ok(Compression::None));
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert!(!header.is_transactional() && !header.is_control() && !header.has_delete_horizon());
    assert!(header.crc_matches(&bytes(PLAIN)));
}

#[test]
fn the_golden_records_are_read_field_by_field() {
    let batch = RecordBatch::parse(bytes(PLAIN)).unwrap();
    let records: Vec<_> = batch.records().unwrap().map(Result::unwrap).collect();
    let [first, second, third] = &records[..] else { panic!("three records, not {}", records.len()) };
    assert_eq!((first.offset, first.timestamp), (Offset(1000), TimestampMs(NOW)));
    assert_eq!((first.key, first.value), (Some(&b"key"[..]), Some(&b"value"[..])));
    assert_eq!(first.headers.len(), 0);
    assert_eq!((second.offset, second.timestamp), (Offset(1001), TimestampMs(NOW + 250)));
    assert_eq!((second.key, second.value), (None, Some(&[b'x'; 70][..])));
    let headers: Vec<_> = second.headers.clone().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [(&b"trace"[..], Some(&b"abc"[..])), (b"empty", None)]);
    assert_eq!((third.offset, third.timestamp), (Offset(1002), TimestampMs(NOW + 3)));
    assert_eq!((third.key, third.value), (Some(&b""[..]), None));

    let key = first.key.unwrap();
    assert_eq!(batch.bytes().slice_ref(key).as_ptr(), key.as_ptr(), "nothing was copied");
}

#[test]
fn the_markers_are_the_golden_bytes() {
    let producer = (ProducerId(4000), ProducerEpoch(3));
    let commit = commit_batch(Offset(42), LeaderEpoch(7), TimestampMs(NOW), producer, 9);
    assert_eq!(commit, bytes(COMMIT));
    let abort = abort_batch(Offset(42), LeaderEpoch(7), TimestampMs(NOW), producer, 9);
    assert_eq!(abort, bytes(ABORT));
    for (batch, marker) in [
        (commit, ControlRecord::Commit { coordinator_epoch: 9 }),
        (abort, ControlRecord::Abort { coordinator_epoch: 9 }),
    ] {
        assert_eq!(check_produced(&batch, &ProduceLimits::default()), Err(BatchError::ControlBatch));
        let batch = RecordBatch::parse(batch).unwrap();
        assert!(batch.header().is_control() && batch.header().is_transactional());
        let record = batch.records().unwrap().next().unwrap().unwrap();
        assert_eq!(ControlRecord::parse(&record), Ok(marker));
    }
}

#[test]
fn a_control_record_is_read_as_far_as_it_is_known() {
    let commit = Ok(ControlRecord::Commit { coordinator_epoch: 258 });
    for (key, value, parsed) in [
        (Some(&[0, 0, 0, 1][..]), Some(&[0, 0, 0, 0, 1, 2][..]), commit),
        // Later versions append fields.
        (Some(&[0, 7, 0, 1, 9]), Some(&[0, 7, 0, 0, 1, 2, 9]), commit),
        (Some(&[0, 0, 0, 2]), None, Ok(ControlRecord::Other { type_id: 2 })),
        (Some(&[0, 0, 255, 255]), None, Ok(ControlRecord::Other { type_id: -1 })),
        (None, None, Err(ControlError::Key { size: 0 })),
        (Some(&[0, 0, 0]), None, Err(ControlError::Key { size: 3 })),
        (Some(&[255, 255, 0, 1]), None, Err(ControlError::Version { version: -1 })),
        (Some(&[0, 0, 0, 1]), None, Err(ControlError::Value { size: 0 })),
        (Some(&[0, 0, 0, 0]), Some(&[0, 0, 0, 0, 1]), Err(ControlError::Value { size: 5 })),
        (Some(&[0, 0, 0, 0]), Some(&[128, 0, 0, 0, 1, 2]), Err(ControlError::Version { version: i16::MIN })),
    ] {
        let mut builder = BatchBuilder::new();
        builder.push(&NewRecord { key, value, ..NewRecord::default() }).unwrap();
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        assert_eq!(ControlRecord::parse(&record), parsed, "{key:?} {value:?}");
    }
}

/// A cleaner leaves gaps. It keeps the last offset delta, and even a batch without records where that is the
/// last of its producer.
#[test]
fn a_compacted_batch_is_read_with_its_gaps() {
    let two_of_nine = [0x0c, 0, 0, 4, 1, 1, 0, 0x0c, 0, 0, 14, 1, 1, 0];
    let mut batch = with_payload(2, &two_of_nine);
    batch[23..27].copy_from_slice(&8_i32.to_be_bytes());
    let batch = RecordBatch::parse(Bytes::from(batch)).unwrap();
    let offsets: Vec<_> = batch.records().unwrap().map(|record| record.unwrap().offset.0).collect();
    assert_eq!(offsets, [2, 7]);
    assert_eq!(batch.header().next_offset(), Offset(9));

    let empty = RecordBatch::parse(Bytes::from(with_payload(0, &[]))).unwrap();
    assert_eq!(empty.records().unwrap().count(), 0);
    let negative = RecordBatch::parse(Bytes::from(with_payload(-1, &[]))).unwrap();
    assert_eq!(negative.records().unwrap_err(), BatchError::RecordCount { count: -1 });
}
