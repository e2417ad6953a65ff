//! The store of logs: opens a data directory, starts the threads, and stops them.
//!
//! It knows nothing of topics: which logs there are is told to it ([`KnownLogs`]). That keeps the proof of
//! storage apart from the state database: crash tests drive a [`LogStore`] over a recorded disk.

use std::{
    collections::{HashMap, HashSet},
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use ottla_records::{LeaderEpoch, LogId};
use ottla_storage::{
    AppendError, BLOCK, Clock, DeliveryReceiver, Disk, Log, LogSettings, Random, StorageError,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    arena::{Arena, Piece},
    checkpoint::Increment,
    faults::{FaultHandler, Faults},
    flusher::{Flusher, Flushes, RunWriter},
    keeper::{GoneHandler, Keeper, Wishes, remove_log_files},
    log::{LocalLog, Readers, view::View},
    recovery::{KnownLogs, Recovered, RecoveryError, recover},
    segment::{files::SegmentFiles, freeing::Freeing, writer::SegmentWriter},
    wal::{
        intake::LocalAppender,
        ring::{FILE_LEN, Ring, RingLengths},
        sequencer::Sequencer,
        writer::{Control, WalInbox, WalThread},
    },
};

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of arena: batches being written, being read, or waiting for their segment.
    pub arena_bytes: usize,
    /// The most the write-ahead log may grow to, in bytes; `None`: the lesser of 1 GiB and 5 % of the file
    /// system.
    pub wal_max: Option<u64>,
    /// Length of a WAL file in bytes; data directories remember none, so it may change between starts.
    pub wal_file_bytes: u64,
    /// The shortest time between two checkpoints while the write-ahead log may still grow.
    pub checkpoint_interval: Duration,
    /// A log with so many bytes that are not in a segment is flushed at once.
    pub run_bytes: usize,
    /// A run of at least so many bytes may be written past the page cache.
    pub direct_min_bytes: usize,
    /// How long a full disk is left alone before it is tried again.
    pub full_disk_pause: Duration,
    /// How often old segments are looked for (`log.retention.check.interval.ms`).
    pub retention_interval: Duration,
    /// How long an idle producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
    /// Most idempotent producers remembered for one log.
    pub max_producers: usize,
    /// Most segment files kept open.
    pub max_open_files: NonZeroUsize,
    /// Threads that read what is not in memory.
    pub readers: usize,
    /// The largest batch that may be appended, in bytes.
    pub max_batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arena_bytes: 96 << 20,
            wal_max: None,
            wal_file_bytes: FILE_LEN,
            checkpoint_interval: Duration::from_secs(1),
            run_bytes: 1 << 20,
            direct_min_bytes: 512 << 10,
            full_disk_pause: Duration::from_secs(1),
            retention_interval: Duration::from_secs(300),
            producer_expiration: Duration::from_secs(24 * 3600),
            max_producers: 1000,
            max_open_files: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
            readers: 2,
            max_batch: 64 << 20,
        }
    }
}

/// Logs are flushed by so many writers side by side: while one copies, another one's bytes are on their way.
const RUN_WRITERS: usize = 2;

/// The seams through which the world comes in.
#[derive(Clone)]
pub struct World {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Who hears of a fault that ends the store.
    pub faults: FaultHandler,
}

/// The logs of a data directory.
pub struct LogStore {
    arena: Arena,
    inbox: Arc<WalInbox>,
    readers: Arc<Readers>,
    flushes: Arc<Flushes>,
    wishes: Arc<Wishes>,
    ring: Arc<Ring>,
    faults: Faults,
    /// Logs that are there, recovered or opened.
    logs: Arc<Mutex<HashMap<LogId, Arc<LocalLog>>>>,
    epoch: LeaderEpoch,
    max_batch: usize,
    threads: Mutex<Threads>,
    replayed: u64,
}

