//! Groups over a store in memory: what is answered is stored, and a new owner goes on where the last one was.

mod failures;
mod members;
mod offsets;
mod topics;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_coordinator::{
    InstanceId, MemberEpoch, MemberId,
    assignor::Assignment,
    classic::{self, Joined, Joining, Protocol, Refusal},
    consumer::{self, Heartbeat},
};
use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{
    GroupKind, GroupStore, ManualClock, OffsetKey, OffsetRow, OffsetStore, SeededRandom, Storage,
    memory::{MemoryOptions, MemoryStorage},
};
use tokio::task::JoinHandle;

use super::{
    CommitClaim, FetchClaim, GroupDescription, GroupError, GroupSettings, Groups, LeavingMember, Member,
    Owner, SyncRequest,
};
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
        Self::with(BrokerSettings::default()).await
    }

    async fn with(settings: BrokerSettings) -> Self {
        let clock = Arc::new(ManualClock::default());
        let storage = MemoryStorage::new(MemoryOptions::default());
        let random = Arc::new(SeededRandom::new(1));
        let broker = Broker::start(storage, settings, clock.clone(), random).await.unwrap();
        let broker = Arc::new(broker);
        let (groups, running) = Self::start(&broker).await;
        let world = Self { clock, broker, groups, running };
        world.create("orders", 4).await;
        world
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

    async fn create(&self, name: &str, partitions: i32) -> Arc<crate::Topic<MemoryStorage>> {
        let topic =
            TopicRequest { name: name.into(), partitions: Some(partitions), ..TopicRequest::default() };
        self.broker.create(&topic).await.unwrap()
    }

    /// Lets the group's only member leave.
    async fn leave(&self, member: Member) {
        let leaving = LeavingMember { member_id: member.member_id, instance_id: None, reason: None };
        assert_eq!(self.groups.leave(GROUP, vec![leaving]).await.unwrap(), [Ok(())]);
    }

    /// Waits until something is so, for what happens beside the requests.
    async fn until<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.unwrap()
    }

    /// Waits until the sessions of all members have ended: whoever asks finds that the time has passed, at the latest
    /// with the owner's next look at the clock.
    async fn until_memberless(&self) {
        let members = async || match self.groups.describe(GROUP).await.unwrap() {
            Some(GroupDescription::Classic(group)) => group.members.len(),
            _ => 0,
        };
        self.until(async || (members().await == 0).then_some(())).await;
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

/// Somebody who is no member.
fn nobody() -> CommitClaim {
    CommitClaim { member_id: "".into(), instance_id: None, epoch: -1, tells_epochs: true }
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
