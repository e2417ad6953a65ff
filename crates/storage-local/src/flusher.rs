//! The flusher: moves durable batches from the WAL's tail into segments, behind the acknowledgement.
//!
//! It writes when a log has enough for a good run, when the arena is getting full, and when the keeper wants
//! old WAL files back. It alone writes to segments. A full disk makes it wait and try again; any other error
//! ends the store, since what was written may be lost without a trace.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    thread,
    time::Duration,
};

use ottla_records::{LogId, Offset};
use ottla_storage::Log;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    arena::Arena,
    faults::Faults,
    log::{
        LocalLog, read_batch,
        view::{TAIL_ENTRY_COST, TailEntry},
    },
    segment::{
        ActiveSegment, Segment,
        files::SegmentFiles,
        write::{self, Outgoing},
        writer::{Manner, SegmentWriter},
    },
    wal::ring::{Ring, is_full},
};

/// Runs past the page cache are so many times longer: fewer and larger writes cost less there.
const DIRECT_RUNS: usize = 4;
/// Most batches of one run: one `pwritev`.
const RUN_BATCHES: usize = 1024;
/// New bytes after which the flusher looks around.
const WAKE_BYTES: usize = 2 << 20;
/// How long the flusher sleeps when nobody wakes it.
const IDLE: Duration = Duration::from_millis(500);

/// What others tell the flusher, and hear of it.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    touched: Vec<Arc<LocalLog>>,
    new_bytes: usize,
    /// Everything in WAL files before this sequence shall be in segments.
    wanted_before: u64,
    /// It is, for files before this sequence.
    done_before: u64,
    dirty: Dirty,
    stop: bool,
}

/// What was written since the last checkpoint and is not durable by itself.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Logs with new segments, or new bytes in them.
    pub(crate) logs: HashMap<LogId, Arc<LocalLog>>,
    /// Segments written to.
    pub(crate) segments: HashSet<(LogId, Offset)>,
    /// Log directories with new entries.
    pub(crate) dirs: HashSet<LogId>,
    /// Whether there are new log directories.
    pub(crate) root: bool,
}

impl Flushes {
    /// A log has something to flush, for the first time since it was last looked at.
    pub(crate) fn touched(&self, log: Arc<LocalLog>) {
        self.state.lock().touched.push(log);
    }

    /// So many bytes more wait to be flushed.
    pub(crate) fn grown(&self, bytes: usize) {
        let mut state = self.state.lock();
        let before = state.new_bytes;
        state.new_bytes += bytes;
        if before < WAKE_BYTES && state.new_bytes >= WAKE_BYTES {
            self.wake.notify_one();
        }
    }

    /// Has everything in WAL files before `sequence` moved to segments, and says whether that is done.
    pub(crate) fn flush_before(&self, sequence: u64) -> bool {
        let mut state = self.state.lock();
        if state.wanted_before < sequence {
            state.wanted_before = sequence;
            self.wake.notify_one();
        }
        state.done_before >= sequence
    }

    /// Takes what a checkpoint must make durable.
    pub(crate) fn take_dirty(&self) -> Dirty {
        std::mem::take(&mut self.state.lock().dirty)
    }

    /// A log's checkpointed state has changed, though no segment was written.
    pub(crate) fn mark_changed(&self, log: &Arc<LocalLog>) {
        self.state.lock().dirty.logs.insert(log.id(), log.clone());
    }

    /// Makes the flusher end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_one();
    }
}

/// The flusher's own.
pub(crate) struct Flusher {
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) arena: Arena,
    pub(crate) ring: Arc<Ring>,
    pub(crate) faults: Faults,
    /// How long a full disk is left alone.
    pub(crate) full_disk_pause: Duration,
    /// A log with so many unflushed bytes is flushed at once.
    pub(crate) run_bytes: usize,
    /// Each writes its share of the logs; when much is due, all at once.
    pub(crate) writers: Vec<RunWriter>,
}

/// Writes the runs of some logs, always of the same.
pub(crate) struct RunWriter {
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) writer: SegmentWriter,
    pub(crate) run_bytes: usize,
}

