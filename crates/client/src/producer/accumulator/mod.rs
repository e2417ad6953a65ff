//! What a producer has been given and has not settled: records by partition, and partitions by the broker that leads them.
//!
//! It does no I/O and reads no clock. Times are since the producer began. What is to be told to those who wait is handed
//! out as [`News`], to be told where no lock is held.

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
    admin::refused,
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
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
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
            topics: Vec::new(),
            by_name: HashMap::new(),
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

    /// Takes a record, if there is room for it. `place` is that of whoever has waited for room.
    pub(crate) fn take(
        &mut self,
        record: &Record,
        wall: TimestampMs,
        now: impl Fn() -> Duration,
        place: Option<&mut Place>,
    ) -> Result<Taken, Refusal> {
        if let Some(closed) = &self.closed {
            return Err(Refusal::Failed(closed.clone()));
        }
        let topic = self.topic(&record.topic);
        if !self.topics[topic].is_known() || !self.topics[topic].pending.is_empty() {
            return self.hold(topic, record, wall, now(), place);
        }
        let mut slot = self.choose(topic, record)?;
        let mut fit = self.slots[slot].partition.fit(record, wall, &self.settings.limits);
        let is_full = matches!(fit, Fit::Opens { .. }) && self.slots[slot].partition.is_open();
        if is_full && record.partition.is_none() {
            // What fills the batch may as well begin one of another partition.
            self.slots[slot].partition.close();
            self.topics[topic].batch_completed(self.slots[slot].index);
            self.touch(slot, now());
            slot = self.choose(topic, record)?;
            fit = self.slots[slot].partition.fit(record, wall, &self.settings.limits);
        }
        self.check_size(record, wall, fit.bytes())?;
        self.take_room(self.slots[slot].lane, fit.bytes(), place)?;
        self.last_opening += u64::from(matches!(fit, Fit::Opens { .. }));
        let arrival = Arrival { now: &now, wall, opening: self.last_opening };
        let delivery = self.append(slot, record, fit, arrival)?;
        let mut is_urgent = is_full;
        if matches!(fit, Fit::Opens { .. }) {
            self.touch(slot, now());
            let next = self.timers.first().map_or(Duration::MAX, |(due, _)| *due);
            is_urgent |= self.slots[slot].is_queued || next < self.looks_at;
        }
        self.unsettled += 1;
        self.counters.queued();
        Ok(Taken { delivery, is_urgent })
    }

    /// The topic of this name, which is noted where it is new.
    fn topic(&mut self, name: &Arc<str>) -> usize {
        let last = self.topics.get(self.last_topic).map(|topic| &topic.name);
        let is_last = last.is_some_and(|last| Arc::ptr_eq(last, name) || last == name);
        if !is_last {
            self.last_topic = match self.by_name.get(name) {
                Some(known) => *known,
                None => self.new_topic(name),
            };
        }
        self.topics[self.last_topic].is_in_use = true;
        self.last_topic
    }

    fn new_topic(&mut self, name: &Arc<str>) -> usize {
        let mut topic = Topic::new(name.clone(), &self.settings.partitioning);
        if let Some(Ok(told)) = self.cluster.topics.get(name) {
            topic.told(told);
        }
        let at = match self.vacant.pop() {
            Some(vacant) => {
                self.topics[vacant] = topic;
                vacant
            }
            None => {
                self.topics.push(topic);
                self.topics.len() - 1
            }
        };
        self.by_name.insert(name.clone(), at);
        at
    }

    /// The slot of the partition that a record goes to.
    fn choose(&mut self, topic: usize, record: &Record) -> Result<usize, Error> {
        let Self { queues, jitter, topics, .. } = self;
        let is_reachable = |broker| queues.get(&broker).is_none_or(Queue::is_reachable);
        let chosen = topics[topic].partition(record, || jitter.next(), self.state, is_reachable);
        // There may be another one by now.
        self.wants_metadata |= chosen.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnknownTopic);
        Ok(self.slot(topic, chosen?))
    }

    /// The slot of a partition, which is made where it had no records before.
    fn slot(&mut self, topic: usize, index: i32) -> usize {
        let known = &mut self.topics[topic];
        let (name, leader) = (known.name.clone(), known.leader(index));
        let next = self.slots.len();
        match known.slot(index) {
            Some(Some(slot)) => return *slot,
            Some(none) => *none = Some(next),
            None => {}
        }
        self.slots.push(Slot {
            topic,
            index,
            partition: Partition::new(name, index, self.settings.on_failure.clone()),
            leader,
            lane: leader.map_or(Lane::NoLeader, Lane::Broker),
            bytes: 0,
            timer: None,
            is_queued: false,
            failures: 0,
            not_before: Duration::ZERO,
        });
        next
    }

    /// # Errors
    /// The record is larger than it may be. `bytes` is what it would take.
    fn check_size(&self, record: &Record, wall: TimestampMs, bytes: usize) -> Result<(), Error> {
        let most = self.settings.request_bytes;
        if bytes > most && alone(record, wall) > most {
            let what = format!(
                "a record for topic {} takes {bytes} bytes, and max_request_size (max.request.size) is {most}",
                record.topic
            );
            return Err(Error::new(ErrorKind::InvalidRecord, what));
        }
        if bytes > most / 2 && !self.budget.could_take(bytes, most) {
            let what = format!(
                "a record for topic {} takes {bytes} bytes, more than memory_budget (buffer.memory) leaves to one",
                record.topic
            );
            return Err(Error::new(ErrorKind::InvalidRecord, what));
        }
        Ok(())
    }

    /// A place in the queue for room, for whoever was told that there is none.
    pub(crate) fn place(&self, lane: Lane, bytes: usize) -> Place {
        Place::behind_all(&self.budget, lane, bytes, self.settings.limits.batch_bytes.max(bytes))
    }

    fn take_room(&self, lane: Lane, bytes: usize, place: Option<&mut Place>) -> Result<(), Refusal> {
        // A record larger than a batch makes one of its own.
        let batch = self.settings.limits.batch_bytes.max(bytes);
        let has_room = match place {
            Some(place) => place.try_take(lane, bytes, batch),
            None => self.budget.try_take(lane, bytes, batch),
        };
        if has_room { Ok(()) } else { Err(Refusal::NoRoom { lane, bytes }) }
    }

    /// Appends a record for which there is room.
    fn append(
        &mut self,
        slot: usize,
        record: &Record,
        fit: Fit,
        arrival: Arrival<impl FnOnce() -> Duration>,
    ) -> Result<Delivery, Error> {
        let Slot { partition, bytes, lane, .. } = &mut self.slots[slot];
        let appended = partition.append(record, fit, arrival);
        match appended {
            Ok(delivery) => {
                *bytes += fit.bytes();
                Ok(delivery)
            }
            Err(error) => {
                self.turn.ready.push(self.budget.give_back(*lane, fit.bytes()));
                let what = format!("a record for topic {} cannot be sent", record.topic);
                Err(Error::because(ErrorKind::InvalidRecord, what, error))
            }
        }
    }

    /// Keeps a record until its topic is known.
    fn hold(
        &mut self,
        topic: usize,
        record: &Record,
        wall: TimestampMs,
        now: Duration,
        place: Option<&mut Place>,
    ) -> Result<Taken, Refusal> {
        let bytes = alone(record, wall);
        self.check_size(record, wall, bytes)?;
        self.take_room(Lane::NoLeader, bytes, place)?;
        // It is when it came, and not when its topic became known.
        let record = Record { timestamp: Some(record.timestamp.unwrap_or(wall.0)), ..record.clone() };
        let outcome = Outcome::new(record.topic.clone(), -1, self.settings.on_failure.clone());
        self.last_opening += 1;
        let delivery = Delivery::new(outcome.clone(), 0);
        let pending = Pending { record, outcome, since: now, opening: self.last_opening, bytes };
        self.topics[topic].pending.push_back(pending);
        self.wants_metadata |= !self.topics[topic].is_known();
        self.unsettled += 1;
        self.counters.queued();
        Ok(Taken { delivery, is_urgent: true })
    }

    /// Notices what a slot has to do next, and when.
    fn touch(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        let is_ready = slot.partition.is_ready(now, self.flushed, &self.settings.limits);
        if let Some(leader) = slot.leader.filter(|_| is_ready && !slot.is_queued && slot.not_before <= now) {
            slot.is_queued = true;
            self.queues.entry(leader).or_default().ready.push_back(at);
        }
        self.set_timer(at, now);
    }

    /// Notices when a slot has something to do.
    fn set_timer(&mut self, at: usize, now: Duration) {
        let limits = &self.settings.limits;
        let slot = &mut self.slots[at];
        let is_ready = slot.partition.is_ready(now, self.flushed, limits);
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
        let reachable = |queue: &Queue| queue.is_reachable();
        for queue in self.queues.values_mut() {
            let before = reachable(queue);
            queue.listen(now);
            self.state += u64::from(before != reachable(queue));
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
        let oldest = self.topics.iter().filter_map(|topic| topic.pending.front());
        let pending = oldest.map(|pending| pending.since.saturating_add(self.settings.max_wait));
        timer.into_iter().chain(queues).chain(pending).min()
    }

    /// Gives back the records whose topics did not become known in time.
    fn return_late(&mut self, now: Duration) {
        let max_wait = self.settings.max_wait;
        let is_late = |pending: &Pending| pending.since.saturating_add(max_wait) <= now;
        for topic in 0..self.topics.len() {
            while self.topics[topic].pending.front().is_some_and(is_late) {
                let what = format!("nothing was learnt of the topic within max_wait ({max_wait:?})");
                self.give_back_first(topic, &Error::new(ErrorKind::UnknownTopic, what));
            }
        }
        self.forget_unknown();
    }

    /// Gives back the record that has waited longest for its topic.
    fn give_back_first(&mut self, topic: usize, error: &Error) {
        let Some(Pending { record, outcome, bytes, .. }) = self.topics[topic].pending.pop_front() else {
            return;
        };
        self.turn.ready.push(self.budget.give_back(Lane::NoLeader, bytes));
        let what = format!("a record for topic {} was not written: {error}", record.topic);
        let error = error.clone().of_record(Written::No, what);
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
                self.set_timer(at, now);
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

    /// What was learnt of the cluster.
    pub(crate) fn learn(&mut self, cluster: &Arc<Cluster>, wall: TimestampMs, now: Duration) {
        self.state += 1;
        self.cluster = cluster.clone();
        for topic in 0..self.topics.len() {
            match cluster.topics.get(&self.topics[topic].name) {
                Some(Ok(told)) => {
                    self.topics[topic].told(told);
                    self.resolve(topic, wall, now);
                }
                Some(Err(code)) => self.missing(topic, *code),
                None => self.wants_metadata |= !self.topics[topic].is_known(),
            }
        }
        self.forget_unknown();
        for at in 0..self.slots.len() {
            self.lead(at, now);
        }
        self.queues.retain(|broker, queue| cluster.brokers.contains_key(broker) || !queue.is_idle());
        self.turn.ready.push(Place::try_all_again(&self.budget));
    }

    /// Notes who leads a partition now.
    fn lead(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        let leader = self.topics[slot.topic].leader(slot.index);
        if leader != slot.leader {
            if let Some(queue) = slot.leader.and_then(|before| self.queues.get_mut(&before)) {
                queue.ready.retain(|queued| *queued != at);
            }
            self.parked.retain(|parked| *parked != at);
            slot.is_queued = false;
            // What another broker had against it is over.
            slot.not_before = now;
            slot.leader = leader;
            if let Some(leader) = leader {
                let lane = mem::replace(&mut slot.lane, Lane::Broker(leader));
                self.turn.ready.push(self.budget.move_bytes(lane, slot.lane, slot.bytes));
            }
            self.touch(at, now);
        }
        let slot = &self.slots[at];
        self.wants_metadata |= slot.leader.is_none() && slot.bytes > 0;
    }

    /// A topic is known now: its records go to their partitions.
    fn resolve(&mut self, topic: usize, wall: TimestampMs, now: Duration) {
        if !self.topics[topic].is_known() {
            return;
        }
        while let Some(Pending { record, outcome, since, opening, bytes }) =
            self.topics[topic].pending.pop_front()
        {
            self.turn.ready.push(self.budget.give_back(Lane::NoLeader, bytes));
            let appended = self.choose(topic, &record).and_then(|slot| {
                let fit = self.slots[slot].partition.fit(&record, wall, &self.settings.limits);
                self.budget.take(self.slots[slot].lane, fit.bytes());
                let delivery = self.append(slot, &record, fit, Arrival { now: || since, wall, opening })?;
                self.touch(slot, now);
                Ok(delivery)
            });
            let news = match appended {
                Ok(delivery) => News::Moved(outcome, vec![delivery.into_moved()]),
                Err(error) => {
                    let what = format!("a record for topic {} was not written: {error}", record.topic);
                    let error = error.of_record(Written::No, what);
                    self.count_failed(&error, 1);
                    News::Returned(outcome, error, record)
                }
            };
            self.turn.news.push(news);
        }
    }

    /// Topics of which nothing is known and that nobody waits for are forgotten.
    fn forget_unknown(&mut self) {
        let Self { topics, by_name, vacant, .. } = self;
        by_name.retain(|_, at| {
            let is_needed = topics[*at].is_known() || !topics[*at].pending.is_empty();
            if !is_needed {
                vacant.push(*at);
            }
            is_needed
        });
        self.last_topic = usize::MAX;
    }

    /// Brokers tell nothing of a topic, and why.
    fn missing(&mut self, topic: usize, code: ErrorCode) {
        let error = refused(code, &format!("describing topic {}", self.topics[topic].name), None);
        if code.is_retriable() {
            let waits = !self.topics[topic].pending.is_empty();
            let has_records = self.slots.iter().any(|slot| slot.topic == topic && slot.bytes > 0);
            self.wants_metadata |= waits || has_records;
            return;
        }
        while !self.topics[topic].pending.is_empty() {
            self.give_back_first(topic, &error);
        }
    }

    /// What is known of the cluster is not enough.
    pub(crate) fn want_metadata(&mut self) {
        self.wants_metadata = true;
    }

    /// Which topics are to be asked for, if anything has to be.
    pub(crate) fn metadata_wanted(&mut self) -> Option<Vec<Arc<str>>> {
        mem::take(&mut self.wants_metadata).then(|| self.topics_in_use())
    }

    /// The topics that have records, or have had some since this was last asked.
    pub(crate) fn topics_in_use(&mut self) -> Vec<Arc<str>> {
        let mut in_use: BTreeSet<usize> =
            self.slots.iter().filter(|slot| slot.bytes > 0).map(|slot| slot.topic).collect();
        for (at, topic) in self.topics.iter_mut().enumerate() {
            if mem::take(&mut topic.is_in_use) || !topic.pending.is_empty() {
                in_use.insert(at);
            }
        }
        in_use.into_iter().map(|topic| self.topics[topic].name.clone()).collect()
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
        for topic in 0..self.topics.len() {
            while !self.topics[topic].pending.is_empty() {
                self.give_back_first(topic, error);
            }
        }
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
                    .topics
                    .iter()
                    .flat_map(|topic| &topic.pending)
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
