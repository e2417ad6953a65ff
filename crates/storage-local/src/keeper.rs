//! The keeper: prepares WAL files, writes checkpoints so that used ones become free, and deletes what is no
//! longer wanted: segments past `retention.bytes`, and the files of deleted logs.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use ottla_records::{LogId, Offset};
use ottla_storage::{AppendError, Clock, Disk, Log};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    arena::Arena,
    checkpoint::{Checkpoints, Increment, LogCheckpoint},
    faults::Faults,
    flusher::{Dirty, Flushes},
    log::LocalLog,
    segment::{
        Segment,
        files::{Part, SegmentFiles, parse_name},
        freeing::Freeing,
    },
    wal::{
        ring::{Ring, is_full},
        writer::{Control, WalInbox},
    },
};

/// How long the keeper sleeps when nobody needs it.
const TICK: Duration = Duration::from_millis(50);
/// How long it leaves the disk to others between two pieces that it frees.
const FREEING_PAUSE: Duration = Duration::from_millis(3);
/// Up to so many files are synced one by one; more by one call for the whole file system.
const SINGLE_SYNCS: usize = 16;
/// How often idle producers are looked for.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);
/// Unused memory beyond this is given back after an idle minute.
const IDLE_ARENA: usize = 2 << 20;

/// What others ask of the keeper.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    state: Mutex<Wished>,
}

#[derive(Debug, Default)]
struct Wished {
    deleted: Vec<Arc<LocalLog>>,
    stop: bool,
}

impl Wishes {
    /// The files of this log, which nothing is appended to any more, shall go.
    pub(crate) fn remove(&self, log: Arc<LocalLog>) {
        self.state.lock().deleted.push(log);
    }

    /// The keeper shall write a last checkpoint and end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
    }
}

/// Called with a log of which nothing is left on disk.
pub type GoneHandler = Box<dyn FnMut(LogId) + Send>;

/// The keeper's own.
pub(crate) struct Keeper {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) arena: Arena,
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) inbox: Arc<WalInbox>,
    pub(crate) wishes: Arc<Wishes>,
    pub(crate) logs: Arc<Mutex<HashMap<LogId, Arc<LocalLog>>>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) faults: Faults,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) epoch: i32,
    /// The shortest time between two checkpoints, unless the ring cannot grow.
    pub(crate) checkpoint_interval: Duration,
    pub(crate) wal_file_bytes: u64,
    pub(crate) retention_interval: Duration,
    pub(crate) producer_max_age_ms: i64,
    pub(crate) gone: GoneHandler,
    /// Deleted logs whose files are gone, and the first WAL file that cannot name them.
    pub(crate) leaving: Vec<(LogId, u64)>,
    /// The WAL file up to which a checkpoint is being prepared.
    pub(crate) target: Option<u64>,
    /// What retention waits for.
    pub(crate) moving: Vec<Moving>,
    /// What was removed and still occupies disk space.
    pub(crate) freeing: Freeing,
}

/// Old segments that go once the log start behind them is durable.
pub(crate) struct Moving {
    log: Arc<LocalLog>,
    expired: Vec<Arc<Segment>>,
    start: Offset,
    moved: oneshot::Receiver<Result<(), AppendError>>,
}

/// When things were last done.
#[derive(Default)]
struct Last {
    checkpoint: Duration,
    retention: Duration,
    expiry: Duration,
    busy: Duration,
}

impl Keeper {
    /// Runs until it is told to stop, or the disk fails.
    pub(crate) fn run(mut self) {
        let mut last = Last::default();
        let mut unsaved = Dirty::default();
        loop {
            if self.faults.first().is_some() {
                self.ring.stop();
                return;
            }
            let stop = self.wishes.state.lock().stop;
            let done =
                if stop { self.last_checkpoint(&mut unsaved) } else { self.tick(&mut last, &mut unsaved) };
            match done {
                Ok(()) if stop => return,
                Ok(()) if self.freeing.step() => self.ring.wait(FREEING_PAUSE),
                Ok(()) => self.ring.wait(TICK),
                Err(error) if is_full(&error) => {
                    self.freeing.finish();
                    self.ring.disk_is_full();
                    if stop {
                        return;
                    }
                    self.ring.wait(TICK);
                }
                Err(error) => {
                    self.faults.report(&format!("keeping the data directory failed: {error}"));
                    self.ring.stop();
                    return;
                }
            }
        }
    }

