//! The state database: topics with their settings and partitions, groups with their members and committed
//! offsets, and counters, in embedded SQLite.
//!
//! One thread writes, and a request is answered once its commit is durable; another one reads what groups need to
//! know beside it. After an error of the disk, or at
//! damage, the database stops for good and says so to the fault handler: what a failed sync has left behind
//! is not known, so nothing is tried again. A full disk is no such error: the request fails and the next one
//! may pass.
//!
//! The file can be opened with any SQLite shell while the broker runs. Architecture invariant: this module
//! reads no clock, and knows nothing of logs beyond their ids.

mod check;
mod error;
mod expiry;
mod groups;
mod look;
mod offsets;
mod reader;
mod schema;
mod stores;
#[cfg(test)]
mod tests;
mod topics;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use ottla_records::LogId;
use ottla_storage::{StateStoreError, TopicRow};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

pub(crate) use self::look::{GroupPart, Look};
pub use self::{check::StateProblem, error::StateError};

use self::{
    error::Trouble,
    reader::run_reader,
    writer::{Job, Request, Writer, run_checkpointer},
};
use crate::faults::{FaultHandler, Faults};

/// The state database of a data directory.
pub struct StateDb {
    /// `None` once it is closed.
    queues: Mutex<Option<Queues>>,
    /// `None` once it is closed.
    threads: Mutex<Option<Threads>>,
    faults: Faults,
}

struct Threads {
    reader: JoinHandle<()>,
    /// The writer, and the thread that makes checkpoints, which ends after it.
    writing: [JoinHandle<()>; 2],
}

/// The ways to the threads that do what is asked.
struct Queues {
    writer: Sender<Box<dyn Job>>,
    reader: Sender<Box<dyn Job>>,
}

impl StateDb {
    /// Opens the database in the file `path`, creates it where there is none, and brings an older format up
    /// to date. Its directory must exist; the entry of a new file in it is durable when this returns.
    ///
    /// `faults` is called at most once, from a thread of the database: nothing is written any more then, and
    /// all requests are answered [`StateStoreError::Failed`].
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path, faults: FaultHandler) -> Result<Self, StateError> {
        let db = schema::open(path)?;
        let (second, third) = (schema::open_second(path)?, schema::open_reader(path)?);
        let faults = Faults::new(faults);
        let (jobs, queue) = mpsc::channel();
        let (reads, read_queue) = mpsc::channel();
        let (checkpointer, wishes) = mpsc::channel();
        let writer = Writer { db, jobs: queue, checkpointer, faults: faults.clone() };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(body);
            thread.map_err(|error| StateError::Io { path: path.to_path_buf(), error })
        };
        let writer = spawn("state", Box::new(move || writer.run()))?;
        let beside = faults.clone();
        let checkpointer =
            spawn("state-checkpoint", Box::new(move || run_checkpointer(second, &wishes, &beside)))?;
        let beside = faults.clone();
        let reader = spawn("state-reader", Box::new(move || run_reader(third, &read_queue, &beside)))?;
        let threads = Mutex::new(Some(Threads { reader, writing: [writer, checkpointer] }));
        let queues = Mutex::new(Some(Queues { writer: jobs, reader: reads }));
        Ok(Self { queues, threads, faults })
    }

    /// Looks for damage, changing nothing. A broker may be running.
    ///
    /// # Errors
    /// Where the file cannot be opened as a state database at all; see [`StateError`].
    pub fn check(path: &Path) -> Result<Vec<StateProblem>, StateError> {
        Ok(Look::open(path)?.problems())
    }

    /// Reads all topics, changing nothing. A broker may be running.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn read_topics(path: &Path) -> Result<Vec<TopicRow>, StateError> {
        Ok(Look::open(path)?.contents()?.topics)
    }

    /// Finishes what was asked, and closes the file. Requests fail from now on. Waits for the threads; not
    /// to be called on a network thread.
    pub fn close(&self) {
        // A thread that panicked has said so on its own.
        let wait = |thread: JoinHandle<()>| drop(thread.join());
        let writer = self.queues.lock().take().map(|queues| queues.writer);
        let mut threads = self.threads.lock();
        if let Some(Threads { reader, writing }) = threads.take() {
            // SQLite tidies up with the last connection, but not where another one is being closed just then.
            wait(reader);
            drop(writer);
            writing.into_iter().for_each(wait);
        }
    }

    /// Takes note that nothing on disk names this log any more, without waiting: the row of a deleted topic
    /// goes with the last of its logs. Where that fails, the next start takes note again.
    pub(crate) fn log_is_gone(&self, log: LogId) {
        drop(self.request(move |db| topics::log_is_gone(db, log)));
    }

    /// Has the writer do something: now, in the order of the calls. What this returns waits until that is
    /// durable.
    fn request<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StateStoreError>> + Send + 'static + use<T, W>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        self.ask(|queues| &queues.writer, work)
    }

    /// Has something read from a snapshot of what is durable by now.
    fn read<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StateStoreError>> + Send + 'static + use<T, W>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        self.ask(|queues| &queues.reader, work)
    }

    fn ask<T, W>(
        &self,
        of: fn(&Queues) -> &Sender<Box<dyn Job>>,
        work: W,
    ) -> impl Future<Output = Result<T, StateStoreError>> + Send + 'static + use<T, W>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        if let Some(queues) = self.queues.lock().as_ref() {
            // A thread that has ended drops the request, which is an answer.
            let _ = of(queues).send(Box::new(Request { work, result: None, answer }));
        }
        let faults = self.faults.clone();
        async move {
            answered.await.unwrap_or_else(|_| {
                let why = faults.first().unwrap_or_else(|| Arc::from("it was shut down"));
                Err(StateStoreError::Failed(why))
            })
        }
    }
}

impl fmt::Debug for StateDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateDb").field("faults", &self.faults).finish_non_exhaustive()
    }
}
