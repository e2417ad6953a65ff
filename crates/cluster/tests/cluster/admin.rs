//! Metadata, CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords and DescribeCluster.

use ottla_protocol::{
    ApiKey, ErrorCode, Uuid,
    messages::{
        create_partitions::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic},
        create_topics::{
            CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
        },
        delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic},
        delete_topics::{DeleteTopicState, DeleteTopicsRequest},
        describe_cluster::DescribeClusterRequest,
        describe_configs::{DescribeConfigsRequest, DescribeConfigsResource},
        metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse},
    },
};
use ottla_testing::{Action, Cluster, Filter, KafkaVersion};

use crate::client::{Client, batch, fetch, fetched, metadata, metadata_of, only, produce, values};

#[test]
fn metadata_tells_of_nodes_and_leaders() {
    let cluster = Cluster::builder().nodes(3).topic("a", 4).topic("b", 1).start();
    let mut client = Client::to(&cluster, 2);
    for version in 0..=13 {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let response = client.call(version, &MetadataRequest { topics, ..Default::default() });
        let nodes: Vec<_> = response.brokers.iter().map(|node| (node.node_id, node.port)).collect();
        assert_eq!(nodes, [1, 2, 3].map(|id| (id, i32::from(cluster.address(id).port()))));
        assert_eq!(response.topics.len(), 2, "version {version}");
        let leaders: Vec<_> =
            response.topics[0].partitions.iter().map(|partition| partition.leader_id).collect();
        assert_eq!(leaders, [1, 2, 3, 1]);
        assert_eq!(response.topics[0].partitions[1].replica_nodes, [2, 3, 1]);
        assert_eq!(response.topics[0].topic_id.is_zero(), version < 10);
        assert_eq!(response.cluster_id.is_some(), version >= 2);
    }
    let none = client.call(1, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    assert_eq!(none.topics, []);
}

#[test]
fn what_is_named_twice_is_described_once() {
    let cluster = Cluster::builder().topic("a", 1).start();
    let mut client = Client::to(&cluster, 1);
    let mut twice = metadata_of("a");
    twice.topics.as_mut().unwrap().extend(metadata_of("a").topics.unwrap());
    assert_eq!(client.call(9, &twice).topics.len(), 1);
    let resource =
        DescribeConfigsResource { resource_type: 2, resource_name: "a".into(), ..Default::default() };
    let twice = DescribeConfigsRequest { resources: vec![resource.clone(), resource], ..Default::default() };
    assert_eq!(client.call(4, &twice).results.len(), 1);
    let many = (0..1001).map(|number| creatable(&format!("t{number}"), 1, 1)).collect();
    let many = CreateTopicsRequest { topics: many, validate_only: true, ..Default::default() };
    assert!(client.call(7, &many).topics.iter().all(|topic| topic.error_code == ErrorCode::POLICY_VIOLATION));
}

#[test]
fn topics_are_found_by_id() {
    let cluster = Cluster::builder().topic("a", 1).start();
    let by_id = |id| {
        let topic = MetadataRequestTopic { topic_id: id, ..Default::default() };
        MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
    };
    let mut client = Client::to(&cluster, 1);
    let id = cluster.topic_id("a").unwrap();
    let found = client.call(12, &by_id(id));
    assert_eq!(found.topics[0].name.as_deref(), Some("a"));
    let unknown = client.call(12, &by_id(Uuid::from_bytes([3; 16])));
    assert_eq!((unknown.topics[0].error_code, &unknown.topics[0].name), (ErrorCode::UNKNOWN_TOPIC_ID, &None));
    assert_eq!(client.call(10, &by_id(id)).topics[0].error_code, ErrorCode::INVALID_REQUEST);
}

#[test]
fn topics_are_created_as_they_are_asked_for() {
    let cluster = Cluster::builder().nodes(2).num_partitions(3).start();
    let error = |response: MetadataResponse| response.topics[0].error_code;
    let mut forbids = metadata_of("t");
    forbids.allow_auto_topic_creation = false;
    let mut client = Client::to(&cluster, 1);
    assert_eq!(error(client.call(4, &forbids)), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(cluster.topic_id("t"), None);
    assert_eq!(error(metadata(&cluster, 1, "t")), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "it comes");
    let there = metadata(&cluster, 1, "t");
    assert_eq!((there.topics[0].error_code, there.topics[0].partitions.len()), (ErrorCode::NONE, 3));
    assert_eq!(error(metadata(&cluster, 1, "no topic")), ErrorCode::INVALID_TOPIC_EXCEPTION);

    cluster.set_version(1, KafkaVersion::V2_4);
    assert_eq!(
        error(client.call(4, &metadata_of("u"))),
        ErrorCode::LEADER_NOT_AVAILABLE,
        "as with ZooKeeper"
    );
    let closed = Cluster::builder().auto_create_topics(false).start();
    for _ in 0..2 {
        assert_eq!(error(metadata(&closed, 1, "t")), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

fn creatable(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

#[test]
fn topics_are_created_and_deleted() {
    let cluster = Cluster::builder().nodes(3).start();
    let mut client = Client::to(&cluster, 2);
    for version in 2..=7 {
        let name = format!("t{version}");
        let request = CreateTopicsRequest { topics: vec![creatable(&name, 2, 3)], ..Default::default() };
        let answer = client.call(version, &request).topics.remove(0);
        assert_eq!(answer.error_code, ErrorCode::NONE, "version {version}: {:?}", answer.error_message);
        let id = cluster.topic_id(&name).unwrap();
        assert_eq!(answer.topic_id, if version < 7 { Uuid::ZERO } else { id });
        assert_eq!(
            (answer.num_partitions, answer.replication_factor),
            if version < 5 { (-1, -1) } else { (2, 3) }
        );
    }
    for version in 1..=6 {
        let name = format!("t{}", version + 1);
        let request = match version {
            6 => {
                let topic_id = cluster.topic_id(&name).unwrap();
                let topics = vec![DeleteTopicState { topic_id, ..Default::default() }];
                DeleteTopicsRequest { topics, ..Default::default() }
            }
            _ => DeleteTopicsRequest { topic_names: vec![name.as_str().into()], ..Default::default() },
        };
        let answer = client.call(version, &request).responses.remove(0);
        assert_eq!(
            (answer.error_code, answer.name.as_deref()),
            (ErrorCode::NONE, Some(&*name)),
            "version {version}"
        );
        let again = client.call(version, &request).responses.remove(0).error_code;
        let unknown =
            if version < 6 { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { ErrorCode::UNKNOWN_TOPIC_ID };
        assert_eq!(again, unknown, "version {version}");
    }
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let cluster = Cluster::builder().nodes(2).topic("a.b", 1).start();
    let mut client = Client::to(&cluster, 1);
    let config = |name: &str, value: Option<&str>| {
        let config =
            CreatableTopicConfig { name: name.into(), value: value.map(Into::into), ..Default::default() };
        CreatableTopic { configs: vec![config], ..creatable("t", 1, 1) }
    };
    let assigned = |replicas: &[&[i32]]| {
        let assignment = |(index, ids): (usize, &&[i32])| CreatableReplicaAssignment {
            partition_index: index as i32,
            broker_ids: ids.to_vec(),
            ..Default::default()
        };
        let assignments = replicas.iter().enumerate().map(assignment).collect();
        CreatableTopic { assignments, ..creatable("t", -1, -1) }
    };
    for (topic, error) in [
        (creatable("a.b", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (creatable("a_b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (creatable("..", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (creatable("t", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (creatable("t", i32::MAX, 1), ErrorCode::INVALID_PARTITIONS),
        (creatable("t", 1, 3), ErrorCode::INVALID_REPLICATION_FACTOR),
        (creatable("t", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (config("no.such", Some("1")), ErrorCode::INVALID_CONFIG),
        (config("retention.ms", None), ErrorCode::INVALID_CONFIG),
        (assigned(&[&[1], &[3]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(&[&[1, 1]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (CreatableTopic { num_partitions: 1, ..assigned(&[&[1]]) }, ErrorCode::INVALID_REQUEST),
        (assigned(&[&[2, 1], &[1, 2]]), ErrorCode::NONE),
    ] {
        let request =
            CreateTopicsRequest { topics: vec![topic.clone()], validate_only: true, ..Default::default() };
        assert_eq!(client.call(7, &request).topics[0].error_code, error, "{topic:?}");
        assert_eq!(cluster.topic_id("t"), None);
    }
    let twice = vec![creatable("t", 1, 1), creatable("t", 1, 1)];
    let answer = client.call(7, &CreateTopicsRequest { topics: twice, ..Default::default() });
    assert_eq!(answer.topics.iter().map(|t| t.error_code).collect::<Vec<_>>(), [ErrorCode::INVALID_REQUEST]);
    let assigned = CreateTopicsRequest { topics: vec![assigned(&[&[2, 1]])], ..Default::default() };
    assert_eq!(client.call(7, &assigned).topics[0].error_code, ErrorCode::NONE);
    assert_eq!(cluster.leader("t", 0), (Some(2), 0));
}

#[test]
fn with_zookeeper_the_controller_alone_creates_and_deletes() {
    let cluster = Cluster::builder().nodes(2).version(KafkaVersion::V2_8).topic("old", 1).start();
    let create = CreateTopicsRequest { topics: vec![creatable("t", 1, 1)], ..Default::default() };
    let delete = DeleteTopicsRequest { topic_names: vec!["old".into()], ..Default::default() };
    for (node, error) in [(2, ErrorCode::NOT_CONTROLLER), (1, ErrorCode::NONE)] {
        let mut client = Client::to(&cluster, node);
        assert_eq!(client.call(5, &create).topics[0].error_code, error);
        assert_eq!(client.call(5, &delete).responses[0].error_code, error);
    }
}

fn growing(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsRequest {
    let assignment =
        |ids: &&[i32]| CreatePartitionsAssignment { broker_ids: ids.to_vec(), ..Default::default() };
    let assignments = assignments.map(|all| all.iter().map(assignment).collect());
    let topic = CreatePartitionsTopic { name: name.into(), count, assignments, ..Default::default() };
    CreatePartitionsRequest { topics: vec![topic], ..Default::default() }
}

#[test]
fn topics_get_more_partitions() {
    let cluster = Cluster::builder().nodes(3).replication_factor(2).topic("t", 1).start();
    let mut client = Client::to(&cluster, 2);
    for (version, count) in (0..=3).zip(2..) {
        let request = growing("t", count, None);
        let validate = CreatePartitionsRequest { validate_only: true, ..request.clone() };
        for request in [&validate, &request] {
            let answer = client.call(version, request).results.remove(0);
            assert_eq!((&*answer.name, answer.error_code), ("t", ErrorCode::NONE), "version {version}");
        }
        let again = client.call(version, &request).results.remove(0);
        assert_eq!(again.error_code, ErrorCode::INVALID_PARTITIONS);
        assert!(again.error_message.is_some());
    }
    cluster.create_partitions("t", 6);
    let told = metadata(&cluster, 1, "t").topics.remove(0).partitions;
    let replicas: Vec<_> =
        told.iter().map(|partition| (partition.leader_id, &*partition.replica_nodes)).collect();
    let turn: [(i32, &[i32]); 3] = [(1, &[1, 2]), (2, &[2, 3]), (3, &[3, 1])];
    assert_eq!(replicas, [turn, turn].concat());
    // They can be written to at once.
    assert_eq!(only(Client::to(&cluster, 3).call(9, &produce("t", 5, batch(&["v"])))).base_offset, 0);

    let assigned = growing("t", 8, Some(&[&[3, 2], &[1, 3]]));
    cluster.fence(1);
    assert_eq!(client.call(3, &assigned).results[0].error_code, ErrorCode::NONE);
    assert_eq!((cluster.leader("t", 6), cluster.leader("t", 7)), ((Some(3), 0), (Some(3), 0)));
}

#[test]
fn partitions_that_cannot_be_are_refused() {
    let cluster = Cluster::builder().nodes(3).replication_factor(2).topic("t", 2).start();
    cluster.fence(3);
    let mut client = Client::to(&cluster, 1);
    let bad = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    for (request, error) in [
        (growing("no", 3, None), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (growing("t", 2, None), ErrorCode::INVALID_PARTITIONS),
        (growing("t", 1, None), ErrorCode::INVALID_PARTITIONS),
        (growing("t", -1, None), ErrorCode::INVALID_PARTITIONS),
        (growing("t", i32::MAX, None), ErrorCode::INVALID_PARTITIONS),
        (growing("t", 4, Some(&[&[1, 2]])), bad),
        (growing("t", 3, Some(&[&[1, 2], &[1, 2]])), bad),
        (growing("t", 3, Some(&[])), bad),
        (growing("t", 3, Some(&[&[]])), bad),
        (growing("t", 3, Some(&[&[1]])), bad),
        (growing("t", 3, Some(&[&[1, 1]])), bad),
        (growing("t", 3, Some(&[&[1, 4]])), bad),
        (growing("t", 3, None), ErrorCode::NONE),
    ] {
        let request = CreatePartitionsRequest { validate_only: true, ..request };
        assert_eq!(client.call(3, &request).results[0].error_code, error, "{request:?}");
    }
    cluster.fence(2);
    for (request, error) in [
        (growing("t", 3, None), ErrorCode::INVALID_REPLICATION_FACTOR),
        (growing("t", 3, Some(&[&[2, 3]])), bad),
    ] {
        assert_eq!(client.call(3, &request).results[0].error_code, error);
    }
    let mut twice = growing("t", 3, None);
    twice.topics.extend(growing("t", 4, None).topics);
    let answer = client.call(3, &twice).results;
    assert_eq!(
        answer.iter().map(|result| result.error_code).collect::<Vec<_>>(),
        [ErrorCode::INVALID_REQUEST]
    );
    assert_eq!(metadata(&cluster, 1, "t").topics[0].partitions.len(), 2);

    let old = Cluster::builder().nodes(2).version(KafkaVersion::V2_8).topic("t", 1).start();
    for (node, error) in [(2, ErrorCode::NOT_CONTROLLER), (1, ErrorCode::NONE)] {
        let answer = Client::to(&old, node).call(1, &growing("t", 2, None));
        assert_eq!(answer.results[0].error_code, error);
    }
}

#[test]
fn records_are_deleted_before_an_offset() {
    let cluster = Cluster::builder().nodes(2).topic("t", 2).start();
    cluster.create_topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    cluster.create_topic_with("both", 1, &[("cleanup.policy", "compact,delete")]);
    let mut client = Client::to(&cluster, 1);
    for value in ["a", "b", "c", "d"] {
        client.call(9, &produce("t", 0, batch(&[value])));
    }
    let mut delete = |version, topic: &str, partition_index, offset| {
        let partition = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let topic =
            DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = DeleteRecordsRequest { topics: vec![topic], ..Default::default() };
        let answer = client.call(version, &request).topics.remove(0).partitions.remove(0);
        (answer.error_code, answer.low_watermark)
    };
    for (version, offset) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(delete(version, "t", 0, offset), (ErrorCode::NONE, offset));
        assert_eq!(cluster.offsets("t", 0), (offset, 4));
        assert_eq!(delete(version, "t", 0, 0), (ErrorCode::NONE, offset), "it does not go back");
    }
    assert_eq!(values(&cluster, "t", 0), ["d"]);
    for (topic, partition, offset, error) in [
        ("t", 0, 5, ErrorCode::OFFSET_OUT_OF_RANGE),
        ("t", 0, -2, ErrorCode::OFFSET_OUT_OF_RANGE),
        ("t", 1, 0, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        ("t", 2, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("no", 0, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("compacted", 0, 0, ErrorCode::POLICY_VIOLATION),
    ] {
        assert_eq!(delete(2, topic, partition, offset), (error, -1), "{topic} {partition} {offset}");
    }
    assert_eq!(delete(2, "both", 0, -1), (ErrorCode::NONE, 0));
    assert_eq!(delete(2, "t", 0, -1), (ErrorCode::NONE, 4), "all that there is");

    let timed_out = Action::FailAfter(ErrorCode::REQUEST_TIMED_OUT);
    client.call(9, &produce("t", 0, batch(&["e"])));
    cluster.on_request(Filter::api(ApiKey::DELETE_RECORDS).topic("t").partition(0), timed_out);
    let mut client = Client::to(&cluster, 1);
    let partition = DeleteRecordsPartition { offset: 5, ..Default::default() };
    let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let answer = client.call(2, &DeleteRecordsRequest { topics: vec![topic], ..Default::default() });
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(cluster.offsets("t", 0), (5, 5));
    assert_eq!(fetched(&client.call(9, &fetch("t", 4))).error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
}

#[test]
fn the_cluster_is_described() {
    let cluster = Cluster::builder().nodes(2).start();
    cluster.fence(2);
    let mut client = Client::to(&cluster, 1);
    for version in 0..=2 {
        let request = DescribeClusterRequest { include_fenced_brokers: version == 2, ..Default::default() };
        let answer = client.call(version, &request);
        let nodes: Vec<_> = answer.brokers.iter().map(|node| (node.broker_id, node.is_fenced)).collect();
        assert_eq!(nodes, if version == 2 { vec![(1, false), (2, true)] } else { vec![(1, false)] });
        assert_eq!(answer.controller_id, 1);
    }
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    assert_eq!(client.call(1, &controllers).error_code, ErrorCode::MISMATCHED_ENDPOINT_TYPE);
}
