//! Storage in memory: whole in what it does, except that it ends with the process.
//!
//! It is what tests of the layers above run on, and what other engines are compared with. By default each
//! append is a commit of its own; a store with [`Commits::Manual`] commits when it is told to, so that a test
//! decides what is durable when.
//!
//! Invariant: the order of a log's offsets is the order in which [`Appender::append`] was called.

mod groups;
mod log;
#[cfg(test)]
mod tests;
mod topics;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ottla_records::{LeaderEpoch, LogId, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use self::{groups::MemoryGroups, log::MemoryLog, topics::MemoryTopics};

use self::log::Content;
use crate::{
    AppendError, Appender, Delivery, DeliveryReceiver, Log, LogSettings, Produced, Storage, StorageError,
    Ticket, TicketSender,
};

/// When appends become durable.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Commits {
    /// Each at once.
    #[default]
    AtOnce,
    /// All that wait, whenever [`MemoryStorage::commit`] is called.
    Manual,
}

/// How a store in memory is set up.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// The leader epoch in which it writes.
    pub leader_epoch: LeaderEpoch,
    /// When appends become durable.
    pub commits: Commits,
    /// The largest batch that may be appended, in bytes.
    pub max_batch: usize,
    /// Most idempotent producers remembered for one log.
    pub max_producers: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            leader_epoch: LeaderEpoch(0),
            commits: Commits::AtOnce,
            max_batch: 64 << 20,
            max_producers: 1000,
        }
    }
}

/// A [`Storage`] in memory.
#[derive(Debug)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
    topics: MemoryTopics,
    groups: MemoryGroups,
}

#[derive(Debug)]
struct Shared {
    options: MemoryOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: HashMap<LogId, Arc<MemoryLog>>,
    appenders: Vec<mpsc::UnboundedSender<Delivery>>,
    waiting: Vec<Waiting>,
    /// How many batches came before: the time by which producers are forgotten.
    appends: i64,
    /// Why nothing is taken any more.
    closed: Option<AppendError>,
}

/// An append that waits for its commit.
struct Waiting {
    appender: usize,
    log: Arc<MemoryLog>,
    batch: Produced,
    ticket: TicketSender,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new(options: MemoryOptions) -> Self {
        let shared = Shared { options, state: Mutex::default() };
        Self { shared: Arc::new(shared), topics: MemoryTopics::default(), groups: MemoryGroups::default() }
    }

    /// Makes durable what waits, and delivers the answers.
    pub fn commit(&self) {
        self.shared.state.lock().commit(self.shared.options.leader_epoch);
    }

    /// Answers all that waits with `error`, as after a commit that failed: none of it is in a log.
    pub fn fail(&self, error: &AppendError) {
        self.shared.state.lock().fail(error);
    }

    /// How many appends wait for their commit.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// Stops this store as a crash would, and starts another one with what was durable, in the next leader
    /// epoch. Appends that waited are answered [`AppendError::Failed`], and their batches are lost.
    pub fn restart(&self) -> Self {
        let mut state = self.shared.state.lock();
        let crashed = AppendError::Failed("it was restarted".into());
        state.fail(&crashed);
        state.closed = Some(crashed);
        let kept = |log: &Arc<MemoryLog>| {
            let log = MemoryLog::new(log.id(), log.content(), log.settings());
            (log.id(), Arc::new(log))
        };
        let logs = state.logs.values().map(kept).collect();
        let LeaderEpoch(epoch) = self.shared.options.leader_epoch;
        let options = MemoryOptions {
            leader_epoch: LeaderEpoch(epoch.saturating_add(1)),
            ..self.shared.options.clone()
        };
        let state = State { logs, appends: state.appends, ..State::default() };
        let shared = Shared { options, state: Mutex::new(state) };
        Self { shared: Arc::new(shared), topics: self.topics.clone(), groups: self.groups.clone() }
    }
}

