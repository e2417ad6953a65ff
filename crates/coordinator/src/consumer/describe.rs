//! What a group tells of itself (ConsumerGroupDescribe, ListGroups).

use std::{fmt, sync::Arc};

use ottla_records::{PartitionIndex, TopicId};

use super::{
    group::{ConsumerGroup, Member},
    topics::Topics,
};
use crate::{
    GroupEpoch, InstanceId, MemberEpoch, MemberId,
    assignor::{Assignor, Partitions},
};

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// It needs a target assignment, and does not have it yet.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// All members have what they are to have.
    Stable,
    /// It has been deleted.
    Dead,
}

impl GroupState {
    /// Its name in responses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A group as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub group_epoch: GroupEpoch,
    /// The epoch of its target assignment.
    pub assignment_epoch: GroupEpoch,
    /// Who assigns.
    pub assignor: Assignor,
    /// Its members, in the order of ids.
    pub members: Vec<MemberDescription>,
}

/// A member as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: MemberId,
    /// The name that it keeps over restarts.
    pub instance_id: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// Its epoch.
    pub member_epoch: MemberEpoch,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where its client connects from.
    pub client_host: Arc<str>,
    /// The topics that it subscribes to by name, in order.
    pub topics: Vec<Arc<str>>,
    /// The regular expression that it subscribes to.
    pub pattern: Option<Arc<str>>,
    /// What it may use, in the order of topic ids.
    pub assignment: Vec<DescribedTopic>,
    /// What it is to have.
    pub target: Vec<DescribedTopic>,
}

/// Partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTopic {
    /// The topic's id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// The partitions, in order.
    pub partitions: Vec<PartitionIndex>,
}

impl ConsumerGroup {
    /// The group as it is now. What is assigned of topics that are not there any more is left out, for they have
    /// no names.
    pub fn describe(&self, topics: &dyn Topics) -> GroupDescription {
        let mut members: Vec<_> =
            self.members.iter().map(|(id, member)| member.describe(id, topics)).collect();
        members.sort_unstable_by(|one, other| one.member_id.cmp(&other.member_id));
        GroupDescription {
            state: self.state(),
            group_epoch: self.row.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor(),
            members,
        }
    }
}

impl Member {
    fn describe(&self, id: &MemberId, topics: &dyn Topics) -> MemberDescription {
        let row = self.row.clone();
        MemberDescription {
            member_id: id.clone(),
            instance_id: row.instance_id,
            rack: row.rack,
            member_epoch: self.current.epoch,
            client_id: row.client_id,
            client_host: row.client_host,
            topics: row.topics,
            pattern: row.pattern,
            assignment: described(&self.current.assigned, topics),
            target: described(&self.target, topics),
        }
    }
}

fn described<V: Copy>(partitions: &Partitions<V>, topics: &dyn Topics) -> Vec<DescribedTopic> {
    let describe = |(id, partitions)| Some((id, topics.name(id)?, partitions));
    let topics = partitions.by_topic().filter_map(describe);
    topics
        .map(|(id, name, partitions)| DescribedTopic { id, name, partitions: partitions.collect() })
        .collect()
}
