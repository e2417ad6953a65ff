//! Disks that fail: at every operation in turn, broken for good or unreadable (EIO), or full for a while
//! (ENOSPC); while running, and while starting. What was acknowledged is there after the next start on a healthy
//! disk, and what was refused is not.

mod harness;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use harness::{Store, batch};
use ottla_records::{
    BatchBuilder, LogId, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use ottla_storage::{AppendError, Disk, Log, LogSettings, ManualClock};
use ottla_storage_local::{KnownLogs, LocalLog, Options};
use ottla_testing_internal::{FailingDisk, Failure, Image, SimDisk};

const ROOT: &str = "/data";
/// The log whose old segments are deleted.
const RETAINED: u64 = 3;
/// The log that is deleted half-way.
const DOOMED: u64 = 4;

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 32 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(256 << 10),
        checkpoint_interval: Duration::ZERO,
        full_disk_pause: Duration::from_millis(1),
        retention_interval: Duration::from_millis(1),
        readers: 1,
        ..Options::default()
    }
}

fn known(is_deleted: bool) -> KnownLogs {
    let mut live: HashSet<LogId> = (1..=DOOMED).map(LogId).collect();
    let deleting: HashSet<LogId> = is_deleted.then_some(LogId(DOOMED)).into_iter().collect();
    live.retain(|log| !deleting.contains(log));
    KnownLogs { live, deleting }
}

fn open_log(store: &Store, id: u64) -> Arc<LocalLog> {
    let retention_bytes = (id == RETAINED).then_some(16 << 10);
    let settings = LogSettings {
        segment_bytes: 8 << 10,
        index_interval_bytes: 1024,
        retention_bytes,
        ..LogSettings::default()
    };
    store.store.open_log(LogId(id), settings)
}

/// What a run on a failing disk saw.
#[derive(Default)]
struct Seen {
    /// The values acknowledged, by log; each is one record.
    acknowledged: [Vec<String>; RETAINED as usize],
    /// Whether the last log was deleted.
    deleted: bool,
    /// Whether something was answered with a failure, or the store did not even open.
    failed: bool,
    refused_as_full: usize,
    faults: Vec<String>,
}