    fn tick(&mut self, last: &mut Last, unsaved: &mut Dirty) -> io::Result<()> {
        let now = self.clock.monotonic();
        self.ring.grow()?;
        self.remove_deleted()?;
        self.delete_segments()?;
        let pressure = self.ring.pressure();
        let at_limit = pressure.bytes + self.wal_file_bytes > pressure.max_bytes && pressure.spares < 2;
        let due = pressure.live_bytes > 2 * self.wal_file_bytes
            && now >= last.checkpoint + self.checkpoint_interval;
        let waiting = self.leaving.iter().any(|(_, sequence)| *sequence <= pressure.active);
        if due || waiting || (at_limit && pressure.live_bytes > self.wal_file_bytes) {
            self.target.get_or_insert(pressure.active);
        }
        if let Some(active) = self.target
            && self.flushes.flush_before(active)
        {
            self.checkpoint(active, unsaved)?;
            self.target = None;
            last.checkpoint = self.clock.monotonic();
        }
        if now >= last.retention + self.retention_interval {
            self.retain();
            last.retention = now;
        }
        if now >= last.expiry + EXPIRE_INTERVAL {
            self.inbox.send(Control::ExpireProducers { max_age_ms: self.producer_max_age_ms });
            last.expiry = now;
        }
        if self.arena.held() > 2 * IDLE_ARENA {
            last.busy = now;
        } else if now >= last.busy + Duration::from_secs(60) {
            self.arena.shrink(IDLE_ARENA);
            last.busy = now;
        }
        Ok(())
    }

    /// Makes WAL files before the one with sequence `active` free. All that is in them is in segments.
    fn checkpoint(&mut self, active: u64, unsaved: &mut Dirty) -> io::Result<()> {
        if !self.save(unsaved, active, false)? {
            return Ok(());
        }
        self.ring.free_before(active);
        let (gone, leaving) = self.leaving.drain(..).partition(|(_, sequence)| *sequence <= active);
        self.leaving = leaving;
        let gone: Vec<(LogId, u64)> = gone;
        for (log, _) in gone {
            (self.gone)(log);
        }
        Ok(())
    }

    /// The checkpoint of a stop in order: small tails stay in the WAL.
    fn last_checkpoint(&mut self, unsaved: &mut Dirty) -> io::Result<()> {
        let oldest = self.checkpoints.current().replay_from;
        self.save(unsaved, oldest, true).map(|_| ())
    }

    /// Makes durable what was written to segments, and writes down how far that is. `false`: the store is
    /// stopping, and this is left to the last checkpoint.
    fn save(&mut self, unsaved: &mut Dirty, replay_from: u64, clean: bool) -> io::Result<bool> {
        unsaved.merge(self.flushes.take_dirty());
        let ids: Vec<LogId> = unsaved.logs.keys().copied().collect();
        // First how far each log is, then the sync: it covers at least that much.
        let mut changed: Vec<(LogId, LogCheckpoint)> = unsaved
            .logs
            .values()
            .filter(|log| !log.is_deleted())
            .map(|log| (log.id(), log_checkpoint(log)))
            .collect();
        // A segment that was begun meanwhile may already be in there: it is marked before it is seen.
        let later = self.flushes.take_dirty();
        unsaved.segments.extend(later.segments.iter().copied());
        unsaved.dirs.extend(later.dirs.iter().copied());
        unsaved.root |= later.root;
        let complete = self.add_producers(ids, &mut changed, clean);
        let synced = if complete { self.sync(unsaved) } else { Ok(()) };
        unsaved.logs.extend(later.logs.iter().map(|(id, log)| (*id, log.clone())));
        synced?;
        if !complete {
            return Ok(false);
        }
        let removed = {
            let logs = self.logs.lock();
            self.checkpoints.current().logs.keys().filter(|id| !logs.contains_key(id)).copied().collect()
        };
        let increment = Increment { replay_from, epoch: self.epoch, clean, changed, removed };
        self.checkpoints.write(increment)?;
        *unsaved = later;
        Ok(true)
    }

    /// Adds the producers of each log, as the WAL thread knows them; `false` if it has ended. It has when the
    /// last checkpoint is written: then those of the checkpoint before are left, and the WAL tells the rest.
    fn add_producers(&self, ids: Vec<LogId>, changed: &mut [(LogId, LogCheckpoint)], last: bool) -> bool {
        let before = &self.checkpoints.current().logs;
        for (id, log) in changed.iter_mut() {
            if let Some(old) = before.get(id) {
                log.state_end = old.state_end;
                log.producers.clone_from(&old.producers);
            }
        }
        if last {
            return true;
        }
        let (answer, states) = oneshot::channel();
        self.inbox.send(Control::States { logs: ids, answer });
        let Ok(states) = states.blocking_recv() else { return false };
        let mut states: HashMap<_, _> = states.into_iter().collect();
        for (id, log) in changed {
            if let Some(state) = states.remove(id) {
                log.state_end = state.next;
                log.producers = state.producers.entries();
            }
        }
        true
    }