/// A log, and how many bytes may be left in its tail.
type Due = (Arc<LocalLog>, usize);

impl Flusher {
    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut unflushed: HashMap<LogId, Arc<LocalLog>> = HashMap::new();
        while let Some(before) = self.wait(&mut unflushed) {
            match self.flush(&mut unflushed, before) {
                Ok(()) => self.done(before),
                Err(error) if is_full(&error) => self.disk_is_full(),
                // The system has no thread to spare: what was not written is still due.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.rest(),
                Err(error) => {
                    self.faults.report(&format!("writing a segment failed: {error}"));
                    // The WAL thread may be waiting for a file that nobody will free any more.
                    self.ring.stop();
                    return;
                }
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.writers.iter_mut().for_each(|runs| runs.writer.settle());
    }

    /// Waits for work; `None` when it is over.
    fn wait(&mut self, unflushed: &mut HashMap<LogId, Arc<LocalLog>>) -> Option<u64> {
        let flushes = self.flushes.clone();
        let mut state = flushes.state.lock();
        if !state.stop && state.new_bytes < WAKE_BYTES && state.wanted_before <= state.done_before {
            let idle = flushes.wake.wait_for(&mut state, IDLE).timed_out();
            if idle {
                // Nothing follows soon: whoever looks at the files finds whole batches in them.
                MutexGuard::unlocked(&mut state, || self.settle());
            }
        }
        state.new_bytes = 0;
        for log in state.touched.drain(..) {
            log.unqueue();
            unflushed.insert(log.id(), log);
        }
        (!state.stop).then_some(state.wanted_before)
    }

    fn done(&self, before: u64) {
        let mut state = self.flushes.state.lock();
        if state.done_before < before {
            state.done_before = before;
            self.ring.wake();
        }
    }

    fn disk_is_full(&self) {
        self.ring.disk_is_full();
        self.rest();
    }

    fn rest(&self) {
        let mut state = self.flushes.state.lock();
        if !state.stop {
            self.flushes.wake.wait_for(&mut state, self.full_disk_pause);
        }
    }

    /// Flushes what is due.
    fn flush(&mut self, unflushed: &mut HashMap<LogId, Arc<LocalLog>>, before: u64) -> io::Result<()> {
        let (mut entries, mut due) = (0, Vec::new());
        for log in unflushed.values() {
            let (bytes, oldest, waiting) =
                log.with(|view| (view.tail_bytes, view.oldest_wal(), view.tail.len()));
            entries += waiting;
            if oldest.is_some_and(|sequence| sequence < before) {
                due.push((log.clone(), 0));
            } else if bytes >= self.run_bytes {
                due.push((log.clone(), self.run_bytes));
            }
        }
        self.flush_all(due)?;
        let waiting = self.arena.held() + entries * TAIL_ENTRY_COST;
        if waiting > self.arena.limit() / 2 {
            self.flush_all(unflushed.values().map(|log| (log.clone(), 0)).collect())?;
        }
        unflushed.retain(|_, log| !log.is_deleted() && log.with(|view| !view.tail.is_empty()));
        Ok(())
    }

    /// Flushes these logs, each by its writer.
    fn flush_all(&mut self, due: Vec<Due>) -> io::Result<()> {
        let mut shares: Vec<Vec<Due>> = self.writers.iter().map(|_| Vec::new()).collect();
        let writers = shares.len() as u64;
        for (log, keep) in due {
            shares[(log.id().0 % writers) as usize].push((log, keep));
        }
        let mut work: Vec<_> =
            self.writers.iter_mut().zip(shares).filter(|(_, share)| !share.is_empty()).collect();
        let Some((writer, share)) = work.pop() else { return Ok(()) };
        thread::scope(|scope| {
            let others: Vec<_> = work
                .into_iter()
                .map(|(writer, share)| {
                    thread::Builder::new()
                        .name("flusher".into())
                        .spawn_scoped(scope, move || writer.flush_logs(&share))
                })
                .collect();
            let mut done = writer.flush_logs(&share);
            for other in others {
                let other = other.map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())));
                done = done.and(other.and_then(|done| done));
            }
            done
        })
    }
}

