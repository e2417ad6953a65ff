//! The one order of appends: gives offsets and leader epochs, and keeps the idempotent producers.
//!
//! A pure state machine: no I/O, no clock. What a commit that failed has changed can be taken back.

use std::collections::HashMap;

use ottla_records::{BatchHeader, LeaderEpoch, LogId, Offset, TimestampMs};
use ottla_storage::{AppendError, Producers, Sequenced, UndoProducer};

/// What is needed to append to a log.
#[derive(Clone, Debug)]
pub(crate) struct AppendState {
    /// The offset of the next record.
    pub(crate) next: Offset,
    /// Who has written idempotently.
    pub(crate) producers: Producers,
}

/// The append states of all logs.
#[derive(Debug)]
pub(crate) struct Sequencer {
    logs: HashMap<LogId, AppendState>,
    epoch: LeaderEpoch,
    max_producers: usize,
    /// How to take back what the places given since the last commit have changed about producers.
    undo: Vec<UndoProducer>,
}

/// A batch that was given its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// The offset of its first record.
    pub(crate) base: Offset,
    /// The epoch it is written in.
    pub(crate) epoch: LeaderEpoch,
    /// Whether it changed what is known of a producer.
    idempotent: bool,
}

/// What to do with a batch.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Write it.
    Place(Placed),
    /// It was written before, here.
    Duplicate {
        /// The offset of the first record.
        base: Offset,
        /// The broker's stamp, if it has one.
        append_time: Option<TimestampMs>,
    },
}

impl Sequencer {
    /// A sequencer that goes on from what was recovered, and writes in `epoch`. At most `max_producers`
    /// idempotent producers are remembered for each log.
    pub(crate) fn new(logs: HashMap<LogId, AppendState>, epoch: LeaderEpoch, max_producers: usize) -> Self {
        Self { logs, epoch, max_producers, undo: Vec::new() }
    }

    /// Decides about a batch for a log.
    pub(crate) fn append(
        &mut self,
        log: LogId,
        header: &BatchHeader,
        append_time: Option<TimestampMs>,
        now: TimestampMs,
    ) -> Result<Decision, AppendError> {
        let max_producers = self.max_producers;
        let state = self
            .logs
            .entry(log)
            .or_insert_with(|| AppendState { next: Offset::ZERO, producers: Producers::new(max_producers) });
        let base = state.next;
        if header.has_producer_id() {
            match state.producers.check(header)? {
                Sequenced::New => {
                    self.undo.push(state.producers.apply(header, base, append_time, now));
                }
                Sequenced::Duplicate { base_offset, append_time } => {
                    return Ok(Decision::Duplicate { base: base_offset, append_time });
                }
            }
        }
        state.next = Offset(base.0 + i64::from(header.last_offset_delta) + 1);
        Ok(Decision::Place(Placed { base, epoch: self.epoch, idempotent: header.has_producer_id() }))
    }

    /// The places given so far stand.
    pub(crate) fn committed(&mut self) {
        self.undo.clear();
    }

    /// Takes a place back. Places are taken back in the reverse order of their giving.
    pub(crate) fn undo(&mut self, log: LogId, placed: Placed) {
        let undo = if placed.idempotent { self.undo.pop() } else { None };
        if let Some(state) = self.logs.get_mut(&log) {
            state.next = placed.base;
            if let Some(undo) = undo {
                state.producers.undo(undo);
            }
        }
    }

    /// Forgets a log that was deleted.
    pub(crate) fn forget(&mut self, log: LogId) {
        self.logs.remove(&log);
    }

    /// A copy of a log's state.
    pub(crate) fn state(&self, log: LogId) -> Option<AppendState> {
        self.logs.get(&log).cloned()
    }

    /// Forgets producers that have not written for longer than `max_age_ms`.
    pub(crate) fn expire_producers(&mut self, now: TimestampMs, max_age_ms: i64) {
        for state in self.logs.values_mut() {
            state.producers.expire(now, max_age_ms);
        }
    }
}