#[derive(Default)]
struct Threads {
    wal: Option<JoinHandle<()>>,
    flusher: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

/// Why a store could not be opened.
pub type OpenError = RecoveryError;

impl LogStore {
    /// Opens the logs below `root`, which exists, and recovers what the last life left there. `gone` is
    /// called with each deleted log of which nothing is left on disk.
    ///
    /// # Errors
    /// See [`RecoveryError`]; nothing that could be wanted later has been changed then.
    pub fn open(
        world: World,
        root: &Path,
        known: &KnownLogs,
        options: &Options,
        gone: GoneHandler,
    ) -> Result<Self, OpenError> {
        let World { disk, clock, random, faults } = world;
        let dirs = [root.join("logs"), root.join("wal"), root.join("checkpoint")];
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |error| RecoveryError::Io { path, error }
        };
        for dir in &dirs {
            disk.create_dir(dir).map_err(io(dir))?;
        }
        disk.sync_dir(root).map_err(io(root))?;
        let [logs_dir, wal_dir, checkpoint_dir] = dirs;
        let files = Arc::new(SegmentFiles::new(disk.clone(), logs_dir, options.max_open_files));
        let recovered = recover(&disk, &files, wal_dir.clone(), checkpoint_dir, known, options)?;
        let wal_max = match options.wal_max {
            Some(bytes) => bytes,
            None => default_wal_max(disk.as_ref(), root).map_err(io(root))?,
        };
        let begun = Begun { disk, clock, random, faults: Faults::new(faults), files, wal_dir, wal_max };
        Self::start(begun, root, recovered, known, options, gone)
    }

    /// Takes over what was recovered, says in the checkpoint that a new life has begun, and starts threads.
    fn start(
        begun: Begun,
        root: &Path,
        recovered: Recovered,
        known: &KnownLogs,
        options: &Options,
        gone: GoneHandler,
    ) -> Result<Self, OpenError> {
        let Begun { disk, clock, random, faults, files, wal_dir, wal_max } = begun;
        let Recovered { logs, mut checkpoints, wal, epoch, replayed } = recovered;
        let replay_from = checkpoints.current().replay_from;
        // What only the WAL knows of these, beside batches: producers, which a stop in order leaves to it, and
        // log starts. The next checkpoint that frees WAL files must know them too.
        let behind: HashSet<LogId> = checkpoints
            .current()
            .logs
            .iter()
            .filter(|(id, saved)| {
                let log_start_moved = logs.get(id).is_some_and(|log| log.view.log_start > saved.log_start);
                saved.state_end < saved.flushed_end || log_start_moved
            })
            .map(|(id, _)| *id)
            .collect();
        let life = Increment { replay_from, epoch, clean: false, ..Increment::default() };
        checkpoints
            .write(life)
            .map_err(|error| RecoveryError::Io { path: root.join("checkpoint"), error })?;

        for log in &known.deleting {
            let removed = remove_log_files(disk.as_ref(), &files, *log);
            removed.map_err(|error| RecoveryError::Io { path: files.dir(*log), error })?;
        }
        let arena = Arena::new(options.arena_bytes);
        let (flushes, inbox, wishes) =
            (Arc::new(Flushes::default()), Arc::new(WalInbox::default()), Arc::new(Wishes::default()));
        let ring = Arc::new(Ring::new(
            disk.clone(),
            wal_dir,
            random,
            RingLengths { file_len: options.wal_file_bytes, max_bytes: wal_max },
            inbox.doorbell.clone(),
            (wal.live, wal.spares),
        ));
        let readers = Arc::new(Readers::new(files.clone()));
        let mut states = HashMap::with_capacity(logs.len());
        let mut opened = HashMap::with_capacity(logs.len());
        for (id, log) in logs {
            states.insert(id, log.state);
            let log = Arc::new(LocalLog::new(id, log.view, LogSettings::default(), readers.clone()));
            if log.with(|view| !view.tail.is_empty()) && log.queue() {
                flushes.touched(log.clone());
            }
            if behind.contains(&id) {
                flushes.mark_changed(&log);
            }
            opened.insert(id, log);
        }
        let logs = Arc::new(Mutex::new(opened));
        let first_free = wal.next_sequence;
        let wal_thread = WalThread {
            inbox: inbox.clone(),
            ring: ring.clone(),
            head: Piece::alone(BLOCK),
            clock: clock.clone(),
            flushes: flushes.clone(),
            faults: faults.clone(),
            sequencer: Sequencer::new(states, LeaderEpoch(epoch), options.max_producers),
            next_lsn: wal.next_lsn,
            next_sequence: wal.next_sequence,
        };
        let run_writer = || RunWriter {
            flushes: flushes.clone(),
            files: files.clone(),
            writer: SegmentWriter::new(files.clone(), options.direct_min_bytes as u64),
            run_bytes: options.run_bytes,
        };
        let flusher = Flusher {
            flushes: flushes.clone(),
            arena: arena.clone(),
            ring: ring.clone(),
            faults: faults.clone(),
            full_disk_pause: options.full_disk_pause,
            run_bytes: options.run_bytes,
            writers: (0..RUN_WRITERS).map(|_| run_writer()).collect(),
        };
        let keeper = Keeper {
            disk,
            root: root.to_path_buf(),
            files,
            ring: ring.clone(),
            arena: arena.clone(),
            flushes: flushes.clone(),
            inbox: inbox.clone(),
            wishes: wishes.clone(),
            logs: logs.clone(),
            clock,
            faults: faults.clone(),
            checkpoints,
            epoch,
            retention_interval: options.retention_interval,
            checkpoint_interval: options.checkpoint_interval,
            wal_file_bytes: options.wal_file_bytes,
            producer_max_age_ms: i64::try_from(options.producer_expiration.as_millis()).unwrap_or(i64::MAX),
            gone,
            leaving: known.deleting.iter().map(|log| (*log, first_free)).collect(),
            target: None,
            moving: Vec::new(),
            freeing: Freeing::default(),
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(body);
            thread.map(Some).map_err(|error| RecoveryError::Io { path: root.to_path_buf(), error })
        };
        let mut threads = Threads {
            wal: spawn("wal", Box::new(move || wal_thread.run()))?,
            flusher: spawn("flusher", Box::new(move || flusher.run()))?,
            keeper: spawn("keeper", Box::new(move || keeper.run()))?,
            readers: Vec::new(),
        };
        for number in 0..options.readers.max(1) {
            let reader = readers.spawn(number);
            threads
                .readers
                .push(reader.map_err(|error| RecoveryError::Io { path: root.to_path_buf(), error })?);
        }
        Ok(Self {
            arena,
            inbox,
            readers,
            flushes,
            wishes,
            ring,
            faults,
            logs,
            epoch: LeaderEpoch(epoch),
            max_batch: options.max_batch,
            threads: Mutex::new(threads),
            replayed,
        })
    }

