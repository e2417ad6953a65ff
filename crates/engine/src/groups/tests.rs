//! Groups over a store in memory: what is answered is stored, and a new owner goes on where the last one was.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_coordinator::{
    InstanceId, MemberEpoch, MemberId,
    assignor::Assignment,
    classic::{self, Joined, Joining, Protocol, Refusal},
    consumer::{self, Heartbeat},
};
use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use ottla_storage::{
    GroupKind, GroupStore, ManualClock, OffsetKey, OffsetRow, OffsetStore, SeededRandom, Storage,
    memory::{MemoryOptions, MemoryStorage},
};
use tokio::task::JoinHandle;

use super::{CommitClaim, GroupDescription, GroupError, GroupSettings, Groups, Member, Owner, SyncRequest};
use crate::{Broker, TopicRequest, settings::BrokerSettings};

const GROUP: &str = "readers";

/// A door whose members say the name of one topic, and nothing else.
fn subscription(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    Some(vec![std::str::from_utf8(metadata).ok()?.into()])
}

struct World {
    clock: Arc<ManualClock>,
    broker: Arc<Broker<MemoryStorage>>,
    groups: Groups<MemoryStorage>,
    running: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let storage = MemoryStorage::new(MemoryOptions::default());
        let random = Arc::new(SeededRandom::new(1));
        let broker = Broker::start(storage, BrokerSettings::default(), clock.clone(), random).await.unwrap();
        let broker = Arc::new(broker);
        let topic = TopicRequest { name: "orders".into(), partitions: Some(4), ..TopicRequest::default() };
        broker.create(&topic).await.unwrap();
        let (groups, running) = Self::start(&broker).await;
        Self { clock, broker, groups, running }
    }

    async fn start(broker: &Arc<Broker<MemoryStorage>>) -> (Groups<MemoryStorage>, JoinHandle<()>) {
        let classic = classic::ClassicSettings {
            initial_rebalance_delay: Duration::ZERO,
            ..classic::ClassicSettings::default()
        };
        let consumer = consumer::ConsumerSettings {
            assignment_interval: Duration::ZERO,
            ..consumer::ConsumerSettings::default()
        };
        let settings = GroupSettings {
            classic: Arc::new(classic),
            consumer,
            ..GroupSettings::new(broker.settings(), subscription)
        };
        let (mut owner, groups) = Owner::load(broker.clone(), settings).await.unwrap();
        owner.keep_memberless(2);
        (groups, tokio::spawn(owner.run()))
    }

    /// Ends the owner of the groups and begins another one on the same rows.
    async fn restart(&mut self) {
        let (groups, running) = Self::start(&self.broker).await;
        self.groups = groups;
        std::mem::replace(&mut self.running, running).await.unwrap();
    }

    fn offset(&self, partition: i32, offset: i64) -> OffsetRow {
        let topic = self.broker.topics().named("orders").unwrap().id;
        OffsetRow {
            key: OffsetKey { topic, partition: PartitionIndex(partition) },
            topic_name: "orders".into(),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
            committed_at: TimestampMs(1_000_000),
            expires_at: None,
        }
    }

    async fn committed(&self, partition: i32) -> Option<i64> {
        let key = self.offset(partition, 0).key;
        let rows = self.broker.storage().groups().read_offsets(GROUP, vec![key]).await.unwrap();
        rows.first().map(|row| row.offset.0)
    }

    /// A member alone in a generation.
    async fn alone(&self) -> Member {
        let joined = self.groups.join(GROUP, joining(None, "a")).await.unwrap();
        let member = member(&joined);
        let assignments = vec![(joined.member_id, Bytes::from_static(b"all"))];
        let request =
            SyncRequest { member: member.clone(), protocol_type: None, protocol: None, assignments };
        assert_eq!(self.groups.sync(GROUP, request).await.unwrap().assignment, "all");
        member
    }
}

fn joining(member_id: Option<&str>, fresh: &str) -> Joining {
    Joining {
        member_id: member_id.map(MemberId::from),
        fresh_id: fresh.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"orders") }],
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        requires_member_id: false,
        skips_assignment: true,
        reason: None,
    }
}

fn member(joined: &Joined) -> Member {
    Member { member_id: joined.member_id.as_str().into(), instance_id: None, generation: joined.generation.0 }
}

fn claim(member: &Member) -> CommitClaim {
    CommitClaim {
        member_id: MemberId::from(&*member.member_id),
        instance_id: None,
        epoch: member.generation,
        tells_epochs: true,
    }
}

fn heartbeat(epoch: i32, joins: bool) -> Heartbeat {
    Heartbeat {
        member_id: "m".into(),
        fresh_member_id: None,
        member_epoch: MemberEpoch(epoch),
        instance_id: None::<InstanceId>,
        rack: None,
        rebalance_timeout: joins.then_some(Duration::from_secs(60)),
        topics: joins.then(|| vec!["orders".into()]),
        pattern: None,
        assignor: None,
        owned: joins.then(Assignment::new),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
    }
}

