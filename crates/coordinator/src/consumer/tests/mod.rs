//! A group under test: every step is checked against its invariants, its stored rows and the diagram.

mod epochs;
mod joining;
mod leaving;
mod model;
mod reconciling;
mod scale;
mod states;
mod storing;
mod subscribing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ottla_records::{PartitionIndex, TopicId};

use super::{
    diagram::{GROUP, GroupChange, MEMBER, MemberChange},
    *,
};
use crate::{
    Effects, GroupEpoch, InstanceId, MemberEpoch, MemberId, Token,
    assignor::{Assignment, Assignor, TopicPartition},
};

/// Topics of a broker.
#[derive(Clone, Debug, Default)]
struct World(BTreeMap<Arc<str>, TopicInfo>);

impl Topics for World {
    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.0.get(name).copied()
    }

    fn name(&self, id: TopicId) -> Option<Arc<str>> {
        self.0.iter().find(|(_, info)| info.id == id).map(|(name, _)| name.clone())
    }
}

impl World {
    fn put(&mut self, name: &str, id: u8, partitions: u32) {
        self.0.insert(name.into(), TopicInfo { id: TopicId([id; 16]), partitions });
    }
}

/// A group, its rows as a store has them, and all that surrounds it.
struct Fixture {
    group: ConsumerGroup,
    stored: Stored,
    world: World,
    now: Duration,
    /// Which changes of state there were.
    group_changes: BTreeSet<GroupChange>,
    member_changes: BTreeSet<MemberChange>,
}

/// Seconds.
const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(name: &str) -> Arc<str> {
    name.into()
}

fn at(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicId([topic; 16]), PartitionIndex(partition))
}

/// Partitions of the topic with id 1.
fn ones<const N: usize>(partitions: [i32; N]) -> Assignment {
    partitions.into_iter().map(|partition| at(1, partition)).collect()
}

/// A heartbeat that says nothing new.
fn beat(id: &str, epoch: i32) -> Heartbeat {
    Heartbeat {
        member_id: id.into(),
        fresh_member_id: None,
        member_epoch: MemberEpoch(epoch),
        instance_id: None,
        rack: None,
        rebalance_timeout: None,
        topics: None,
        pattern: None,
        assignor: None,
        owned: None,
        client_id: "client".into(),
        client_host: "host".into(),
    }
}

/// A heartbeat with what the member has.
fn owning(id: &str, epoch: i32, owned: Assignment) -> Heartbeat {
    Heartbeat { owned: Some(owned), ..beat(id, epoch) }
}

/// A heartbeat that joins, or that tells all again.
fn full(id: &str, epoch: i32, topics: &[&str], owned: Assignment) -> Heartbeat {
    let topics = topics.iter().map(|topic| name(topic)).collect();
    Heartbeat { topics: Some(topics), rebalance_timeout: Some(s(30)), ..owning(id, epoch, owned) }
}

/// A heartbeat that joins.
fn join(id: &str, topics: &[&str]) -> Heartbeat {
    full(id, 0, topics, Assignment::new())
}

/// A heartbeat of a static member.
fn of_instance(instance: &str, heartbeat: Heartbeat) -> Heartbeat {
    Heartbeat { instance_id: Some(instance.into()), ..heartbeat }
}

/// A heartbeat that subscribes to a regular expression that stands for these topics.
fn with_pattern(text: &str, topics: &[&str], heartbeat: Heartbeat) -> Heartbeat {
    let topics = topics.iter().map(|topic| name(topic)).collect();
    Heartbeat { pattern: Some(Pattern::Resolved { text: text.into(), topics }), ..heartbeat }
}

/// Settings under which a target is computed whenever one is needed.
fn prompt() -> ConsumerSettings {
    ConsumerSettings { assignment_interval: Duration::ZERO, ..ConsumerSettings::default() }
}

impl Fixture {
    /// An empty group, and a topic `one` of six partitions with id 1 and `two` of four with id 2.
    fn new(settings: ConsumerSettings) -> Self {
        let mut world = World::default();
        world.put("one", 1, 6);
        world.put("two", 2, 4);
        Self {
            group: ConsumerGroup::new(settings),
            stored: Stored::default(),
            world,
            now: s(100),
            group_changes: BTreeSet::new(),
            member_changes: BTreeSet::new(),
        }
    }

    /// Members a and b, which subscribe to `one` and have reached the target: 0, 1, 2 and 3, 4, 5 of it, in
    /// some way, in epoch 2.
    fn with_two_members(settings: ConsumerSettings) -> Self {
        let interval = settings.assignment_interval;
        let mut fixture = Self::new(settings);
        fixture.accepted(join("a", &["one"]));
        fixture.accepted(join("b", &["one"]));
        fixture.pass(interval);
        let kept = fixture.accepted(beat("a", 1)).assignment.unwrap();
        fixture.accepted(owning("a", 1, kept));
        fixture.accepted(beat("b", fixture.epoch_of("b")));
        fixture.pass(interval);
        assert_eq!(fixture.group.state(), GroupState::Stable);
        assert_eq!((fixture.epoch_of("a"), fixture.epoch_of("b")), (2, 2));
        fixture
    }

