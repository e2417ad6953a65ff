//! What the tests of the group APIs share: members of classic groups and of those of KIP-848, and their offsets.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Str,
    messages::{
        consumer_group_heartbeat::{
            ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
        },
        consumer_protocol::{ConsumerProtocol, ConsumerProtocolSubscription},
        heartbeat::HeartbeatRequest,
        join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse},
        offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
    },
};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::Topic;

/// Groups that do not wait for more members.
pub const AT_ONCE: &[&str] =
    &["group.initial.rebalance.delay.ms=0", "group.consumer.assignment.interval.ms=0"];

/// A broker whose groups do not wait for more members.
pub fn broker() -> TestBroker {
    TestBroker::start(AT_ONCE)
}

/// The same with more settings.
pub fn broker_with(settings: &[&str]) -> TestBroker {
    TestBroker::start(&[AT_ONCE, settings].concat())
}

/// What a consumer says when it joins.
pub fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
    ConsumerProtocolSubscription { topics, ..ConsumerProtocolSubscription::default() }
        .to_versioned_bytes(0)
        .unwrap()
}

/// A member of a classic group in a generation.
#[derive(Clone, Debug)]
pub struct Member {
    pub group: &'static str,
    pub id: Str,
    pub generation: i32,
}

/// A protocol with what a member says in it.
pub fn protocol(name: &str, metadata: Bytes) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata, ..JoinGroupRequestProtocol::default() }
}

/// A consumer of `orders` that joins.
pub fn joining(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: -1,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", subscription(&["orders"]))],
        ..JoinGroupRequest::default()
    }
}

/// Joins, and again with the id that the member is told where it has to know one.
pub fn join(client: &mut TestClient, version: i16, mut request: JoinGroupRequest) -> JoinGroupResponse {
    let answer = client.call(version, &request);
    if answer.error_code != ErrorCode::MEMBER_ID_REQUIRED {
        return answer;
    }
    request.member_id = answer.member_id;
    client.call(version, &request)
}

/// A member that asks for its assignment, and gives these.
pub fn syncing(version: i16, member: &Member, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignment = |(member_id, assignment): &(&str, &'static str)| SyncGroupRequestAssignment {
        member_id: (*member_id).into(),
        assignment: Bytes::from_static(assignment.as_bytes()),
        ..SyncGroupRequestAssignment::default()
    };
    SyncGroupRequest {
        group_id: member.group.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..SyncGroupRequest::default()
    }
}

pub fn sync(
    client: &mut TestClient,
    version: i16,
    member: &Member,
    assignments: &[(&str, &'static str)],
) -> SyncGroupResponse {
    client.call(version, &syncing(version, member, assignments))
}

/// Who has joined.
pub fn member_of(group: &'static str, answer: &JoinGroupResponse) -> Member {
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    Member { group, id: answer.member_id.clone(), generation: answer.generation_id }
}

/// A member alone in a stable group, with the assignment `all`.
pub fn alone_as(client: &mut TestClient, group: &'static str, request: JoinGroupRequest) -> Member {
    let member = member_of(group, &join(client, 9, request));
    let synced = sync(client, 4, &member, &[(&member.id, "all")]);
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"all"[..]), "{synced:?}");
    member
}

/// A consumer of `orders` alone in a stable group.
pub fn alone(client: &mut TestClient, group: &'static str) -> Member {
    alone_as(client, group, joining(group, ""))
}

/// A static member `reader-1`, alone in a stable group, as it was and as it is after another has taken its place.
pub fn replaced(client: &mut TestClient, group: &'static str) -> (Member, Member) {
    let request = || JoinGroupRequest { group_instance_id: Some("reader-1".into()), ..joining(group, "") };
    let before = alone_as(client, group, request());
    let now = member_of(group, &client.call(9, &request()));
    (before, now)
}

/// A heartbeat of a member of a classic group.
pub fn heartbeat_of(member: &Member) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: member.group.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..HeartbeatRequest::default()
    }
}

/// Waits until a join of somebody else has begun a rebalance.
pub fn until_rebalance(client: &mut TestClient, member: &Member) {
    while client.call(4, &heartbeat_of(member)).error_code != ErrorCode::REBALANCE_IN_PROGRESS {}
}

/// A heartbeat of a KIP-848 member that says nothing new.
pub fn beating(group: &str, member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member_id.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A KIP-848 member that joins and subscribes to these topics.
pub fn entering(group: &str, member_id: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| Str::from(*topic)).collect()),
        topic_partitions: Some(Vec::new()),
        ..beating(group, member_id, 0)
    }
}

/// The partitions in a heartbeat or its answer.
pub fn owning(topic: &Topic, partitions: &[i32]) -> Vec<TopicPartitions> {
    vec![TopicPartitions {
        topic_id: topic.id,
        partitions: partitions.to_vec(),
        ..TopicPartitions::default()
    }]
}

/// Joins a KIP-848 group.
pub fn enter(
    client: &mut TestClient,
    group: &str,
    member_id: &str,
    topics: &[&str],
) -> ConsumerGroupHeartbeatResponse {
    let answer = client.call(1, &entering(group, member_id, topics));
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    answer
}

/// A partition of a commit.
pub fn offset(partition_index: i32, committed_offset: i64) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        ..OffsetCommitRequestPartition::default()
    }
}

/// A commit of offsets of one topic by somebody who is no member.
pub fn committing(
    version: i16,
    group: &str,
    topic: &Topic,
    partitions: Vec<OffsetCommitRequestPartition>,
) -> OffsetCommitRequest {
    let mut of_topic = OffsetCommitRequestTopic { partitions, ..OffsetCommitRequestTopic::default() };
    if version >= 10 {
        of_topic.topic_id = topic.id;
    } else {
        of_topic.name = topic.name.into();
    }
    OffsetCommitRequest { group_id: group.into(), topics: vec![of_topic], ..OffsetCommitRequest::default() }
}

/// The same by a member of a classic group.
pub fn committing_as(member: &Member, request: OffsetCommitRequest) -> OffsetCommitRequest {
    OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation,
        ..request
    }
}

/// What became of each partition of a commit of one topic.
pub fn commit(client: &mut TestClient, version: i16, request: &OffsetCommitRequest) -> Vec<(i32, ErrorCode)> {
    let answer = client.call(version, request);
    assert_eq!(answer.throttle_time_ms, 0);
    let [topic] = &answer.topics[..] else { panic!("{answer:?}") };
    let asked = &request.topics[0];
    assert_eq!((&topic.name, topic.topic_id), (&asked.name, asked.topic_id));
    topic.partitions.iter().map(|it| (it.partition_index, it.error_code)).collect()
}

/// Commits an offset of one partition, by nobody.
pub fn commit_one(client: &mut TestClient, group: &str, topic: &Topic, partition: i32, to: i64) {
    let request = committing(9, group, topic, vec![offset(partition, to)]);
    assert_eq!(commit(client, 9, &request), [(partition, ErrorCode::NONE)]);
}

/// A group's offset of a partition; -1 if it has none.
pub fn committed(client: &mut TestClient, group: &str, topic: &Topic, partition: i32) -> i64 {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.into(),
        partition_indexes: vec![partition],
        ..OffsetFetchRequestTopics::default()
    }];
    let group = OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(topics),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let answer = client.call(8, &request);
    assert_eq!(answer.groups[0].error_code, ErrorCode::NONE, "{answer:?}");
    answer.groups[0].topics[0].partitions[0].committed_offset
}
