//! What news of the cluster mean, and when more is to be learnt.

use super::*;

impl Accumulator {
    /// What was learnt of the cluster.
    pub(crate) fn learn(&mut self, cluster: &Arc<Cluster>, wall: TimestampMs, now: Duration) {
        self.state += 1;
        self.not_learnt = None;
        self.cluster = cluster.clone();
        for topic in self.by_name.values().copied().collect::<Vec<_>>() {
            match cluster.topics.get(&self.topics[topic].name) {
                Some(Ok(told)) => {
                    self.topics[topic].told(told);
                    self.resolve(topic, wall, now);
                }
                Some(Err(code)) => self.missing(topic, *code),
                None => self.wants_metadata |= !self.topics[topic].pending.is_empty(),
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
            match appended {
                Ok(delivery) => {
                    self.turn.news.push(News::Moved(outcome, vec![delivery.into_moved()]));
                }
                Err(error) => self.give_back(outcome, record, error),
            }
        }
    }

    /// Topics of which nothing is known and that nobody waits for are forgotten.
    pub(super) fn forget_unknown(&mut self) {
        let Self { topics, by_name, unknown, vacant, last_topic, .. } = self;
        unknown.retain(|at| {
            let topic = &topics[*at];
            // One that is known has none: they have gone to their partitions.
            let is_waited_for = !topic.pending.is_empty();
            if !topic.is_known() && !is_waited_for {
                by_name.remove(&topic.name);
                vacant.push(*at);
                *last_topic = usize::MAX;
            }
            is_waited_for
        });
    }

    /// Brokers tell nothing of a topic, and why.
    fn missing(&mut self, topic: usize, code: ErrorCode) {
        let error = Error::refused(code, &format!("describing topic {}", self.topics[topic].name), None);
        if code.is_retriable() {
            let waits = !self.topics[topic].pending.is_empty();
            let has_records = self.slots.iter().any(|slot| slot.topic == topic && slot.bytes > 0);
            self.wants_metadata |= waits || has_records;
            self.topics[topic].missing = Some(error);
            return;
        }
        self.give_back_all(topic, &error);
    }

    /// Nothing was to be learnt of the cluster, and why.
    pub(crate) fn not_learnt(&mut self, error: Error) {
        self.not_learnt = Some(error);
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
}
