//! A partition that is read: where, from whom, and what of it waits for the reader.

use std::{collections::VecDeque, fmt, sync::Arc};

use tokio::time::Instant;

use super::chunk::Chunk;
use crate::{
    error::{Error, ErrorKind},
    metadata::cluster::Leadership,
};

/// A partition, by its topic's name and its number.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

/// Where to begin to read a partition.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum StartAt {
    /// At the first record that is still there.
    #[default]
    Earliest,
    /// Behind the last record: only what comes from now on is read. With
    /// [read committed](crate::config::IsolationLevel::ReadCommitted) this is the last stable offset.
    Latest,
    /// At an offset, from 0 on.
    Offset(i64),
    /// At the first record with this timestamp or a later one, in milliseconds since 1970; where there is none, behind the
    /// last record.
    Timestamp(i64),
}

/// What brokers told of a partition with the last answer to a fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Watermarks {
    /// The offset of the first record that is still there; `None` where brokers are too old to tell.
    pub log_start: Option<i64>,
    /// The offset behind the last record that can be read (all of them, with read uncommitted).
    pub high: i64,
    /// The offset up to which no transaction is open; `None` where brokers do not tell.
    pub last_stable: Option<i64>,
}

/// A place in a partition, and the leader epoch of the record before it, if that is known (KIP-320).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Position {
    pub(super) offset: i64,
    pub(super) epoch: Option<i32>,
}

impl Position {
    /// An offset of which nothing else is known.
    pub(super) fn at(offset: i64) -> Self {
        Self { offset, epoch: None }
    }
}

/// A place that a broker has to look up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Earliest,
    Latest,
    Timestamp(i64),
}

/// What is to be done for a partition next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// To look up where to begin.
    Locating(Place),
    /// To look up which offsets there are, as the position is said not to be among them: first where they begin, then
    /// where they end.
    Ranging { start: Option<i64> },
    /// To find out whether what was read is still there, under a new leader.
    Validating,
    /// To fetch from the position on.
    Fetching,
    /// Nothing, until the caller says where to go on.
    Stopped,
}

/// What waits for the reader.
#[derive(Debug)]
pub(super) enum Item {
    Chunk(Box<Chunk>),
    Failed(Error),
}

/// The state of a partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// Another one after each change of the position by the caller: what was asked before means nothing then.
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// Of what is fetched next; it has a meaning unless the phase is `Locating`.
    pub(super) position: Position,
    pub(super) is_paused: bool,
    /// The id of the topic that the position is in; zero where that is not known.
    pub(super) topic_id: [u8; 16],
    /// As last told; without a leader while there is none.
    pub(super) leadership: Leadership,
    /// Who to fetch from instead of the leader, and for how long (KIP-392).
    pub(super) replica: Option<(i32, Instant)>,
    /// Until when only the leader is fetched from, as a replica failed.
    pub(super) leader_only_until: Option<Instant>,
    /// What waits for the reader, and how many bytes that is.
    pub(super) queue: VecDeque<Item>,
    pub(super) untaken: usize,
    /// Whether the reader will come to what waits.
    pub(super) is_ready: bool,
    pub(super) watermarks: Option<Watermarks>,
    /// A lookup is under way.
    pub(super) is_asking: bool,
    /// Failures in a row, and when to try again.
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    /// What the caller was told of that is not over.
    pub(super) told: Option<ErrorKind>,
    /// Since when the cluster has not known the partition.
    pub(super) unknown_since: Option<Instant>,
    /// When it had records last, as a number that grows.
    pub(super) served: u64,
}

/// Nobody is known to lead.
pub(super) const NO_LEADER: Leadership = Leadership { leader: None, epoch: -1 };

impl Partition {
    pub(super) fn new(start: StartAt, generation: u64) -> Self {
        let mut partition = Self {
            generation,
            phase: Phase::Stopped,
            position: Position::at(0),
            is_paused: false,
            topic_id: [0; 16],
            leadership: NO_LEADER,
            replica: None,
            leader_only_until: None,
            queue: VecDeque::new(),
            untaken: 0,
            is_ready: false,
            watermarks: None,
            is_asking: false,
            failures: 0,
            not_before: None,
            told: None,
            unknown_since: None,
            served: 0,
        };
        partition.start(start, generation);
        partition
    }

    /// Reads from here on.
    pub(super) fn start(&mut self, start: StartAt, generation: u64) {
        self.generation = generation;
        (self.failures, self.not_before, self.told) = (0, None, None);
        self.is_asking = false;
        self.drop_queue();
        match start {
            StartAt::Earliest => self.phase = Phase::Locating(Place::Earliest),
            StartAt::Latest => self.phase = Phase::Locating(Place::Latest),
            // What is below has another meaning for brokers.
            StartAt::Timestamp(timestamp) => self.phase = Phase::Locating(Place::Timestamp(timestamp.max(0))),
            StartAt::Offset(offset) => self.go_on_at(Position::at(offset)),
        }
    }

    /// Fetches from here on.
    pub(super) fn go_on_at(&mut self, position: Position) {
        self.position = position;
        self.phase = Phase::Fetching;
    }

    /// Lets go of what waits for the reader.
    pub(super) fn drop_queue(&mut self) {
        self.queue.clear();
        self.untaken = 0;
    }

    /// Where the reader is: before what waits for it. `None` where that is still to be looked up.
    pub(super) fn reader_position(&self) -> Option<i64> {
        let waiting = self.queue.iter().find_map(|item| match item {
            Item::Chunk(chunk) => Some(chunk.position().offset),
            Item::Failed(_) => None,
        });
        let fetched = || match self.phase {
            Phase::Locating(_) => None,
            _ => Some(self.position.offset),
        };
        waiting.or_else(fetched)
    }

    /// How many records are between the reader and the end of the partition, as far as that is known.
    pub(super) fn lag(&self) -> u64 {
        let end = self.watermarks.map(|watermarks| watermarks.high);
        let lag = end.zip(self.reader_position()).map_or(0, |(end, position)| end.saturating_sub(position));
        u64::try_from(lag).unwrap_or(0)
    }

    /// Whom to fetch from: a replica nearby while it counts, else the leader.
    pub(super) fn source(&self) -> Option<i32> {
        self.replica.map(|(replica, _)| replica).or(self.leadership.leader)
    }

    /// Fetches from the leader alone until then, whatever it says.
    pub(super) fn go_to_leader(&mut self, until: Instant) {
        (self.replica, self.leader_only_until) = (None, Some(until));
    }

    /// Tells the reader that nothing goes on here until it says where.
    pub(super) fn stop(&mut self, error: Error) {
        self.phase = Phase::Stopped;
        self.queue.push_back(Item::Failed(error));
    }

    /// Tells the reader of what goes on to be tried, once.
    pub(super) fn tell(&mut self, error: Error) {
        if self.told != Some(error.kind()) {
            self.told = Some(error.kind());
            self.queue.push_back(Item::Failed(error));
        }
    }

    /// Something has succeeded.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.not_before, self.told) = (0, None, None);
    }
}
