//! What is opened of an answer.

use ottla_protocol::messages::fetch::AbortedTransaction;
use ottla_records::{
    Compression, Compressor, ProducerEpoch, ProducerId, RecordBatch, Sequence, TimestampMs,
    control::{abort_batch, commit_batch},
};

use super::*;
use crate::{
    consumer::{
        aborted::Aborted,
        chunk::{Chunk, Opener, Trouble, complete},
        partition::Position,
    },
    error::ErrorKind,
};

const BUDGET: usize = 1 << 20;

struct Reader {
    chunk: Chunk,
    opener: Opener,
}

impl Reader {
    fn of(batches: &[Bytes], from: i64, aborted: Option<Aborted>) -> Self {
        let consuming = consuming(BUDGET);
        let charge = Arc::new(room(&consuming, 1000));
        let chunk = Chunk::new(key(0), 1, Position::at(from), batches.concat().into(), aborted, charge);
        Self { chunk, opener: Opener::new(consuming, Arc::default(), true) }
    }

    /// The offsets that are read until the end, or until what goes wrong.
    fn read(&mut self) -> (Vec<i64>, Option<Trouble>) {
        let mut offsets = Vec::new();
        loop {
            while let Some(record) = self.chunk.next_record() {
                offsets.push(record.offset());
            }
            match self.chunk.open_next(&mut self.opener, &mut None) {
                Ok(true) => {}
                Ok(false) => return (offsets, None),
                Err(trouble) => return (offsets, Some(trouble)),
            }
        }
    }
}

fn transactional(offset: i64, count: usize, producer: i64) -> Bytes {
    let builder = builder(offset, 0).producer(ProducerId(producer), ProducerEpoch(0), Sequence(0));
    filled(builder.transactional(), count)
}

fn marker(offset: i64, producer: i64, commit: bool) -> Bytes {
    let make = if commit { commit_batch } else { abort_batch };
    make(Offset(offset), LeaderEpoch(0), TimestampMs(0), (ProducerId(producer), ProducerEpoch(0)), 0)
}

#[test]
fn what_was_aborted_and_what_ends_transactions_is_not_seen() {
    let batches = [
        transactional(0, 2, 7),
        transactional(2, 2, 8),
        batch(4, 1, 0),
        marker(5, 7, false),
        transactional(6, 1, 7),
        marker(7, 8, true),
        marker(8, 7, true),
    ];
    let told = AbortedTransaction { producer_id: 7, first_offset: 0, ..AbortedTransaction::default() };
    let mut committed = Reader::of(&batches, 0, Some(Aborted::new(&[told])));
    let (offsets, trouble) = committed.read();
    assert_eq!((offsets, trouble.is_none()), (vec![2, 3, 4, 6], true));
    assert_eq!(committed.chunk.position(), Position { offset: 9, epoch: Some(0) }, "the markers are passed");
    let (offsets, _) = Reader::of(&batches, 0, None).read();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 6]);
    // An answer that begins within the aborted transaction.
    let told = AbortedTransaction { producer_id: 7, first_offset: 0, ..AbortedTransaction::default() };
    assert_eq!(Reader::of(&batches, 1, Some(Aborted::new(&[told]))).read().0, [2, 3, 4, 6]);
}

#[test]
fn damage_is_told_where_it_is_and_what_came_before_is_read() {
    let good = batch(0, 3, 0);
    for at in [21, 30, 61, 70] {
        let mut bad = batch(3, 2, 0).to_vec();
        bad[at] ^= 1;
        let mut reader = Reader::of(&[good.clone(), bad.into(), batch(5, 1, 0)], 1, None);
        let (offsets, trouble) = reader.read();
        assert_eq!(offsets, [1, 2]);
        let Some(Trouble::Bad(error)) = trouble else { panic!("{trouble:?}") };
        assert_eq!(error.kind(), ErrorKind::DataCorruption);
        assert_eq!(
            error.to_string(),
            "a batch of partition 0 of topic orders at offset 3 is damaged; seek past it to go on"
        );
        assert_eq!(reader.chunk.position().offset, 3);
    }
}

