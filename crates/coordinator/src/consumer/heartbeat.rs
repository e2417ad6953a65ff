//! Members join, stay and leave.
//!
//! All that can be refused is refused before anything is changed.

use std::{cell::Cell, sync::Arc, time::Duration};

use super::{
    group::{ConsumerGroup, Member},
    reconcile::{self, Goal},
    request::{Accepted, Answer, Heartbeat, Invalid, Pattern, Refusal},
    stored::{Change, CurrentRow, MemberRow},
    topics::{Topics, sorted},
};
use crate::{
    Effects, InstanceId, MemberEpoch, MemberId, Token,
    assignor::{Assignment, Partitions, TopicPartition},
};

/// What a member that does not leave is to the group.
enum Place {
    /// It joins.
    New,
    /// It is there.
    Known,
    /// It is a static member that comes back, and was there under this id.
    Back(MemberId),
}

/// What is new about a member.
#[derive(Clone, Copy, Default)]
struct News {
    /// It subscribes to something else, or its regular expression stands for something else.
    resubscribed: bool,
    /// The group has another assignor for its sake.
    assignor: bool,
}

impl ConsumerGroup {
    /// A member joins, stays or leaves (ConsumerGroupHeartbeat). The answer is there at once.
    pub fn heartbeat(
        &mut self,
        token: Token,
        heartbeat: &Heartbeat,
        topics: &dyn Topics,
        now: Duration,
    ) -> Effects<Change, Answer> {
        let mut effects = Effects::default();
        let answer = self.take(heartbeat, topics, now, &mut effects.changes);
        effects.answer(token, answer);
        effects
    }

    fn take(
        &mut self,
        heartbeat: &Heartbeat,
        topics: &dyn Topics,
        now: Duration,
        changes: &mut Vec<Change>,
    ) -> Answer {
        heartbeat.check(&self.settings)?;
        if self.dead {
            return Err(Refusal::Dead);
        }
        match heartbeat.member_epoch {
            MemberEpoch::LEAVES => self.leave(heartbeat, topics, now, changes),
            MemberEpoch::LEAVES_FOR_NOW => self.leave_for_now(heartbeat, now, changes),
            _ => self.stay(heartbeat, topics, now, changes),
        }
    }

    fn stay(
        &mut self,
        heartbeat: &Heartbeat,
        topics: &dyn Topics,
        now: Duration,
        changes: &mut Vec<Change>,
    ) -> Answer {
        let id = heartbeat.sender();
        let place = self.place(&id, heartbeat)?;
        self.check_pattern(&id, &place, heartbeat)?;

        // In another epoch than its own, a member cannot know what it got with that one.
        let behind = self.members.get(&id).is_some_and(|it| it.current.epoch != heartbeat.member_epoch);
        let news = self.enter(&id, &place, heartbeat, now, changes);
        // A group must not stay in epoch 0, be it that its first member subscribes to nothing.
        if news.resubscribed || news.assignor || self.row.epoch.0 == 0 {
            self.bump(topics, changes);
        }
        self.assign_if_due(topics, now, changes);

        let reassigned =
            self.reconcile(&id, heartbeat.owned.as_ref(), news.resubscribed, topics, now, changes);
        let current = self.members.get(&id).map(|member| &member.current);
        let assigned = || current.map(|current| current.assigned.keys()).unwrap_or_default();
        let member_epoch = current.map_or(MemberEpoch::JOINS, |current| current.epoch);
        Ok(Accepted {
            member_epoch,
            heartbeat_interval: self.settings.heartbeat_interval,
            assignment: (reassigned || behind || heartbeat.is_full()).then(assigned),
            member_id: id,
        })
    }

    fn leave(
        &mut self,
        heartbeat: &Heartbeat,
        topics: &dyn Topics,
        now: Duration,
        changes: &mut Vec<Change>,
    ) -> Answer {
        let id = self.leaving(heartbeat)?;
        self.remove(&id, changes);
        self.bump(topics, changes);
        self.assign_if_due(topics, now, changes);
        Ok(Accepted::left(id, heartbeat.member_epoch))
    }

    /// A static member keeps its partitions until its session ends, or until it is back. What it was to give up
    /// is free: nobody uses it.
    fn leave_for_now(&mut self, heartbeat: &Heartbeat, now: Duration, changes: &mut Vec<Change>) -> Answer {
        let id = self.leaving(heartbeat)?;
        if let Some(member) = self.members.get(&id) {
            let next = CurrentRow {
                epoch: MemberEpoch::LEAVES_FOR_NOW,
                pending: Partitions::new(),
                ..member.current.clone()
            };
            if next != member.current {
                changes.push(Change::CurrentPut(id.clone(), next.clone()));
                self.settle(&id, next, now);
            }
        }
        Ok(Accepted::left(id, heartbeat.member_epoch))
    }

