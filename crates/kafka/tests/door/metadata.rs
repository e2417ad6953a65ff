//! Metadata, versions 0 to 13.

use ottla_protocol::{
    ErrorCode, Message, Uuid,
    messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic},
};
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::{Log, Topic, batch, create, produce};

fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..MetadataRequestTopic::default() }
}

fn by_id(topic_id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic { topic_id, ..MetadataRequestTopic::default() }
}

/// A request for topics, of which none is to be created where the version can say so.
fn request(version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
    MetadataRequest { topics, allow_auto_topic_creation: version < 4, ..MetadataRequest::default() }
}

fn call(
    client: &mut TestClient,
    version: i16,
    topics: Option<Vec<MetadataRequestTopic>>,
) -> MetadataResponse {
    client.call(version, &request(version, topics))
}

fn outcomes(answer: &MetadataResponse) -> Vec<(&str, ErrorCode)> {
    answer.topics.iter().map(|it| (it.name.as_deref().unwrap_or("null"), it.error_code)).collect()
}

fn check_topic(version: i16, topic: &MetadataResponseTopic, partitions: usize, node: i32) {
    assert_eq!(topic.error_code, ErrorCode::NONE);
    assert!(!topic.is_internal);
    assert_eq!(topic.topic_id.is_zero(), version < 10);
    assert_eq!(topic.topic_authorized_operations, i32::MIN, "nobody asked for them");
    assert_eq!(topic.partitions.len(), partitions);
    for (index, partition) in topic.partitions.iter().enumerate() {
        assert_eq!(partition.error_code, ErrorCode::NONE);
        assert_eq!((partition.partition_index, partition.leader_id), (index as i32, node));
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[node][..], &[node][..]));
        assert!(partition.offline_replicas.is_empty());
    }
}

#[test]
fn every_version_tells_the_broker_and_all_topics() {
    let broker = TestBroker::start(&["node.id=4"]);
    let mut client = broker.client();
    create(&mut client, "a", 2);
    create(&mut client, "b", 1);
    for version in MetadataRequest::VERSIONS {
        // No topics were all of them in version 0, and null is since.
        let answer = call(&mut client, version, (version == 0).then(Vec::new));
        let [node] = &answer.brokers[..] else { panic!("{answer:?}") };
        assert_eq!((node.node_id, &*node.host), (4, "127.0.0.1"));
        assert_eq!(node.port, i32::from(broker.address().port()));
        assert_eq!(node.rack, None);
        assert_eq!(answer.controller_id, if version >= 1 { 4 } else { -1 });
        let cluster_id = (version >= 2).then_some(broker.broker().cluster_id());
        assert_eq!(answer.cluster_id.as_deref(), cluster_id);
        assert_eq!((answer.throttle_time_ms, answer.error_code), (0, ErrorCode::NONE));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
        assert_eq!(outcomes(&answer), [("a", ErrorCode::NONE), ("b", ErrorCode::NONE)]);
        check_topic(version, &answer.topics[0], 2, 4);
        check_topic(version, &answer.topics[1], 1, 4);
        if version >= 1 {
            assert!(call(&mut client, version, Some(Vec::new())).topics.is_empty());
        }
    }
}