/// Appends until the end or the first failure, deletes a log meanwhile, and stops.
async fn run(disk: Arc<dyn Disk>) -> Seen {
    let mut seen = Seen::default();
    let Ok(mut store) = Store::on(disk, Path::new(ROOT), &known(false), &options()) else {
        seen.failed = true;
        return seen;
    };
    let logs: Vec<_> = (1..=DOOMED).map(|id| open_log(&store, id)).collect();
    for i in 0..80_usize {
        if i == 50 {
            seen.deleted = true;
            seen.failed |= store.store.delete_log(&logs[DOOMED as usize - 1]).await.is_err();
        }
        let to = if i < 40 { i % 4 } else { i % 3 };
        let value = format!("{i}:{}", "v".repeat(i * 97 % 2500));
        match store.append(&logs[to], batch(&value, 1)).await {
            Ok(_) if to < seen.acknowledged.len() => seen.acknowledged[to].push(value),
            Ok(_) => {}
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

/// Opens the disk without failures and compares; at most `more` batches in all are there beyond what was
/// acknowledged.
async fn check_restart(disk: Arc<dyn Disk>, seen: &Seen, more: usize) -> Result<(), String> {
    let store = Store::on(disk.clone(), Path::new(ROOT), &known(seen.deleted), &options())
        .map_err(|error| error.to_string())?;
    let mut surplus = 0;
    for (index, acknowledged) in seen.acknowledged.iter().enumerate() {
        let id = index as u64 + 1;
        let log = open_log(&store, id);
        // Nothing moves the log start while we look.
        log.set_settings(LogSettings::default());
        let bounds = log.bounds();
        if id != RETAINED && bounds.log_start != Offset(0) {
            return Err(format!("log {id} begins at {}", bounds.log_start));
        }
        let end = bounds.high_watermark.0 as usize;
        if end < acknowledged.len() {
            return Err(format!("log {id} ends at {end} of {}", acknowledged.len()));
        }
        surplus += end - acknowledged.len();
        for (offset, value, _) in store.try_read_all(&log).await? {
            if acknowledged.get(offset as usize).is_some_and(|expected| *expected != value) {
                return Err(format!("log {id} holds something else at {offset}"));
            }
        }
    }
    if surplus > more {
        return Err(format!("{surplus} batches more than were acknowledged"));
    }
    for name in ["logs/4", "logs/4.deleted"] {
        if seen.deleted && disk.list(&Path::new(ROOT).join(name)).is_ok() {
            return Err(format!("{name} is still there"));
        }
    }
    store.try_close()
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
        // One append was under way.
        if let Err(what) = block_on(check_restart(Arc::new(disk), &seen, 1)) {
            panic!("operation {at}: {what}");
        }
        if !failing.has_failed() {
            assert!(seen.faults.is_empty());
            break;
        }
        stopped += usize::from(!seen.faults.is_empty());
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
        if let Err(what) = block_on(check_restart(Arc::new(disk), &seen, 0)) {
            panic!("operation {at}: {what}");
        }
        if !failing.has_failed() {
            break;
        }
    }
    assert!(refused > 20, "only {refused} appends met a full disk");
}

/// A disk as a killed store left it, with something of everything on it, and what was acknowledged.
fn left_by_a_kill() -> (Image, Seen) {
    let disk = SimDisk::recording(Path::new(ROOT));
    block_on(async {
        let mut seen = Seen { deleted: true, ..Seen::default() };
        let mut store =
            Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known(false), &options()).unwrap();
        let logs: Vec<_> = (1..=DOOMED).map(|id| open_log(&store, id)).collect();
        for i in 0..80_usize {
            let value = format!("{i}:{}", "v".repeat(i * 97 % 2500));
            store.append(&logs[i % 4], batch(&value, 1)).await.unwrap();
            if let Some(values) = seen.acknowledged.get_mut(i % 4) {
                values.push(value);
            }
        }
        let image = disk.image();
        store.close();
        (image, seen)
    })
}

/// Starts with the failure at each operation of a start in turn; then on the same disk, which is healthy again.
fn fail_while_starting(failure: Failure) {
    let (image, seen) = left_by_a_kill();
    let mut refused = 0;
    for at in 0.. {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(image.clone()));
        let failing = FailingDisk::new(disk.clone(), failure, at);
        let opened = Store::on(Arc::new(failing.clone()), Path::new(ROOT), &known(true), &options());
        let in_time = failing.has_failed();
        match opened {
            // What fails after the start is the business of the other tests.
            Ok(store) => store.store.close(),
            Err(error) => {
                refused += 1;
                assert!(in_time, "operation {at}: refused without a reason: {error}");
                assert!(error.to_string().contains(ROOT), "operation {at}: no path in: {error}");
            }
        }
        failing.mend();
        if let Err(what) = block_on(check_restart(disk, &seen, 0)) {
            panic!("operation {at} of the start, {failure:?}: {what}");
        }
        if !in_time {
            break;
        }
    }
    assert!(refused > 2, "only {refused} starts were refused");
}

#[test]
fn a_start_on_a_broken_disk_fails_and_changes_nothing_for_the_worse() {
    fail_while_starting(Failure::Broken);
}

#[test]
fn a_start_on_a_full_disk_fails_and_changes_nothing_for_the_worse() {
    fail_while_starting(Failure::Full(1));
}

#[test]
fn a_start_on_an_unreadable_disk_fails_and_changes_nothing_for_the_worse() {
    fail_while_starting(Failure::Unreadable(1));
}

#[test]
fn a_read_that_fails_says_so_and_the_next_one_passes() {
    let (image, seen) = left_by_a_kill();
    block_on(async {
        let disk = FailingDisk::new(Arc::new(SimDisk::from_image(image)), Failure::Unreadable(1), u64::MAX);
        let options = Options { retention_interval: Duration::from_secs(3600), ..options() };
        let store = Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known(true), &options).unwrap();
        let log = store.store.open_log(LogId(1), LogSettings::default());
        let mut failed = 0;
        for _ in 0..100 {
            disk.fail_from_now();
            let found = match store.try_read_all(&log).await {
                Ok(found) => found,
                Err(error) => {
                    assert!(error.contains("EIO"), "{error}");
                    failed += 1;
                    store.read_all(&log).await
                }
            };
            assert_eq!(found.len(), seen.acknowledged[0].len());
        }
        assert!(failed > 0, "no read met the failure");
        disk.mend();
        // A flusher that could not read the WAL has stopped the store, and says why.
        if let Err(fault) = store.try_close() {
            assert!(fault.contains("EIO"), "{fault}");
        }
    });
}

