//! What happened beside the disk: acknowledgements, and the state database as a row of commits.
//!
//! SQLite's own files are no part of the recorded disk. Its promise is: commits are durable in their order, each
//! from its acknowledgement on. So a power cut leaves all commits that were acknowledged, and as many of those
//! that were under way as it likes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use ottla_records::LogId;
use ottla_storage_local::KnownLogs;
use ottla_testing_internal::{PowerCut, SimDisk};

/// A commit of the state database.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// There is a new log.
    Created(u64),
    /// A log is deleted; its row stays.
    Deleting(u64),
    /// Nothing is left of a deleted log; its row goes.
    Dropped(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Row {
    Live,
    Deleting,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many batches of a log are acknowledged.
    Acknowledged(u64, u64),
    /// So many changes have been given to the database.
    Begun(usize),
    /// The first so many changes are durable.
    Committed(usize),
}

/// What was promised at some moment.
#[derive(Clone, Debug, Default)]
pub struct Promised {
    /// The rows of the database.
    pub rows: BTreeMap<u64, Row>,
    /// How many batches of each log were acknowledged.
    pub acknowledged: BTreeMap<u64, u64>,
    /// Every log that ever was.
    pub ids: u64,
}

/// The history of a recorded load.
#[derive(Clone, Debug)]
pub struct History {
    start: Promised,
    changes: Vec<Change>,
    events: Vec<Event>,
}

/// A history that is being made, by the load and by the store's own threads.
#[derive(Clone)]
pub struct Recorder {
    disk: SimDisk,
    history: Arc<Mutex<History>>,
}

impl Promised {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Created(log) => {
                self.rows.insert(log, Row::Live);
                self.ids = self.ids.max(log);
            }
            Change::Deleting(log) => {
                self.rows.insert(log, Row::Deleting);
            }
            Change::Dropped(log) => {
                self.rows.remove(&log);
            }
        }
    }

    /// The logs with such rows.
    pub fn logs(&self, state: Row) -> impl Iterator<Item = u64> + '_ {
        self.rows.iter().filter(move |(_, row)| **row == state).map(|(log, _)| *log)
    }

    /// What the store is told.
    pub fn known(&self) -> KnownLogs {
        let of = |state| -> HashSet<LogId> { self.logs(state).map(LogId).collect() };
        KnownLogs { live: of(Row::Live), deleting: of(Row::Deleting) }
    }
}

impl History {
    /// Whether this mark in the record says that the row of a deleted log is gone.
    pub fn is_drop(&self, mark: u64) -> bool {
        match self.events[mark as usize] {
            Event::Committed(count) => {
                let last = count.checked_sub(1).map(|index| self.changes[index]);
                matches!(last, Some(Change::Dropped(_)))
            }
            Event::Acknowledged(..) | Event::Begun(_) => false,
        }
    }

    /// What holds at a cut; `choice` decides about the commits that were under way.
    pub fn at(&self, cut: &PowerCut<'_>, choice: u64) -> Promised {
        let mut promised = self.start.clone();
        let (mut begun, mut committed) = (0, 0);
        for mark in cut.marks() {
            match self.events[mark as usize] {
                Event::Acknowledged(log, batches) => {
                    promised.acknowledged.insert(log, batches);
                }
                Event::Begun(count) => begun = count,
                Event::Committed(count) => committed = count,
            }
        }
        let count = committed + choice as usize % (begun - committed + 1);
        for change in &self.changes[..count] {
            promised.apply(*change);
        }
        promised
    }
}

impl Recorder {
    /// Records what happens beside this disk from now on; before, `start` was promised.
    pub fn new(disk: &SimDisk, start: Promised) -> Self {
        let history = History { start, changes: Vec::new(), events: Vec::new() };
        Self { disk: disk.clone(), history: Arc::new(Mutex::new(history)) }
    }

    pub fn acknowledged(&self, log: u64, batches: u64) {
        self.history.lock().unwrap().note(&self.disk, Event::Acknowledged(log, batches));
    }

    /// Gives a change to the database.
    pub fn begin(&self, change: Change) {
        let mut history = self.history.lock().unwrap();
        history.changes.push(change);
        let begun = history.changes.len();
        history.note(&self.disk, Event::Begun(begun));
    }

    /// All changes that were given to the database are durable.
    pub fn commit(&self) {
        let mut history = self.history.lock().unwrap();
        let begun = history.changes.len();
        history.note(&self.disk, Event::Committed(begun));
    }

    /// The database as it stands, all commits being through.
    pub fn rows(&self) -> Promised {
        let history = self.history.lock().unwrap();
        let mut promised = history.start.clone();
        for change in &history.changes {
            promised.apply(*change);
        }
        promised
    }

    pub fn history(&self) -> History {
        self.history.lock().unwrap().clone()
    }
}

impl History {
    fn note(&mut self, disk: &SimDisk, event: Event) {
        disk.mark(self.events.len() as u64);
        self.events.push(event);
    }
}
