//! Assignors: who of a group is to have which partitions.
//!
//! | module | what it holds |
//! |---|---|
//! | [`partitions`] | sets of partitions |
//! | `uniform` | the assignor `uniform` where all members have the same subscription, and the choice between the two |
//! | `mixed` | the assignor `uniform` where subscriptions differ |
//! | `range` | the assignor `range` |
//!
//! Invariants: an assignor is a function. The same group in the same order gives the same target; every
//! partition of a topic that somebody subscribes to is in exactly one target, and in that of a subscriber. Time
//! and memory grow with the members, the partitions and the subscriptions, never with members times partitions.

mod mixed;
pub mod partitions;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::{collections::HashMap, fmt};

use ottla_records::{PartitionIndex, TopicId};

pub use self::partitions::{Assignment, Partitions, TopicPartition};
use crate::{InstanceId, MemberId};

/// The ways to assign partitions that a group can choose from (`group.consumer.assignors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// Members get equally many partitions, and keep what they have: Kafka's default.
    Uniform,
    /// Members get ranges, the same ones of topics that have equally many partitions, so that records of
    /// one key in several topics come to one member.
    Range,
}

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Its name in requests and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member is to have, in the order of [`AssignedGroup::members`].
    pub fn assign(self, group: &AssignedGroup<'_>) -> Vec<Assignment> {
        match self {
            Self::Uniform => uniform::assign(group),
            Self::Range => range::assign(group),
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A topic that can be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A member that is assigned to.
#[derive(Clone, Copy, Debug)]
pub struct AssignedMember<'a> {
    /// Its id.
    pub id: &'a MemberId,
    /// The name that it keeps over restarts, where it has one.
    pub instance_id: Option<&'a InstanceId>,
    /// What it was to have until now.
    pub target: &'a Assignment,
    /// Which of the group's subscriptions it has.
    subscription: usize,
}

/// A group as an assignor sees it. Subscriptions are kept once, however many members have them.
#[derive(Clone, Debug, Default)]
pub struct AssignedGroup<'a> {
    /// In the order of ids, each once.
    topics: Vec<AssignedTopic>,
    /// Indexes of topics, in order, each once; no subscription is there twice.
    subscriptions: Vec<Vec<usize>>,
    index_of: HashMap<Vec<usize>, usize>,
    members: Vec<AssignedMember<'a>>,
}

impl<'a> AssignedGroup<'a> {
    /// A group without members and these topics. Of two topics with one id the first is taken.
    pub fn new(topics: impl IntoIterator<Item = AssignedTopic>) -> Self {
        let mut topics: Vec<_> = topics.into_iter().collect();
        topics.sort_by_key(|topic| topic.id);
        topics.dedup_by_key(|topic| topic.id);
        Self { topics, ..Self::default() }
    }

