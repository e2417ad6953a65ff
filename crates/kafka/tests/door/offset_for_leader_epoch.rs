//! OffsetForLeaderEpoch, versions 2 to 4.

use ottla_protocol::{
    ErrorCode, Message,
    messages::offset_for_leader_epoch::{
        OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
    },
};
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::{batch, create, produce};

/// Asks for the ends of epochs of a partition: code, epoch, end offset.
fn ask(
    client: &mut TestClient,
    version: i16,
    (topic, partition): (&str, i32),
    current_leader_epoch: i32,
    leader_epoch: i32,
) -> (ErrorCode, i32, i64) {
    let asked = OffsetForLeaderPartition {
        partition,
        current_leader_epoch,
        leader_epoch,
        ..OffsetForLeaderPartition::default()
    };
    let topic = OffsetForLeaderTopic {
        topic: topic.into(),
        partitions: vec![asked],
        ..OffsetForLeaderTopic::default()
    };
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![topic],
        ..OffsetForLeaderEpochRequest::default()
    };
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    let [answer] = &answer.topics[0].partitions[..] else { panic!("{answer:?}") };
    assert_eq!(answer.partition, partition);
    (answer.error_code, answer.leader_epoch, answer.end_offset)
}

/// A broker in its epoch 4 with a topic of two partitions: the first has two records of epoch 1, and one of
/// epoch 3; the other has none.
fn broker() -> TestBroker {
    let setup = Setup::default();
    let mut broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let topic = create(&mut broker.client(), "a", 2);
    for epoch in 0..4 {
        let values: &[&str] = match epoch {
            1 => &["1", "2"],
            3 => &["3"],
            _ => &[],
        };
        if !values.is_empty() {
            let written = produce(&mut broker.client(), 13, &topic, 0, &batch(values));
            assert_eq!(written.error_code, ErrorCode::NONE);
        }
        let next = broker.storage().restart();
        drop(broker);
        broker = TestBroker::over(next, &setup);
    }
    broker
}

#[test]
fn every_version_tells_where_epochs_ended() {
    let broker = broker();
    let mut client = broker.client();
    for version in OffsetForLeaderEpochRequest::VERSIONS {
        let mut end = |partition, epoch| ask(&mut client, version, ("a", partition), 4, epoch);
        for (epoch, found, end_offset) in [
            (0, 0, 0),
            (1, 1, 2),
            (2, 1, 2),
            (3, 3, 3),
            // The epoch of this life, in which nothing was written yet.
            (4, 4, 3),
            (5, -1, -1),
            (i32::MAX, -1, -1),
            (-1, -1, -1),
            (i32::MIN, -1, -1),
        ] {
            assert_eq!(end(0, epoch), (ErrorCode::NONE, found, end_offset), "epoch {epoch}");
        }
        // An empty log lost nothing: a consumer at its beginning may stay there.
        for epoch in 0..=4 {
            assert_eq!(end(1, epoch), (ErrorCode::NONE, epoch, 0), "epoch {epoch}");
        }
    }
}

#[test]
fn every_version_compares_leader_epochs_and_knows_its_topics() {
    let broker = broker();
    let mut client = broker.client();
    for version in OffsetForLeaderEpochRequest::VERSIONS {
        let mut code = |place, current| {
            let (code, epoch, end_offset) = ask(&mut client, version, place, current, 1);
            assert_eq!((epoch, end_offset) == (-1, -1), !code.is_none());
            code
        };
        assert_eq!(code(("a", 0), -1), ErrorCode::NONE);
        assert_eq!(code(("a", 0), 3), ErrorCode::FENCED_LEADER_EPOCH);
        assert_eq!(code(("a", 0), 5), ErrorCode::UNKNOWN_LEADER_EPOCH);
        assert_eq!(code(("a", 2), -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(code(("a", -1), -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(code(("none", 0), -1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}
