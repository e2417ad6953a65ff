//! What an admin changes and describes beside topics: partitions, configurations, records.

use std::{error::Error as _, sync::Arc, time::Duration};

use ottla_client::{
    Admin, Error, ErrorKind, Kafka, KafkaBuilder,
    admin::{
        ConfigChanges, ConfigDescription, ConfigResource, ConfigSource, NewPartitions, NewTopic, OffsetSpec,
        RecordsToDelete,
    },
    block_on,
};
use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter, KafkaVersion, NewRecord};
use ottla_testing_internal::TestBroker;

fn client(cluster: &Cluster) -> KafkaBuilder {
    Kafka::builder(cluster.bootstrap_servers().split(','))
}

fn admin(cluster: &Cluster) -> Admin {
    client(cluster).build().unwrap().admin()
}

fn grow(admin: &Admin, new: NewPartitions) -> Result<(), Error> {
    block_on(admin.create_partitions([new])).unwrap().remove(0).1
}

fn describe(admin: &Admin, resource: ConfigResource) -> Result<ConfigDescription, Error> {
    block_on(admin.describe_configs([resource])).unwrap().remove(0).1
}

fn value(admin: &Admin, resource: &ConfigResource, name: &str) -> Option<String> {
    describe(admin, resource.clone()).unwrap().get(name).unwrap().value.clone()
}

fn alter(admin: &Admin, changes: ConfigChanges) -> Result<(), Error> {
    block_on(admin.alter_configs([changes])).unwrap().remove(0).1
}

/// Deletes records of one topic: the low watermark of each partition, or what went wrong.
fn delete(admin: &Admin, topic: &str, records: &[(i32, RecordsToDelete)]) -> Vec<Result<i64, Error>> {
    let records = records.iter().map(|(partition, records)| (topic, *partition, *records));
    let deleted = block_on(admin.delete_records(records)).unwrap().into_iter();
    deleted.map(|(_, _, deleted)| deleted.map(|deleted| deleted.low_watermark)).collect()
}

fn append(cluster: &Cluster, partition: i32, records: usize) {
    let record = NewRecord { value: Some(b"1"), ..NewRecord::default() };
    cluster.append("orders", partition, &vec![record; records]);
}

#[test]
fn topics_get_more_partitions() {
    for version in KafkaVersion::ALL {
        let cluster = Cluster::builder().nodes(3).version(version).topic("orders", 1).start();
        let admin = admin(&cluster);
        grow(&admin, NewPartitions::increase_to("orders", 3)).unwrap();
        grow(&admin, NewPartitions::increase_to("orders", 4).assignments([vec![3, 1, 2]])).unwrap();
        let described = block_on(admin.describe_topics(["orders"])).unwrap().remove(0).1.unwrap();
        let leaders: Vec<_> =
            described.partitions.iter().map(|partition| partition.leader.unwrap()).collect();
        assert_eq!(leaders, [1, 2, 3, 3], "{version:?}");
        assert_eq!(described.partitions[3].replicas, [3, 1, 2]);

        let refused = grow(&admin, NewPartitions::increase_to("orders", 4)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Broker);
        let text = refused.to_string();
        assert!(
            text.starts_with("creating partitions of topic orders was refused: INVALID_PARTITIONS"),
            "{text}"
        );
        let unknown = grow(&admin, NewPartitions::increase_to("nothing", 4)).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::UnknownTopic);
    }
}

#[test]
fn partitions_are_created_by_whoever_is_the_controller() {
    let cluster = Cluster::builder().nodes(2).version(KafkaVersion::V2_8).topic("orders", 1).start();
    let admin = admin(&cluster);
    let not_controller = Action::Fail(ErrorCode::NOT_CONTROLLER);
    for (count, action, is_done_before) in
        [(2, not_controller, false), (3, Action::LoseRequest, false), (4, Action::LoseAnswer, true)]
    {
        let hook = cluster.on_request(Filter::api(ApiKey::CREATE_PARTITIONS).times(1), action.clone());
        let grown = grow(&admin, NewPartitions::increase_to("orders", count));
        // What was done without an answer is refused when it is asked for again.
        assert_eq!(grown.is_err(), is_done_before, "{action:?}: {grown:?}");
        assert_eq!(hook.hits(), 1);
        let described = block_on(admin.describe_topics(["orders"])).unwrap().remove(0).1.unwrap();
        assert_eq!(described.partitions.len(), count as usize);
    }
}

