//! Bytes that were damaged, cut, or made to break a parser.

use bytes::Bytes;
use ottla_records::batch::{ATTRIBUTES_AT, CRC_AT};
use ottla_records::{
    BatchError, BatchHeader, BatchMut, Batches, ControlRecord, ProduceLimits, RecordBatch, Records,
    check_produced, invalid_records,
};
use proptest::prelude::*;

use crate::forge::{fix_crc, valid};

/// Does with the bytes all that can be done with bytes. None of it may panic.
fn use_all(bytes: &[u8]) {
    let limits = ProduceLimits { key_required: true, ..ProduceLimits::default() };
    let _ = check_produced(bytes, &limits);
    if let Ok(header) = BatchHeader::parse(bytes) {
        let _ = (header.last_offset(), header.next_offset(), header.last_sequence(), header.compression());
        let _ = header.crc_matches(bytes);
        // As if the payload had been decompressed to all these bytes.
        if let Ok(records) = Records::new(&header, bytes) {
            use_records(records, bytes.len());
        }
    }
    let mut copy = bytes.to_vec();
    if let Ok(mut batch) = BatchMut::parse(&mut copy) {
        batch.set_append_time(ottla_records::TimestampMs(i64::MIN));
    }
    let mut batches = Batches::new(Bytes::copy_from_slice(bytes));
    for batch in batches.by_ref().flatten() {
        let _ = batch.check_crc();
        let _ = invalid_records(&batch, &limits).count();
        if let Ok(records) = batch.records() {
            use_records(records, bytes.len());
        }
    }
    assert!(batches.position() <= bytes.len());
    assert!(batches.next().is_none(), "the end is the end");
}

fn use_records(mut records: Records<'_>, size: usize) {
    let mut read = 0;
    for record in records.by_ref() {
        read += 1;
        assert!(read <= size + 1, "each record and each error takes a byte or ends the iteration");
        if let Ok(record) = record {
            assert!(record.headers.len() <= size);
            assert_eq!(record.headers.clone().count(), record.headers.len());
            let _ = ControlRecord::parse(&record);
        }
    }
    assert!(records.next().is_none(), "the end is the end");
}

#[test]
fn each_flipped_bit_is_found() {
    let batch = valid();
    for bit in CRC_AT * 8..batch.len() * 8 {
        let mut flipped = batch.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = check_produced(&flipped, &ProduceLimits::default()).unwrap_err();
        assert!(matches!(error, BatchError::Crc { .. }), "bit {bit}: {error}");
        let header = BatchHeader::parse(&flipped).unwrap();
        assert!(!header.crc_matches(&flipped), "bit {bit}");
        let read = RecordBatch::parse(Bytes::from(flipped)).unwrap();
        assert_eq!(read.check_crc(), Err(error), "bit {bit}");
    }
}

#[test]
fn the_crc_covers_neither_base_offset_nor_leader_epoch() {
    for at in (0..8).chain(12..16) {
        let mut changed = valid();
        changed[at] ^= 0xff;
        assert!(check_produced(&changed, &ProduceLimits::default()).is_ok(), "byte {at}");
    }
}

#[test]
fn each_truncation_is_found() {
    let batch = valid();
    for size in 1..batch.len() {
        let error = check_produced(&batch[..size], &ProduceLimits::default()).unwrap_err();
        let expected = if size < 61 { 61 } else { batch.len() };
        assert_eq!(error, BatchError::Torn { size, expected });
    }
}

/// The CRC fits here, so that only the other checks can find what is missing.
#[test]
fn each_truncation_is_found_without_the_crc() {
    let batch = valid();
    for size in 61..batch.len() {
        let mut cut = batch[..size].to_vec();
        cut[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
        fix_crc(&mut cut);
        let error = check_produced(&cut, &ProduceLimits::default()).unwrap_err();
        assert!(matches!(error, BatchError::Record { .. }), "{size} bytes: {error}");
        use_all(&cut);
    }
}

#[test]
fn a_torn_tail_is_reported_with_its_place() {
    let batch = valid();
    let buffer = Bytes::from([&batch[..], &batch, &batch].concat());
    for size in 0..=buffer.len() {
        let mut batches = Batches::new(buffer.slice(..size));
        let whole = batches.by_ref().take_while(Result::is_ok).count();
        assert_eq!(whole, size / batch.len());
        assert_eq!(batches.position(), whole * batch.len());
        let last = Batches::new(buffer.slice(..size)).last();
        let torn = size % batch.len();
        match last {
            None => assert_eq!(size, 0),
            Some(Ok(read)) => assert_eq!((read.bytes(), torn), (&buffer.slice(..batch.len()), 0)),
            Some(Err(error)) => {
                let expected = if torn < 61 { 61 } else { batch.len() };
                assert_eq!(error, BatchError::Torn { size: torn, expected });
            }
        }
    }
}

/// A valid batch with a few bytes overwritten, and with a CRC that fits, so that each check is reached.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    changes.prop_map(|changes| {
        let mut batch = valid();
        for (at, byte) in changes {
            let at = at.index(batch.len());
            batch[at] = byte;
        }
        fix_crc(&mut batch);
        batch
    })
}

proptest! {
    #[test]
    fn random_bytes_are_no_danger(bytes: Vec<u8>) {
        use_all(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_good_length_and_magic_are_no_danger(
        mut bytes in prop::collection::vec(any::<u8>(), 61..400),
        count in 0..100_i32,
    ) {
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].fill(0);
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        fix_crc(&mut bytes);
        use_all(&bytes);
    }

    #[test]
    fn damaged_batches_are_no_danger(batch in damaged()) {
        use_all(&batch);
    }

    /// What a broker accepts, a consumer can read: the same number of records at the offsets that follow.
    #[test]
    fn what_is_accepted_can_be_read(batch in damaged()) {
        let Ok(checked) = check_produced(&batch, &ProduceLimits::default()) else { return Ok(()) };
        let Ok(batch) = RecordBatch::parse(Bytes::from(batch)) else { panic!("it was accepted") };
        let Ok(records) = batch.records() else { return Ok(()) };
        let offsets: Result<Vec<_>, _> = records.map(|record| record.map(|record| record.offset)).collect();
        let expected: Vec<_> =
            (0..i64::from(checked.header.record_count)).map(|at| checked.header.base_offset.plus(at)).collect();
        prop_assert_eq!(offsets, Ok(expected));
    }
}