#[tokio::test]
async fn a_member_goes_on_after_a_restart_without_a_rebalance() {
    let mut world = World::new().await;
    let member = world.alone().await;
    world.restart().await;
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.groups.commit(GROUP, claim(&member), vec![world.offset(1, 7)]).await.unwrap();
    assert_eq!(world.committed(1).await, Some(7));
    let Some(GroupDescription::Classic(described)) = world.groups.describe(GROUP).await.unwrap() else {
        panic!("a classic group")
    };
    assert_eq!((described.state, described.members.len()), (classic::State::Stable, 1));
    assert_eq!(described.members[0].assignment, "all");
}

#[tokio::test]
async fn a_session_begins_anew_with_a_restart_and_ends_in_time() {
    let mut world = World::new().await;
    let member = world.alone().await;
    world.clock.advance(Duration::from_secs(9));
    world.restart().await;
    world.clock.advance(Duration::from_secs(9));
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.clock.advance(Duration::from_secs(11));
    // Whoever asks finds that the time has passed, at the latest with the owner's next look at the clock.
    let expelled = async {
        loop {
            let Some(GroupDescription::Classic(group)) = world.groups.describe(GROUP).await.unwrap() else {
                return;
            };
            if group.members.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), expelled).await.unwrap();
    let refused = world.groups.heartbeat(GROUP, member).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::UnknownMember)), "{refused}");
    let stored = world.broker.storage().groups().load_group(GROUP).await.unwrap().unwrap();
    assert_eq!((stored.members.len(), stored.row.epoch), (0, 2));
    assert!(stored.row.empty_since.is_some());
}

#[tokio::test]
async fn commits_of_strangers_and_of_the_past_are_refused() {
    let world = World::new().await;
    let nobody = CommitClaim { member_id: "".into(), instance_id: None, epoch: -1, tells_epochs: true };
    world.groups.commit(GROUP, nobody.clone(), vec![world.offset(0, 1)]).await.unwrap();
    let member = world.alone().await;
    let commit = |claim| world.groups.commit(GROUP, claim, vec![world.offset(0, 2)]);
    let refused = commit(nobody).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::UnknownMember)), "{refused}");
    let refused = commit(CommitClaim { epoch: 7, ..claim(&member) }).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::IllegalGeneration)), "{refused}");
    assert_eq!(world.committed(0).await, Some(1));
    commit(claim(&member)).await.unwrap();
    assert_eq!(world.committed(0).await, Some(2));
}

#[tokio::test]
async fn a_group_is_deleted_with_its_offsets_once_it_is_empty_and_is_new_then() {
    let world = World::new().await;
    let member = world.alone().await;
    world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 2)]).await.unwrap();
    let refused = world.groups.delete(GROUP).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::NonEmptyGroup)), "{refused}");
    let leaving = super::LeavingMember { member_id: member.member_id, instance_id: None, reason: None };
    assert_eq!(world.groups.leave(GROUP, vec![leaving]).await.unwrap(), [Ok(())]);
    world.groups.delete(GROUP).await.unwrap();
    assert_eq!(world.committed(0).await, None);
    assert_eq!(world.broker.storage().groups().load_group(GROUP).await.unwrap(), None);
    assert_eq!(world.alone().await.generation, 1);
}

#[tokio::test]
async fn a_consumer_group_is_stored_by_the_row_and_goes_on() {
    let mut world = World::new().await;
    let joined = world.groups.consumer_heartbeat(GROUP, heartbeat(0, true)).await.unwrap();
    assert_eq!(joined.assignment.as_ref().map(Assignment::len), Some(4));
    let stored = world.broker.storage().groups().load_group(GROUP).await.unwrap().unwrap();
    assert_eq!((stored.row.kind, stored.members.len()), (GroupKind::Consumer, 1));
    world.restart().await;
    let again =
        world.groups.consumer_heartbeat(GROUP, heartbeat(joined.member_epoch.0, false)).await.unwrap();
    assert_eq!((again.member_epoch, again.assignment), (joined.member_epoch, None));
    let refused = world.groups.join(GROUP, joining(None, "a")).await.unwrap_err();
    assert!(matches!(refused, GroupError::OtherProtocol), "{refused}");
    world.groups.consumer_heartbeat(GROUP, heartbeat(-1, false)).await.unwrap();
    assert_eq!(world.alone().await.generation, 1);
}

#[tokio::test]
async fn groups_without_members_are_forgotten_and_read_again() {
    let world = World::new().await;
    let member = world.alone().await;
    let leaving = super::LeavingMember { member_id: member.member_id, instance_id: None, reason: None };
    assert_eq!(world.groups.leave(GROUP, vec![leaving]).await.unwrap(), [Ok(())]);
    let nobody = CommitClaim { member_id: "".into(), instance_id: None, epoch: -1, tells_epochs: true };
    for round in 0..3 {
        for number in 0..20 {
            let group = format!("other-{number}");
            world.groups.commit(&group, nobody.clone(), vec![world.offset(0, round)]).await.unwrap();
        }
    }
    for number in 0..20 {
        let key = world.offset(0, 0).key;
        let group = format!("other-{number}");
        let rows = world.broker.storage().groups().read_offsets(&group, vec![key]).await.unwrap();
        assert_eq!(rows[0].offset, Offset(2));
    }
    // The first generation was left, which began the second.
    assert_eq!(world.alone().await.generation, 3);
}
