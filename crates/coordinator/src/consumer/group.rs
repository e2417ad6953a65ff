//! A group: its parts, its epochs, its target assignment, and members that go.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use super::{
    deadlines::Deadlines,
    describe::GroupState,
    request::Answer,
    settings::ConsumerSettings,
    stored::{Change, CurrentRow, GroupRow, MemberRow, MemberState, Stored},
    topics::{Subscriptions, Topics, sorted},
};
use crate::{
    Effects, GroupEpoch, InstanceId, MemberEpoch, MemberId,
    assignor::{AssignedGroup, AssignedTopic, Assignment, Assignor, TopicPartition},
};

/// A consumer group. `now` is a reading of one monotonic clock everywhere, and does not go back.
#[derive(Debug)]
pub struct ConsumerGroup {
    pub(super) settings: ConsumerSettings,
    pub(super) row: GroupRow,
    /// The epoch of the target assignment.
    pub(super) assignment_epoch: GroupEpoch,
    /// When the target assignment was computed, if since the start and since the group was last empty.
    assigned_at: Option<Duration>,
    pub(super) members: HashMap<MemberId, Member>,
    pub(super) instances: HashMap<InstanceId, MemberId>,
    pub(super) subscriptions: Subscriptions,
    /// How many members ask for each assignor.
    wishes: HashMap<Assignor, usize>,
    /// What members have, and what they have not confirmed yet to have given up.
    pub(super) held: HashSet<TopicPartition>,
    /// How many members have reached the target.
    reconciled: usize,
    pub(super) deadlines: Deadlines,
    pub(super) dead: bool,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) row: MemberRow,
    pub(super) target: Assignment,
    pub(super) current: CurrentRow,
    pub(super) session_ends: Duration,
    /// By when it must have given up what it is to lose, where it is to lose anything.
    revoke_by: Option<Duration>,
}

/// A group that has members cannot be deleted (NON_EMPTY_GROUP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the group has members")]
pub struct NotEmpty;

impl ConsumerGroup {
    /// A group that nobody has joined yet.
    pub fn new(settings: ConsumerSettings) -> Self {
        Self {
            settings,
            row: GroupRow::default(),
            assignment_epoch: GroupEpoch(0),
            assigned_at: None,
            members: HashMap::new(),
            instances: HashMap::new(),
            subscriptions: Subscriptions::default(),
            wishes: HashMap::new(),
            held: HashSet::new(),
            reconciled: 0,
            deadlines: Deadlines::default(),
            dead: false,
        }
    }

    /// A group as it was stored. The session of each member begins anew, and so does the time that it has to
    /// give up partitions; members go on with their next heartbeats. The topics may have changed meanwhile:
    /// see [`topics_changed`](Self::topics_changed).
    pub fn restore(stored: Stored, settings: ConsumerSettings, now: Duration) -> Self {
        let mut group = Self::new(settings);
        group.row = stored.group;
        group.assignment_epoch = stored.assigned;
        let Stored { members, mut targets, mut currents, mut patterns, .. } = stored;
        for (id, row) in members {
            let target = targets.remove(&id).unwrap_or_default();
            let current = currents.remove(&id).unwrap_or_default();
            group.count_in(&id, &row);
            if let Some(pattern) = &row.pattern {
                group.subscriptions.add_pattern(pattern, patterns.remove(pattern).unwrap_or_default());
            }
            group.members.insert(id.clone(), Member { row, target, ..Member::new(now) });
            group.begin_session(&id, now);
            group.settle(&id, current, now);
        }
        group
    }

    /// Takes other settings. Sessions and intervals follow them from the next heartbeat or answer on.
    pub fn set_settings(&mut self, settings: ConsumerSettings) {
        self.settings = settings;
    }

