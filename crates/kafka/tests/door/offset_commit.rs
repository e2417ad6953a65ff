//! OffsetCommit, versions 2 to 10.

use std::sync::Arc;

use ottla_protocol::{
    ErrorCode, Message, Uuid,
    messages::{
        offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::OffsetFetchRequest,
    },
};
use ottla_records::{LeaderEpoch, PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{
    ManualClock, OffsetKey, OffsetRow, OffsetStore, Storage,
    memory::{MemoryOptions, MemoryStorage},
};
use ottla_testing_internal::{Setup, TestBroker};

use crate::{
    members::{
        Member, alone, broker, broker_with, commit, commit_one, committed, committing, committing_as, enter,
        joining, member_of, offset, replaced, until_rebalance,
    },
    support::{Topic, create},
};

/// What the store has of a partition.
fn stored<S: Storage>(
    broker: &TestBroker<S>,
    group: &str,
    topic: &Topic,
    partition: i32,
) -> Option<OffsetRow> {
    let key = OffsetKey { topic: TopicId(topic.id.into()), partition: PartitionIndex(partition) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(broker.storage().groups().read_offsets(group, vec![key])).unwrap().pop()
}

#[test]
fn every_version_commits_what_it_can_tell() {
    let setup = Setup { clock: Arc::new(ManualClock::at(1_000_000)), ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 3);
    for version in OffsetCommitRequest::VERSIONS {
        let to = 100 + i64::from(version);
        let partition = OffsetCommitRequestPartition {
            committed_leader_epoch: if version >= 6 { 4 } else { -1 },
            committed_metadata: Some("remark".into()),
            ..offset(1, to)
        };
        let mut request = committing(version, "readers", &topic, vec![partition, offset(0, 7)]);
        if version <= 4 {
            request.retention_time_ms = 5_000;
        }
        let outcomes = commit(&mut client, version, &request);
        assert_eq!(outcomes, [(1, ErrorCode::NONE), (0, ErrorCode::NONE)]);
        let row = stored(&broker, "readers", &topic, 1).unwrap();
        let expected = (to, if version >= 6 { LeaderEpoch(4) } else { LeaderEpoch::NONE }, "remark");
        assert_eq!((row.offset.0, row.leader_epoch, &*row.metadata), expected, "version {version}");
        assert_eq!(row.committed_at, TimestampMs(1_000_000));
        assert_eq!(row.expires_at, (version <= 4).then_some(TimestampMs(1_005_000)));
        assert_eq!(stored(&broker, "readers", &topic, 0).unwrap().metadata, "");
        assert_eq!(stored(&broker, "readers", &topic, 2), None);
    }
}

#[test]
fn the_group_without_a_name_and_odd_values_are_taken_as_kafka_takes_them() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    for version in OffsetCommitRequest::VERSIONS {
        let odd = OffsetCommitRequestPartition {
            committed_leader_epoch: if version >= 6 { -7 } else { -1 },
            committed_metadata: None,
            ..offset(0, -3)
        };
        // Of two for one partition the last counts.
        let request = committing(version, "", &topic, vec![odd, offset(1, 5), offset(1, 6)]);
        let outcomes = commit(&mut client, version, &request);
        assert_eq!(outcomes, [(0, ErrorCode::NONE), (1, ErrorCode::NONE), (1, ErrorCode::NONE)]);
        let row = stored(&broker, "", &topic, 0).unwrap();
        assert_eq!((row.offset.0, row.leader_epoch, &*row.metadata), (-3, LeaderEpoch::NONE, ""));
        assert_eq!(committed(&mut client, "", &topic, 1), 6);
    }
    let nothing = client.call(9, &OffsetCommitRequest { group_id: "readers".into(), ..Default::default() });
    assert!(nothing.topics.is_empty());
}

#[test]
fn what_is_not_there_fails_alone() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    let unknown = Topic { name: "none", id: Uuid::from([7; 16]) };
    for version in OffsetCommitRequest::VERSIONS {
        let mut request =
            committing(version, "readers", &topic, vec![offset(0, 1), offset(2, 1), offset(-1, 1)]);
        let other = committing(version, "readers", &unknown, vec![offset(0, 1)]);
        request.topics.extend(other.topics.clone());
        let answer = client.call(version, &request);
        let codes: Vec<_> = answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|it| (it.partition_index, it.error_code))
            .collect();
        let no_topic =
            if version >= 10 { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        assert_eq!(
            codes,
            [
                (0, ErrorCode::NONE),
                (2, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (-1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (0, no_topic),
            ],
        );
        // Where nothing is there, nobody is asked who commits.
        let request = OffsetCommitRequest { generation_id_or_member_epoch: 3, ..other };
        assert_eq!(commit(&mut client, version, &request), [(0, no_topic)]);
    }
    let no_id = OffsetCommitRequestTopic { partitions: vec![offset(0, 1)], ..Default::default() };
    let request =
        OffsetCommitRequest { group_id: "readers".into(), topics: vec![no_id], ..Default::default() };
    assert_eq!(commit(&mut client, 10, &request), [(0, ErrorCode::UNKNOWN_TOPIC_ID)]);
}

#[test]
fn a_remark_that_is_too_long_fails_alone() {
    let broker = broker_with(&["offset.metadata.max.bytes=4"]);
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 4);
    for version in OffsetCommitRequest::VERSIONS {
        // Kafka counts units of UTF-16: two for what is beyond the basic plane.
        let remarks = ["abcd", "abcde", "äöüß", "𝄞𝄞a"];
        let partitions = remarks.iter().zip(0..).map(|(remark, index)| OffsetCommitRequestPartition {
            committed_metadata: Some((*remark).into()),
            ..offset(index, 1)
        });
        let request = committing(version, "readers", &topic, partitions.collect());
        assert_eq!(
            commit(&mut client, version, &request),
            [
                (0, ErrorCode::NONE),
                (1, ErrorCode::OFFSET_METADATA_TOO_LARGE),
                (2, ErrorCode::NONE),
                (3, ErrorCode::OFFSET_METADATA_TOO_LARGE),
            ],
        );
        let alone = OffsetCommitRequestPartition { committed_metadata: Some("abcde".into()), ..offset(1, 1) };
        let request = committing(version, "readers", &topic, vec![alone]);
        assert_eq!(commit(&mut client, version, &request), [(1, ErrorCode::OFFSET_METADATA_TOO_LARGE)]);
    }
    assert_eq!(stored(&broker, "readers", &topic, 1), None);
    assert_eq!(stored(&broker, "readers", &topic, 2).unwrap().metadata, "äöüß");
}

#[test]
fn a_group_that_is_not_there_has_no_members_to_commit() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    for version in OffsetCommitRequest::VERSIONS {
        let stranger = Member { group: "no such group", id: "m".into(), generation: 1 };
        let request =
            committing_as(&stranger, committing(version, "no such group", &topic, vec![offset(0, 1)]));
        let code = if version >= 9 { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::ILLEGAL_GENERATION };
        assert_eq!(commit(&mut client, version, &request), [(0, code)]);
    }
    assert_eq!(stored(&broker, "no such group", &topic, 0), None);
}

