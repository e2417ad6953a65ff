//! Produce and InitProducerId.

use ottla_protocol::{
    ErrorCode, Records, Uuid,
    messages::{
        init_producer_id::InitProducerIdRequest,
        produce::{LeaderIdAndEpoch, ProduceRequest},
    },
};
use ottla_testing::{Broker, Cluster, NewHeader, NewRecord};

use crate::client::{Client, batch, only, produce, produce_by_id, produced, produced_at, values};

#[test]
fn every_version_appends() {
    let broker = Broker::start();
    broker.create_topic("t", 1);
    let id = broker.topic_id("t").unwrap();
    let mut client = Client::to(&broker, 1);
    for (offset, version) in (3..=13).enumerate() {
        let request = match version {
            13 => produce_by_id(id, 0, batch(&["v"])),
            _ => produce("t", 0, batch(&["v"])),
        };
        let answer = only(client.call(version, &request));
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (ErrorCode::NONE, offset as i64),
            "version {version}"
        );
        assert_eq!(answer.log_start_offset, if version < 5 { -1 } else { 0 });
    }
    assert_eq!(broker.offsets("t", 0), (0, 11));
}

#[test]
fn records_are_read_back_whole() {
    let broker = Broker::start();
    broker.create_topic("t", 1);
    let mut client = Client::to(&broker, 1);
    client.call(9, &produce("t", 0, produced(5, 2, 30, &["a", "b"])));
    let headers = [NewHeader { key: "trace", value: Some(b"1") }, NewHeader { key: "none", value: None }];
    let record = NewRecord { key: Some(b"k"), headers: &headers, ..NewRecord::default() };
    assert_eq!(broker.append("t", 0, &[record]), 2);

    let records = broker.wait_for_records("t", 0, 3);
    let told = |record: &ottla_testing::Record| {
        (record.offset, record.producer_id, record.producer_epoch, record.sequence, record.leader_epoch)
    };
    assert_eq!(
        records.iter().map(told).collect::<Vec<_>>(),
        [(0, 5, 2, 30, 0), (1, 5, 2, 31, 0), (2, -1, -1, -1, 0)]
    );
    assert_eq!(records[1].value.as_deref(), Some(&b"b"[..]));
    assert_eq!((records[2].key.as_deref(), &records[2].value), (Some(&b"k"[..]), &None));
    let headers: Vec<_> =
        records[2].headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
    assert_eq!(headers, [(&b"trace"[..], Some(&b"1"[..])), (&b"none"[..], None)]);
}

#[test]
fn acks_are_answered_as_they_are_asked_for() {
    let broker = Broker::start();
    broker.create_topic("t", 1);
    let mut client = Client::to(&broker, 1);
    for (acks, error) in [
        (1, ErrorCode::NONE),
        (-1, ErrorCode::NONE),
        (2, ErrorCode::INVALID_REQUIRED_ACKS),
        (1, ErrorCode::NONE),
    ] {
        let request = ProduceRequest { acks, ..produce("t", 0, batch(&["v"])) };
        assert_eq!(only(client.call(9, &request)).error_code, error, "acks={acks}");
    }
    client.send(9, &ProduceRequest { acks: 0, ..produce("t", 0, batch(&["none"])) }).unwrap();
    broker.wait_for_records("t", 0, 4);
    assert!(client.is_silent());
    client.send(9, &ProduceRequest { acks: 0, ..produce("no-such", 0, batch(&["none"])) }).unwrap();
    assert_eq!(client.end(), None, "an error without an answer ends the connection");
}

#[test]
fn idempotent_producers_are_kept_in_order() {
    let broker = Broker::start();
    broker.create_topic("t", 1);
    let mut client = Client::to(&broker, 1);
    for (epoch, sequence, error, offset) in [
        (0, 0, ErrorCode::NONE, 0),
        (0, 1, ErrorCode::NONE, 1),
        (0, 0, ErrorCode::NONE, 0),
        (0, 3, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
        (1, 0, ErrorCode::NONE, 2),
        (0, 2, ErrorCode::INVALID_PRODUCER_EPOCH, -1),
    ] {
        let answer = only(client.call(11, &produce("t", 0, produced(9, epoch, sequence, &["v"]))));
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (error, offset),
            "epoch {epoch}, sequence {sequence}"
        );
    }
}

