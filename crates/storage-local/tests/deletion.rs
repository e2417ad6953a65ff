//! Deletions that meet others at work on the same log.

mod harness;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use harness::{Store, batch};
use ottla_records::{LogId, Offset};
use ottla_storage::{Disk, Log, LogSettings, ManualClock};
use ottla_storage_local::{KnownLogs, Options};
use ottla_testing_internal::SimDisk;

const ROOT: &str = "/data";

/// The flusher was in the middle of a run when the directory went: it met a missing file, which ended the store, or
/// made the directory again, which nobody removed any more.
#[tokio::test]
async fn a_log_that_is_deleted_while_it_is_flushed_leaves_nothing() {
    let disk = SimDisk::recording(Path::new(ROOT));
    let known = KnownLogs { live: [LogId(1)].into(), deleting: HashSet::new() };
    let options = Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 64 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(4 << 20),
        checkpoint_interval: Duration::ZERO,
        ..Options::default()
    };
    let mut store = Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known, &options).unwrap();
    let settings = LogSettings { segment_bytes: 16 << 10, index_interval_bytes: 1, ..LogSettings::default() };
    let log = store.store.open_log(LogId(1), settings);
    let logs = Path::new(ROOT).join("logs");
    disk.hold_writes(&logs);
    let value = "v".repeat(3000);
    for _ in 0..60 {
        store.append(&log, batch(&value, 1)).await.unwrap();
    }
    store.wait_until(|| disk.holds_a_write()).await;
    store.delete(&log).await;
    // The keeper must not remove what is being written. That it does not shows only by nothing happening.
    for _ in 0..30 {
        assert_eq!(disk.list(&logs).unwrap(), [Path::new("1")], "the log was removed under the flusher");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    disk.release_writes();
    store.wait_until(|| disk.list(&logs).unwrap().is_empty()).await;
    store.close();
    assert!(disk.list(&logs).unwrap().is_empty());
}

/// Retention had asked for a log start, and the log was deleted before that was written. It was written all the
/// same, to a file that the log's row in the state database may not wait for; a start that finds a log without a
/// row there is refused.
#[tokio::test]
async fn a_log_start_is_not_written_for_a_log_that_was_deleted_meanwhile() {
    for is_deleted in [false, true] {
        assert_eq!(names_log_start(is_deleted).await, !is_deleted, "deleted: {is_deleted}");
    }
}

/// Whether the write-ahead log has a log start of a log that retention has cut, and that was or was not deleted
/// before this could be written.
async fn names_log_start(is_deleted: bool) -> bool {
    let disk = SimDisk::recording(Path::new(ROOT));
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let known = KnownLogs { live: [LogId(1), LogId(2)].into(), deleting: HashSet::new() };
    let options = Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 64 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(512 << 10),
        checkpoint_interval: Duration::ZERO,
        ..Options::default()
    };
    let retention = options.retention_interval;
    let gone = Box::new(|_| {});
    let at = Path::new(ROOT);
    let mut store = Store::beside(Arc::new(disk.clone()), clock.clone(), at, &known, &options, gone).unwrap();
    let settings =
        LogSettings { segment_bytes: 16 << 10, retention_bytes: Some(16 << 10), ..LogSettings::default() };
    let log = store.store.open_log(LogId(1), settings);
    let other = store.store.open_log(LogId(2), LogSettings::default());
    let value = "v".repeat(3000);
    for _ in 0..60 {
        store.append(&log, batch(&value, 1)).await.unwrap();
    }
    let dir = at.join("logs/1");
    store.wait_until(|| disk.list(&dir).is_ok_and(|names| names.len() > 9)).await;

    disk.hold_writes(&at.join("wal"));
    let under_way = store.start(&other, batch("under way", 1));
    store.wait_until(|| disk.holds_a_write()).await;
    clock.advance(retention);
    // The keeper asks for the log start in one of its next rounds, which nobody sees from outside.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let deleted = is_deleted.then(|| store.store.delete_log(&log));
    disk.release_writes();
    store.finish(under_way).await.unwrap();
    match deleted {
        Some(deleted) => deleted.await.unwrap(),
        None => store.wait_until(|| log.bounds().log_start > Offset(0)).await,
    }
    store.close();
    wal_blocks(&disk).iter().any(|block| has_log_start(block, 1))
}

fn wal_blocks(disk: &SimDisk) -> Vec<Vec<u8>> {
    let image = disk.image();
    let files = image.names.iter().filter(|(path, _)| path.extension().is_some_and(|of| of == "wal"));
    let files = files.filter_map(|(_, inode)| image.contents.get(&(*inode)?));
    files.flat_map(|bytes| bytes.chunks(4096).map(<[u8]>::to_vec)).collect()
}

/// Whether this is the header of a record (docs/formats/wal.md) in which the log gets a new log start.
fn has_log_start(block: &[u8], log: u64) -> bool {
    if !block.starts_with(b"OTTLAREC") {
        return false;
    }
    let entries = u32::from_le_bytes(block[32..36].try_into().unwrap()) as usize;
    let entries = block[48..].chunks(48).take(entries);
    entries.into_iter().any(|entry| entry[0] == 2 && entry[8..16] == log.to_le_bytes())
}