#[test]
fn configurations_are_described() {
    for version in KafkaVersion::ALL {
        let cluster = Cluster::builder().nodes(2).version(version).num_partitions(7).start();
        cluster.create_topic_with("orders", 1, &[("retention.ms", "5")]);
        let asked =
            [ConfigResource::Broker(2), ConfigResource::topic("nothing"), ConfigResource::topic("orders")];
        let told = block_on(admin(&cluster).describe_configs(asked.clone())).unwrap();
        assert_eq!(told.iter().map(|(resource, _)| resource.clone()).collect::<Vec<_>>(), asked);
        assert_eq!(told[1].1.as_ref().unwrap_err().kind(), ErrorKind::UnknownTopic);

        let orders = told[2].1.as_ref().unwrap();
        assert!(orders.entries.windows(2).all(|pair| pair[0].name < pair[1].name));
        let retention = orders.get("retention.ms").unwrap();
        assert_eq!(
            (retention.value.as_deref(), retention.source),
            (Some("5"), ConfigSource::DynamicTopicConfig)
        );
        assert!(!retention.is_default() && !retention.is_read_only && !retention.is_sensitive);
        assert_eq!(retention.synonyms[0].source, ConfigSource::DynamicTopicConfig);
        assert!(orders.get("segment.ms").unwrap().is_default());
        assert_eq!(orders.get("no.such"), None);

        let broker = told[0].1.as_ref().unwrap();
        let partitions = broker.get("num.partitions").unwrap();
        assert_eq!(
            (partitions.value.as_deref(), partitions.source),
            (Some("7"), ConfigSource::StaticBrokerConfig)
        );
        assert!(partitions.is_read_only);
        let password = broker.get("ssl.keystore.password").unwrap();
        assert!(password.is_sensitive && password.value.is_none());
        assert_eq!(cluster.node_counts(2).requests_of(ApiKey::DESCRIBE_CONFIGS), 1);
    }
}

#[test]
fn configurations_are_changed_setting_by_setting() {
    for version in KafkaVersion::ALL.into_iter().filter(|version| *version >= KafkaVersion::V2_4) {
        let cluster = Cluster::builder().nodes(2).version(version).start();
        cluster.create_topic_with("orders", 1, &[("retention.ms", "5"), ("segment.ms", "7")]);
        let (admin, orders) = (admin(&cluster), ConfigResource::topic("orders"));
        let changes = ConfigChanges::of(orders.clone())
            .set("max.message.bytes", "1000")
            .delete("segment.ms")
            .append("cleanup.policy", "compact");
        alter(&admin, changes).unwrap();
        alter(&admin, ConfigChanges::of(orders.clone()).subtract("cleanup.policy", "delete")).unwrap();
        let told = describe(&admin, orders.clone()).unwrap();
        let values = ["max.message.bytes", "segment.ms", "cleanup.policy", "retention.ms"]
            .map(|name| told.get(name).unwrap().value.as_deref().unwrap());
        assert_eq!(values, ["1000", "604800000", "compact", "5"], "{version:?}");

        let refused =
            alter(&admin, ConfigChanges::of(orders.clone()).set("retention.ms", "long")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Broker);
        let text = refused.to_string();
        assert!(
            text.starts_with("changing the configuration of topic orders was refused: INVALID_CONFIG"),
            "{text}"
        );
        assert!(text.contains("retention.ms"), "{text}");
    }
}

