//! Power cuts: a store under load on a recorded disk, cut at random moments, started on what the disk may
//! hold then, and compared with what was acknowledged.
//!
//! `OTTLA_POWER_CUTS=100000 cargo test --release -p ottla-storage-local --test power_cut` tries more images
//! than the ordinary run.

mod harness;

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use harness::Store;
use ottla_records::{
    BatchBuilder, BatchHeader, LogId, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use ottla_storage::{Disk, Log, LogSettings, Random, SeededRandom};
use ottla_storage_local::{KnownLogs, Options};
use ottla_testing_internal::{Forget, Op, PowerCut, SimDisk};

const ROOT: &str = "/data";
const LOGS: u64 = 4;
/// The log whose batches come from an idempotent producer.
const IDEMPOTENT: u64 = 2;
/// The log whose old segments are deleted.
const RETAINED: u64 = 4;

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 64 << 10,
        wal_max: Some(512 << 10),
        checkpoint_interval: Duration::ZERO,
        full_disk_pause: Duration::from_millis(1),
        retention_interval: Duration::from_millis(1),
        readers: 1,
        ..Options::default()
    }
}

fn known() -> KnownLogs {
    KnownLogs { live: (1..=LOGS).map(LogId).collect(), deleting: HashSet::new() }
}

fn settings(id: u64) -> LogSettings {
    let retention_bytes = (id == RETAINED).then_some(64 << 10);
    LogSettings {
        segment_bytes: 32 << 10,
        retention_bytes,
        index_interval_bytes: 1024,
        ..LogSettings::default()
    }
}

/// The batch with this number in its log: one or two records, of a size that depends on it.
fn batch(id: u64, number: u64) -> Bytes {
    let size = SeededRandom::new(id << 32 | number).next_u64() % 3000;
    let value = format!("{number}:{}", "z".repeat(size as usize));
    let mut builder = BatchBuilder::new();
    if id == IDEMPOTENT {
        builder =
            builder.producer(ProducerId(77), ProducerEpoch(0), Sequence(i32::try_from(number).unwrap()));
    }
    let record =
        NewRecord { timestamp: TimestampMs(1_000), key: None, value: Some(value.as_bytes()), headers: &[] };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

/// What a load did: the record of the disk, in which a mark `id << 32 | n` says that the first `n` batches of
/// log `id` were acknowledged.
fn load(seed: u64, appends: u64) -> Vec<Op> {
    let disk = SimDisk::recording(Path::new(ROOT));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let random = SeededRandom::new(seed);
        let mut sent = [0_u64; LOGS as usize + 1];
        for _life in 0..3 {
            let mut store = Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known(), &options()).unwrap();
            let logs: Vec<_> = (1..=LOGS).map(|id| store.store.open_log(LogId(id), settings(id))).collect();
            for _ in 0..appends / 3 {
                let mut tickets = Vec::new();
                for _ in 0..=random.next_u64() % 6 {
                    let id = 1 + random.next_u64() % LOGS;
                    let bytes = batch(id, sent[id as usize]);
                    sent[id as usize] += 1;
                    tickets.push((id, sent[id as usize], store.start(&logs[id as usize - 1], bytes)));
                }
                for (id, count, ticket) in tickets {
                    store.finish(ticket).await.unwrap();
                    disk.mark(id << 32 | count);
                }
            }
            store.close();
        }
    });
    disk.record()
}

/// Starts on an image and compares. `Err` says what is wrong.
fn verify(cut: &PowerCut<'_>, seed: u64) -> Result<(), String> {
    let mut acknowledged = [0_u64; LOGS as usize + 1];
    for mark in cut.marks() {
        acknowledged[(mark >> 32) as usize] = mark & 0xffff_ffff;
    }
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(cut.image(Path::new(ROOT), seed)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut store =
            Store::on(disk.clone(), Path::new(ROOT), &known(), &options()).map_err(|e| e.to_string())?;
        for id in 1..=LOGS {
            // Without retention: the log start shall stand still while we look.
            let settings = LogSettings { retention_bytes: None, ..settings(id) };
            let log = store.store.open_log(LogId(id), settings);
            let result = check_log(&mut store, &log, id, acknowledged[id as usize]).await;
            if let Err(what) = result {
                return Err(format!("log {id}: {what}"));
            }
        }
        store.try_close()
    })
}

async fn check_log(
    store: &mut Store,
    log: &Arc<ottla_storage_local::LocalLog>,
    id: u64,
    acknowledged: u64,
) -> Result<(), String> {
    let bounds = log.bounds();
    let end = bounds.high_watermark.0.cast_unsigned();
    if end < acknowledged {
        return Err(format!("it ends at {end}, and {acknowledged} batches were acknowledged"));
    }
    if id != RETAINED && bounds.log_start != Offset(0) {
        return Err(format!("it begins at {}", bounds.log_start));
    }
    let found = store.try_read_all(log).await?;
    let mut expected = bounds.log_start.0;
    for (offset, value, _) in found {
        let number = value.split(':').next().unwrap_or_default();
        if offset != expected || number != expected.to_string() {
            return Err(format!("offset {offset} holds batch {number} where {expected} was expected"));
        }
        expected += 1;
    }
    if expected.cast_unsigned() != end {
        return Err(format!("reading ended at {expected} of {end}"));
    }
    if id == IDEMPOTENT && end > 0 {
        let again = store.append(log, batch(id, end - 1)).await.map_err(|e| e.to_string())?;
        if !again.duplicate || again.base_offset != Offset(end.cast_signed() - 1) {
            return Err(format!("the last batch, sent again, got {again:?}"));
        }
    }
    let next = store.append(log, batch(id, end)).await.map_err(|e| e.to_string())?;
    if next.base_offset.0 != end.cast_signed() {
        return Err(format!("the next batch got offset {} instead of {end}", next.base_offset));
    }
    if BatchHeader::parse(&batch(id, end)).is_err() || log.bounds().leader_epoch != store.store.epoch() {
        return Err("the new batch does not bear the new epoch".into());
    }
    Ok(())
}

/// Tries `images` images; returns the failures.
fn try_images(record: &[Op], images: usize, forget: Forget, seed: u64) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = forget != Forget::Nothing && !failures.lock().unwrap().is_empty();
                    if number >= images || enough {
                        return;
                    }
                    let random = SeededRandom::new(seed ^ (number as u64) << 20);
                    let at = random.next_u64() as usize % record.len();
                    let choice = random.next_u64();
                    let cut = PowerCut::new(record, at, forget);
                    if let Err(what) = verify(&cut, choice) {
                        failures.lock().unwrap().push(format!("cut {at}, choice {choice}: {what}"));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let images = std::env::var("OTTLA_POWER_CUTS").map_or(1500, |count| count.parse().unwrap());
    for seed in 0..3 {
        let record = load(seed, 360);
        let failures = try_images(&record, images / 3, Forget::Nothing, seed);
        let shown: Vec<_> = failures.iter().take(5).collect();
        assert!(failures.is_empty(), "{} of {} images, seed {seed}: {shown:#?}", failures.len(), images / 3);
    }
}

#[test]
fn each_kind_of_forgotten_sync_is_noticed() {
    let record = load(100, 360);
    for forget in [Forget::FileSyncs, Forget::DirSyncs, Forget::DurableWrites] {
        let failures = try_images(&record, 2000, forget, 7);
        assert!(!failures.is_empty(), "{forget:?} went unnoticed");
    }
}