#[test]
fn records_that_are_no_records_are_damage_even_where_no_crc_is_checked() {
    let mut bad = batch(0, 3, 0).to_vec();
    // The offset delta of the first record, which then comes after the second.
    bad[64] = 4;
    let mut reader = Reader::of(&[bad.into()], 0, None);
    reader.opener = Opener::new(consuming(BUDGET), Arc::default(), false);
    let (offsets, trouble) = reader.read();
    assert_eq!(offsets, [0_i64; 0]);
    let Some(Trouble::Bad(error)) = trouble else { panic!("{trouble:?}") };
    assert!(error.to_string().contains("not in its order"), "{error}");
}

#[test]
fn a_compressed_batch_needs_room_and_goes_on_when_it_has_it() {
    let plain = RecordBatch::parse(filled(builder(0, 0), 60_000)).unwrap();
    let bytes =
        Compressor::new(Compression::Zstd).unwrap().compress(plain.header(), plain.payload()).unwrap();
    let mut reader = Reader::of(&[bytes], 59_990, None);
    let consuming = reader.opener.consuming().clone();
    let others = room(&consuming, BUDGET / 2);
    let (offsets, trouble) = reader.read();
    let Some(Trouble::NeedsRoom(bytes)) = trouble else { panic!("{trouble:?}") };
    assert!(offsets.is_empty() && bytes > BUDGET / 2 - 1000, "{bytes}");
    drop(others);
    let mut granted = consuming.try_reserve(bytes);
    assert!(reader.chunk.open_next(&mut reader.opener, &mut granted).unwrap());
    assert!(granted.is_none());
    let (offsets, trouble) = reader.read();
    assert_eq!((offsets, trouble.is_none()), ((59_990..60_000).collect(), true));
    // All that is held is given back.
    drop(reader);
    assert!(consuming.try_reserve(BUDGET).is_some());
}

#[test]
fn the_room_of_a_batch_is_held_by_its_records_and_not_by_owned_ones() {
    let mut reader = Reader::of(&[batch(0, 2, 0)], 0, None);
    let consuming = reader.opener.consuming().clone();
    reader.chunk.open_next(&mut reader.opener, &mut None).unwrap();
    let (kept, owned) = (reader.chunk.next_record().unwrap(), reader.chunk.next_record().unwrap());
    drop(reader);
    let owned = owned.into_owned();
    assert!(consuming.try_reserve(BUDGET).is_none());
    assert_eq!(kept.value(), Some(&b"one tea"[..]));
    drop(kept);
    assert!(consuming.try_reserve(BUDGET).is_some());
    assert_eq!((owned.offset(), owned.value()), (1, Some(&b"one tea"[..])));
    assert_eq!(owned.clone().into_owned().value(), owned.value());
}

#[test]
fn a_position_has_the_epoch_of_the_record_before_it() {
    let mut reader = Reader::of(&[batch(0, 2, 3), batch(2, 2, 4)], 0, None);
    let mut positions = Vec::new();
    loop {
        let Position { offset, epoch } = reader.chunk.position();
        positions.push((offset, epoch));
        if reader.chunk.next_record().is_none()
            && !reader.chunk.open_next(&mut reader.opener, &mut None).unwrap()
        {
            break;
        }
    }
    positions.dedup();
    assert_eq!(positions, [(0, None), (1, Some(3)), (2, Some(3)), (3, Some(4)), (4, Some(4))]);
}

#[test]
fn only_complete_batches_count() {
    let (first, second) = (batch(5, 2, 1), batch(7, 3, 2));
    let all = [&first[..], &second[..]].concat();
    for cut in 0..=all.len() {
        let came = complete(Bytes::copy_from_slice(&all[..cut]), Position::at(6));
        let (bytes, next) = match cut {
            cut if cut < first.len() => (0, Position::at(6)),
            cut if cut < all.len() => (first.len(), Position { offset: 7, epoch: Some(1) }),
            _ => (all.len(), Position { offset: 10, epoch: Some(2) }),
        };
        assert_eq!((came.bytes.len(), came.next, came.fault), (bytes, next, None), "{cut}");
        let header_is_there = (61..first.len()).contains(&cut);
        assert_eq!(
            came.cut_off.filter(|_| cut >= 61),
            Some(first.len()).filter(|_| header_is_there),
            "{cut}"
        );
    }
    let mut old = second.to_vec();
    old[16] = 1;
    let came = complete([&first[..], &old[..]].concat().into(), Position::at(6));
    assert_eq!((came.bytes.len(), came.next.offset), (first.len(), 7));
    assert!(came.fault.is_some());
}