    /// Sends a heartbeat.
    fn send(&mut self, heartbeat: &Heartbeat) -> Answer {
        let now = self.now;
        let refused_before = self.group.describe(&self.world);
        let effects = self.step(|group, world| group.heartbeat(Token(7), heartbeat, world, now));
        let [(token, answer)] = <[_; 1]>::try_from(effects.answers).unwrap();
        assert_eq!(token, Token(7));
        if answer.is_err() {
            assert_eq!(effects.changes, [], "{answer:?}");
            assert_eq!(self.group.describe(&self.world), refused_before);
        }
        answer
    }

    /// Sends a heartbeat that is accepted.
    fn accepted(&mut self, heartbeat: Heartbeat) -> Accepted {
        self.send(&heartbeat).unwrap()
    }

    /// Sends a heartbeat that is refused.
    fn refused(&mut self, heartbeat: Heartbeat) -> Refusal {
        self.send(&heartbeat).unwrap_err()
    }

    /// The changes that a heartbeat brings.
    fn changes(&mut self, heartbeat: Heartbeat) -> Vec<Change> {
        let now = self.now;
        self.step(|group, world| group.heartbeat(Token(7), &heartbeat, world, now)).changes
    }

    /// Lets time pass, and the group do what is due then.
    fn pass(&mut self, time: Duration) -> Vec<Change> {
        self.now += time;
        let now = self.now;
        let changes = self.step(|group, world| group.tick(world, now)).changes;
        assert!(self.group.next_deadline().is_none_or(|deadline| deadline > now), "something is still due");
        changes
    }

    /// Tells the group of the topics as they are now.
    fn topics_changed(&mut self) -> Vec<Change> {
        let now = self.now;
        self.step(|group, world| group.topics_changed(world, now)).changes
    }

    /// Ends the process, and starts another one with what is stored.
    fn restart(&mut self) {
        let before = self.group.describe(&self.world);
        self.group = ConsumerGroup::restore(self.stored.clone(), self.group.settings.clone(), self.now);
        assert_eq!(self.group.describe(&self.world), before);
    }

    /// Takes a step, stores what it changes, and checks the group.
    fn step(
        &mut self,
        step: impl FnOnce(&mut ConsumerGroup, &World) -> Effects<Change, Answer>,
    ) -> Effects<Change, Answer> {
        let (state, epoch, members) = (self.group.state(), self.group.epoch(), self.states());
        let effects = step(&mut self.group, &self.world);
        effects.changes.iter().for_each(|change| self.stored.apply(change));
        assert!(self.group.epoch() >= epoch, "the group epoch fell");
        self.observe(state, &members);
        self.check();
        effects
    }

    fn states(&self) -> BTreeMap<MemberId, MemberState> {
        self.group.members.iter().map(|(id, member)| (id.clone(), member.current.state)).collect()
    }

    /// Notes the changes of state that a step has brought, which the diagram must have.
    fn observe(&mut self, before: GroupState, members: &BTreeMap<MemberId, MemberState>) {
        let change = (before, self.group.state());
        if change.0 != change.1 {
            assert!(GROUP.contains(&change), "{change:?} is not in the diagram");
            self.group_changes.insert(change);
        }
        for (id, state) in self.states() {
            let change = (members.get(&id).copied(), state);
            if change.0 != Some(state) {
                // A static member that is back comes with the state in which it left.
                let back = self.group.members[&id].row.instance_id.is_some() && change.0.is_none();
                assert!(back || MEMBER.contains(&change), "{change:?} is not in the diagram");
                self.member_changes.insert(change);
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        assert!(self.group.assignment_epoch() <= self.group.epoch());
        // Nothing belongs to two members, and what is counted as held is held.
        let mut held = BTreeSet::new();
        for member in self.group.members.values() {
            let current = &member.current;
            for partition in current.held() {
                assert!(held.insert(partition), "{partition:?} belongs to two members");
            }
            assert!(current.pending.is_empty() || current.state == MemberState::UnrevokedPartitions);
        }
        assert_eq!(held, self.group.held.iter().copied().collect());
        for member in self.group.members.values() {
            assert!(member.current.epoch.0 <= self.group.assignment_epoch().0, "an epoch without a target");
            let watched = self.group.next_deadline().is_some_and(|deadline| deadline <= member.ends());
            assert!(watched, "a deadline that is not watched");
        }
        assert_eq!(self.group.deadlines.len(), self.group.members.len());
        // What is stored is the group.
        let settings = self.group.settings.clone();
        let restored = ConsumerGroup::restore(self.stored.clone(), settings, self.now);
        if !self.group.dead {
            assert_eq!(restored.describe(&self.world), self.group.describe(&self.world));
            assert!(restored.subscribed_topics().eq(self.group.subscribed_topics()));
            assert!(restored.patterns().eq(self.group.patterns()));
            assert_eq!(restored.held, self.group.held);
            assert_eq!(restored.row, self.group.row);
        }
    }

    fn epoch_of(&self, id: &str) -> i32 {
        self.group.members[id].current.epoch.0
    }

    fn state_of(&self, id: &str) -> MemberState {
        self.group.members[id].current.state
    }

    fn assigned(&self, id: &str) -> Assignment {
        self.group.members[id].current.assigned.keys()
    }

    fn target(&self, id: &str) -> Assignment {
        self.group.members[id].target.clone()
    }

    fn is_member(&self, id: &str) -> bool {
        self.group.members.contains_key(id)
    }
}
