//! What of a group is durable: rows, changes of rows, and a group put together from its rows.
//!
//! The rows are as fine as what changes at once, so that a heartbeat writes no more than its own member.
//! Sessions and other deadlines are not stored: they begin anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::group::{ConsumerGroup, Member};
use crate::{
    GroupEpoch, InstanceId, MemberEpoch, MemberId,
    assignor::{Assignment, Assignor, Partitions, TopicPartition},
};

/// A change of one row of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row of the group itself.
    GroupPut(GroupRow),
    /// Up to which epoch there is a target assignment.
    AssignedPut(GroupEpoch),
    /// What a member is and wants.
    MemberPut(MemberId, MemberRow),
    /// What a member is to have.
    TargetPut(MemberId, Assignment),
    /// What a member has.
    CurrentPut(MemberId, CurrentRow),
    /// The three rows of a member are gone.
    MemberRemoved(MemberId),
    /// Which topics a regular expression that members subscribe to stands for, sorted.
    PatternPut(Arc<str>, Vec<Arc<str>>),
    /// No member subscribes to a regular expression any more.
    PatternRemoved(Arc<str>),
    /// All rows of the group are gone.
    GroupRemoved,
}

/// The row of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupRow {
    /// The group epoch: 0 only before the first member has joined.
    pub epoch: GroupEpoch,
    /// A hash over the topics that were subscribed to at this epoch, their ids and numbers of partitions: by it
    /// a group knows, also after a restart, whether topics have changed.
    pub topics_hash: u64,
}

/// What a member is and wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRow {
    /// The name that it keeps over restarts; it never changes.
    pub instance_id: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where its client connects from.
    pub client_host: Arc<str>,
    /// The topics that it subscribes to by name, sorted, each once.
    pub topics: Vec<Arc<str>>,
    /// The regular expression that it subscribes to besides.
    pub pattern: Option<Arc<str>>,
    /// The assignor that it asks for.
    pub assignor: Option<Assignor>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout: Duration,
}

/// How far a member has come on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It has all that the target of its epoch gives to it.
    #[default]
    Stable,
    /// It has partitions that it must give up, and has not confirmed yet that it did.
    UnrevokedPartitions,
    /// It has given up what it must, and waits for partitions that others have not given up yet.
    UnreleasedPartitions,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRow {
    /// Its epoch; 0 before it has got its first, and [`MemberEpoch::LEAVES_FOR_NOW`] while a static member is
    /// away.
    pub epoch: MemberEpoch,
    /// The epoch before that, in which it may still come, for the answer with the new one may be lost.
    pub previous_epoch: MemberEpoch,
    /// How far it has come.
    pub state: MemberState,
    /// What it may use, each with the epoch in which it got it (KIP-1251).
    pub assigned: Partitions<MemberEpoch>,
    /// What it must give up and has not confirmed yet. Nobody else gets it until then.
    pub pending: Partitions<MemberEpoch>,
}

impl Default for CurrentRow {
    fn default() -> Self {
        Self {
            epoch: MemberEpoch::JOINS,
            previous_epoch: MemberEpoch(-1),
            state: MemberState::Stable,
            assigned: Partitions::new(),
            pending: Partitions::new(),
        }
    }
}

impl CurrentRow {
    /// What nobody else may get: what it may use, and what it has not given up yet.
    pub(super) fn held(&self) -> impl Iterator<Item = TopicPartition> {
        self.assigned.iter().chain(self.pending.iter())
    }

    /// Whether the member has all that the target of `epoch` gives to it.
    pub(super) fn is_at(&self, epoch: GroupEpoch) -> bool {
        self.state == MemberState::Stable && self.epoch.0 == epoch.0
    }
}

/// All rows of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The row of the group itself.
    pub group: GroupRow,
    /// Up to which epoch there is a target assignment.
    pub assigned: GroupEpoch,
    /// What members are and want.
    pub members: BTreeMap<MemberId, MemberRow>,
    /// What members are to have.
    pub targets: BTreeMap<MemberId, Assignment>,
    /// What members have.
    pub currents: BTreeMap<MemberId, CurrentRow>,
    /// Which topics regular expressions stand for.
    pub patterns: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

impl Stored {
    /// Applies a change, as a store does.
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::GroupPut(group) => self.group = group,
            Change::AssignedPut(epoch) => self.assigned = epoch,
            Change::MemberPut(id, member) => drop(self.members.insert(id, member)),
            Change::TargetPut(id, target) => drop(self.targets.insert(id, target)),
            Change::CurrentPut(id, current) => drop(self.currents.insert(id, current)),
            Change::MemberRemoved(id) => {
                self.members.remove(&id);
                self.targets.remove(&id);
                self.currents.remove(&id);
            }
            Change::PatternPut(pattern, topics) => drop(self.patterns.insert(pattern, topics)),
            Change::PatternRemoved(pattern) => drop(self.patterns.remove(&pattern)),
            Change::GroupRemoved => *self = Self::default(),
        }
    }
}

/// The three rows of a member, as they are now.
#[derive(Clone, Copy, Debug)]
pub struct StoredMember<'a> {
    /// What it is and wants.
    pub row: &'a MemberRow,
    /// What it is to have.
    pub target: &'a Assignment,
    /// What it has.
    pub current: &'a CurrentRow,
}

impl ConsumerGroup {
    /// The rows of a member as they are now, for a store that keeps them together.
    pub fn stored_member(&self, id: &MemberId) -> Option<StoredMember<'_>> {
        self.members.get(id).map(Member::stored)
    }

    /// The row of the group as it is now, and up to which epoch there is a target assignment.
    pub fn stored_group(&self) -> (GroupRow, GroupEpoch) {
        (self.row, self.assignment_epoch)
    }

    /// The regular expressions that somebody subscribes to, each with the topics that it stands for.
    pub fn stored_patterns(&self) -> impl Iterator<Item = (&Arc<str>, &[Arc<str>])> {
        self.patterns().map(|text| (text, self.subscriptions.resolved(text).unwrap_or_default()))
    }
}

impl Member {
    fn stored(&self) -> StoredMember<'_> {
        StoredMember { row: &self.row, target: &self.target, current: &self.current }
    }
}
