//! What a producer has been given and has not settled: records by partition, and partitions by the broker that leads them.
//!
//! | file | what it holds |
//! |---|---|
//! | `intake` | how a record comes in: its partition, its room, and its batch |
//! | `learn` | what news of the cluster mean |
//! | `topic` | a topic, and its records before it is known |
//! | `queue` | what waits to be sent to a broker |
//!
//! It does no I/O and reads no clock. Times are since the producer began. What is to be told to those who wait is handed
//! out as [`News`], to be told where no lock is held.

mod intake;
mod learn;
mod queue;
#[cfg(test)]
mod tests;
mod topic;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use ottla_protocol::ErrorCode;
use ottla_records::{BatchHeader, TimestampMs};

use self::{
    queue::Queue,
    topic::{Pending, Topic},
};
use super::{
    delivery::{Delivery, News, OnFailure, Outcome},
    partition::{Arrival, Fit, Limits, Partition, Sending, Settled, ToDo, alone},
    partitioner::Partitioning,
    record::Record,
    sequencer::{Attempt, BatchNumber, Identity},
};
use crate::{
    budget::{Place, Producing, Ready},
    error::{Error, ErrorKind, Written},
    jitter::Jitter,
    lanes::Lane,
    metadata::cluster::Cluster,
    metrics::Counters,
};

/// What a producer goes by.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// The most bytes of one record, and of the batches in one request.
    pub(crate) request_bytes: usize,
    /// How long a record may wait until its topic is known.
    pub(crate) max_wait: Duration,
    pub(crate) is_idempotent: bool,
    pub(crate) partitioning: Partitioning,
    /// The least and the most time between two attempts.
    pub(crate) backoff: (Duration, Duration),
    pub(crate) on_failure: OnFailure,
}

/// See the module.
pub(crate) struct Accumulator {
    settings: Settings,
    budget: Producing,
    counters: Arc<Counters>,
    jitter: Jitter,
    /// What was learnt last.
    cluster: Arc<Cluster>,
    /// Why nothing was learnt since.
    not_learnt: Option<Error>,
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
    /// Those of which nothing is known yet: records wait for no others.
    unknown: BTreeSet<usize>,
    /// Places among the topics that are free.
    vacant: Vec<usize>,
    /// The topic of the last record, which is often that of the next.
    last_topic: usize,
    slots: Vec<Slot>,
    queues: BTreeMap<i32, Queue>,
    /// Slots that wait for another identity.
    parked: Vec<usize>,
    /// When there is something to do for a slot: one entry for each at most.
    timers: BTreeSet<(Duration, usize)>,
    /// When whoever drives this looks again by itself.
    looks_at: Duration,
    /// The number of the state of the brokers: another one when another set of them can be reached.
    state: u64,
    /// What the producer is to brokers, once they have said so.
    identity: Option<Identity>,
    /// The number of the last batch that was begun.
    last_opening: u64,
    /// Batches up to this number wait for no more records.
    flushed: u64,
    /// Why nothing more is taken.
    closed: Option<Error>,
    /// What was learnt is out of date.
    wants_metadata: bool,
    /// There is something to send, and no identity, or one whose sequences have ended.
    wants_identity: bool,
    /// Records that are not settled.
    unsettled: u64,
    fates: Fates,
    pub(crate) turn: Turn,
}

/// What is to be done where no lock is held.
#[derive(Default)]
pub(crate) struct Turn {
    news: Vec<News>,
    ready: Vec<Ready>,
}

impl Turn {
    /// Whether a record's fate is to be told.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Tells whoever waits.
    pub(crate) fn tell(self) {
        self.news.into_iter().for_each(News::tell);
        self.ready.into_iter().for_each(Ready::wake);
    }
}

/// How many records ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fates {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    /// Those that were never sent, and fail because the producer was closed.
    pub(crate) unsent: u64,
}

/// A partition that has had records.
struct Slot {
    topic: usize,
    index: i32,
    partition: Partition,
    leader: Option<i32>,
    lane: Lane,
    bytes: usize,
    /// When the slot is among the timers.
    timer: Option<Duration>,
    /// It is in the queue of its leader, or parked.
    is_queued: bool,
    /// Attempts in a row that have failed, and before when there is no other.
    failures: u32,
    not_before: Duration,
}

