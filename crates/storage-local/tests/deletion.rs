//! Deletions that meet others at work on the same log.

mod harness;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use harness::{Store, batch};
use ottla_records::LogId;
use ottla_storage::{Disk, LogSettings};
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
