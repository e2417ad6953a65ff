//! The order of a partition's batches, and what became of each: a pure state machine of the idempotent producer (KIP-98,
//! KIP-360).
//!
//! - A batch gets its sequences when it is sent for the first time, and keeps them for every other attempt.
//! - At most five are under way at a time, whichever leader they were sent to. After a failure that may be retried they
//!   go one at a time, the oldest first, until all that were under way are settled.
//! - The first one under an identity goes alone: a broker that does not know the producer takes any sequence for the
//!   first, so that a later batch could get before one that was refused.
//! - A batch that may have been written never gives its sequences to other records: brokers would take these for
//!   duplicates and drop them. When such a batch is given up, or there is another gap in the sequences, nothing new is sent
//!   until everything that has sequences is settled; then the sequences begin at 0 under another epoch.
//! - A batch whose every attempt was refused is in no log, and goes again under the other epoch. One of which an attempt
//!   has no answer is given up when its sequences turn out to be void: that attempt may still be on its way, in the buffers
//!   of a broker that is frozen, and brokers would not find it to be the same batch.
//!
//! Without idempotence there are no sequences, one batch is under way at a time, and what is sent again may be written twice.
//!
//! ```text
//!  fresh ──send──> out ──written──> settled
//!    ^             │ ^
//!    │     refused │ │ sent again: the oldest, alone
//!    │     unknown v │
//!    └─ void ───── waiting ──given up──> settled (not written, or perhaps)
//! ```

use std::collections::VecDeque;

use ottla_records::{ProducerEpoch, ProducerId};

use crate::error::Written;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// Batches under way at a time: brokers remember as many to find duplicates among them.
const UNDER_WAY_MAX: usize = 5;

/// What a producer is to brokers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

impl Identity {
    /// That of producers that are not idempotent.
    pub(crate) const NONE: Self = Self { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

/// Names a batch of a partition.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct BatchNumber(pub(crate) u64);

/// What a partition has to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Send this batch.
    Send {
        batch: BatchNumber,
        identity: Identity,
        /// The sequence of its first record.
        base_sequence: i32,
    },
    /// Go on under another epoch, or another producer id: there is something to send, and this one's sequences have a gap.
    AnotherIdentity,
    /// Nothing, until something comes or is answered.
    Nothing,
}

/// How an attempt to send a batch ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    /// It is in the log, by this attempt or an earlier one.
    Written,
    /// This attempt did not write it; another one may.
    Refused,
    /// Nobody knows whether this attempt wrote it.
    Unknown,
    /// The broker expects another sequence.
    OutOfOrder,
    /// The broker knows a later epoch of this producer, or does not know it at all. This attempt did not write it.
    Fenced,
    /// This attempt did not write it, and no other one will.
    Failed,
}

/// What follows from the end of an attempt for its batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It is in the log.
    Delivered,
    /// It is given up.
    Failed(Written),
    /// It is sent again.
    Again,
    /// It had been given up before: this changes nothing.
    Forgotten,
}

/// The batches of a partition that are not settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequencer {
    identity: Option<Identity>,
    next_sequence: i32,
    /// The sequences have a gap, or end: nothing new is sent under this identity.
    is_spent: bool,
    /// A batch was written under this identity, and none has failed since without having been settled: several may be
    /// under way.
    flows: bool,
    /// Batches with sequences, in their order.
    sequenced: VecDeque<Sequenced>,
    /// Batches without, in their order.
    fresh: VecDeque<Fresh>,
    /// How many of these had sequences that are void.
    returned: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sequenced {
    batch: BatchNumber,
    records: i32,
    base_sequence: i32,
    /// It was sent, and the attempt has not ended.
    is_out: bool,
    may_be_written: bool,
}

#[derive(Clone, Copy, Debug)]
struct Fresh {
    batch: BatchNumber,
    records: i32,
}

impl Sequencer {
    /// Takes a batch that is to be sent after all others.
    pub(crate) fn push(&mut self, batch: BatchNumber, records: i32) {
        self.fresh.push_back(Fresh { batch, records });
    }

