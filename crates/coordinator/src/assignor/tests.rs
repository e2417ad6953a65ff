//! What every assignor keeps to, over groups that change.

use std::collections::{BTreeMap, BTreeSet};

use ottla_records::{PartitionIndex, TopicId};
use proptest::prelude::*;

use super::*;

/// A group that outlives its assignments.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Topics by number, each with how many partitions it has.
    topics: BTreeMap<u8, u32>,
    members: BTreeMap<u32, Member>,
}

#[derive(Clone, Debug, Default)]
struct Member {
    subscription: BTreeSet<u8>,
    instance: Option<u32>,
    target: Assignment,
}

/// What happens to a group between two assignments.
#[derive(Clone, Debug)]
enum Event {
    Join(u32, BTreeSet<u8>),
    Leave(u32),
    Topic(u8, u32),
    Delete(u8),
}

fn id(topic: u8) -> TopicId {
    TopicId([topic; 16])
}

fn at(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition::new(id(topic), PartitionIndex(partition))
}

impl Group {
    /// Members from 0 on, all with one subscription.
    fn even(members: u32, topics: impl IntoIterator<Item = (u8, u32)>) -> Self {
        let topics: BTreeMap<_, _> = topics.into_iter().collect();
        let subscription: BTreeSet<_> = topics.keys().copied().collect();
        let member = Member { subscription, ..Member::default() };
        Self { topics, members: (0..members).map(|id| (id, member.clone())).collect() }
    }

    /// Assigns anew, and answers how many partitions went from one member that is there to another.
    fn assign(&mut self, assignor: Assignor) -> usize {
        let topics = self.topics.iter().map(|(topic, n)| AssignedTopic { id: id(*topic), partitions: *n });
        let ids: Vec<_> =
            self.members.keys().map(|id| MemberId::from(format!("m{id:05}").as_str())).collect();
        let instance =
            |member: &Member| member.instance.map(|n| InstanceId::from(format!("i{n:05}").as_str()));
        let instances: Vec<_> = self.members.values().map(instance).collect();
        let mut group = AssignedGroup::new(topics);
        for ((member, name), instance) in self.members.values().zip(&ids).zip(&instances) {
            let topics = member.subscription.iter().map(|topic| id(*topic));
            group.add(name, instance.as_ref(), topics, &member.target);
        }
        let targets = assignor.assign(&group);
        assert_eq!(targets, assignor.assign(&group), "not the same again");
        let before = self.owners();
        self.members.values_mut().zip(targets).for_each(|(member, target)| member.target = target);
        self.owners().iter().filter(|(key, to)| before.get(key).is_some_and(|from| from != *to)).count()
    }

    fn owners(&self) -> BTreeMap<TopicPartition, u32> {
        let owned = |(id, member): (&u32, &Member)| {
            let id = *id;
            member.target.iter().map(move |partition| (partition, id)).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(owned).collect()
    }

    fn counts(&self) -> Vec<usize> {
        self.members.values().map(|member| member.target.len()).collect()
    }

    /// Each partition that somebody wants is assigned once, to somebody who wants it, and nothing else is.
    fn check(&self) {
        let wanted: BTreeSet<u8> =
            self.members.values().flat_map(|member| member.subscription.iter().copied()).collect();
        let all: BTreeSet<_> = wanted
            .iter()
            .flat_map(|topic| (0..self.topics.get(topic).copied().unwrap_or(0)).map(|n| at(*topic, n as i32)))
            .collect();
        assert_eq!(self.counts().iter().sum::<usize>(), all.len(), "assigned more than once");
        assert_eq!(self.owners().keys().copied().collect::<BTreeSet<_>>(), all);
        for member in self.members.values() {
            assert!(member.target.iter().all(|owned| member.subscription.contains(&owned.topic.0[0])));
        }
    }

    /// No partition could go to a subscriber that has at least two fewer than its owner.
    fn check_even(&self) {
        for (partition, owner) in self.owners() {
            let load = self.members[&owner].target.len();
            for member in self.members.values() {
                let may = member.subscription.contains(&partition.topic.0[0]);
                assert!(!may || load < member.target.len() + 2, "{partition:?} of {load} to {member:?}");
            }
        }
    }

    fn happen(&mut self, event: Event, one_subscription: bool) {
        let all: BTreeSet<_> = (0..4).collect();
        match event {
            Event::Join(id, subscription) => {
                let subscription = if one_subscription { all } else { subscription };
                self.members.entry(id).or_default().subscription = subscription;
            }
            Event::Leave(id) => drop(self.members.remove(&id)),
            Event::Topic(topic, partitions) => drop(self.topics.insert(topic, partitions)),
            Event::Delete(topic) => drop(self.topics.remove(&topic)),
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..12_u32, prop::collection::btree_set(0..4_u8, 0..=4)).prop_map(|(id, of)| Event::Join(id, of)),
        3 => (0..12_u32).prop_map(Event::Leave),
        3 => (0..4_u8, 0..20_u32).prop_map(|(topic, partitions)| Event::Topic(topic, partitions)),
        1 => (0..4_u8).prop_map(Event::Delete),
    ]
}

fn cases() -> u32 {
    std::env::var("OTTLA_GROUP_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_partition_has_one_owner_that_wants_it(events in prop::collection::vec(event(), 1..40)) {
        for assignor in Assignor::ALL {
            let mut group = Group::default();
            for event in events.clone() {
                group.happen(event, false);
                group.assign(assignor);
                group.check();
            }
        }
    }

    #[test]
    fn members_with_one_subscription_have_equally_many(events in prop::collection::vec(event(), 1..40)) {
        let mut group = Group::default();
        for event in events {
            group.happen(event, true);
            group.assign(Assignor::Uniform);
            let (least, most) = (group.counts().into_iter().min(), group.counts().into_iter().max());
            prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "{:?}", group.counts());
            prop_assert_eq!(group.assign(Assignor::Uniform), 0, "moved without need");
        }
    }