    /// Adds a member that subscribes to `topics`, of which those that the group does not have count for
    /// nothing. The order of members decides where nothing else does.
    pub fn add(
        &mut self,
        id: &'a MemberId,
        instance_id: Option<&'a InstanceId>,
        topics: impl IntoIterator<Item = TopicId>,
        target: &'a Assignment,
    ) {
        let mut wanted: Vec<_> = topics.into_iter().filter_map(|topic| self.topic(topic)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let subscription = match self.index_of.get(&wanted) {
            Some(known) => *known,
            None => {
                self.subscriptions.push(wanted.clone());
                self.index_of.insert(wanted, self.subscriptions.len() - 1);
                self.subscriptions.len() - 1
            }
        };
        self.members.push(AssignedMember { id, instance_id, target, subscription });
    }

    /// Adds a member with the subscription of the one that was added last, or with none where it is the first.
    pub fn add_alike(
        &mut self,
        id: &'a MemberId,
        instance_id: Option<&'a InstanceId>,
        target: &'a Assignment,
    ) {
        match self.members.last().map(|last| last.subscription) {
            Some(subscription) => self.members.push(AssignedMember { id, instance_id, target, subscription }),
            None => self.add(id, instance_id, [], target),
        }
    }

    /// The members, in the order in which they were added.
    pub fn members(&self) -> &[AssignedMember<'a>] {
        &self.members
    }

    /// The topics, in the order of their ids.
    pub fn topics(&self) -> &[AssignedTopic] {
        &self.topics
    }

    /// The topics that a member subscribes to, as indexes into [`topics`](Self::topics), in order.
    fn subscription(&self, member: usize) -> &[usize] {
        &self.subscriptions[self.members[member].subscription]
    }

    fn topic(&self, id: TopicId) -> Option<usize> {
        self.topics.binary_search_by_key(&id, |topic| topic.id).ok()
    }
}

/// All partitions of a group's topics, numbered from 0 on in the order of topics and indexes, and who owns
/// each.
#[derive(Debug)]
struct Ownership {
    /// The number of the first partition of each topic, and at the end how many partitions there are.
    first_of: Vec<usize>,
    /// Who owns each partition: an index of a member, or [`Ownership::NOBODY`].
    owners: Vec<u32>,
    /// How many partitions each member owns.
    counts: Vec<usize>,
}

impl Ownership {
    const NOBODY: u32 = u32::MAX;

    /// What the members had and may keep: their topics are there, and they still subscribe to them. Where
    /// two had the same partition, the one that was added first keeps it.
    fn kept(group: &AssignedGroup<'_>) -> Self {
        let mut first_of = Vec::with_capacity(group.topics.len() + 1);
        let mut partitions = 0;
        for topic in &group.topics {
            first_of.push(partitions);
            partitions += topic.partitions as usize;
        }
        first_of.push(partitions);
        let counts = vec![0; group.members.len()];
        let mut ownership = Self { first_of, owners: vec![Self::NOBODY; partitions], counts };
        for (index, member) in group.members.iter().enumerate() {
            let subscription = group.subscription(index);
            for kept in member.target.iter() {
                let Some(topic) = group.topic(kept.topic) else { continue };
                if subscription.binary_search(&topic).is_err() {
                    continue;
                }
                let Some(partition) = ownership.number(topic, kept.partition) else { continue };
                if ownership.owners[partition] == Self::NOBODY {
                    ownership.give(partition, index);
                }
            }
        }
        ownership
    }

    /// The number of a partition, where the topic has it.
    fn number(&self, topic: usize, partition: PartitionIndex) -> Option<usize> {
        let number = self.first_of[topic].checked_add(usize::try_from(partition.0).ok()?)?;
        (number < self.first_of[topic + 1]).then_some(number)
    }

    /// The numbers of a topic's partitions.
    fn of_topic(&self, topic: usize) -> std::ops::Range<usize> {
        self.first_of[topic]..self.first_of[topic + 1]
    }

    fn owner(&self, partition: usize) -> Option<usize> {
        let owner = self.owners[partition];
        (owner != Self::NOBODY).then_some(owner as usize)
    }

    fn give(&mut self, partition: usize, member: usize) {
        self.take(partition);
        self.owners[partition] = member as u32;
        self.counts[member] += 1;
    }

    fn take(&mut self, partition: usize) {
        if let Some(owner) = self.owner(partition) {
            self.counts[owner] -= 1;
        }
        self.owners[partition] = Self::NOBODY;
    }

    /// What each member owns.
    fn targets(&self, group: &AssignedGroup<'_>) -> Vec<Assignment> {
        let mut targets: Vec<Vec<_>> = self.counts.iter().map(|count| Vec::with_capacity(*count)).collect();
        for (index, topic) in group.topics.iter().enumerate() {
            for (partition, number) in self.of_topic(index).enumerate() {
                let Some(owner) = self.owner(number) else { continue };
                targets[owner].push(TopicPartition::new(topic.id, PartitionIndex(partition as i32)));
            }
        }
        targets.into_iter().map(|partitions| partitions.into_iter().collect()).collect()
    }
}