#[test]
fn reads_and_deletions_go_on_under_a_full_disk_and_writes_resume() {
    block_on(async {
        let disk = SimDisk::recording(Path::new(ROOT));
        let failing = FailingDisk::new(Arc::new(disk.clone()), Failure::Full(u64::MAX), u64::MAX);
        let mut store =
            Store::on(Arc::new(failing.clone()), Path::new(ROOT), &known(false), &options()).unwrap();
        let (log, doomed) = (open_log(&store, 1), open_log(&store, DOOMED));
        let big = "v".repeat(3000);
        for _ in 0..30 {
            store.append(&log, batch(&big, 1)).await.unwrap();
            store.append(&doomed, batch(&big, 1)).await.unwrap();
        }
        let dir = Path::new(ROOT).join("logs/4");
        store.wait_until(|| disk.list(&dir).is_ok()).await;

        failing.fail_from_now();
        assert_eq!(store.append(&log, batch(&big, 1)).await, Err(AppendError::DiskFull));
        assert_eq!(store.read_all(&log).await.len(), 30);
        store.delete(&doomed).await;
        store.wait_until(|| disk.list(&dir).is_err()).await;
        assert_eq!(store.append(&log, batch(&big, 1)).await, Err(AppendError::DiskFull));

        failing.mend();
        let mut tries = 0;
        while store.append(&log, batch(&big, 1)).await.is_err() {
            tries += 1;
            assert!(tries < 10_000, "writes did not resume");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..100 {
            store.append(&log, batch(&big, 1)).await.unwrap();
        }
        assert_eq!(store.read_all(&log).await.len(), 131);
        store.close();
    });
}

#[test]
fn what_waits_for_time_waits_for_the_injected_clock() {
    block_on(async {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let disk = Arc::new(SimDisk::recording(Path::new(ROOT)));
        let options = Options {
            retention_interval: Duration::from_secs(300),
            producer_expiration: Duration::from_secs(3600),
            ..options()
        };
        let gone = Box::new(|_| {});
        let mut store =
            Store::beside(disk.clone(), clock.clone(), Path::new(ROOT), &known(false), &options, gone)
                .unwrap();
        let (retained, idempotent, doomed) =
            (open_log(&store, RETAINED), open_log(&store, 1), open_log(&store, DOOMED));
        let from_producer = |sequence| {
            let mut builder =
                BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), Sequence(sequence));
            let record = NewRecord { timestamp: TimestampMs(1_000), ..NewRecord::default() };
            builder.push(&record).unwrap();
            builder.build().unwrap()
        };
        store.append(&idempotent, from_producer(0)).await.unwrap();
        let big = "v".repeat(3000);
        for _ in 0..40 {
            store.append(&retained, batch(&big, 1)).await.unwrap();
            store.append(&doomed, batch(&big, 1)).await.unwrap();
        }
        let dir = Path::new(ROOT).join("logs");
        store.wait_until(|| disk.list(&dir.join("3")).is_ok() && disk.list(&dir.join("4")).is_ok()).await;
        // The keeper passes by, which it shows by a deletion, and the time for more has not come.
        store.delete(&doomed).await;
        store.wait_until(|| disk.list(&dir.join("4")).is_err()).await;
        assert_eq!(retained.bounds().log_start, Offset(0));
        let gap = store.append(&idempotent, from_producer(7)).await;
        assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { .. })), "{gap:?}");

        clock.advance(Duration::from_secs(301));
        store.wait_until(|| retained.bounds().log_start > Offset(0)).await;

        clock.advance(Duration::from_secs(3600));
        let mut tries = 0;
        while store.append(&idempotent, from_producer(7)).await.is_err() {
            tries += 1;
            assert!(tries < 10_000, "an idle producer was not forgotten");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        store.close();
    });
}
