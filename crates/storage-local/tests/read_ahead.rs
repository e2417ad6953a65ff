//! Who reads a segment in order finds the next bytes checked before asking for them.

mod harness;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use harness::{Store, batch};
use ottla_records::Offset;
use ottla_storage::{Log, LogSettings, ReadError, ReadPiece, ReadRequest};
use ottla_storage_local::LocalLog;

/// A store that has begun anew, with batches of `size` bytes and a little more in a segment.
async fn filled(dir: &Path, batches: usize, size: usize) -> (Store, Arc<LocalLog>) {
    let settings = LogSettings { segment_bytes: 64 << 20, ..LogSettings::default() };
    let mut store = Store::open(dir, &[1, 2]);
    let (log, other) = (store.log(1), store.log(2));
    log.set_settings(settings);
    for number in 0..batches {
        store.append(&log, batch(&format!("{number:05}{}", "x".repeat(size)), 1)).await.unwrap();
    }
    // What was written before moves into segments as the other log goes on.
    let written = || fs::metadata(first_segment(dir)).map_or(0, |file| file.len());
    let mut others = 0;
    while written() < (size * batches) as u64 {
        store.append(&other, batch(&"y".repeat(500_000), 1)).await.unwrap();
        others += 1;
        assert!(others < 1000, "nothing was moved into segments");
    }
    store.close();
    let store = Store::open(dir, &[1, 2]);
    let log = store.log(1);
    (store, log)
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join("logs/1/00000000000000000000.log")
}

fn from(offset: i64, max_bytes: usize) -> ReadRequest {
    ReadRequest { offset: Offset(offset), max_bytes, at_least_one: true }
}

/// Whether the read is answered at once with a range of the file.
fn is_there(log: &Arc<LocalLog>, request: ReadRequest) -> bool {
    let read = log.read_now(request).unwrap();
    read.is_some_and(|read| matches!(read.pieces[..], [ReadPiece::File(_)]))
}

#[tokio::test]
async fn what_follows_a_read_is_there_before_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    // Batches of more than one step of reading ahead, too.
    for size in [100_000, 700_000] {
        let dir = dir.path().join(size.to_string());
        fs::create_dir(&dir).unwrap();
        let (store, log) = filled(&dir, 30, size).await;
        let two = 2 * size + 1000;
        assert!(log.read_now(from(0, two)).unwrap().is_none(), "nothing was read yet");
        assert!(log.read(from(0, two)).await.unwrap().bytes() > size);
        // From here on nothing but the reading ahead checks anything.
        for offset in (2..26).step_by(2) {
            store.wait_until(|| is_there(&log, from(offset, two))).await;
        }
        store.close();
    }
}

#[tokio::test]
async fn damage_ahead_is_told_to_who_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = filled(dir.path(), 10, 100_000).await;
    let mut bytes = fs::read(first_segment(dir.path())).unwrap();
    bytes[350_000] ^= 1;
    fs::write(first_segment(dir.path()), bytes).unwrap();
    log.read(from(0, 100_000)).await.unwrap();
    store.wait_until(|| is_there(&log, from(1, 150_000))).await;
    let damaged = log.read(from(3, 100_000)).await;
    assert!(matches!(damaged, Err(ReadError::Damaged { offset: Offset(3), .. })), "{damaged:?}");
    assert!(log.read(from(4, 100_000)).await.unwrap().bytes() > 90_000);
    store.close();
}
