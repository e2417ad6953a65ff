//! Calls while nodes of a cluster die, hang and come back.

use std::{net::TcpListener, thread, time::Duration};

use ottla_client::{
    ErrorKind, Kafka, KafkaBuilder,
    admin::{NewTopic, OffsetSpec},
    block_on,
};
use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter, KafkaVersion, NewRecord};

const NODES: i32 = 3;

fn cluster() -> Cluster {
    Cluster::builder().nodes(NODES as u16).start()
}

fn client(cluster: &Cluster) -> KafkaBuilder {
    Kafka::builder(cluster.bootstrap_servers().split(','))
}

fn create(kafka: &Kafka, topic: &str) {
    let topic = NewTopic::new(topic).partitions(1).replication_factor(1);
    let created = block_on(kafka.admin().create_topics([topic])).unwrap();
    assert!(created[0].1.is_ok(), "{created:?}");
}

#[test]
fn a_call_goes_on_when_a_node_comes_back() {
    let cluster = cluster();
    let kafka = client(&cluster).build().unwrap();
    create(&kafka, "before");
    (1..=NODES).for_each(|node| cluster.kill(node));
    let calling = {
        let kafka = kafka.clone();
        thread::spawn(move || create(&kafka, "after"))
    };
    (1..=NODES).for_each(|node| cluster.revive(node));
    calling.join().unwrap();
}

#[test]
fn a_node_that_hangs_is_left_and_another_is_asked() {
    let cluster = cluster();
    let kafka = client(&cluster).request_timeout(Duration::from_millis(200)).build().unwrap();
    create(&kafka, "before");
    for node in 1..=NODES {
        cluster.freeze(node);
        block_on(kafka.admin().describe_cluster()).unwrap();
        cluster.thaw(node);
    }
}

#[test]
fn connections_stay_few_whatever_happens() {
    let cluster = cluster();
    let kafka = client(&cluster).call_timeout(Duration::from_millis(300)).build().unwrap();
    block_on(kafka.connect()).unwrap();
    for _ in 0..5 {
        (1..=NODES).for_each(|node| cluster.kill(node));
        let error = block_on(kafka.admin().list_topics()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        (1..=NODES).for_each(|node| cluster.revive(node));
        // The backoff may outlast a call.
        while block_on(kafka.admin().list_topics()).is_err() {}
        assert!(cluster.counts().connections_open <= NODES as u64, "{:?}", cluster.counts());
    }
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again() {
    let cluster = cluster();
    let kafka = client(&cluster).build().unwrap();
    for action in [Action::LoseRequest, Action::LoseAnswer, Action::Fail(ErrorCode::NOT_CONTROLLER)] {
        let hook = cluster.on_request(Filter::api(ApiKey::DELETE_TOPICS).times(1), action.clone());
        create(&kafka, "orders");
        let deleted = block_on(kafka.admin().delete_topics(["orders"])).unwrap();
        // Where the work was done and the answer lost, the topic is gone when it is asked for again.
        let is_gone = matches!(action, Action::LoseAnswer);
        assert_eq!(deleted[0].1.is_err(), is_gone, "{action:?}: {deleted:?}");
        assert_eq!(hook.hits(), 1);
    }
}

#[test]
fn old_brokers_are_spoken_to_in_their_versions() {
    for version in [KafkaVersion::V2_1, KafkaVersion::V2_4, KafkaVersion::V2_8, KafkaVersion::V3_9] {
        let cluster = Cluster::builder().nodes(1).version(version).start();
        let kafka = client(&cluster).build().unwrap();
        create(&kafka, "orders");
        let described = block_on(kafka.admin().describe_topics(["orders"])).unwrap();
        let topic = described[0].1.as_ref().unwrap();
        assert_eq!(
            (topic.partitions.len(), topic.id.is_some()),
            (1, version >= KafkaVersion::V2_8),
            "{version:?}"
        );
        let defaults = block_on(kafka.admin().create_topics([NewTopic::new("events")]));
        if version < KafkaVersion::V2_4 {
            let error = defaults.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
            assert!(error.to_string().contains("CreateTopics"), "{error}");
        } else {
            assert!(defaults.unwrap()[0].1.is_ok());
        }
        assert!(block_on(kafka.admin().delete_topics(["orders"])).unwrap()[0].1.is_ok());
    }
}

#[test]
fn a_call_ends_at_its_deadline_also_while_a_connection_is_made() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Cluster::builder().nodes(2).topic("orders", 1).start();
    cluster.advertise(2, silent.local_addr().unwrap());
    cluster.move_leader("orders", 0, 2);
    let kafka = Kafka::builder([cluster.address(1).to_string()]).call_timeout(Duration::from_secs(2));
    let kafka = kafka.connect_timeout(Duration::from_secs(3600)).build().unwrap();
    block_on(kafka.connect()).unwrap();
    let listed = block_on(kafka.admin().list_offsets([("orders", 0, OffsetSpec::Latest)])).unwrap();
    assert_eq!(listed[0].2.as_ref().unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn offsets_are_found_at_whoever_leads_the_partition() {
    let cluster = Cluster::builder().nodes(3).topic("orders", 6).start();
    let kafka = client(&cluster).build().unwrap();
    for partition in 0..6 {
        for _ in 0..=partition {
            cluster.append("orders", partition, &[NewRecord { value: Some(b"1"), ..NewRecord::default() }]);
        }
    }
    let list = |place| {
        let places = (0..6).map(|partition| ("orders", partition, place));
        let listed = block_on(kafka.admin().list_offsets(places)).unwrap();
        listed.into_iter().map(|(_, _, listed)| listed.unwrap().offset.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(list(OffsetSpec::Earliest), [0; 6]);
    assert_eq!(list(OffsetSpec::Latest), [1, 2, 3, 4, 5, 6]);
    // What was known of the leaders is wrong now, and one partition has none for a moment.
    for partition in 0..6 {
        let (leader, _) = cluster.leader("orders", partition);
        cluster.move_leader("orders", partition, leader.unwrap() % 3 + 1);
    }
    cluster.remove_leader("orders", 0);
    let listing = {
        let kafka = kafka.clone();
        let latest = move || block_on(kafka.admin().list_offsets([("orders", 0, OffsetSpec::Latest)]));
        thread::spawn(latest)
    };
    cluster.move_leader("orders", 0, 2);
    assert_eq!(listing.join().unwrap().unwrap()[0].2.as_ref().unwrap().offset, Some(1));
    assert_eq!(list(OffsetSpec::Latest), [1, 2, 3, 4, 5, 6]);

    let unknown = [("orders", 6, OffsetSpec::Latest), ("nothing", 0, OffsetSpec::Latest)];
    for (_, _, listed) in block_on(kafka.admin().list_offsets(unknown)).unwrap() {
        assert_eq!(listed.unwrap_err().kind(), ErrorKind::UnknownTopic);
    }
}