    /// The leader epoch in which this life writes.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// How many entries of the write-ahead log were replayed at the start.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Makes an appender and where its answers arrive.
    pub fn appender(&self) -> (LocalAppender, DeliveryReceiver) {
        self.inbox.add_intake(|number| {
            let doorbell = self.inbox.doorbell.clone();
            let (appender, intake, receiver) =
                LocalAppender::new(number, self.arena.clone(), doorbell, self.max_batch);
            (intake, (appender, receiver))
        })
    }

    /// Opens a log: one that was recovered, or an empty one.
    pub fn open_log(&self, id: LogId, settings: LogSettings) -> Arc<LocalLog> {
        let mut logs = self.logs.lock();
        let new = || {
            let view = View::empty(ottla_records::Offset::ZERO);
            Arc::new(LocalLog::new(id, view, settings.clone(), self.readers.clone()))
        };
        let log = logs.entry(id).or_insert_with(new).clone();
        log.set_settings(settings);
        log
    }

    /// Deletes a log. When this returns, nothing is appended to it any more; its files go soon after. Whoever
    /// calls has made durable that the log is deleted: recovery is told by [`KnownLogs::deleting`].
    ///
    /// # Errors
    /// Where the store has stopped.
    pub fn delete_log(
        &self,
        log: &Arc<LocalLog>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send + 'static {
        log.delete();
        let (done, forgotten) = oneshot::channel();
        self.inbox.send(Control::Forget { log: log.id(), done });
        let (wishes, log) = (self.wishes.clone(), log.clone());
        async move {
            if forgotten.await.is_err() {
                return Err(StorageError::Failed("it was shut down".into()));
            }
            let dropped = log.with(|view| view.flushed(usize::MAX));
            drop(dropped);
            wishes.remove(log);
            Ok(())
        }
    }

    /// Stops: everything that was appended is durable, and a checkpoint says that the stop was in order.
    /// Waits for the threads; not to be called on a network thread.
    pub fn close(&self) {
        let mut threads = self.threads.lock();
        self.inbox.send(Control::Stop);
        join(threads.wal.take());
        self.flushes.stop();
        join(threads.flusher.take());
        self.wishes.stop();
        self.ring.stop();
        join(threads.keeper.take());
        self.readers.stop();
        for reader in threads.readers.drain(..) {
            join(Some(reader));
        }
    }

    /// The fault that has stopped the store, if one has.
    pub fn fault(&self) -> Option<AppendError> {
        self.faults.first().map(AppendError::Failed)
    }
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

struct Begun {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    faults: Faults,
    files: Arc<SegmentFiles>,
    wal_dir: PathBuf,
    wal_max: u64,
}

fn default_wal_max(disk: &dyn Disk, root: &Path) -> io::Result<u64> {
    let (_, size) = disk.space(root)?;
    Ok((size / 20).clamp(32 << 20, 1 << 30))
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        // A thread that panicked has said so on its own.
        let _ = thread.join();
    }
}