fn panicked() -> io::Error {
    io::Error::other("a thread that writes segments has panicked")
}

impl RunWriter {
    fn flush_logs(&mut self, due: &[Due]) -> io::Result<()> {
        due.iter().try_for_each(|(log, keep)| self.flush_log(log, *keep))
    }

    /// Flushes a log until fewer than `keep` bytes wait, or none.
    fn flush_log(&mut self, log: &Arc<LocalLog>, keep: usize) -> io::Result<()> {
        let manner = Manner { direct: !log.is_read_lately(), whole: keep == 0 };
        let run_bytes = if manner.direct { self.run_bytes * DIRECT_RUNS } else { self.run_bytes };
        loop {
            if log.is_deleted() {
                self.writer.forget(log.id());
                let dropped = log.with(|view| view.flushed(usize::MAX));
                drop(dropped);
                return Ok(());
            }
            let run = log.with(|view| {
                let more = !view.tail.is_empty() && view.tail_bytes >= keep;
                if more { view.run(run_bytes, RUN_BATCHES) } else { Vec::new() }
            });
            if run.is_empty() {
                return Ok(());
            }
            let batches = run.iter().map(outgoing).collect::<io::Result<Vec<_>>>()?;
            drop(run);
            let _files = log.lock_files();
            if !log.is_deleted() {
                self.write_run(log, &batches, manner)?;
            }
        }
    }

    /// Writes a run, into as many segments as it takes.
    fn write_run(&mut self, log: &Arc<LocalLog>, mut batches: &[Outgoing], manner: Manner) -> io::Result<()> {
        let settings = log.settings();
        while let Some(first) = batches.first() {
            let active = match log.with(|view| view.active) {
                Some(active) if !write::rolls(&active, &settings, first) => active,
                active => self.roll(log, active, first.base)?,
            };
            self.flushes.mark_dirty(log, active.base);
            let (written, reached) = self.writer.append(log.id(), &active, &settings, batches, manner)?;
            let flushed = log.with(|view| {
                view.active = Some(reached);
                if let Some(segment) = view.segments.last() {
                    segment.publish(&reached);
                }
                view.flushed(written)
            });
            drop(flushed);
            batches = &batches[written..];
            if !manner.whole && written > 0 && batches.len() <= 1 {
                // The rest comes with the next run.
                break;
            }
        }
        Ok(())
    }

    /// Closes the active segment, if there is one, and begins another at `base`.
    fn roll(
        &mut self,
        log: &Arc<LocalLog>,
        active: Option<ActiveSegment>,
        base: Offset,
    ) -> io::Result<ActiveSegment> {
        if let Some(mut closing) = active {
            self.flushes.mark_dirty(log, closing.base);
            self.writer.close(log.id(), &mut closing)?;
        }
        let new_dir = self.files.create(log.id(), base)?;
        self.flushes.mark_new_segment(log, base, new_dir);
        let fresh = ActiveSegment::empty(base);
        log.with(|view| {
            view.active = Some(fresh);
            view.segments.push(Arc::new(Segment::new(log.id(), base, 0, 0)));
        });
        Ok(fresh)
    }
}

impl Flushes {
    fn mark_dirty(&self, log: &Arc<LocalLog>, base: Offset) {
        let mut state = self.state.lock();
        state.dirty.segments.insert((log.id(), base));
        state.dirty.logs.insert(log.id(), log.clone());
    }

    fn mark_new_segment(&self, log: &Arc<LocalLog>, base: Offset, new_dir: bool) {
        self.mark_dirty(log, base);
        let mut state = self.state.lock();
        state.dirty.dirs.insert(log.id());
        state.dirty.root |= new_dir;
    }
}

fn outgoing(entry: &TailEntry) -> io::Result<Outgoing> {
    let bytes = match &entry.bytes {
        Some(bytes) => bytes.clone(),
        None => read_batch(entry)?,
    };
    Ok(Outgoing { base: entry.base, next: entry.next, max_timestamp: entry.max_timestamp, bytes })
}
