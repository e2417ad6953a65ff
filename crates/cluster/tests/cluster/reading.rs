//! Fetch, ListOffsets and OffsetForLeaderEpoch.

use ottla_protocol::{
    ErrorCode, Uuid,
    messages::{
        fetch::{FetchRequest, LeaderIdAndEpoch},
        list_offsets::{
            ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
        },
        offset_for_leader_epoch::{
            EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
        },
    },
};
use ottla_records::TimestampMs;
use ottla_testing::{ApiKey, Broker, Cluster, NewRecord};

use crate::client::{Client, batch, eventually, fetch, fetch_by_id, fetched, produce};

const LONG_MS: i32 = 20_000;

/// A broker with a topic of three batches with a record each.
fn with_records() -> Broker {
    let broker = Broker::start();
    broker.create_topic("t", 1);
    for timestamp in [10, 30, 20] {
        let record =
            NewRecord { timestamp: TimestampMs(timestamp), value: Some(b"v"), ..NewRecord::default() };
        broker.append("t", 0, &[record]);
    }
    broker
}

#[test]
fn every_version_reads() {
    let broker = with_records();
    let id = broker.topic_id("t").unwrap();
    let size = broker.batches("t", 0)[0].bytes().len();
    let mut client = Client::to(&broker, 1);
    for version in 4..=18 {
        let request = if version < 13 { fetch("t", 1) } else { fetch_by_id(id, 1) };
        let response = client.call(version, &request);
        let data = fetched(&response);
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (ErrorCode::NONE, 3, 3));
        assert_eq!(data.log_start_offset, if version < 5 { -1 } else { 0 }, "version {version}");
        assert_eq!(data.records.len(), 2 * size);
        assert_eq!(response.session_id, 0);
    }
}

#[test]
fn limits_cut_the_last_batch() {
    let broker = with_records();
    let size = broker.batches("t", 0)[0].bytes().len();
    let mut client = Client::to(&broker, 1);
    for (max_bytes, partition_max_bytes, read) in [
        (i32::MAX, i32::MAX, 3 * size),
        (1, i32::MAX, size),
        (i32::MAX, 1, size),
        (size as i32 + 1, i32::MAX, size + 1),
        (i32::MAX, 2 * size as i32, 2 * size),
        (0, 0, size),
        (-1, -1, size),
    ] {
        let mut request = FetchRequest { max_bytes, ..fetch("t", 0) };
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let response = client.call(11, &request);
        assert_eq!(fetched(&response).records.len(), read, "{max_bytes}, {partition_max_bytes}");
    }
}