    /// The names of the topics that somebody subscribes to, in order, whether they are there or not.
    pub fn subscribed_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions.names()
    }

    /// The regular expressions that somebody subscribes to, in order.
    pub fn patterns(&self) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions.patterns()
    }

    /// Whether somebody subscribes to a topic: its offsets cannot be deleted then.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        self.subscriptions.has(topic)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Topics were created or deleted, or have got more partitions. Does nothing where the group subscribes to
    /// none of them. A group that has [`patterns`](Self::patterns) is told by
    /// [`patterns_resolved`](Self::patterns_resolved) instead.
    pub fn topics_changed(&mut self, topics: &dyn Topics, now: Duration) -> Effects<Change, Answer> {
        self.patterns_resolved([], topics, now)
    }

    /// Regular expressions were resolved anew, and topics may have changed besides. Expressions that nobody
    /// subscribes to count for nothing.
    pub fn patterns_resolved(
        &mut self,
        resolved: impl IntoIterator<Item = (Arc<str>, Vec<Arc<str>>)>,
        topics: &dyn Topics,
        now: Duration,
    ) -> Effects<Change, Answer> {
        let mut effects = Effects::default();
        let mut changed = false;
        for (pattern, names) in resolved {
            changed |= self.resolve(&pattern, names, &mut effects.changes);
        }
        let members = !self.members.is_empty();
        if changed || members && self.subscriptions.hash(topics) != self.row.topics_hash {
            self.bump(topics, &mut effects.changes);
        }
        self.assign_if_due(topics, now, &mut effects.changes);
        effects
    }

    /// When [`tick`](Self::tick) has something to do, at the earliest.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.deadlines.first(), self.assignment_due()].into_iter().flatten().min()
    }

    /// Lets those members go whose time is over, and computes a target where one has waited long enough.
    pub fn tick(&mut self, topics: &dyn Topics, now: Duration) -> Effects<Change, Answer> {
        let mut effects = Effects::default();
        let mut gone = false;
        while let Some(id) = self.deadlines.pop(now) {
            let Some(ends) = self.members.get(&id).map(Member::ends) else { continue };
            if ends <= now {
                self.remove(&id, &mut effects.changes);
                gone = true;
            } else {
                self.deadlines.watch(&id, ends);
            }
        }
        if gone {
            self.bump(topics, &mut effects.changes);
        }
        self.assign_if_due(topics, now, &mut effects.changes);
        effects
    }

    /// Deletes the group, which refuses everything from then on.
    ///
    /// # Errors
    /// It has members.
    pub fn delete(&mut self) -> Result<Effects<Change, Answer>, NotEmpty> {
        if !self.members.is_empty() {
            return Err(NotEmpty);
        }
        let mut effects = Effects::default();
        if !self.dead {
            self.dead = true;
            effects.change(Change::GroupRemoved);
        }
        Ok(effects)
    }

    /// The group's state.
    pub fn state(&self) -> GroupState {
        if self.dead {
            GroupState::Dead
        } else if self.members.is_empty() {
            GroupState::Empty
        } else if self.row.epoch > self.assignment_epoch {
            GroupState::Assigning
        } else if self.reconciled < self.members.len() {
            GroupState::Reconciling
        } else {
            GroupState::Stable
        }
    }

    /// The group epoch.
    pub fn epoch(&self) -> GroupEpoch {
        self.row.epoch
    }

    /// The epoch of the target assignment.
    pub fn assignment_epoch(&self) -> GroupEpoch {
        self.assignment_epoch
    }

    /// The assignor that most members ask for. Of several, and where nobody asks, the first of the settings.
    pub fn assignor(&self) -> Assignor {
        let wishes = |assignor: &&Assignor| self.wishes.get(*assignor).copied().unwrap_or(0);
        // The last of several greatest is taken, which is the first one from behind.
        let most = self.settings.assignors.iter().rev().max_by_key(wishes);
        most.copied().unwrap_or(self.settings.default_assignor())
    }

    /// Raises the group epoch.
    pub(super) fn bump(&mut self, topics: &dyn Topics, changes: &mut Vec<Change>) {
        let epoch = GroupEpoch(self.row.epoch.0.saturating_add(1));
        self.row = GroupRow { epoch, topics_hash: self.subscriptions.hash(topics) };
        changes.push(Change::GroupPut(self.row));
    }

    /// When a target may be computed, where one is needed.
    fn assignment_due(&self) -> Option<Duration> {
        let needed = self.row.epoch > self.assignment_epoch && !self.members.is_empty();
        let after = |at: Duration| at.saturating_add(self.settings.assignment_interval);
        needed.then(|| self.assigned_at.map_or(Duration::ZERO, after))
    }

    /// Computes a target, where one is needed and may be computed.
    pub(super) fn assign_if_due(&mut self, topics: &dyn Topics, now: Duration, changes: &mut Vec<Change>) {
        if self.assignment_due().is_some_and(|due| due <= now) {
            self.assign(topics, changes);
            self.assigned_at = Some(now);
        }
    }

    fn assign(&mut self, topics: &dyn Topics, changes: &mut Vec<Change>) {
        // By id, so that the same group has the same target wherever it is computed.
        let mut ids: Vec<_> = self.members.keys().cloned().collect();
        ids.sort_unstable();
        let targets = self.assignor().assign(&self.to_assign(&ids, topics));
        for (id, target) in ids.into_iter().zip(targets) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            if member.target != target {
                member.target = target.clone();
                changes.push(Change::TargetPut(id, target));
            }
        }
        self.assignment_epoch = self.row.epoch;
        // Nobody can be in an epoch that there was not until now.
        self.reconciled = 0;
        changes.push(Change::AssignedPut(self.assignment_epoch));
    }

    /// The group for an assignor, its members in the order of `ids`.
    fn to_assign<'a>(&'a self, ids: &'a [MemberId], topics: &dyn Topics) -> AssignedGroup<'a> {
        let infos: HashMap<_, _> =
            self.subscriptions.names().filter_map(|name| Some((name, topics.topic(name)?))).collect();
        let assigned = infos.values().map(|info| AssignedTopic { id: info.id, partitions: info.partitions });
        let mut group = AssignedGroup::new(assigned);
        let mut last: Option<&MemberRow> = None;
        for id in ids {
            let Some(Member { row, target, .. }) = self.members.get(id) else { continue };
            // Most groups have one subscription, in one copy of its names: then this compares pointers.
            if last.is_some_and(|last| last.topics == row.topics && last.pattern == row.pattern) {
                group.add_alike(id, row.instance_id.as_ref(), target);
            } else {
                let names = self.subscriptions.names_of(row);
                let topics = names.filter_map(|name| infos.get(name)).map(|info| info.id);
                group.add(id, row.instance_id.as_ref(), topics, target);
            }
            last = Some(row);
        }
        group
    }

    /// Takes a member out of all counts.
    pub(super) fn remove(&mut self, id: &MemberId, changes: &mut Vec<Change>) {
        let Some(member) = self.members.remove(id) else { return };
        self.deadlines.forget(id);
        self.reconciled -= usize::from(member.current.is_at(self.assignment_epoch));
        for partition in member.current.held() {
            self.held.remove(&partition);
        }
        self.count_out(&member.row);
        if let Some(instance) = &member.row.instance_id {
            self.instances.remove(instance);
        }
        changes.push(Change::MemberRemoved(id.clone()));
        self.leave_pattern(member.row.pattern.as_ref(), changes);
        if self.members.is_empty() {
            self.assigned_at = None;
        }
    }

    /// Gives a member that has left for now another id, and brings it back; its session is to be begun.
    pub(super) fn replace(&mut self, old: &MemberId, id: &MemberId, changes: &mut Vec<Change>) {
        let Some(mut member) = self.members.remove(old) else { return };
        self.deadlines.forget(old);
        member.current.epoch = MemberEpoch::JOINS;
        member.current.previous_epoch = MemberEpoch::JOINS;
        if let Some(instance) = &member.row.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        if old != id {
            changes.push(Change::MemberRemoved(old.clone()));
            changes.push(Change::MemberPut(id.clone(), member.row.clone()));
            changes.push(Change::TargetPut(id.clone(), member.target.clone()));
        }
        self.members.insert(id.clone(), member);
    }

    /// Counts a member's topics, instance id and wish in; its regular expression is counted apart.
    pub(super) fn count_in(&mut self, id: &MemberId, row: &MemberRow) {
        self.subscriptions.add_names(&row.topics);
        if let Some(assignor) = row.assignor {
            *self.wishes.entry(assignor).or_default() += 1;
        }
        if let Some(instance) = &row.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
    }

    /// Counts them out again. The instance id stays, for a member keeps it.
    pub(super) fn count_out(&mut self, row: &MemberRow) {
        self.subscriptions.remove_names(&row.topics);
        if let Some(count) = row.assignor.and_then(|assignor| self.wishes.get_mut(&assignor)) {
            *count -= 1;
        }
    }

    /// No longer counts a member of a regular expression.
    pub(super) fn leave_pattern(&mut self, pattern: Option<&Arc<str>>, changes: &mut Vec<Change>) {
        if let Some(pattern) = pattern
            && self.subscriptions.remove_pattern(pattern)
        {
            changes.push(Change::PatternRemoved(pattern.clone()));
        }
    }

    /// A regular expression stands for `names`; answers whether for others than before.
    pub(super) fn resolve(
        &mut self,
        pattern: &Arc<str>,
        names: Vec<Arc<str>>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let names = sorted(names);
        let changed = self.subscriptions.resolve(pattern, &names);
        if changed {
            changes.push(Change::PatternPut(pattern.clone(), names));
        }
        changed
    }

    /// Lets a member's session begin or go on.
    pub(super) fn begin_session(&mut self, id: &MemberId, now: Duration) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.session_ends = now.saturating_add(self.settings.session_timeout);
        self.deadlines.watch(id, member.ends());
    }

    /// Gives a member another state, and keeps all that is counted in step with it.
    pub(super) fn settle(&mut self, id: &MemberId, next: CurrentRow, now: Duration) {
        let Some(member) = self.members.get_mut(id) else { return };
        self.reconciled -= usize::from(member.current.is_at(self.assignment_epoch));
        for partition in member.current.held() {
            self.held.remove(&partition);
        }
        member.current = next;
        self.held.extend(member.current.held());
        self.reconciled += usize::from(member.current.is_at(self.assignment_epoch));
        let must_revoke = member.current.state == MemberState::UnrevokedPartitions
            && member.current.epoch != MemberEpoch::LEAVES_FOR_NOW;
        member.revoke_by = must_revoke.then(|| now.saturating_add(member.row.rebalance_timeout));
        self.deadlines.watch(id, member.ends());
    }
}

impl Member {
    /// A member of which nothing is known.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            row: MemberRow::default(),
            target: Assignment::new(),
            current: CurrentRow::default(),
            session_ends: now,
            revoke_by: None,
        }
    }

    /// When its time is over.
    pub(super) fn ends(&self) -> Duration {
        self.revoke_by.map_or(self.session_ends, |revoke_by| revoke_by.min(self.session_ends))
    }
}