    /// Who leaves.
    fn leaving(&self, heartbeat: &Heartbeat) -> Result<MemberId, Refusal> {
        let id = &heartbeat.member_id;
        match &heartbeat.instance_id {
            Some(instance) => self.check_instance(instance, id)?,
            None if self.members.contains_key(id) => {}
            None => return Err(Refusal::UnknownMember { member_id: id.clone() }),
        }
        Ok(id.clone())
    }

    /// What a member is to the group, in the order of checks that Kafka has.
    fn place(&self, id: &MemberId, heartbeat: &Heartbeat) -> Result<Place, Refusal> {
        let known = self.members.get(id);
        if known.is_none() && self.members.len() >= self.settings.max_size {
            return Err(Refusal::GroupFull { max_size: self.settings.max_size });
        }
        let joins = heartbeat.member_epoch == MemberEpoch::JOINS;
        let Some(instance) = &heartbeat.instance_id else {
            return match known {
                Some(member) => member.check_epoch(heartbeat).map(|()| Place::Known),
                None if joins => Ok(Place::New),
                None => Err(Refusal::UnknownMember { member_id: id.clone() }),
            };
        };
        if joins {
            return self.static_place(id, instance);
        }
        self.check_instance(instance, id)?;
        known.map_or(Ok(()), |member| member.check_epoch(heartbeat)).map(|()| Place::Known)
    }

    /// What a static member that joins is to the group.
    fn static_place(&self, id: &MemberId, instance: &InstanceId) -> Result<Place, Refusal> {
        let owner = self.instances.get(instance);
        if self.members.contains_key(id) && owner != Some(id) {
            return Err(Refusal::Invalid(Invalid::OtherInstanceId));
        }
        let Some(owner) = owner else { return Ok(Place::New) };
        let left = |member: &Member| member.current.epoch == MemberEpoch::LEAVES_FOR_NOW;
        if !self.members.get(owner).is_some_and(left) {
            return Err(Refusal::UnreleasedInstance { instance_id: instance.clone(), owner: owner.clone() });
        }
        Ok(Place::Back(owner.clone()))
    }

