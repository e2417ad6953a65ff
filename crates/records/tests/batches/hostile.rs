//! Bytes that were damaged, cut, or made to break a parser.

use bytes::Bytes;
use ottla_records::batch::{ATTRIBUTES_AT, CRC_AT};
use ottla_records::{BatchError, BatchHeader, Batches, ProduceLimits, RecordBatch, check_produced};
use proptest::prelude::*;

use crate::checks::check_batches;
use crate::forge::{fix_crc, valid};

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
        check_batches(&cut);
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
        check_batches(&bytes);
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
        check_batches(&bytes);
    }

    #[test]
    fn damaged_batches_are_no_danger(batch in damaged()) {
        check_batches(&batch);
    }
}
