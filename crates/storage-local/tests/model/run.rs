//! Lets the same happen to the model and to a store on a recorded disk, and compares.

use std::{path::Path, sync::Arc, time::Duration};

use ottla_records::{LeaderEpoch, LogId, Offset};
use ottla_storage::{
    AppendError, Appended, Log as _, LogSettings, ManualClock, ReadError, ReadRequest, Ticket, conformance,
};
use ottla_storage_local::{KnownLogs, LocalLog, Options};
use ottla_testing_internal::{NOTHING, PowerCut, SimDisk};

use crate::{
    events::{Append, Event, LOGS},
    harness::Store,
    model::{Log, Outcome},
    segments,
};

pub const ROOT: &str = "/data";
/// By log: none is deleted from the first.
const RETENTION: [Option<u64>; LOGS] = [None, Some(24 << 10), Some(60 << 10)];

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 64 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(256 << 10),
        checkpoint_interval: Duration::ZERO,
        retention_interval: Duration::from_secs(1),
        readers: 1,
        ..Options::default()
    }
}

pub fn settings(log: usize) -> LogSettings {
    LogSettings {
        segment_bytes: 16 << 10,
        segment_age: Duration::from_secs(5),
        index_interval_bytes: 1024,
        retention_bytes: RETENTION[log],
    }
}

struct World {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    store: Store,
    logs: Vec<Arc<LocalLog>>,
    model: [Log; LOGS],
    epoch: i32,
    /// When the next records are made.
    time: i64,
    /// Where the logs ended when this life began.
    opened: [i64; LOGS],
}

pub async fn run(history: &[Event]) {
    let disk = SimDisk::recording(Path::new(ROOT));
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let (store, logs) = open(&disk, &clock);
    let mut world = World {
        disk,
        clock,
        store,
        logs,
        model: Default::default(),
        epoch: 0,
        time: 1_000_000,
        opened: [0; LOGS],
    };
    for event in history {
        world = world.apply(event).await;
        world.check_bounds();
    }
    world = world.restart(Ended::InOrder).await;
    world.check_everything().await;
    world.store.close();
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>) -> (Store, Vec<Arc<LocalLog>>) {
    let ids = 1..=LOGS as u64;
    let known = KnownLogs { live: ids.clone().map(LogId).collect(), deleting: [].into() };
    let disk = Arc::new(disk.clone());
    let gone = Box::new(|log| panic!("{log} is not deleted"));
    let store = Store::beside(disk, clock.clone(), Path::new(ROOT), &known, &options(), gone).unwrap();
    let logs = ids.map(|id| store.store.open_log(LogId(id), settings(id as usize - 1))).collect();
    (store, logs)
}

/// How a life ends.
enum Ended {
    InOrder,
    /// By a power cut that leaves the image with this number.
    Crash(u64),
}

impl World {
    async fn apply(mut self, event: &Event) -> Self {
        match event {
            Event::Append(append) => self.append_all(std::slice::from_ref(append)).await,
            Event::Appends(appends) => self.append_all(appends).await,
            Event::Read { log, place, max_bytes, at_least_one } => {
                let end = self.model[*log].end();
                let offset = Offset((end + 2) * i64::from(*place) / 65_536 - i64::from(*place == 0));
                let request = ReadRequest { offset, max_bytes: *max_bytes, at_least_one: *at_least_one };
                self.read(*log, request).await;
            }
            Event::EpochEnd { log, back } => self.ask_epoch(*log, self.epoch - back),
            Event::Pause => {
                self.clock.advance(Duration::from_secs(2));
                // The keeper may be at work beside everything that follows; this lets it begin.
                tokio::task::yield_now().await;
            }
            Event::Restart => return self.restart(Ended::InOrder).await,
            Event::Crash { image } => return self.restart(Ended::Crash(*image)).await,
            Event::CrashAmid { appends, image } => {
                let mut possible = self.model.each_ref().map(|log| vec![log.clone()]);
                let mut under_way = Vec::new();
                for append in appends {
                    under_way.push(self.start(append));
                    possible[append.log].push(self.model[append.log].clone());
                }
                let shown: Vec<i64> = self.logs.iter().map(|log| log.bounds().high_watermark.0).collect();
                return self.crash(*image).await.settle(possible, &shown);
            }
        }
        self
    }

    fn start(&mut self, append: &Append) -> (usize, Outcome, Ticket) {
        self.time += append.later_ms;
        let (bytes, outcome) = self.model[append.log].append(append, self.time, self.epoch);
        (append.log, outcome, self.store.start(&self.logs[append.log], bytes))
    }

    async fn append_all(&mut self, appends: &[Append]) {
        let started: Vec<_> = appends.iter().map(|append| self.start(append)).collect();
        for (log, expected, ticket) in started {
            let answer = self.store.finish(ticket).await;
            let outcome = match &answer {
                Ok(Appended { base_offset, duplicate: false, .. }) => Outcome::Stored(base_offset.0),
                Ok(Appended { base_offset, duplicate: true, .. }) => Outcome::Duplicate(base_offset.0),
                Err(AppendError::OutOfOrderSequence { .. }) => Outcome::OutOfOrder,
                Err(AppendError::StaleProducerEpoch { .. }) => Outcome::StaleEpoch,
                Err(other) => panic!("log {log}: {other}"),
            };
            assert_eq!(outcome, expected, "log {log}: {answer:?}");
        }
    }