    fn check_instance(&self, instance: &InstanceId, id: &MemberId) -> Result<(), Refusal> {
        match self.instances.get(instance) {
            None => Err(Refusal::UnknownInstance { instance_id: instance.clone() }),
            Some(owner) if owner != id => {
                Err(Refusal::FencedInstance { instance_id: instance.clone(), owner: owner.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Refuses a regular expression that cannot be compiled, unless the member has it already: what could be
    /// compiled once counts.
    fn check_pattern(&self, id: &MemberId, place: &Place, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        let Some(Pattern::Refused { text, reason }) = &heartbeat.pattern else { return Ok(()) };
        let before = match place {
            Place::New => None,
            Place::Known => self.members.get(id),
            Place::Back(old) => self.members.get(old),
        };
        match before.is_some_and(|member| member.row.pattern.as_ref() == Some(text)) {
            true => Ok(()),
            false => Err(Refusal::InvalidPattern { text: text.clone(), reason: reason.clone() }),
        }
    }

    /// Takes a member in, or what is new about it.
    fn enter(
        &mut self,
        id: &MemberId,
        place: &Place,
        heartbeat: &Heartbeat,
        now: Duration,
        changes: &mut Vec<Change>,
    ) -> News {
        let assignor = self.assignor();
        match place {
            Place::New => drop(self.members.insert(id.clone(), Member::new(now))),
            Place::Known => {}
            Place::Back(old) => self.replace(old, id, changes),
        }
        self.begin_session(id, now);
        let resubscribed = self.update(id, matches!(place, Place::New), heartbeat, changes);
        News { resubscribed, assignor: assignor != self.assignor() }
    }

    /// Takes what a member says of itself; answers whether it subscribes to something else now.
    fn update(&mut self, id: &MemberId, new: bool, heartbeat: &Heartbeat, changes: &mut Vec<Change>) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let mut row = heartbeat.applied_to(&member.row);
        if let Some(row) = &mut row
            && let Some(assignor) = &heartbeat.assignor
        {
            row.assignor = self.settings.assignor(assignor);
        }
        let mut resubscribed = false;
        if let Some(row) = row.or_else(|| new.then(|| member.row.clone())) {
            resubscribed = self.put_row(id, row, heartbeat, changes);
        }
        if let Some(Pattern::Resolved { text, topics }) = &heartbeat.pattern {
            resubscribed |= self.resolve(text, topics.clone(), changes);
        }
        resubscribed
    }

    fn put_row(
        &mut self,
        id: &MemberId,
        mut row: MemberRow,
        heartbeat: &Heartbeat,
        changes: &mut Vec<Change>,
    ) -> bool {
        row.topics = self.subscriptions.shared(row.topics);
        let Some(member) = self.members.get_mut(id) else { return false };
        let before = std::mem::replace(&mut member.row, row.clone());
        self.count_in(id, &row);
        // What both name must not be forgotten in between, so what was is counted out last.
        self.count_out(&before);
        changes.push(Change::MemberPut(id.clone(), row.clone()));
        if before.pattern != row.pattern {
            if let Some(Pattern::Resolved { text, topics }) = &heartbeat.pattern {
                self.join_pattern(text, topics.clone(), changes);
            }
            self.leave_pattern(before.pattern.as_ref(), changes);
        }
        before.topics != row.topics || before.pattern != row.pattern
    }

    /// Counts a member of a regular expression.
    fn join_pattern(&mut self, text: &Arc<str>, topics: Vec<Arc<str>>, changes: &mut Vec<Change>) {
        let topics = sorted(topics);
        if self.subscriptions.resolved(text).is_none() {
            changes.push(Change::PatternPut(text.clone(), topics.clone()));
        }
        self.subscriptions.add_pattern(text, topics);
    }

    /// Takes a member one step toward its target; answers whether it may use other partitions now.
    fn reconcile(
        &mut self,
        id: &MemberId,
        owned: Option<&Assignment>,
        resubscribed: bool,
        topics: &dyn Topics,
        now: Duration,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let last = Cell::new(None);
        let subscribes = |partition: TopicPartition| match last.get() {
            Some((topic, subscribes)) if topic == partition.topic => subscribes,
            _ => {
                let name = topics.name(partition.topic);
                let subscribes = name.is_some_and(|name| self.subscriptions.subscribes(&member.row, &name));
                last.set(Some((partition.topic, subscribes)));
                subscribes
            }
        };
        let goal = Goal {
            epoch: self.assignment_epoch,
            target: &member.target,
            subscribes,
            resubscribed,
            owned,
            held: &self.held,
        };
        let Some(next) = reconcile::next(&member.current, &goal) else { return false };
        let reassigned = !next.assigned.iter().eq(member.current.assigned.iter());
        changes.push(Change::CurrentPut(id.clone(), next.clone()));
        self.settle(id, next, now);
        reassigned
    }
}

impl Member {
    /// Checks the epoch that a member says it is in. It may join at any time, for it has given up all then.
    /// It may be in the epoch before its own, where the answer with the new one got lost; but then it must not
    /// have anything that it was to give up.
    fn check_epoch(&self, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        let (received, current) = (heartbeat.member_epoch, self.current.epoch);
        let lost_an_answer = || {
            received < current
                && received == self.current.previous_epoch
                && heartbeat.owned.as_ref().is_some_and(|owned| owned.is_subset(&self.current.assigned))
        };
        match received == MemberEpoch::JOINS || received == current || lost_an_answer() {
            true => Ok(()),
            false => Err(Refusal::FencedEpoch { received, current }),
        }
    }
}

impl Heartbeat {
    /// What a member is with what it says now, the assignor excepted; `None` where nothing is new.
    fn applied_to(&self, row: &MemberRow) -> Option<MemberRow> {
        let topics = self.topics.as_ref().filter(|topics| **topics != row.topics).cloned().map(sorted);
        let topics = topics.filter(|topics| *topics != row.topics);
        let pattern = match &self.pattern {
            None => row.pattern.as_ref(),
            Some(Pattern::None) => None,
            Some(Pattern::Resolved { text, .. } | Pattern::Refused { text, .. }) => Some(text),
        };
        let same_assignor = match (&self.assignor, row.assignor) {
            (None, _) => true,
            (Some(name), Some(assignor)) => **name == *assignor.name(),
            (Some(_), None) => false,
        };
        let nothing_new = topics.is_none()
            && pattern == row.pattern.as_ref()
            && same_assignor
            && self.client_id == row.client_id
            && self.client_host == row.client_host
            && self.rack.as_ref().is_none_or(|rack| Some(rack) == row.rack.as_ref())
            && self.rebalance_timeout.is_none_or(|timeout| timeout == row.rebalance_timeout)
            && self.instance_id.as_ref().is_none_or(|instance| Some(instance) == row.instance_id.as_ref());
        (!nothing_new).then(|| MemberRow {
            instance_id: self.instance_id.clone().or_else(|| row.instance_id.clone()),
            rack: self.rack.clone().or_else(|| row.rack.clone()),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topics: topics.unwrap_or_else(|| row.topics.clone()),
            pattern: pattern.cloned(),
            assignor: row.assignor,
            rebalance_timeout: self.rebalance_timeout.unwrap_or(row.rebalance_timeout),
        })
    }
}

impl Accepted {
    /// A member has left.
    fn left(member_id: MemberId, member_epoch: MemberEpoch) -> Self {
        Self { member_id, member_epoch, heartbeat_interval: Duration::ZERO, assignment: None }
    }
}