    #[test]
    fn no_single_move_makes_a_mixed_group_more_even(events in prop::collection::vec(event(), 1..40)) {
        let mut group = Group::default();
        for event in events {
            group.happen(event, false);
            group.assign(Assignor::Uniform);
            group.check_even();
            prop_assert_eq!(group.assign(Assignor::Uniform), 0, "moved without need");
        }
    }

    #[test]
    fn who_joins_or_leaves_moves_only_what_must_move(
        members in 1..20_u32,
        topics in prop::collection::vec(1..30_u32, 1..4),
    ) {
        let topics = topics.into_iter().enumerate().map(|(topic, n)| (topic as u8, n));
        let mut group = Group::even(members, topics);
        group.assign(Assignor::Uniform);
        let partitions = group.owners().len();

        let joining = Member { target: Assignment::new(), ..group.members[&0].clone() };
        group.members.insert(members, joining);
        let moved = group.assign(Assignor::Uniform);
        prop_assert!(moved <= partitions.div_ceil(members as usize + 1), "{} of {}", moved, partitions);
        prop_assert_eq!(moved, group.members[&members].target.len());

        // What the leaving member had goes to the others, and nothing goes from one of them to another.
        group.members.remove(&0);
        prop_assert_eq!(group.assign(Assignor::Uniform), 0);
        group.check();
    }
}

/// As in the documentation of Kafka's assignors.
#[test]
fn range_gives_the_same_partitions_of_topics_that_have_equally_many() {
    let mut group = Group::even(2, [(1, 3), (2, 3)]);
    group.assign(Assignor::Range);
    let expected: [&[_]; 2] = [&[at(1, 0), at(1, 1), at(2, 0), at(2, 1)], &[at(1, 2), at(2, 2)]];
    for (member, expected) in group.members.values().zip(expected) {
        assert_eq!(member.target.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn range_serves_who_subscribes_and_gives_nothing_where_there_is_too_little() {
    let mut group = Group::even(3, [(1, 2), (2, 4)]);
    group.members.get_mut(&0).unwrap().subscription = [2].into();
    group.assign(Assignor::Range);
    let expected: [&[_]; 3] = [&[at(2, 0), at(2, 1)], &[at(1, 0), at(2, 2)], &[at(1, 1), at(2, 3)]];
    for (member, expected) in group.members.values().zip(expected) {
        assert_eq!(member.target.iter().collect::<Vec<_>>(), expected);
    }
    let mut crowd = Group::even(5, [(1, 2)]);
    crowd.assign(Assignor::Range);
    assert_eq!(crowd.counts(), [1, 1, 0, 0, 0]);
}

/// Under new member ids, static members have the ranges that they had.
#[test]
fn range_keeps_static_members_in_their_order() {
    let mut group = Group::even(3, [(1, 6)]);
    for (id, instance) in [(0, Some(2)), (1, None), (2, Some(1))] {
        group.members.get_mut(&id).unwrap().instance = instance;
    }
    group.assign(Assignor::Range);
    let first: Vec<_> = group.members.values().map(|member| member.target.iter().next().unwrap()).collect();
    assert_eq!(first, [at(1, 2), at(1, 4), at(1, 0)]);

    let back = group.members.remove(&0).unwrap();
    group.members.insert(9, back);
    assert_eq!(group.assign(Assignor::Range), 0, "something went from one to another");
    assert_eq!(group.members[&9].target.iter().next(), Some(at(1, 2)));
}

#[test]
fn uniform_deals_the_partitions_of_each_topic_to_all() {
    let mut group = Group::even(2, [(1, 4), (2, 4)]);
    group.assign(Assignor::Uniform);
    for member in group.members.values() {
        assert_eq!(member.target.iter().filter(|owned| owned.topic == id(1)).count(), 2);
    }
}

/// Two topics that one member each can take only leave the common ones to the third.
#[test]
fn uniform_gives_what_few_can_take_to_those_few() {
    let mut group = Group::even(3, [(1, 4), (2, 4), (3, 4)]);
    for (id, subscription) in [(0, [1, 3]), (1, [2, 3]), (2, [3, 3])] {
        group.members.get_mut(&id).unwrap().subscription = subscription.into();
    }
    group.assign(Assignor::Uniform);
    assert_eq!(group.counts(), [4, 4, 4]);
    group.check();
}

/// A step that takes members times partitions would make this test take minutes without optimization.
#[test]
fn large_groups_are_assigned_whole_and_even() {
    for mixed in [false, true] {
        for assignor in Assignor::ALL {
            let mut group = Group::even(500, (0..50).map(|topic| (topic, 100)));
            if mixed {
                for (id, member) in &mut group.members {
                    member.subscription.remove(&((id % 50) as u8));
                }
            }
            group.assign(assignor);
            assert_eq!(group.owners().len(), 5000);
            if assignor == Assignor::Uniform {
                assert_eq!(group.counts(), vec![10; 500]);
                group.members.remove(&7);
                assert!(group.assign(assignor) <= if mixed { 50 } else { 0 });
            }
        }
    }
}

#[test]
fn assignors_have_the_names_of_kafka() {
    for (assignor, name) in [(Assignor::Uniform, "uniform"), (Assignor::Range, "range")] {
        assert_eq!(assignor.to_string(), name);
        assert_eq!(Assignor::named(name), Some(assignor));
    }
    assert_eq!(Assignor::named("Uniform"), None);
}