    /// Whether everything is settled.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.sequenced.is_empty() && self.fresh.is_empty()
    }

    /// What to do next, where `current` is the producer's newest identity. A batch that is returned counts as sent.
    pub(crate) fn next(&mut self, current: Identity) -> Next {
        if let Some(oldest) = self.sequenced.iter().position(|sequenced| !sequenced.is_out) {
            return if self.sequenced.iter().any(|sequenced| sequenced.is_out) {
                Next::Nothing
            } else {
                self.send(oldest)
            };
        }
        let Some(fresh) = self.fresh.front().copied() else { return Next::Nothing };
        if self.sequenced.len() >= self.under_way_max() {
            return Next::Nothing;
        }
        if self.identity != Some(current) {
            if !self.sequenced.is_empty() {
                return Next::Nothing;
            }
            self.begin(current);
        }
        let is_idempotent = current != Identity::NONE;
        // Sequences go round in Kafka; another epoch is as good, and leaves nothing to think about.
        let after = self.next_sequence.checked_add(fresh.records).filter(|_| !self.is_spent);
        let base_sequence = match after {
            _ if !is_idempotent => -1,
            Some(after) => std::mem::replace(&mut self.next_sequence, after),
            None => {
                self.is_spent = true;
                return self.spent();
            }
        };
        self.fresh.pop_front();
        self.returned = self.returned.saturating_sub(1);
        let Fresh { batch, records } = fresh;
        self.sequenced.push_back(Sequenced {
            batch,
            records,
            base_sequence,
            is_out: false,
            may_be_written: false,
        });
        self.send(self.sequenced.len() - 1)
    }

    /// Whether there is, or may be, something to send now, where `may_come` says that a batch could be added.
    pub(crate) fn is_ready(&self, may_come: bool) -> bool {
        let is_out = |sequenced: &Sequenced| sequenced.is_out;
        if self.sequenced.iter().all(is_out) {
            (may_come || !self.fresh.is_empty()) && self.sequenced.len() < self.under_way_max()
        } else {
            !self.sequenced.iter().any(is_out)
        }
    }

    /// Whether a batch that is added now is the next to be sent.
    pub(crate) fn is_short_of_batches(&self) -> bool {
        self.fresh.is_empty()
            && self.is_ready(true)
            && self.sequenced.iter().all(|sequenced| sequenced.is_out)
    }

    fn under_way_max(&self) -> usize {
        if self.flows && self.identity != Some(Identity::NONE) { UNDER_WAY_MAX } else { 1 }
    }

    /// An attempt to send a batch has ended.
    pub(crate) fn ended(&mut self, batch: BatchNumber, attempt: Attempt) -> Fate {
        let Some(at) = self.position(batch) else { return Fate::Forgotten };
        self.sequenced[at].is_out = false;
        match attempt {
            Attempt::Written => {
                self.sequenced.remove(at);
                self.flows |= self.sequenced.is_empty();
                Fate::Delivered
            }
            Attempt::Refused => self.again(),
            Attempt::Unknown => {
                self.sequenced[at].may_be_written = true;
                self.again()
            }
            // What is before it may have got lost, and it is this one's turn after that.
            Attempt::OutOfOrder | Attempt::Fenced if at > 0 => self.again(),
            Attempt::OutOfOrder | Attempt::Fenced if !self.sequenced[at].may_be_written => self.give_back(),
            Attempt::OutOfOrder | Attempt::Fenced | Attempt::Failed => Fate::Failed(self.give_up(at)),
        }
    }

    /// A batch is given up: its deadline has passed. Says whether it may be in the log; `None` where it is settled.
    pub(crate) fn abandon(&mut self, batch: BatchNumber) -> Option<Written> {
        if let Some(at) = self.position(batch) {
            let sequenced = &mut self.sequenced[at];
            sequenced.may_be_written |= sequenced.is_out;
            return Some(self.give_up(at));
        }
        let at = self.fresh.iter().position(|fresh| fresh.batch == batch)?;
        self.fresh.remove(at);
        if at < self.returned {
            self.returned -= 1;
        }
        Some(Written::No)
    }

    /// A batch that is too large goes on as these parts, which have its sequences. Not for one that is under way, or may
    /// be written: returns whether it was done.
    pub(crate) fn split(&mut self, batch: BatchNumber, parts: &[(BatchNumber, i32)]) -> bool {
        let Some(at) = self.position(batch) else { return false };
        let Sequenced { records, mut base_sequence, is_out, may_be_written, .. } = self.sequenced[at];
        if is_out || may_be_written || parts.iter().map(|(_, records)| records).sum::<i32>() != records {
            return false;
        }
        self.sequenced.remove(at);
        for (place, (batch, records)) in (at..).zip(parts.iter().copied()) {
            let part = Sequenced { batch, records, base_sequence, is_out: false, may_be_written: false };
            self.sequenced.insert(place, part);
            if base_sequence >= 0 {
                base_sequence += records;
            }
        }
        true
    }

    fn position(&self, batch: BatchNumber) -> Option<usize> {
        self.sequenced.iter().position(|sequenced| sequenced.batch == batch)
    }

    fn begin(&mut self, identity: Identity) {
        self.identity = Some(identity);
        (self.next_sequence, self.is_spent, self.flows, self.returned) = (0, false, false, 0);
    }

    fn again(&mut self) -> Fate {
        self.flows = false;
        Fate::Again
    }

    /// Nothing new goes under this identity; when all that has sequences is settled, another is needed.
    fn spent(&self) -> Next {
        if self.sequenced.is_empty() { Next::AnotherIdentity } else { Next::Nothing }
    }

    fn send(&mut self, at: usize) -> Next {
        let Some(identity) = self.identity else { return Next::Nothing };
        let sequenced = &mut self.sequenced[at];
        sequenced.is_out = true;
        Next::Send { batch: sequenced.batch, identity, base_sequence: sequenced.base_sequence }
    }

    /// The oldest batch is not in the log: it goes under another identity, before all that have no sequences yet and after
    /// those that were given back before it.
    fn give_back(&mut self) -> Fate {
        if let Some(Sequenced { batch, records, .. }) = self.sequenced.pop_front() {
            self.fresh.insert(self.returned, Fresh { batch, records });
            self.returned += 1;
        }
        self.is_spent = true;
        Fate::Again
    }

    /// No other attempt is made for a batch.
    fn give_up(&mut self, at: usize) -> Written {
        let is_last = at + 1 == self.sequenced.len();
        let Some(Sequenced { base_sequence, may_be_written, .. }) = self.sequenced.remove(at) else {
            return Written::Maybe;
        };
        if may_be_written {
            self.is_spent = true;
            return Written::Maybe;
        }
        if is_last && !self.is_spent {
            // Nobody has seen its sequences, so that others may have them.
            self.next_sequence = base_sequence;
        } else {
            self.is_spent = true;
        }
        Written::No
    }
}