/// A record was taken.
pub(crate) struct Taken {
    pub(crate) delivery: Delivery,
    /// Whether there is something to do earlier than before.
    pub(crate) is_urgent: bool,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It never will be.
    Failed(Error),
    /// There is no room for so many bytes in its lane at the moment.
    NoRoom { lane: Lane, bytes: usize },
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A batch on its way to a broker.
pub(crate) struct Shipment {
    pub(crate) slot: usize,
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: [u8; 16],
    pub(crate) partition: i32,
    pub(crate) batch: BatchNumber,
    pub(crate) header: BatchHeader,
    pub(crate) records: bytes::Bytes,
}

/// How an attempt to send a batch ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It is in the log, its first record at this offset, if the broker told.
    Written(Option<i64>),
    /// See [`Attempt`].
    Again(Attempt, Error),
    /// No other attempt helps.
    Failed(Written, Error),
    /// It is too large for the broker.
    TooLarge(Error),
}

impl Accumulator {
    pub(crate) fn new(
        settings: Settings,
        budget: Producing,
        counters: Arc<Counters>,
        jitter: Jitter,
    ) -> Self {
        let identity = (!settings.is_idempotent).then_some(Identity::NONE);
        Self {
            settings,
            budget,
            counters,
            jitter,
            cluster: Arc::default(),
            not_learnt: None,
            topics: Vec::new(),
            by_name: HashMap::new(),
            unknown: BTreeSet::new(),
            vacant: Vec::new(),
            last_topic: usize::MAX,
            slots: Vec::new(),
            queues: BTreeMap::new(),
            parked: Vec::new(),
            timers: BTreeSet::new(),
            looks_at: Duration::MAX,
            state: 1,
            identity,
            last_opening: 0,
            flushed: 0,
            closed: None,
            wants_metadata: false,
            wants_identity: false,
            unsettled: 0,
            fates: Fates::default(),
            turn: Turn::default(),
        }
    }

    /// Notices what a slot has to do next, and when.
    fn touch(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        let is_ready = slot.partition.is_ready(now, self.flushed, &self.settings.limits);
        if let Some(leader) = slot.leader.filter(|_| is_ready && !slot.is_queued && slot.not_before <= now) {
            slot.is_queued = true;
            self.queues.entry(leader).or_default().ready.push_back(at);
        }
        self.set_timer(at, is_ready, now);
    }

    /// Notices when a slot has something to do, which may be ready to be sent.
    fn set_timer(&mut self, at: usize, is_ready: bool, now: Duration) {
        let limits = &self.settings.limits;
        let slot = &mut self.slots[at];
        let waits = (is_ready && slot.not_before > now).then_some(slot.not_before);
        let next = slot.partition.next_deadline(now, limits).into_iter().chain(waits).min();
        if slot.timer != next {
            if let Some(timer) = slot.timer.take() {
                self.timers.remove(&(timer, at));
            }
            self.timers.extend(next.map(|next| (next, at)));
            slot.timer = next;
        }
    }