#[test]
fn brokers_change_their_own_configurations() {
    let cluster = Cluster::builder().nodes(3).topic("orders", 1).start();
    let (admin, threads) = (admin(&cluster), "num.io.threads");
    let set = |resource, value: &str| ConfigChanges::of(resource).set(threads, value);
    let changes = [
        set(ConfigResource::Broker(3), "12"),
        set(ConfigResource::AllBrokers, "10"),
        set(ConfigResource::Broker(2), "many"),
        ConfigChanges::of(ConfigResource::Broker(3)).set("max.connections", "100"),
    ];
    let altered = block_on(admin.alter_configs(changes)).unwrap();
    let [(third, Ok(())), (all, Ok(())), (second, Err(error))] = &altered[..] else { panic!("{altered:?}") };
    assert_eq!(
        [third, all, second],
        [&ConfigResource::Broker(3), &ConfigResource::AllBrokers, &ConfigResource::Broker(2)]
    );
    assert!(error.to_string().contains("broker 2"), "{error}");
    assert_eq!(value(&admin, &ConfigResource::Broker(3), "max.connections").as_deref(), Some("100"));

    let of_third = describe(&admin, ConfigResource::Broker(3)).unwrap();
    let synonyms = of_third.get(threads).unwrap().synonyms.iter();
    let synonyms: Vec<_> =
        synonyms.map(|synonym| (synonym.value.as_deref().unwrap(), synonym.source)).collect();
    assert_eq!(
        synonyms,
        [
            ("12", ConfigSource::DynamicBrokerConfig),
            ("10", ConfigSource::DynamicDefaultBrokerConfig),
            ("8", ConfigSource::DefaultConfig)
        ]
    );
    let shared = describe(&admin, ConfigResource::AllBrokers).unwrap();
    assert_eq!(shared.entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), [threads]);
}

#[test]
fn changes_whose_answer_is_lost_are_asked_for_again() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 1).start();
    let (admin, orders) = (admin(&cluster), ConfigResource::topic("orders"));
    for action in [
        Action::LoseRequest,
        Action::LoseAnswer,
        Action::Fail(ErrorCode::NOT_CONTROLLER),
        Action::FailAfter(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let hook = cluster.on_request(Filter::api(ApiKey::INCREMENTAL_ALTER_CONFIGS).times(1), action);
        alter(&admin, ConfigChanges::of(orders.clone()).append("cleanup.policy", "compact")).unwrap();
        assert_eq!((hook.hits(), &*value(&admin, &orders, "cleanup.policy").unwrap()), (1, "delete,compact"));
        alter(&admin, ConfigChanges::of(orders.clone()).delete("cleanup.policy")).unwrap();
    }
}

#[test]
fn a_broker_that_replaces_whole_configurations_is_not_asked_to() {
    let cluster = Cluster::builder().version(KafkaVersion::V2_1).start();
    cluster.create_topic_with("orders", 1, &[("retention.ms", "5"), ("segment.ms", "7")]);
    let (admin, orders) = (admin(&cluster), ConfigResource::topic("orders"));
    let error = alter(&admin, ConfigChanges::of(orders.clone()).set("retention.ms", "6")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    let text = error.to_string();
    assert!(text.contains("topic orders needs Kafka 2.3 or later"), "{text}");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("does not have the API IncrementalAlterConfigs"), "{cause}");
    assert_eq!(cluster.counts().requests_of(ApiKey::ALTER_CONFIGS), 0);
    assert_eq!(value(&admin, &orders, "retention.ms").as_deref(), Some("5"));
}