    async fn read(&mut self, log: usize, request: ReadRequest) {
        let ReadRequest { offset, max_bytes, at_least_one } = request;
        let read = match self.logs[log].read_now(request) {
            Ok(Some(read)) => Ok(read),
            Ok(None) => self.logs[log].read(request).await,
            Err(error) => Err(error),
        };
        let model = &self.model[log];
        let got = match read {
            Ok(read) => conformance::bytes(&read),
            Err(ReadError::OutOfRange { bounds, .. }) => {
                assert_eq!(bounds.high_watermark.0, model.end());
                let outside = offset < bounds.log_start || offset > bounds.high_watermark;
                assert!(outside, "log {log}: {offset} is within {bounds:?}");
                return self.check_bounds();
            }
            Err(other) => panic!("log {log} at {offset}: {other}"),
        };
        let what = format!("log {log} at {request:?}");
        assert!((model.start..=model.end()).contains(&offset.0), "{what} is outside");
        let (expected, first) = model.from(offset.0);
        assert!(expected.starts_with(&got), "{what} gave other bytes");
        let fits = at_least_one || first <= max_bytes;
        assert!(!fits || got.len() >= first, "{what} gave {} bytes, a batch has {first}", got.len());
        assert!(fits || got.is_empty(), "{what} gave a part of a batch");
        let limit = if at_least_one { max_bytes.max(first) } else { max_bytes };
        assert!(got.len() <= limit, "{what} gave {} bytes", got.len());
    }

    fn ask_epoch(&mut self, log: usize, epoch: i32) {
        // The log start may move while we ask.
        loop {
            self.check_bounds();
            let answer = self.logs[log].end_of_epoch(LeaderEpoch(epoch));
            if self.logs[log].bounds().log_start.0 == self.model[log].start {
                assert_eq!(answer, self.model[log].end_of_epoch(epoch), "log {log}, epoch {epoch}");
                return;
            }
        }
    }

    /// The bounds are the model's; the log start may have moved on, to a place where it may be.
    fn check_bounds(&mut self) {
        for (number, (log, model)) in self.logs.iter().zip(&mut self.model).enumerate() {
            let bounds = log.bounds();
            assert_eq!(bounds.high_watermark.0, model.end(), "log {number}");
            assert_eq!(bounds.leader_epoch.0, model.batches.last().map_or(-1, |last| last.epoch));
            let start = bounds.log_start.0;
            if start != model.start {
                assert!(start > model.start, "log {number}: the log start went back to {start}");
                assert!(model.is_boundary(start), "log {number}: {start} lies within a batch");
                let left = model.from(start).0.len() as u64;
                let keep = RETENTION[number];
                assert!(keep.is_some_and(|keep| left >= keep), "log {number}: only {left} bytes are left");
                model.start = start;
            }
        }
    }

    async fn restart(self, ended: Ended) -> Self {
        match ended {
            Ended::Crash(image) => self.crash(image).await,
            Ended::InOrder => {
                let Self { disk, clock, store, model, epoch, time, opened, .. } = self;
                store.close();
                segments::check(&disk, &model, &opened);
                let opened = model.each_ref().map(Log::end);
                let (store, logs) = open(&disk, &clock);
                let world = Self { disk, clock, store, logs, model, epoch, time, opened };
                world.assert_epoch();
                world
            }
        }
    }

    async fn crash(self, image: u64) -> Self {
        let Self { disk, clock, store, model, epoch, time, .. } = self;
        // The last operation of a cut record is under way: let that be nothing.
        disk.mark(0);
        let record = disk.record();
        let cut = PowerCut::new(&record, record.ops().len(), NOTHING);
        let disk = SimDisk::recording_on(cut.image(Path::new(ROOT), image));
        // What the old life still does, it does on the old disk.
        store.close();
        let (store, logs) = open(&disk, &clock);
        let opened = [0, 1, 2].map(|number: usize| logs[number].bounds().high_watermark.0);
        let world = Self { disk, clock, store, logs, model, epoch: epoch + 1, time, opened };
        world.assert_epoch();
        world
    }

    fn assert_epoch(&self) {
        assert_eq!(self.store.store.epoch().0, self.epoch, "the epoch rises with unclean stops only");
    }

    /// Of what was under way, a front part in each log is there: at least what was shown to readers.
    fn settle(mut self, possible: [Vec<Log>; LOGS], shown: &[i64]) -> Self {
        for (number, possible) in possible.into_iter().enumerate() {
            let end = self.logs[number].bounds().high_watermark.0;
            assert!(end >= shown[number], "log {number}: {end} is before {}, which was shown", shown[number]);
            let log = possible.into_iter().find(|log| log.end() == end);
            let mut log = log.unwrap_or_else(|| panic!("log {number} ends at {end}, where no batch ends"));
            log.start = self.model[number].start;
            self.model[number] = log;
        }
        self
    }

    async fn check_everything(&mut self) {
        for log in 0..LOGS {
            for epoch in -1..=self.epoch + 1 {
                self.ask_epoch(log, epoch);
            }
            for at in 0..self.model[log].batches.len() {
                let batch = &self.model[log].batches[at];
                if batch.base >= self.model[log].start {
                    let offset = Offset(batch.next - 1);
                    self.read(log, ReadRequest { offset, max_bytes: 1, at_least_one: true }).await;
                }
            }
            let everything = ReadRequest {
                offset: self.logs[log].bounds().log_start,
                max_bytes: 1 << 20,
                at_least_one: false,
            };
            self.read(log, everything).await;
        }
    }
}
