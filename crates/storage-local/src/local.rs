//! Storage on local disk as a broker uses it: the store of logs and the state database of one data directory.
//!
//! | in the data directory | what it is |
//! |---|---|
//! | `lock` | held by the process that uses the directory |
//! | `state.db` | the state database |
//! | `wal/`, `checkpoint/`, `logs/` | the store of logs |
//!
//! The database tells the store of logs at each start which logs there are; the store tells the database when
//! nothing is left of a deleted one, and its row goes. So a row outlives every trace of its logs on disk.

use std::{
    collections::HashSet,
    fmt,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ottla_records::{LeaderEpoch, LogId};
use ottla_storage::{DeliveryReceiver, LogSettings, Storage, StorageError, TopicRow, TopicState};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    faults::{FaultHandler, Faults},
    log::LocalLog,
    recovery::{KnownLogs, RecoveryError},
    state::{StateDb, StateError},
    store::{LogStore, Options, World},
    wal::intake::LocalAppender,
};

/// The name of the state database in a data directory.
pub const STATE_FILE: &str = "state.db";
/// The name of the file that a broker holds a lock on.
pub(crate) const LOCK_FILE: &str = "lock";

/// The storage of a data directory.
pub struct LocalStorage {
    logs: Arc<LogStore>,
    state: Arc<StateDb>,
    faults: Faults,
    /// Held until the close.
    lock: Arc<Mutex<Option<File>>>,
}

/// Why a data directory cannot be opened. Of what was stored there, nothing was changed then.
#[derive(Debug, Error)]
pub enum LocalStorageError {
    /// Another process uses it.
    #[error(
        "the data directory {} is in use by another process: stop that one, or give another directory",
        dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The state database is not there, and logs are.
    #[error(
        "{} is missing, and without it nobody knows whose the logs beside it are: restore it from a backup, or \
         give another data directory",
        path.display()
    )]
    StateMissing {
        /// The state database.
        path: PathBuf,
    },
    /// The lock file cannot be opened or locked.
    #[error(
        "cannot lock {}: {error}; the data directory must be writable: see to its permissions and how it is \
         mounted",
        path.display()
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The state database.
    #[error(transparent)]
    State(#[from] StateError),
    /// The logs.
    #[error(transparent)]
    Logs(#[from] RecoveryError),
}

impl LocalStorage {
    /// Opens the data directory `dir`, which exists, and recovers what the last life left there. The state
    /// database goes past `world.disk`: SQLite reaches the real disk by itself.
    ///
    /// The fault handler of `world` is called at most once.
    ///
    /// # Errors
    /// See [`LocalStorageError`].
    pub fn open(world: World, dir: &Path, options: &Options) -> Result<Self, LocalStorageError> {
        let lock = lock(dir)?;
        let faults = Faults::new(world.faults);
        let handler: FaultHandler = {
            let faults = faults.clone();
            Arc::new(move |fault: &str| faults.report(fault))
        };
        let path = dir.join(STATE_FILE);
        // The first start makes the database before anything else: without it, the topics are lost.
        if !path.exists() && ["checkpoint", "wal", "logs"].iter().any(|part| dir.join(part).exists()) {
            return Err(LocalStorageError::StateMissing { path });
        }
        let state = Arc::new(StateDb::open(&path, handler.clone())?);
        let known = known_logs(&StateDb::read_topics(&path)?);
        let gone = {
            let state = state.clone();
            Box::new(move |log| state.log_is_gone(log))
        };
        let world = World { faults: handler, ..world };
        let logs = Arc::new(LogStore::open(world, dir, &known, options, gone)?);
        Ok(Self { logs, state, faults, lock: Arc::new(Mutex::new(Some(lock))) })
    }

    /// The store of logs, for what only it tells.
    pub fn logs(&self) -> &LogStore {
        &self.logs
    }
}

impl Storage for LocalStorage {
    type Log = LocalLog;
    type Appender = LocalAppender;
    type Topics = StateDb;
    type Groups = StateDb;

    fn topics(&self) -> &StateDb {
        &self.state
    }

    fn groups(&self) -> &StateDb {
        &self.state
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.logs.epoch()
    }

    fn appender(&self) -> (LocalAppender, DeliveryReceiver) {
        self.logs.appender()
    }

    fn open_log(&self, id: LogId, settings: LogSettings) -> Arc<LocalLog> {
        self.logs.open_log(id, settings)
    }

    fn delete_log(
        &self,
        log: &Arc<LocalLog>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send + 'static {
        self.logs.delete_log(log)
    }

    async fn close(&self) -> Result<(), StorageError> {
        let (done, closed) = oneshot::channel();
        let (logs, state, lock) = (self.logs.clone(), self.state.clone(), self.lock.clone());
        // The stores wait for their threads, which a network thread must not.
        let closing = move || {
            logs.close();
            state.close();
            drop(lock.lock().take());
            let _ = done.send(());
        };
        let failed = |why: String| StorageError::Failed(why.into());
        let closer = thread::Builder::new().name("close".into()).spawn(closing);
        closer.map_err(|error| failed(format!("no thread to close it could be started: {error}")))?;
        closed.await.map_err(|_| failed("closing it was broken off".into()))?;
        self.faults.first().map_or(Ok(()), |fault| Err(StorageError::Failed(fault)))
    }
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStorage")
            .field("logs", &self.logs)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Takes the data directory for this process.
fn lock(dir: &Path) -> Result<File, LocalStorageError> {
    let path = dir.join(LOCK_FILE);
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let locked = lock.map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => LocalStorageError::InUse { dir: dir.to_path_buf() },
        TryLockError::Error(error) => LocalStorageError::Lock { path, error },
    })
}

/// The logs of these topics.
pub(crate) fn known_logs(topics: &[TopicRow]) -> KnownLogs {
    let of = |state| -> HashSet<LogId> {
        topics.iter().filter(|row| row.state == state).flat_map(|row| row.logs.iter().copied()).collect()
    };
    KnownLogs { live: of(TopicState::Live), deleting: of(TopicState::Deleting) }
}
