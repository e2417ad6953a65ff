//! Disks that fail: at every operation in turn, broken for good (EIO) or full for a while (ENOSPC). What was
//! acknowledged is there after the next start on a healthy disk, and what was refused is not.

mod harness;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use harness::{Store, batch};
use ottla_records::{LogId, Offset};
use ottla_storage::{AppendError, Disk, Log, LogSettings};
use ottla_storage_local::{KnownLogs, Options};
use ottla_testing_internal::{FailingDisk, Failure, SimDisk};

const ROOT: &str = "/data";

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 32 << 10,
        wal_max: Some(256 << 10),
        checkpoint_interval: Duration::ZERO,
        full_disk_pause: Duration::from_millis(1),
        readers: 1,
        ..Options::default()
    }
}

fn known() -> KnownLogs {
    KnownLogs { live: [LogId(1), LogId(2)].into(), deleting: HashSet::new() }
}

fn settings() -> LogSettings {
    LogSettings { segment_bytes: 16 << 10, index_interval_bytes: 1024, ..LogSettings::default() }
}

/// What a run on a failing disk saw.
struct Seen {
    /// The values acknowledged, by log.
    acknowledged: [Vec<String>; 2],
    /// Whether an append was answered with [`AppendError::Failed`], or the store did not even open.
    failed: bool,
    refused_as_full: usize,
    faults: Vec<String>,
}

/// Appends until the end or the first failure, and stops.
async fn run(disk: Arc<dyn Disk>) -> Seen {
    let mut seen =
        Seen { acknowledged: Default::default(), failed: false, refused_as_full: 0, faults: Vec::new() };
    let Ok(mut store) = Store::on(disk, Path::new(ROOT), &known(), &options()) else {
        seen.failed = true;
        return seen;
    };
    let logs = [1, 2].map(|id| store.store.open_log(LogId(id), settings()));
    for i in 0..60_usize {
        let value = format!("{i}:{}", "v".repeat(i * 97 % 2500));
        match store.append(&logs[i % 2], batch(&value, 1)).await {
            Ok(_) => seen.acknowledged[i % 2].push(value),
            Err(AppendError::DiskFull) => {
                seen.refused_as_full += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(AppendError::Failed(_)) => {
                seen.failed = true;
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let faults = store.faults.clone();
    store.store.close();
    seen.faults.clone_from(&faults.lock().unwrap());
    seen
}

/// Opens the disk without failures and returns each log's values.
async fn after_restart(disk: Arc<dyn Disk>) -> [Vec<String>; 2] {
    let store = Store::on(disk, Path::new(ROOT), &known(), &options()).unwrap();
    let mut found: [Vec<String>; 2] = Default::default();
    for id in [1, 2] {
        let log = store.store.open_log(LogId(id), settings());
        assert_eq!(log.bounds().log_start, Offset(0));
        let batches = store.read_all(&log).await;
        found[id as usize - 1] = batches.into_iter().map(|(_, value, _)| value).collect();
    }
    store.close();
    found
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_broken_disk_stops_the_store_and_loses_nothing_acknowledged() {
    let mut stopped = 0;
    for at in 0.. {
        let disk = SimDisk::recording(Path::new(ROOT));
        let failing = FailingDisk::new(Arc::new(disk.clone()), Failure::Broken, at);
        let seen = block_on(run(Arc::new(failing.clone())));
        let found = block_on(after_restart(Arc::new(disk)));
        for (acknowledged, found) in seen.acknowledged.iter().zip(&found) {
            assert!(found.starts_with(acknowledged), "operation {at}: an acknowledged batch is missing");
            assert!(found.len() <= acknowledged.len() + 1, "operation {at}: more than was in flight");
        }
        if !failing.has_failed() {
            assert!(seen.faults.is_empty());
            break;
        }
        if !seen.faults.is_empty() {
            stopped += 1;
        }
        assert!(seen.failed || !seen.faults.is_empty(), "operation {at} failed, and nobody said so");
    }
    assert!(stopped > 20, "only {stopped} faults while running");
}

#[test]
fn a_full_disk_refuses_what_it_cannot_take_and_recovers_by_itself() {
    let mut refused = 0;
    for at in 0.. {
        let disk = SimDisk::recording(Path::new(ROOT));
        let failing = FailingDisk::new(Arc::new(disk.clone()), Failure::Full(4), at);
        let seen = block_on(run(Arc::new(failing.clone())));
        refused += seen.refused_as_full;
        assert_eq!(seen.faults, Vec::<String>::new(), "operation {at}: a full disk is no fault");
        let found = block_on(after_restart(Arc::new(disk)));
        assert_eq!(found, seen.acknowledged, "operation {at}");
        if !failing.has_failed() {
            break;
        }
    }
    assert!(refused > 20, "only {refused} appends met a full disk");
}
