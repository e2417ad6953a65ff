//! How a record comes in: its partition, its room, and its batch.

use super::*;

impl Accumulator {
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
        Ok(self.taken(delivery, is_urgent))
    }

    fn taken(&mut self, delivery: Delivery, is_urgent: bool) -> Taken {
        self.unsettled += 1;
        self.counters.queued();
        Taken { delivery, is_urgent }
    }

    /// The topic of this name, which is noted where it is new.
    pub(super) fn topic(&mut self, name: &Arc<str>) -> usize {
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
        if !self.topics[at].is_known() {
            self.unknown.insert(at);
        }
        at
    }

    /// The slot of the partition that a record goes to.
    pub(super) fn choose(&mut self, topic: usize, record: &Record) -> Result<usize, Error> {
        let Self { queues, jitter, topics, .. } = self;
        let is_reachable = |broker| queues.get(&broker).is_none_or(Queue::is_reachable);
        let chosen = topics[topic].partition(record, || jitter.next(), self.state, is_reachable);
        // There may be another one by now.
        self.wants_metadata |= chosen.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnknownTopic);
        Ok(self.slot(topic, chosen?))
    }

    /// The slot of a partition, which is made where it had no records before.
    pub(super) fn slot(&mut self, topic: usize, index: i32) -> usize {
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
    pub(super) fn append(
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
        Ok(self.taken(delivery, true))
    }
}