#[test]
fn fetches_are_refused_as_kafka_does() {
    let cluster = Cluster::builder().nodes(3).topic("t", 1).replication_factor(2).start();
    cluster.move_leader("t", 0, 2);
    cluster.append("t", 0, &[NewRecord::default()]);
    let id = cluster.topic_id("t").unwrap();
    for (node, offset, epoch, error) in [
        (2, 0, -1, ErrorCode::NONE),
        (2, 0, 1, ErrorCode::NONE),
        (2, 0, 0, ErrorCode::FENCED_LEADER_EPOCH),
        (2, 0, 2, ErrorCode::UNKNOWN_LEADER_EPOCH),
        (2, 2, 1, ErrorCode::OFFSET_OUT_OF_RANGE),
        (2, -1, 1, ErrorCode::OFFSET_OUT_OF_RANGE),
        (1, 0, 1, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (1, 0, 0, ErrorCode::FENCED_LEADER_EPOCH),
        (3, 0, 0, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    ] {
        let mut client = Client::to(&cluster, node);
        for version in [9, 15, 16] {
            let mut request = if version < 13 { fetch("t", offset) } else { fetch_by_id(id, offset) };
            request.max_wait_ms = 0;
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let response = client.call(version, &request);
            let data = fetched(&response);
            assert_eq!(
                data.error_code, error,
                "node {node}, offset {offset}, epoch {epoch}, version {version}"
            );
            let moved = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH].contains(&error);
            if moved && version >= 16 {
                assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (2, 1));
                assert_eq!(response.node_endpoints[0].port, i32::from(cluster.address(2).port()));
            } else {
                assert_eq!(
                    (&data.current_leader, response.node_endpoints.len()),
                    (&LeaderIdAndEpoch::default(), 0)
                );
            }
        }
    }
    let mut client = Client::to(&cluster, 2);
    assert_eq!(fetched(&client.call(12, &fetch("no", 0))).error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let unknown = fetch_by_id(Uuid::from_bytes([9; 16]), 0);
    assert_eq!(fetched(&client.call(13, &unknown)).error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn a_fetch_waits_for_records() {
    let broker = with_records();
    let request = FetchRequest { max_wait_ms: LONG_MS, ..fetch("t", 3) };
    let mut waiting = Client::to(&broker, 1);
    waiting.send(11, &request).unwrap();
    assert!(waiting.is_silent());
    Client::to(&broker, 1).call(9, &produce("t", 0, batch(&["late"])));
    let response = waiting.receive::<FetchRequest>(11).unwrap();
    assert_eq!(fetched(&response).high_watermark, 4);
    assert!(!fetched(&response).records.is_empty());

    // It hears of a new leader, too.
    waiting.send(11, &FetchRequest { max_wait_ms: LONG_MS, ..fetch("t", 4) }).unwrap();
    assert!(waiting.is_silent());
    broker.remove_leader("t", 0);
    let response = waiting.receive::<FetchRequest>(11).unwrap();
    assert_eq!(fetched(&response).error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_fetch_that_waits_in_vain_ends_and_so_does_its_connection() {
    let broker = with_records();
    let mut client = Client::to(&broker, 1);
    let response = client.call(11, &FetchRequest { max_wait_ms: 30, min_bytes: 1 << 20, ..fetch("t", 0) });
    assert_eq!(fetched(&response).high_watermark, 3);

    client.send(11, &FetchRequest { max_wait_ms: LONG_MS, ..fetch("t", 3) }).unwrap();
    eventually("the fetch has come", || broker.counts().requests_of(ApiKey::FETCH) == 2);
    drop(client);
    eventually("its end is noticed", || broker.counts().connections_open == 0);
}

#[test]
fn sessions_answer_what_is_new() {
    let broker = with_records();
    broker.create_topic("other", 1);
    let mut client = Client::to(&broker, 1);
    let mut request = fetch("t", 3);
    request.topics.extend(fetch("other", 0).topics);
    (request.session_epoch, request.min_bytes) = (0, 0);
    let first = client.call(11, &request);
    assert_eq!((first.responses.len(), first.session_id > 0), (2, true));

    let next = |session_epoch| FetchRequest {
        session_id: first.session_id,
        session_epoch,
        ..FetchRequest::default()
    };
    assert_eq!(client.call(11, &next(1)).responses, []);
    broker.append("other", 0, &[NewRecord::default()]);
    let second = client.call(11, &next(2));
    assert_eq!(second.responses.iter().map(|topic| &*topic.topic).collect::<Vec<_>>(), ["other"]);
    assert_eq!(client.call(11, &next(2)).error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    broker.kill(1);
    broker.revive(1);
    let mut client = Client::to(&broker, 1);
    assert_eq!(client.call(11, &next(3)).error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn a_log_that_lost_records_diverges() {
    let broker = with_records();
    broker.move_leader("t", 0, 1);
    broker.append("t", 0, &[NewRecord::default()]);
    assert_eq!(broker.truncate("t", 0, 2), 2);
    broker.move_leader("t", 0, 1);
    let mut client = Client::to(&broker, 1);
    let mut request = fetch("t", 4);
    request.topics[0].partitions[0].last_fetched_epoch = 1;
    let response = client.call(12, &request);
    let diverging = &fetched(&response).diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 2));
}

fn list(topic: &str, epoch: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { current_leader_epoch: epoch, timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

fn listed(client: &mut Client, version: i16, request: &ListOffsetsRequest) -> ListOffsetsPartitionResponse {
    client.call(version, request).topics.remove(0).partitions.remove(0)
}

#[test]
fn offsets_are_listed() {
    let broker = with_records();
    broker.move_leader("t", 0, 1);
    let mut client = Client::to(&broker, 1);
    for version in 1..=11 {
        for (timestamp, since, found, epoch) in [
            (-1, 1, (-1, 3), 1),
            (-2, 1, (-1, 0), 0),
            (11, 1, (30, 1), 0),
            (31, 1, (-1, -1), -1),
            (-3, 7, (30, 1), 0),
            (-4, 8, (-1, 0), 0),
            (-5, 9, (-1, -1), -1),
            (-6, 11, (-1, -1), -1),
        ] {
            let answer = listed(&mut client, version, &list("t", -1, timestamp));
            if version < since {
                assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION, "{timestamp} in {version}");
                continue;
            }
            assert_eq!(answer.error_code, ErrorCode::NONE);
            assert_eq!((answer.timestamp, answer.offset), found, "{timestamp} in {version}");
            assert_eq!(answer.leader_epoch, if version < 4 { -1 } else { epoch }, "{timestamp} in {version}");
        }
    }
    broker.set_log_start("t", 0, 2);
    assert_eq!(listed(&mut client, 1, &list("t", -1, -2)).offset, 2);
    for (topic, epoch, error) in [
        ("t", 0, ErrorCode::FENCED_LEADER_EPOCH),
        ("t", 2, ErrorCode::UNKNOWN_LEADER_EPOCH),
        ("no", -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        assert_eq!(listed(&mut client, 6, &list(topic, epoch, -1)).error_code, error);
    }
}

#[test]
fn epochs_have_ends() {
    let broker = with_records();
    broker.move_leader("t", 0, 1);
    let mut client = Client::to(&broker, 1);
    let mut ask = |version, topic: &str, current_leader_epoch, leader_epoch| {
        let partition = OffsetForLeaderPartition { current_leader_epoch, leader_epoch, ..Default::default() };
        let topic =
            OffsetForLeaderTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
        let answer: EpochEndOffset = client.call(version, &request).topics.remove(0).partitions.remove(0);
        (answer.error_code, answer.leader_epoch, answer.end_offset)
    };
    for version in 2..=4 {
        assert_eq!(ask(version, "t", 1, 0), (ErrorCode::NONE, 0, 3));
        assert_eq!(ask(version, "t", -1, 1), (ErrorCode::NONE, 1, 3));
        assert_eq!(ask(version, "t", -1, 5), (ErrorCode::NONE, -1, -1));
        assert_eq!(ask(version, "t", 0, 0), (ErrorCode::FENCED_LEADER_EPOCH, -1, -1));
        assert_eq!(ask(version, "no", -1, 0), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1, -1));
    }
}