#[test]
fn members_of_a_classic_group_commit_in_their_generation() {
    let broker = broker();
    let (mut client, mut other) = (broker.client(), broker.client());
    let topic = create(&mut client, "orders", 1);
    let member = alone(&mut client, "readers");
    for version in OffsetCommitRequest::VERSIONS {
        let to = i64::from(version);
        let request = || committing(version, "readers", &topic, vec![offset(0, to), offset(7, to)]);
        let mut check = |member: &Member, code| {
            let outcomes = commit(&mut client, version, &committing_as(member, request()));
            let of_unknown =
                if code == ErrorCode::NONE { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { code };
            assert_eq!(outcomes, [(0, code), (7, of_unknown)], "version {version}: {member:?}");
        };
        check(&member, ErrorCode::NONE);
        check(&Member { generation: 9, ..member.clone() }, ErrorCode::ILLEGAL_GENERATION);
        check(&Member { id: "stranger".into(), ..member.clone() }, ErrorCode::UNKNOWN_MEMBER_ID);
        let nobody = Member { id: "".into(), generation: -1, ..member.clone() };
        check(&nobody, ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(committed(&mut client, "readers", &topic, 0), to);
    }
    // Between the joins of a rebalance and its assignments it is not known whose the partitions are.
    let waits = other.send(3, &joining("readers", ""));
    until_rebalance(&mut client, &member);
    let led = member_of("readers", &client.call(9, &joining("readers", &member.id)));
    other.receive(waits);
    for version in OffsetCommitRequest::VERSIONS {
        let request = committing_as(&led, committing(version, "readers", &topic, vec![offset(0, 1)]));
        assert_eq!(commit(&mut client, version, &request), [(0, ErrorCode::REBALANCE_IN_PROGRESS)]);
    }
}

#[test]
fn a_static_member_that_was_replaced_is_fenced() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let (before, _) = replaced(&mut client, "readers");
    for version in 7..=10 {
        let request = OffsetCommitRequest {
            group_instance_id: Some("reader-1".into()),
            ..committing_as(&before, committing(version, "readers", &topic, vec![offset(0, 1)]))
        };
        assert_eq!(commit(&mut client, version, &request), [(0, ErrorCode::FENCED_INSTANCE_ID)]);
    }
}

#[test]
fn members_of_a_new_group_commit_in_their_epoch() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let epoch = enter(&mut client, "readers", "m", &["orders"]).member_epoch;
    for version in OffsetCommitRequest::VERSIONS {
        let mut check = |id: &str, generation, code| {
            let member = Member { group: "readers", id: id.into(), generation };
            let request = committing(version, "readers", &topic, vec![offset(0, 5)]);
            let outcomes = commit(&mut client, version, &committing_as(&member, request));
            assert_eq!(outcomes, [(0, code)], "version {version}: {id} {generation}");
        };
        check("stranger", epoch, ErrorCode::UNKNOWN_MEMBER_ID);
        check("", -1, ErrorCode::UNKNOWN_MEMBER_ID);
        if version >= 9 {
            check("m", epoch, ErrorCode::NONE);
            check("m", epoch + 1, ErrorCode::STALE_MEMBER_EPOCH);
            check("m", epoch - 1, ErrorCode::STALE_MEMBER_EPOCH);
        } else {
            check("m", epoch, ErrorCode::UNSUPPORTED_VERSION);
        }
    }
}

#[test]
fn commits_of_one_connection_keep_their_order() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    commit_one(&mut client, "readers", &topic, 0, 0);
    let commits: Vec<_> =
        (1..=200).map(|to| client.send(9, &committing(9, "readers", &topic, vec![offset(0, to)]))).collect();
    let fetch = client
        .send(2, &OffsetFetchRequest { group_id: "readers".into(), topics: None, ..Default::default() });
    for sent in commits {
        assert_eq!(client.receive(sent).topics[0].partitions[0].error_code, ErrorCode::NONE);
    }
    assert_eq!(client.receive(fetch).topics[0].partitions[0].committed_offset, 200);
}