#[test]
fn records_are_deleted_at_whoever_leads_the_partition() {
    for version in KafkaVersion::ALL {
        let cluster = Cluster::builder().nodes(3).version(version).topic("orders", 3).start();
        let admin = admin(&cluster);
        (0..3).for_each(|partition| append(&cluster, partition, 10));
        let before = |offset| [0, 1, 2].map(|partition| (partition, RecordsToDelete::Before(offset)));
        let low_watermarks = |offset| {
            let deleted = delete(&admin, "orders", &before(offset)).into_iter();
            deleted.map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(low_watermarks(4), [4; 3], "{version:?}");
        assert_eq!(low_watermarks(2), [4; 3], "what is gone is gone");
        assert_eq!(low_watermarks(-1), [4; 3], "nothing is before that");
        // What was known of the leaders is wrong now.
        for partition in 0..3 {
            let (leader, _) = cluster.leader("orders", partition);
            cluster.move_leader("orders", partition, leader.unwrap() % 3 + 1);
        }
        assert_eq!(low_watermarks(5), [5; 3]);
        let places = (0..3).map(|partition| ("orders", partition, OffsetSpec::Earliest));
        for (_, _, listed) in block_on(admin.list_offsets(places)).unwrap() {
            assert_eq!(listed.unwrap().offset, Some(5));
        }
        let all = delete(&admin, "orders", &[(2, RecordsToDelete::All), (0, RecordsToDelete::Before(11))]);
        assert_eq!(*all[0].as_ref().unwrap(), 10);
        assert_eq!(all[1].as_ref().unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
        assert_eq!([0, 1, 2].map(|partition| cluster.offsets("orders", partition).0), [5, 5, 10]);
    }
}

#[test]
fn records_that_cannot_be_deleted_say_why() {
    let cluster = Cluster::builder().topic("orders", 1).auto_create_topics(false).start();
    cluster.create_topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    let admin = admin(&cluster);
    let error = |topic: &str, partition| {
        delete(&admin, topic, &[(partition, RecordsToDelete::All)]).remove(0).unwrap_err()
    };
    assert_eq!(error("orders", 1).kind(), ErrorKind::UnknownTopic);
    assert_eq!(error("nothing", 0).kind(), ErrorKind::UnknownTopic);
    let refused = error("compacted", 0);
    assert_eq!(refused.kind(), ErrorKind::Broker);
    let text = refused.to_string();
    assert!(
        text.contains("deleting records of partition 0 of topic compacted was refused: POLICY_VIOLATION"),
        "{text}"
    );
}

#[test]
fn records_are_deleted_where_the_first_answer_says_nothing_good() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    let admin = admin(&cluster);
    append(&cluster, 0, 20);
    append(&cluster, 1, 20);
    let offsets = 1..;
    for (offset, action) in offsets.zip([
        Action::LoseRequest,
        Action::LoseAnswer,
        Action::Fail(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Action::FailAfter(ErrorCode::REQUEST_TIMED_OUT),
    ]) {
        let hook = cluster.on_request(Filter::api(ApiKey::DELETE_RECORDS).partition(1).times(1), action);
        let records = [0, 1].map(|partition| (partition, RecordsToDelete::Before(offset)));
        let deleted = delete(&admin, "orders", &records);
        assert_eq!(deleted.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [offset; 2]);
        assert_eq!(hook.hits(), 1);
    }
}

#[test]
fn a_leader_that_is_silent_holds_up_nobody_else() {
    let cluster = Cluster::builder().nodes(3).topic("orders", 3).start();
    let kafka = client(&cluster).call_timeout(Duration::from_secs(2)).build().unwrap();
    block_on(kafka.admin().describe_topics(["orders"])).unwrap();
    (0..3).for_each(|partition| append(&cluster, partition, 2));
    let first = cluster.leader("orders", 0).0.unwrap();
    let ignored = cluster.on_request(Filter::api(ApiKey::DELETE_RECORDS).node(first), Action::Ignore);
    let deleted =
        delete(&kafka.admin(), "orders", &[0, 1, 2].map(|partition| (partition, RecordsToDelete::All)));
    assert_eq!(deleted[0].as_ref().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!([deleted[1].as_ref().unwrap(), deleted[2].as_ref().unwrap()], [&2, &2]);
    assert_eq!(ignored.hits(), 1);
    assert_eq!([0, 1, 2].map(|partition| cluster.offsets("orders", partition).0), [0, 2, 2]);
}

#[test]
fn what_fails_until_the_deadline_fails_alone_and_says_why() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    let kafka = client(&cluster).call_timeout(Duration::from_secs(1)).build().unwrap();
    append(&cluster, 0, 2);
    append(&cluster, 1, 2);
    let filter = Filter::api(ApiKey::DELETE_RECORDS).topic("orders").partition(1);
    cluster.on_request(filter, Action::Fail(ErrorCode::KAFKA_STORAGE_ERROR));
    let deleted =
        delete(&kafka.admin(), "orders", &[0, 1].map(|partition| (partition, RecordsToDelete::All)));
    assert_eq!(*deleted[0].as_ref().unwrap(), 2);
    let error = deleted[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("deadline"), "{error}");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("partition 1 of topic orders was refused: KAFKA_STORAGE_ERROR"), "{cause}");

    // A broker that nobody knows may come: it is waited for.
    let unknown = describe(&kafka.admin(), ConfigResource::Broker(9)).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Timeout);
    let cause = unknown.source().unwrap().to_string();
    assert!(cause.contains("broker 9"), "{cause}");
}

