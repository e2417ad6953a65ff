//! Log segments in Kafka's formats: record batches in `.log`, an offset index in `.index`, a time index in
//! `.timeindex`.
//!
//! A segment's files lie in `logs/<log id>/` and are named by the segment's base offset. They are written by
//! the flusher alone, behind the acknowledgement; they become durable with the next checkpoint, which records
//! their lengths. Bytes beyond those lengths mean nothing after a crash: recovery cuts them off.

mod ahead;
mod checked;
pub(crate) mod files;
pub(crate) mod freeing;
pub(crate) mod index;
pub(crate) mod rebuild;
pub(crate) mod walk;
pub(crate) mod write;
pub(crate) mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_records::{LogId, Offset, TimestampMs};
use parking_lot::Mutex;

pub(crate) use self::ahead::Step;
use self::{ahead::Ahead, checked::Checked};

/// A segment, as its readers see it.
#[derive(Debug)]
pub(crate) struct Segment {
    log: LogId,
    base: Offset,
    /// How much of the `.log` file may be read.
    len: AtomicU64,
    /// How much of the `.index` file may be read.
    index_len: AtomicU64,
    /// What was read and found good since the start.
    checked: Mutex<Checked>,
    /// What is being read ahead of a reader.
    ahead: Mutex<Option<Ahead>>,
    /// An index is missing or cut, as far as a start can see.
    index_is_wrong: bool,
    /// Somebody has been asked to build the indexes anew.
    rebuilding: AtomicBool,
}

impl Segment {
    /// A segment of which so much has been written.
    pub(crate) fn new(log: LogId, base: Offset, len: u64, index_len: u64) -> Self {
        Self {
            log,
            base,
            len: AtomicU64::new(len),
            index_len: AtomicU64::new(index_len),
            checked: Mutex::default(),
            ahead: Mutex::default(),
            index_is_wrong: false,
            rebuilding: AtomicBool::new(false),
        }
    }

    /// The same, with an index that is missing or cut.
    pub(crate) fn with_wrong_index(self) -> Self {
        Self { index_is_wrong: true, ..self }
    }

    /// Whether an index was missing or cut at the start.
    pub(crate) fn index_is_wrong(&self) -> bool {
        self.index_is_wrong
    }

    /// Whether the caller is the one to have the indexes built anew, which is tried once in a life.
    pub(crate) fn claim_rebuild(&self) -> bool {
        !self.rebuilding.load(Ordering::Relaxed) && !self.rebuilding.swap(true, Ordering::AcqRel)
    }

    /// The index was built anew.
    pub(crate) fn set_index_len(&self, len: u64) {
        self.index_len.store(len, Ordering::Release);
    }

    /// The log it is part of.
    pub(crate) fn log(&self) -> LogId {
        self.log
    }

    /// The offset of its first record.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of record batches.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Bytes of the offset index.
    pub(crate) fn index_len(&self) -> u64 {
        self.index_len.load(Ordering::Acquire)
    }

    /// More has been written.
    pub(crate) fn publish(&self, active: &ActiveSegment) {
        self.index_len.store(active.index_len, Ordering::Release);
        self.len.store(active.len, Ordering::Release);
    }

    /// Whether the bytes of this range passed their checks before.
    pub(crate) fn is_checked(&self, from: u64, to: u64) -> bool {
        self.checked.lock().contains(from, to)
    }

    /// Where the checked bytes around `at` end, which is where a batch ends; `at` itself if there are none.
    pub(crate) fn checked_until(&self, at: u64) -> u64 {
        self.checked.lock().end_of(at).unwrap_or(at)
    }

    /// Has `until` be read ahead for a reader who read `from..end`. Returns whether the caller is the one to
    /// have it done: what is being read ahead already is only made to go on further.
    pub(crate) fn claim_ahead(&self, from: u64, end: u64, until: u64) -> bool {
        let mut ahead = self.ahead.lock();
        match ahead.as_mut() {
            Some(ahead) => {
                ahead.go_on(end, until);
                false
            }
            None => {
                *ahead = Some(Ahead::new(from, end, until));
                true
            }
        }
    }

    /// What is next to be read ahead; at the end of it, it may be claimed again.
    pub(crate) fn next_ahead(&self) -> Option<Step> {
        let mut ahead = self.ahead.lock();
        let step = ahead.as_mut().and_then(Ahead::step);
        if step.is_none() {
            *ahead = None;
        }
        step
    }

    /// What lies before `done` was read ahead and checked; `None` gives up.
    pub(crate) fn set_ahead(&self, done: Option<u64>) {
        let mut ahead = self.ahead.lock();
        match (ahead.as_mut(), done) {
            (Some(ahead), Some(done)) => ahead.came_to(done),
            _ => *ahead = None,
        }
    }

    /// The batches in this range were read and are good.
    pub(crate) fn set_checked(&self, from: u64, to: u64) {
        self.checked.lock().add(from, to);
    }
}

/// How far the segment that is being written has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ActiveSegment {
    /// The offset of its first record.
    pub(crate) base: Offset,
    /// Bytes in the `.log` file.
    pub(crate) len: u64,
    /// Bytes in the `.index` file.
    pub(crate) index_len: u64,
    /// Bytes in the `.timeindex` file.
    pub(crate) time_index_len: u64,
    /// Bytes of batches since the last index entry.
    pub(crate) since_index: u64,
    /// The timestamp by which its age is told: that of its first batch.
    pub(crate) first_timestamp: TimestampMs,
    /// The largest timestamp so far, and the last offset of the batch that has it.
    pub(crate) max_timestamp: TimestampMs,
    /// See [`max_timestamp`](Self::max_timestamp).
    pub(crate) max_timestamp_offset: Offset,
    /// The timestamp of the last entry in the time index; entries there rise.
    pub(crate) indexed_timestamp: TimestampMs,
}

impl ActiveSegment {
    /// A segment without records.
    pub(crate) fn empty(base: Offset) -> Self {
        Self {
            base,
            len: 0,
            index_len: 0,
            time_index_len: 0,
            since_index: 0,
            first_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
            max_timestamp_offset: base,
            indexed_timestamp: TimestampMs::NONE,
        }
    }
}