#[test]
fn batches_are_checked() {
    let cluster = Cluster::builder().topic("t", 1).auto_create_topics(false).start();
    cluster.create_topic_with("small", 1, &[("max.message.bytes", "80"), ("min.insync.replicas", "2")]);
    cluster.create_topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    let mut client = Client::to(&cluster, 1);
    let Records::Bytes(good) = batch(&["v"]) else { unreachable!() };
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let twice = [&good[..], &good[..]].concat();
    for (topic, partition, records, error) in [
        ("t", 0, Records::Null, ErrorCode::INVALID_RECORD),
        ("t", 0, Records::Bytes(damaged.into()), ErrorCode::CORRUPT_MESSAGE),
        ("t", 0, Records::Bytes(twice.into()), ErrorCode::INVALID_RECORD),
        ("t", 1, batch(&["v"]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("t", -1, batch(&["v"]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("no-such", 0, batch(&["v"]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("small", 0, batch(&["v"]), ErrorCode::NOT_ENOUGH_REPLICAS),
        ("compacted", 0, batch(&["v"]), ErrorCode::INVALID_RECORD),
    ] {
        let answer = only(client.call(9, &produce(topic, partition, records)));
        assert_eq!(answer.error_code, error, "{topic} {partition}: {:?}", answer.error_message);
        assert!(answer.error_message.is_some());
    }
    let large = ProduceRequest { acks: 1, ..produce("small", 0, batch(&["a value of some length"])) };
    assert_eq!(only(client.call(9, &large)).error_code, ErrorCode::MESSAGE_TOO_LARGE);
    let unknown = produce_by_id(Uuid::from_bytes([1; 16]), 0, batch(&["v"]));
    assert_eq!(only(client.call(13, &unknown)).error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    let keyless = only(client.call(9, &produce("compacted", 0, batch(&["v"]))));
    assert_eq!(keyless.record_errors[0].batch_index, 0);
    assert_eq!(cluster.offsets("t", 0), (0, 0));
}

#[test]
fn append_time_is_told() {
    let broker = Broker::start();
    broker.create_topic_with("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let answer = only(Client::to(&broker, 1).call(9, &produce("t", 0, batch(&["v"]))));
    assert!(answer.log_append_time_ms > 1_700_000_000_000, "{}", answer.log_append_time_ms);
    assert_eq!(broker.records("t", 0)[0].timestamp_ms, answer.log_append_time_ms);
}

#[test]
fn who_does_not_lead_names_the_leader() {
    let cluster = Cluster::builder().nodes(2).topic("t", 1).start();
    let mut client = Client::to(&cluster, 1);
    cluster.move_leader("t", 0, 2);
    assert_eq!(cluster.leader("t", 0), (Some(2), 1));
    for version in [9, 10, 12] {
        let response = client.call(version, &produce("t", 0, batch(&["v"])));
        assert_eq!(produced_at(&response), [(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)]);
        let leader = &response.responses[0].partition_responses[0].current_leader;
        let endpoints: Vec<_> =
            response.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
        if version < 10 {
            assert_eq!((leader, endpoints), (&LeaderIdAndEpoch::default(), vec![]));
        } else {
            assert_eq!((leader.leader_id, leader.leader_epoch), (2, 1));
            assert_eq!(endpoints, [(2, i32::from(cluster.address(2).port()))]);
        }
    }
    let answer = only(Client::to(&cluster, 2).call(9, &produce("t", 0, batch(&["v"]))));
    assert_eq!(answer.error_code, ErrorCode::NONE);
    assert_eq!(cluster.records("t", 0)[0].leader_epoch, 1);

    cluster.remove_leader("t", 0);
    let answer = only(Client::to(&cluster, 2).call(10, &produce("t", 0, batch(&["v"]))));
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (-1, 2));
    assert_eq!(values(&cluster, "t", 0), ["v"]);
}

#[test]
fn a_recreated_topic_has_another_id() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let mut client = Client::to(&cluster, 1);
    let old = cluster.topic_id("t").unwrap();
    client.call(13, &produce_by_id(old, 1, batch(&["v"])));
    cluster.recreate_topic("t");
    let answer = only(client.call(13, &produce_by_id(old, 1, batch(&["v"]))));
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(cluster.offsets("t", 1), (0, 0));
    let new = cluster.topic_id("t").unwrap();
    assert_eq!(only(client.call(13, &produce_by_id(new, 1, batch(&["v"])))).error_code, ErrorCode::NONE);
}

#[test]
fn producer_ids_are_given_once() {
    let broker = Broker::start();
    let mut client = Client::to(&broker, 1);
    let mut ids = Vec::new();
    for version in 0..=5 {
        let answer = client.call(version, &InitProducerIdRequest::default());
        assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0), "version {version}");
        ids.push(answer.producer_id);
    }
    let again = InitProducerIdRequest { producer_id: ids[0], producer_epoch: 3, ..Default::default() };
    ids.push(client.call(4, &again).producer_id);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    for request in [
        InitProducerIdRequest { producer_id: 1, ..Default::default() },
        InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() },
    ] {
        let answer = client.call(4, &request);
        assert_eq!((answer.error_code, answer.producer_id), (ErrorCode::INVALID_REQUEST, -1));
    }
}