#[test]
fn every_version_finds_topics_by_name() {
    let broker = TestBroker::start(&["auto.create.topics.enable=false"]);
    let mut client = broker.client();
    create(&mut client, "a", 1);
    for version in MetadataRequest::VERSIONS {
        let asked = ["none", "a", "a b", "none", "a", ""].map(by_name).to_vec();
        let answer = call(&mut client, version, Some(asked));
        assert_eq!(
            outcomes(&answer),
            [
                ("none", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                ("a", ErrorCode::NONE),
                ("a b", ErrorCode::INVALID_TOPIC_EXCEPTION),
                ("", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ],
            "each is answered once, whatever is wrong with its neighbours",
        );
        check_topic(version, &answer.topics[1], 1, 0);
        assert!(answer.topics[0].partitions.is_empty());
    }
    assert_eq!(broker.broker().topics().all().count(), 1);
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    let unknown = Uuid::from([9; 16]);
    for version in [12, 13] {
        let answer = call(&mut client, version, Some(vec![by_id(unknown), by_id(topic.id), by_name("a")]));
        assert_eq!(
            outcomes(&answer),
            [("null", ErrorCode::UNKNOWN_TOPIC_ID), ("a", ErrorCode::NONE), ("a", ErrorCode::NONE)],
        );
        assert_eq!(answer.topics[0].topic_id, unknown);
        assert_eq!(answer.topics[1].topic_id, topic.id);
    }
    // The fields are there in 10 and 11, but Kafka refuses their use.
    for version in [10, 11] {
        let named = MetadataRequestTopic { topic_id: topic.id, ..by_name("a") };
        let answer = call(&mut client, version, Some(vec![by_id(topic.id), named, by_name("a")]));
        assert_eq!(
            outcomes(&answer),
            [("", ErrorCode::INVALID_REQUEST), ("a", ErrorCode::INVALID_REQUEST), ("a", ErrorCode::NONE)],
        );
    }
}

#[test]
fn a_topic_that_is_asked_for_is_created_and_ready() {
    let broker = TestBroker::start(&["num.partitions=2"]);
    let mut client = broker.client();
    let names = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13"];
    for (version, name) in MetadataRequest::VERSIONS.zip(names) {
        let asked = MetadataRequest { topics: Some(vec![by_name(name)]), ..MetadataRequest::default() };
        let answer = client.call(version, &asked);
        assert_eq!(outcomes(&answer), [(name, ErrorCode::NONE)], "version {version}");
        check_topic(version, &answer.topics[0], 2, 0);
        let id = broker.broker().topics().named(name).unwrap().id.0.into();
        let written = produce(&mut client, 13, &Topic { name, id }, 1, &batch(&["a"]));
        assert_eq!(written.error_code, ErrorCode::NONE);
    }
}

#[test]
fn a_topic_is_not_created_where_the_client_or_the_broker_does_not_want_it() {
    let refused = [("a", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)];
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in 4..=13 {
        assert_eq!(outcomes(&call(&mut client, version, Some(vec![by_name("a")]))), refused);
    }
    assert_eq!(broker.broker().topics().all().count(), 0);

    let broker = TestBroker::start(&["auto.create.topics.enable=false"]);
    let mut client = broker.client();
    for version in MetadataRequest::VERSIONS {
        let asked = MetadataRequest { topics: Some(vec![by_name("a")]), ..MetadataRequest::default() };
        assert_eq!(outcomes(&client.call(version, &asked)), refused);
    }
    assert_eq!(broker.broker().topics().all().count(), 0);
}

#[test]
fn what_cannot_be_created_says_why() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create(&mut client, "a.b", 1);
    let topics = ["a_b", "a b", "c"].map(by_name).to_vec();
    let answer = client.call(9, &MetadataRequest { topics: Some(topics), ..MetadataRequest::default() });
    assert_eq!(
        outcomes(&answer),
        [
            ("a_b", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("a b", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("c", ErrorCode::NONE),
        ],
    );

    // Whose default nobody can fulfil has to look at the broker, as the answer has no room for words.
    let log = Log::from_now_on();
    let strict = TestBroker::start(&["strict.replication=true", "default.replication.factor=913"]);
    let mut client = strict.client();
    for _ in 0..3 {
        let topics = Some(vec![by_name("a")]);
        let answer = client.call(9, &MetadataRequest { topics, ..MetadataRequest::default() });
        assert_eq!(outcomes(&answer), [("a", ErrorCode::INVALID_REPLICATION_FACTOR)]);
    }
    let lines = log.lines(&["replication factor 913"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn the_operations_are_told_when_asked_for() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create(&mut client, "a", 1);
    // By Kafka's numbers: read, write, create, delete, alter, describe, and both of configurations.
    let of_topic = [3, 4, 5, 6, 7, 8, 10, 11].iter().fold(0, |bits, operation| bits | 1 << operation);
    let of_cluster = [5, 7, 8, 9, 10, 11, 12].iter().fold(0, |bits, operation| bits | 1 << operation);
    for version in 8..=13 {
        let asked = MetadataRequest {
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: version <= 10,
            ..MetadataRequest::default()
        };
        let answer = client.call(version, &asked);
        assert_eq!(answer.topics[0].topic_authorized_operations, of_topic);
        let expected = if version <= 10 { of_cluster } else { i32::MIN };
        assert_eq!(answer.cluster_authorized_operations, expected);
    }
}

#[test]
fn the_leader_epoch_is_that_of_this_life() {
    let storage = MemoryStorage::new(MemoryOptions::default()).restart();
    let broker = TestBroker::over(storage, &Setup::default());
    let mut client = broker.client();
    create(&mut client, "a", 1);
    assert_eq!(call(&mut client, 13, None).topics[0].partitions[0].leader_epoch, 1);
}

#[test]
fn every_version_tells_the_advertised_address() {
    let setup = Setup { advertise: Some(("kafka.example", 19092)), ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    for version in MetadataRequest::VERSIONS {
        let answer = call(&mut client, version, (version == 0).then(Vec::new));
        assert_eq!((&*answer.brokers[0].host, answer.brokers[0].port), ("kafka.example", 19092));
    }
}
