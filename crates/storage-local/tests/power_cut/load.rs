//! The load: appends of several kinds, retention, logs that come and go, stops in order, and lives that begin
//! where a power cut ended the one before.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_records::{BatchBuilder, LogId, NewRecord, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use ottla_storage::{AppendError, Log, LogSettings, Random, SeededRandom, SystemClock};
use ottla_storage_local::{LocalLog, Options};
use ottla_testing_internal::{Image, NOTHING, PowerCut, Recording, SimDisk};

use crate::{
    ROOT,
    harness::Store,
    history::{Change, History, Promised, Recorder, Row},
};

/// Index entries are so far apart.
pub const INDEX_INTERVAL: u32 = 1024;
/// No batch is larger.
pub const BATCH_MAX: u64 = 3200;

/// What was done to a disk, and what was promised meanwhile.
pub struct Load {
    pub record: Recording,
    pub history: History,
}

pub fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 64 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(512 << 10),
        checkpoint_interval: Duration::ZERO,
        full_disk_pause: Duration::from_millis(1),
        retention_interval: Duration::from_millis(1),
        readers: 1,
        ..Options::default()
    }
}

/// Whether the log's batches come from an idempotent producer.
pub fn is_idempotent(id: u64) -> bool {
    id % 4 == 2
}

/// Whether the log's old segments are deleted.
pub fn is_retained(id: u64) -> bool {
    id.is_multiple_of(4)
}

fn settings(id: u64) -> LogSettings {
    LogSettings {
        segment_bytes: 32 << 10,
        retention_bytes: is_retained(id).then_some(64 << 10),
        index_interval_bytes: INDEX_INTERVAL,
        ..LogSettings::default()
    }
}

/// The batch with this number in its log: one record, of a size and time that depend on the number.
pub fn batch(id: u64, number: u64) -> Bytes {
    let size = SeededRandom::new(id << 32 | number).next_u64() % (BATCH_MAX - 200);
    let value = format!("{number}:{}", "z".repeat(size as usize));
    let mut builder = BatchBuilder::new();
    if is_idempotent(id) {
        let sequence = Sequence(i32::try_from(number).unwrap());
        builder = builder.producer(ProducerId(77), ProducerEpoch(0), sequence);
    }
    let timestamp = timestamp(number);
    builder.push(&NewRecord { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] }).unwrap();
    builder.build().unwrap()
}

/// The time of the batch with this number.
pub fn timestamp(number: u64) -> TimestampMs {
    TimestampMs(1000 + number.cast_signed())
}

/// Several lives with about so many appends in all, over `logs` logs at first. Each part begins where a power
/// cut ended the one before.
pub fn load(seed: u64, logs: u64, appends: u64) -> Vec<Load> {
    let random = SeededRandom::new(seed);
    let mut start = Promised { ids: logs, ..Promised::default() };
    start.rows = (1..=logs).map(|id| (id, Row::Live)).collect();
    let mut disk = SimDisk::recording(Path::new(ROOT));
    let mut loads: Vec<Load> = Vec::new();
    for part in 0..2 {
        if let Some(Load { record, history }) = loads.last() {
            let (image, promised) = cut(record, history, &random);
            disk = SimDisk::recording_on(image);
            start = promised;
        }
        let recorder = Recorder::new(&disk, start.clone());
        for _life in part..2 {
            crate::block_on(life(&disk, &recorder, &random, appends / 3));
        }
        loads.push(Load { record: disk.record(), history: recorder.history() });
    }
    loads
}

fn cut(record: &Recording, history: &History, random: &SeededRandom) -> (Image, Promised) {
    let ops = record.ops().len();
    let cut = PowerCut::new(record, ops / 2 + random.next_u64() as usize % (ops / 2), NOTHING);
    (cut.image(Path::new(ROOT), random.next_u64()), history.at(&cut, random.next_u64()))
}

/// One life of a store, ended in order.
async fn life(disk: &SimDisk, recorder: &Recorder, random: &SeededRandom, steps: u64) {
    let gone = recorder.clone();
    let mut store = Store::beside(
        Arc::new(disk.clone()),
        Arc::new(SystemClock::new()),
        Path::new(ROOT),
        &recorder.rows().known(),
        &options(),
        Box::new(move |log: LogId| gone.begin(Change::Dropped(log.0))),
    )
    .unwrap();
    let known = recorder.rows();
    let mut user = User { recorder, random, logs: BTreeMap::new(), ids: known.ids };
    for id in known.logs(Row::Live) {
        user.open(&store, id);
    }
    for _ in 0..steps {
        match random.next_u64() % 40 {
            0 => {
                user.ids += 1;
                let id = user.ids;
                recorder.begin(Change::Created(id));
                user.append_some(&mut store).await;
                recorder.commit();
                user.open(&store, id);
            }
            1 if user.logs.len() > 2 => user.delete_one(&mut store).await,
            2..6 => recorder.commit(),
            _ => user.append_some(&mut store).await,
        }
    }
    store.close();
    recorder.commit();
}

struct User<'a> {
    recorder: &'a Recorder,
    random: &'a SeededRandom,
    /// Each with the number of its next batch.
    logs: BTreeMap<u64, (Arc<LocalLog>, u64)>,
    ids: u64,
}

impl User<'_> {
    fn open(&mut self, store: &Store, id: u64) {
        let log = store.store.open_log(LogId(id), settings(id));
        let next = log.bounds().high_watermark.0.cast_unsigned();
        self.logs.insert(id, (log, next));
    }

    fn pick(&self) -> u64 {
        let at = self.random.next_u64() as usize % self.logs.len();
        *self.logs.keys().nth(at).unwrap()
    }

    async fn append_some(&mut self, store: &mut Store) {
        let mut tickets = Vec::new();
        for _ in 0..=self.random.next_u64() % 6 {
            let id = self.pick();
            let (log, next) = self.logs.get_mut(&id).unwrap();
            tickets.push((id, *next + 1, store.start(log, batch(id, *next))));
            *next += 1;
        }
        for (id, count, ticket) in tickets {
            store.finish(ticket).await.unwrap();
            self.recorder.acknowledged(id, count);
        }
    }

    /// Deletes a log that is being written to.
    async fn delete_one(&mut self, store: &mut Store) {
        let id = self.pick();
        let (log, next) = self.logs.remove(&id).unwrap();
        self.recorder.begin(Change::Deleting(id));
        let before = store.start(&log, batch(id, next));
        store.finish(before).await.unwrap();
        self.recorder.acknowledged(id, next + 1);
        let under_way = store.start(&log, batch(id, next + 1));
        self.recorder.commit();
        let deleted = store.store.delete_log(&log);
        let late = store.start(&log, batch(id, next + 2));
        match store.finish(under_way).await {
            Ok(_) | Err(AppendError::Deleted) => {}
            Err(other) => panic!("{other}"),
        }
        deleted.await.unwrap();
        assert_eq!(store.finish(late).await, Err(AppendError::Deleted));
    }
}