    /// Does what is due, and notices who is silent.
    pub(crate) fn tick(&mut self, now: Duration) {
        while let Some((due, slot)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, slot));
            self.slots[slot].timer = None;
            let mut settled = Vec::new();
            self.slots[slot].partition.expire(now, &self.settings.limits, &mut settled);
            settled.into_iter().for_each(|settled| self.settle(slot, settled, now));
            self.touch(slot, now);
        }
        self.return_late(now);
        for queue in self.queues.values_mut() {
            let before = queue.is_reachable();
            queue.listen(now);
            self.state += u64::from(before != queue.is_reachable());
        }
    }

    /// When whoever drives this looks again by itself, if nothing comes or is answered.
    pub(crate) fn looks_at(&mut self, now: Duration) -> Option<Duration> {
        let next = self.next_deadline(now);
        self.looks_at = next.unwrap_or(Duration::MAX);
        next
    }

    /// When there is something to do, if nothing comes or is answered.
    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let queues = self.queues.values().filter_map(|queue| queue.next_deadline(now));
        let oldest = self.unknown.iter().filter_map(|topic| self.topics[*topic].pending.front());
        let pending = oldest.map(|pending| pending.since.saturating_add(self.settings.max_wait));
        timer.into_iter().chain(queues).chain(pending).min()
    }

    /// Gives back the records whose topics did not become known in time.
    fn return_late(&mut self, now: Duration) {
        let max_wait = self.settings.max_wait;
        let is_late = |pending: &Pending| pending.since.saturating_add(max_wait) <= now;
        for topic in self.unknown_topics() {
            while self.topics[topic].pending.front().is_some_and(is_late) {
                let error = self.why_not_known(topic);
                self.give_back_first(topic, &error);
            }
        }
        self.forget_unknown();
    }

    /// Why nothing is known of a topic: nobody answers, or brokers say that it is not there, or they have not said yet.
    fn why_not_known(&self, topic: usize) -> Error {
        let what = format!("nothing was learnt of the topic within max_wait ({:?})", self.settings.max_wait);
        let because = |kind, why: &Error| Error::because(kind, format!("{what}: {why}"), why.clone());
        match (&self.not_learnt, &self.topics[topic].missing) {
            (Some(why), _) => because(ErrorKind::Timeout, why),
            (None, Some(why)) => because(why.kind(), why),
            (None, None) => Error::new(ErrorKind::Timeout, what),
        }
    }

    fn unknown_topics(&self) -> Vec<usize> {
        self.unknown.iter().copied().collect()
    }

    /// Gives back all records that wait for a topic.
    fn give_back_all(&mut self, topic: usize, error: &Error) {
        while !self.topics[topic].pending.is_empty() {
            self.give_back_first(topic, error);
        }
    }

    /// Gives back the record that has waited longest for its topic.
    fn give_back_first(&mut self, topic: usize, error: &Error) {
        let Some(Pending { record, outcome, bytes, .. }) = self.topics[topic].pending.pop_front() else {
            return;
        };
        self.turn.ready.push(self.budget.give_back(Lane::NoLeader, bytes));
        self.give_back(outcome, record, error.clone());
    }

    /// Gives back a record that no batch has taken.
    fn give_back(&mut self, outcome: Arc<Outcome>, record: Record, error: Error) {
        let what = format!("a record for topic {} was not written: {error}", record.topic);
        let error = error.of_record(Written::No, what);
        self.count_failed(&error, 1);
        self.turn.news.push(News::Returned(outcome, error, record));
    }

    fn count_failed(&mut self, error: &Error, records: u32) {
        self.unsettled -= u64::from(records);
        let is_unsent = error.kind() == ErrorKind::Closed && error.written() == Some(Written::No);
        let fate = if is_unsent { &mut self.fates.unsent } else { &mut self.fates.failed };
        *fate += u64::from(records);
        self.counters.failed(error.kind(), records.into());
    }

    /// The fate of a batch is known.
    fn settle(&mut self, slot: usize, settled: Settled, now: Duration) {
        let Settled { outcome, result, records, freed, since } = settled;
        let Slot { bytes, lane, .. } = &mut self.slots[slot];
        *bytes -= freed;
        self.turn.ready.push(self.budget.give_back(*lane, freed));
        match result {
            Ok(base_offset) => {
                self.unsettled -= u64::from(records);
                self.fates.delivered += u64::from(records);
                self.counters.delivered(records.into(), freed as u64, now.saturating_sub(since));
                self.turn.news.push(News::Written(outcome, base_offset));
            }
            Err((error, batch)) => {
                self.count_failed(&error, records);
                self.turn.news.push(News::Failed(outcome, error, batch));
            }
        }
    }

    /// The brokers to whom something is to be sent now.
    pub(crate) fn recipients(&mut self, now: Duration) -> Vec<i32> {
        self.wants_identity |= self.unsettled > 0 && self.identity.is_none();
        let is_due = |(broker, queue): (&i32, &Queue)| {
            (!queue.ready.is_empty() && queue.is_free(now)).then_some(*broker)
        };
        let recipients: Vec<i32> = self.queues.iter().filter_map(is_due).collect();
        if self.identity.is_some() { recipients } else { Vec::new() }
    }

    /// A request to a broker: one batch of each partition that has one, as far as they go into it. Empty where there is
    /// nothing to send, or the broker takes no more at the moment.
    pub(crate) fn ship(&mut self, broker: i32, now: Duration) -> Vec<Shipment> {
        let mut shipments = Vec::new();
        let Some(identity) = self.identity else { return shipments };
        let Some(queue) = self.queues.get_mut(&broker).filter(|queue| queue.is_free(now)) else {
            return shipments;
        };
        let mut turns = mem::take(&mut queue.ready);
        let mut room = self.settings.request_bytes;
        while room > 0 {
            let Some(at) = turns.pop_front() else { break };
            if let Some(shipment) = self.next_of(at, identity, now) {
                room = room.saturating_sub(shipment.header.length);
                shipments.push(shipment);
            }
        }
        let queue = self.queues.entry(broker).or_default();
        // Those that have more to send have come behind those whose turn was not yet.
        turns.append(&mut queue.ready);
        queue.ready = turns;
        if !shipments.is_empty() {
            queue.sent(now);
        }
        shipments
    }

    /// The next batch of a slot, if there is one.
    fn next_of(&mut self, at: usize, identity: Identity, now: Duration) -> Option<Shipment> {
        let slot = &mut self.slots[at];
        let was_open = slot.partition.is_open();
        let to_do = slot.partition.next(now, self.flushed, &self.settings.limits, identity);
        let topic = &mut self.topics[slot.topic];
        if was_open && !slot.partition.is_open() {
            topic.batch_completed(slot.index);
        }
        match to_do {
            ToDo::Send(sending) => {
                let Sending { batch, header, records } = *sending;
                let (topic, topic_id, partition) = (topic.name.clone(), topic.id, slot.index);
                slot.is_queued = false;
                self.touch(at, now);
                Some(Shipment { slot: at, topic, topic_id, partition, batch, header, records })
            }
            ToDo::AnotherIdentity => {
                self.parked.push(at);
                self.wants_identity = true;
                None
            }
            ToDo::Nothing => {
                // Until something is answered.
                slot.is_queued = false;
                let is_ready = slot.partition.is_ready(now, self.flushed, &self.settings.limits);
                self.set_timer(at, is_ready, now);
                None
            }
        }
    }

    /// A request to a broker has ended.
    pub(crate) fn answered(&mut self, broker: i32, throttle: Duration, now: Duration) {
        if let Some(queue) = self.queues.get_mut(&broker) {
            queue.answered(now, throttle);
        }
    }

    /// An attempt to send a batch has ended.
    pub(crate) fn ended(&mut self, at: usize, batch: BatchNumber, ended: Ended, now: Duration) {
        let (least, most) = self.settings.backoff;
        let slot = &mut self.slots[at];
        let settled = match ended {
            Ended::Written(base_offset) => {
                slot.failures = 0;
                slot.partition.written(batch, base_offset)
            }
            Ended::Again(attempt, error) => {
                self.wants_metadata = true;
                slot.failures += 1;
                slot.not_before = now.saturating_add(self.jitter.backoff(slot.failures, least, most));
                self.counters.retried();
                slot.partition.failed(batch, attempt, &error)
            }
            Ended::Failed(written, error) => {
                // It is out, so that it is given up as perhaps written, unless the attempt is told to have failed.
                match written {
                    Written::No => slot.partition.failed(batch, Attempt::Failed, &error),
                    Written::Maybe => slot.partition.abandon(batch, &error),
                }
            }
            Ended::TooLarge(error) => match slot.partition.split(batch) {
                Some((grown, news)) => {
                    slot.bytes += grown;
                    self.budget.take(slot.lane, grown);
                    self.turn.news.push(news);
                    None
                }
                None => slot.partition.failed(batch, Attempt::Failed, &error),
            },
        };
        if let Some(settled) = settled {
            self.settle(at, settled, now);
        }
        self.touch(at, now);
    }

    /// Whether a broker can be connected to.
    pub(crate) fn set_down(&mut self, broker: i32, is_down: bool) {
        if let Some(queue) = self.queues.get_mut(&broker) {
            let before = queue.is_reachable();
            queue.set_down(is_down);
            self.state += u64::from(before != queue.is_reachable());
            self.wants_metadata |= is_down;
        }
    }

    /// What the producer was to brokers, if another identity is needed.
    pub(crate) fn identity_wanted(&mut self) -> Option<Option<Identity>> {
        mem::take(&mut self.wants_identity).then_some(self.identity)
    }

    /// What the producer is to brokers from now on.
    pub(crate) fn set_identity(&mut self, identity: Identity, now: Duration) {
        self.identity = Some(identity);
        for at in mem::take(&mut self.parked) {
            self.slots[at].is_queued = false;
            self.touch(at, now);
        }
    }

    /// Nothing more is taken, because of this. What there is goes on.
    pub(crate) fn stop(&mut self, error: Error) {
        self.closed.get_or_insert(error);
        self.turn.ready.push(Place::try_all_again(&self.budget));
    }

    /// Whatever is not settled fails, because of this.
    pub(crate) fn fail_all(&mut self, error: &Error, now: Duration) {
        for at in 0..self.slots.len() {
            let mut settled = Vec::new();
            self.slots[at].partition.end(error, &mut settled);
            settled.into_iter().for_each(|settled| self.settle(at, settled, now));
            self.touch(at, now);
        }
        self.unknown_topics().into_iter().for_each(|topic| self.give_back_all(topic, error));
    }

    /// Batches that have begun wait for no more records. Returns the number of the last of them.
    pub(crate) fn flush(&mut self, now: Duration) -> u64 {
        self.flushed = self.last_opening;
        (0..self.slots.len()).for_each(|at| self.touch(at, now));
        self.flushed
    }

    /// Whether all batches up to this number are settled.
    pub(crate) fn is_flushed(&self, number: u64) -> bool {
        let is_older = |opening: u64| opening <= number;
        self.unsettled == 0
            || !(self
                .slots
                .iter()
                .filter(|slot| slot.bytes > 0)
                .filter_map(|slot| slot.partition.oldest())
                .any(is_older)
                || self
                    .unknown
                    .iter()
                    .flat_map(|topic| &self.topics[*topic].pending)
                    .any(|pending| is_older(pending.opening)))
    }

    /// Records that are not settled.
    pub(crate) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    pub(crate) fn fates(&self) -> Fates {
        self.fates
    }
}