impl State {
    fn commit(&mut self, epoch: LeaderEpoch) {
        let mut deliveries: BTreeMap<usize, Delivery> = BTreeMap::new();
        let mut written: BTreeMap<LogId, Arc<MemoryLog>> = BTreeMap::new();
        for Waiting { appender, log, batch, ticket } in self.waiting.drain(..) {
            self.appends += 1;
            let answer = log.append(&batch, epoch, TimestampMs(self.appends));
            if matches!(answer, Ok(appended) if !appended.duplicate) {
                written.insert(log.id(), log);
            }
            deliveries.entry(appender).or_default().answers.push((ticket, answer));
        }
        for (id, log) in written {
            let watchers = log.watchers();
            for appender in (0..self.appenders.len()).filter(|appender| watchers & 1 << (appender % 64) != 0)
            {
                deliveries.entry(appender).or_default().advanced.push(id);
            }
        }
        self.deliver(deliveries);
    }

    fn fail(&mut self, error: &AppendError) {
        let mut deliveries: BTreeMap<usize, Delivery> = BTreeMap::new();
        for Waiting { appender, ticket, .. } in self.waiting.drain(..) {
            deliveries.entry(appender).or_default().answers.push((ticket, Err(error.clone())));
        }
        self.deliver(deliveries);
    }

    fn deliver(&self, deliveries: BTreeMap<usize, Delivery>) {
        for (appender, delivery) in deliveries {
            if let Some(thread) = self.appenders.get(appender) {
                // A thread that has ended needs no answers.
                let _ = thread.send(delivery);
            }
        }
    }
}

impl Storage for MemoryStorage {
    type Log = MemoryLog;
    type Appender = MemoryAppender;
    type Topics = MemoryTopics;
    type Groups = MemoryGroups;

    fn topics(&self) -> &MemoryTopics {
        &self.topics
    }

    fn groups(&self) -> &MemoryGroups {
        &self.groups
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.shared.options.leader_epoch
    }

    fn appender(&self) -> (MemoryAppender, DeliveryReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.shared.state.lock();
        let appender = MemoryAppender { number: state.appenders.len(), shared: self.shared.clone() };
        state.appenders.push(sender);
        (appender, receiver)
    }

    fn open_log(&self, id: LogId, settings: LogSettings) -> Arc<MemoryLog> {
        let mut state = self.shared.state.lock();
        let new = || {
            let content = Content::new(self.shared.options.max_producers);
            Arc::new(MemoryLog::new(id, content, settings.clone()))
        };
        let log = state.logs.entry(id).or_insert_with(new).clone();
        log.set_settings(settings);
        log
    }

    fn delete_log(
        &self,
        log: &Arc<MemoryLog>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send + 'static {
        log.delete();
        self.shared.state.lock().logs.remove(&log.id());
        self.topics.log_is_gone(log.id());
        async { Ok(()) }
    }

    async fn close(&self) -> Result<(), StorageError> {
        let mut state = self.shared.state.lock();
        state.commit(self.shared.options.leader_epoch);
        state.closed.get_or_insert_with(|| AppendError::Failed("it was shut down".into()));
        Ok(())
    }
}

/// A thread's way of appending to a [`MemoryStorage`].
#[derive(Debug)]
pub struct MemoryAppender {
    number: usize,
    shared: Arc<Shared>,
}

impl Appender for MemoryAppender {
    type Log = MemoryLog;

    fn number(&self) -> usize {
        self.number
    }

    async fn ready(&self, _bytes: usize) {}

    fn append(&self, log: &Arc<MemoryLog>, batch: Produced) -> Ticket {
        let (ticket, answer) = Ticket::new();
        let Shared { options, state } = &*self.shared;
        let mut state = state.lock();
        match self.refusal(&state, log, batch.bytes.len()) {
            Some(error) => {
                let _ = ticket.send(Err(error));
            }
            None => {
                state.waiting.push(Waiting { appender: self.number, log: log.clone(), batch, ticket });
                if options.commits == Commits::AtOnce {
                    state.commit(options.leader_epoch);
                }
            }
        }
        answer
    }
}

impl MemoryAppender {
    fn refusal(&self, state: &State, log: &MemoryLog, bytes: usize) -> Option<AppendError> {
        let limit = self.shared.options.max_batch;
        if state.closed.is_some() {
            state.closed.clone()
        } else if log.is_deleted() {
            Some(AppendError::Deleted)
        } else if bytes > limit {
            Some(AppendError::TooLarge { bytes, limit })
        } else {
            None
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("logs", &self.logs.len())
            .field("waiting", &self.waiting.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