#[test]
fn calls_can_be_awaited_on_other_threads() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let cluster = Cluster::builder().topic("orders", 1).start();
    let admin = admin(&cluster);
    block_on(sent(admin.create_partitions([NewPartitions::increase_to("orders", 2)]))).unwrap();
    block_on(sent(admin.describe_configs([ConfigResource::topic("orders")]))).unwrap();
    block_on(sent(admin.alter_configs([ConfigChanges::of(ConfigResource::topic("orders"))]))).unwrap();
    let topic: Arc<str> = "orders".into();
    block_on(sent(admin.delete_records([(topic, 0, RecordsToDelete::All)]))).unwrap();
}

#[test]
fn our_own_broker_tells_what_it_has() {
    let broker = TestBroker::start(&[]);
    let admin = Kafka::builder([broker.address().to_string()]).build().unwrap().admin();
    let topic =
        NewTopic::new("orders").partitions(2).replication_factor(1).setting("max.message.bytes", "2000");
    block_on(admin.create_topics([topic])).unwrap().remove(0).1.unwrap();
    let told = describe(&admin, ConfigResource::topic("orders")).unwrap();
    let size = told.get("max.message.bytes").unwrap();
    assert_eq!((size.value.as_deref(), size.is_default()), (Some("2000"), false));
    let synonyms = size.synonyms.iter().map(|synonym| (&*synonym.name, synonym.source));
    assert_eq!(
        synonyms.collect::<Vec<_>>(),
        [
            ("max.message.bytes", ConfigSource::DynamicTopicConfig),
            ("message.max.bytes", ConfigSource::DefaultConfig)
        ]
    );
    assert!(told.get("segment.bytes").unwrap().is_default());
    let id = block_on(admin.describe_cluster()).unwrap().controller.unwrap();
    let refused = describe(&admin, ConfigResource::Broker(id)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Broker, "{refused}");
    let unknown = describe(&admin, ConfigResource::topic("nothing")).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopic);

    // What it does not have yet is named.
    let lacks = |error: &Error, api: &str| {
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        assert!(cause.contains(&format!("does not have the API {api}")), "{cause}");
    };
    let grown = block_on(admin.create_partitions([NewPartitions::increase_to("orders", 3)]));
    lacks(&grown.unwrap_err(), "CreatePartitions");
    let changes = ConfigChanges::of(ConfigResource::topic("orders")).set("retention.ms", "2000");
    lacks(&alter(&admin, changes).unwrap_err(), "IncrementalAlterConfigs");
    let deleted = delete(&admin, "orders", &[(0, RecordsToDelete::All)]).remove(0);
    lacks(&deleted.unwrap_err(), "DeleteRecords");
}