    fn sync(&self, dirty: &Dirty) -> io::Result<()> {
        let files = dirty.segments.len() + dirty.dirs.len();
        if files > SINGLE_SYNCS && self.disk.sync_fs(&self.root)? {
            return Ok(());
        }
        for (log, base) in &dirty.segments {
            for part in Part::ALL {
                match self.files.get(*log, *base, part) {
                    // Retention or a deletion was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    file => file?.sync()?,
                }
            }
        }
        for log in &dirty.dirs {
            match self.disk.sync_dir(&self.files.dir(*log)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        if dirty.root { self.disk.sync_dir(self.files.root()) } else { Ok(()) }
    }

    /// Asks to move the log start of logs that have more than they shall keep. The WAL thread may be waiting
    /// for a file that only this thread can free, so nobody waits for it here.
    fn retain(&mut self) {
        let logs: Vec<_> = self.logs.lock().values().cloned().collect();
        for log in logs {
            let Some(keep) = log.settings().retention_bytes else { continue };
            if self.moving.iter().any(|moving| moving.log.id() == log.id()) {
                continue;
            }
            let (expired, start) = log.with(|view| {
                let total = view.segments.iter().map(|s| s.len()).sum::<u64>() + view.tail_bytes as u64;
                let expired = expired(&view.segments, total, keep);
                (view.segments[..expired].to_vec(), view.segments.get(expired).map(|s| s.base()))
            });
            if let (Some(start), false) = (start, expired.is_empty()) {
                let (done, moved) = oneshot::channel();
                self.inbox.send(Control::LogStart { log: log.clone(), offset: start, done });
                self.moving.push(Moving { log, expired, start, moved });
            }
        }
    }

    /// Removes segments before a log start that has become durable.
    fn delete_segments(&mut self) -> io::Result<()> {
        for mut moving in std::mem::take(&mut self.moving) {
            match moving.moved.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => self.moving.push(moving),
                Ok(Ok(())) => {
                    let Moving { log, expired, start, .. } = moving;
                    log.with(|view| view.segments.retain(|segment| segment.base() >= start));
                    for segment in &expired {
                        let file = self.files.remove_keeping_log(log.id(), segment.base())?;
                        file.into_iter().for_each(|file| self.freeing.add(file));
                    }
                    self.flushes.mark_changed(&log);
                    let (log, segments) = (log.id().0, expired.len());
                    tracing::debug!(log, segments, log_start = start.0, "deleted old segments");
                }
                // The disk is full or the store is stopping: there will be another time.
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        Ok(())
    }

    /// Removes the files of deleted logs.
    fn remove_deleted(&mut self) -> io::Result<()> {
        let mut deleted = std::mem::take(&mut self.wishes.state.lock().deleted);
        while let Some(log) = deleted.pop() {
            let removed = {
                self.logs.lock().remove(&log.id());
                let _files = log.lock_files();
                self.files.forget(log.id());
                remove_log_files(self.disk.as_ref(), &self.files, log.id())
            };
            if let Err(error) = removed {
                // A full disk passes; these are not forgotten until then.
                deleted.push(log);
                self.wishes.state.lock().deleted.append(&mut deleted);
                return Err(error);
            }
            // Files up to the active one may name it; the next one cannot.
            self.leaving.push((log.id(), self.ring.pressure().active + 1));
        }
        Ok(())
    }
}

/// Removes a log's directory with all that is in it, if it is there.
pub(crate) fn remove_log_files(disk: &dyn Disk, files: &SegmentFiles, log: LogId) -> io::Result<()> {
    let dir = files.dir(log);
    let doomed = dir.with_extension("deleted");
    match disk.rename(&dir, &doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => done?,
    }
    let names = match disk.list(&doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        if parse_name(&name).is_some() {
            disk.remove_file(&doomed.join(name))?;
        }
    }
    match disk.remove_dir(&doomed) {
        // What somebody else has put there is not ours to remove.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!(dir = %doomed.display(), "left the files of a deleted topic's directory that are not its own");
        }
        done => done?,
    }
    disk.sync_dir(files.root())
}

/// How many of the oldest segments may go while the others keep at least `keep` bytes. The last one stays.
fn expired(segments: &[Arc<Segment>], total: u64, keep: u64) -> usize {
    let mut left = total;
    let goes = |segment: &&Arc<Segment>| {
        let after = left.saturating_sub(segment.len());
        let goes = after >= keep;
        left = after;
        goes
    };
    let candidates = segments.split_last().map_or(&[][..], |(_, rest)| rest);
    candidates.iter().take_while(goes).count()
}

fn log_checkpoint(log: &LocalLog) -> LogCheckpoint {
    log.with(|view| LogCheckpoint {
        log_start: view.log_start,
        flushed_end: view.flushed_end,
        active: view.active,
        epochs: view.epochs.entries().to_vec(),
        state_end: Offset::ZERO,
        producers: Vec::new(),
    })
}

impl Dirty {
    /// Adds what another one holds.
    fn merge(&mut self, other: Dirty) {
        self.logs.extend(other.logs);
        self.segments.extend(other.segments);
        self.dirs.extend(other.dirs);
        self.root |= other.root;
    }
}
