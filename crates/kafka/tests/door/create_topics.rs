//! CreateTopics, versions 2 to 7.

use ottla_protocol::{
    ErrorCode, Message, Uuid,
    messages::create_topics::{
        CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult, CreateTopicsRequest,
    },
};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::{Log, Topic, batch, new_topic, produce, setting};

const LATEST: i16 = 7;

fn call(client: &mut TestClient, version: i16, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    let answer = client.call(version, &CreateTopicsRequest { topics, ..CreateTopicsRequest::default() });
    assert_eq!(answer.throttle_time_ms, 0);
    answer.topics
}

fn call_one(client: &mut TestClient, topic: CreatableTopic) -> CreatableTopicResult {
    let mut answers = call(client, LATEST, vec![topic]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Expects an error whose message has this text, and that nothing was created.
fn check_refused(broker: &TestBroker, topic: CreatableTopic, error: ErrorCode, text: &str) {
    let before = broker.broker().topics().all().count();
    let name = topic.name.clone();
    let answer = call_one(&mut broker.client(), topic);
    let message = answer.error_message.as_deref().unwrap_or_default();
    assert!(answer.error_code == error && message.contains(text), "{error} {text:?}: {answer:?}");
    assert_eq!(answer.name, name);
    assert_eq!((answer.num_partitions, answer.replication_factor), (-1, -1));
    assert!(answer.topic_id.is_zero());
    assert_eq!(broker.broker().topics().all().count(), before);
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition_index, broker_ids): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: broker_ids.to_vec(),
        ..CreatableReplicaAssignment::default()
    };
    CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..new_topic(name) }
}

#[test]
fn every_version_creates_topics_that_can_be_written_to_at_once() {
    let broker = TestBroker::start(&["num.partitions=3"]);
    let mut client = broker.client();
    let names = ["v2", "v3", "v4", "v5", "v6", "v7"];
    for (version, name) in CreateTopicsRequest::VERSIONS.zip(names) {
        let answers = call(&mut client, version, vec![new_topic(name)]);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((answer.error_code, &answer.error_message), (ErrorCode::NONE, &None));
        assert_eq!(&*answer.name, name);
        let id = Uuid::from(broker.broker().topics().named(name).unwrap().id.0);
        assert_eq!(answer.topic_id, if version >= 7 { id } else { Uuid::default() });
        if version >= 5 {
            assert_eq!((answer.num_partitions, answer.replication_factor), (3, 1));
            assert_eq!(answer.topic_config_error_code, ErrorCode::NONE);
        }
        let written = produce(&mut client, 13, &Topic { name, id }, 2, &batch(&["a"]));
        assert_eq!((written.error_code, written.base_offset), (ErrorCode::NONE, 0));
    }
}

#[test]
fn the_answer_tells_the_settings_from_version_5_on() {
    let broker = TestBroker::start(&["log.segment.bytes=2097152"]);
    let mut client = broker.client();
    let names = ["s2", "s3", "s4", "s5", "s6", "s7"];
    for (version, name) in CreateTopicsRequest::VERSIONS.zip(names) {
        let configs = vec![setting("retention.bytes", Some("1000"))];
        let answers = call(&mut client, version, vec![CreatableTopic { configs, ..new_topic(name) }]);
        let configs = answers[0].configs.as_ref().unwrap();
        if version < 5 {
            assert!(configs.is_empty(), "the version has no room for them");
            continue;
        }
        let told = |name: &str| {
            let config = configs.iter().find(|config| config.name == *name).unwrap();
            assert!(!config.read_only && !config.is_sensitive);
            (config.value.as_deref().unwrap(), config.config_source)
        };
        assert_eq!(told("retention.bytes"), ("1000", 1), "given for the topic");
        assert_eq!(told("segment.bytes"), ("2097152", 4), "given for the broker");
        assert_eq!(told("cleanup.policy"), ("delete", 5), "a default");
    }
}

#[test]
fn validating_creates_nothing() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in CreateTopicsRequest::VERSIONS {
        let topics = vec![CreatableTopic { num_partitions: 4, ..new_topic("a") }, new_topic("b/c")];
        let request = CreateTopicsRequest {
            topics,
            validate_only: true,
            timeout_ms: 0,
            ..CreateTopicsRequest::default()
        };
        let answer = client.call(version, &request);
        let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION]);
        assert!(answer.topics[0].topic_id.is_zero());
        if version >= 5 {
            assert_eq!((answer.topics[0].num_partitions, answer.topics[0].replication_factor), (4, 1));
        }
        assert_eq!(broker.broker().topics().all().count(), 0);
    }
}

#[test]
fn a_time_out_of_nothing_is_enough() {
    let broker = TestBroker::start(&[]);
    let request =
        CreateTopicsRequest { topics: vec![new_topic("a")], timeout_ms: 0, ..CreateTopicsRequest::default() };
    assert_eq!(broker.client().call(LATEST, &request).topics[0].error_code, ErrorCode::NONE);
}

#[test]
fn names_are_checked() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(call_one(&mut client, new_topic("a.b_c")).error_code, ErrorCode::NONE);
    for name in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(250)] {
        check_refused(&broker, new_topic(name), ErrorCode::INVALID_TOPIC_EXCEPTION, "topic name");
    }
    for name in ["a_b_c", "a.b.c", "a_b.c"] {
        check_refused(&broker, new_topic(name), ErrorCode::INVALID_TOPIC_EXCEPTION, "'a.b_c'");
    }
    check_refused(&broker, new_topic("a.b_c"), ErrorCode::TOPIC_ALREADY_EXISTS, "'a.b_c' already exists");
    assert_eq!(call_one(&mut client, new_topic(&"x".repeat(249))).error_code, ErrorCode::NONE);
}

#[test]
fn a_name_that_is_there_twice_is_refused_and_its_neighbours_are_not() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for (version, [one, other]) in CreateTopicsRequest::VERSIONS.zip([
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
        ["g", "h"],
        ["i", "j"],
        ["k", "l"],
    ]) {
        let topics = ["twice", one, "twice", other, "twice"].map(new_topic).to_vec();
        let answers = call(&mut client, version, topics);
        let outcomes: Vec<_> = answers.iter().map(|it| (&*it.name, it.error_code)).collect();
        assert_eq!(
            outcomes,
            [("twice", ErrorCode::INVALID_REQUEST), (one, ErrorCode::NONE), (other, ErrorCode::NONE)],
        );
    }
    assert!(broker.broker().topics().named("twice").is_none());
    assert!(call(&mut client, LATEST, Vec::new()).is_empty());
}

#[test]
fn numbers_of_partitions_are_bounded() {
    let broker = TestBroker::start(&[]);
    let with = |num_partitions| CreatableTopic { num_partitions, ..new_topic("a") };
    for wrong in [0, -2, i32::MIN] {
        check_refused(&broker, with(wrong), ErrorCode::INVALID_PARTITIONS, "at least one partition");
    }
    for many in [10_001, i32::MAX] {
        check_refused(&broker, with(many), ErrorCode::POLICY_VIOLATION, "10000 partitions");
    }
    let mut client = broker.client();
    let half = |name| CreatableTopic { num_partitions: 5001, ..new_topic(name) };
    for answer in call(&mut client, LATEST, vec![half("b"), half("c")]) {
        assert_eq!(answer.error_code, ErrorCode::POLICY_VIOLATION, "they count together");
    }
    assert_eq!(broker.broker().topics().all().count(), 0);
    assert_eq!(call_one(&mut client, with(10_000)).num_partitions, 10_000);
}

#[test]
fn a_replication_factor_is_brought_down_to_the_brokers_there_are() {
    let log = Log::from_now_on();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let with = |name, replication_factor| CreatableTopic { replication_factor, ..new_topic(name) };
    let answer = call_one(&mut client, with("three-replicas", 3));
    assert_eq!((answer.error_code, answer.replication_factor), (ErrorCode::NONE, 1));
    let lines = log.lines(&["three-replicas", "WARN"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(call_one(&mut client, with("one", 1)).replication_factor, 1);
    for wrong in [0, -2, i16::MIN] {
        check_refused(&broker, with("b", wrong), ErrorCode::INVALID_REPLICATION_FACTOR, "at least 1");
    }
}

#[test]
fn strict_replication_refuses_instead() {
    let broker = TestBroker::start(&["strict.replication=true"]);
    let with = |replication_factor| CreatableTopic { replication_factor, ..new_topic("a") };
    check_refused(&broker, with(2), ErrorCode::INVALID_REPLICATION_FACTOR, "replication factor 2");
    assert_eq!(call_one(&mut broker.client(), with(1)).error_code, ErrorCode::NONE);

    let broker = TestBroker::start(&["strict.replication=true", "default.replication.factor=3"]);
    check_refused(&broker, with(-1), ErrorCode::INVALID_REPLICATION_FACTOR, "replication factor 3");
    let broker = TestBroker::start(&["default.replication.factor=3"]);
    assert_eq!(call_one(&mut broker.client(), with(-1)).replication_factor, 1);
}

#[test]
fn assignments_may_name_this_broker_only() {
    let broker = TestBroker::start(&["node.id=5"]);
    let mut client = broker.client();
    let answer = call_one(&mut client, assigned("good", &[(1, &[5]), (0, &[5]), (2, &[5])]));
    assert_eq!((answer.error_code, answer.num_partitions), (ErrorCode::NONE, 3));
    assert_eq!(answer.replication_factor, 1);
    for (assignments, what) in [
        (&[(0, &[0][..])][..], "another broker"),
        (&[(0, &[5, 0])], "another broker beside this one"),
        (&[(0, &[5, 5])], "this broker twice"),
        (&[(0, &[])], "nobody"),
        (&[(1, &[5])], "no partition 0"),
        (&[(0, &[5]), (2, &[5])], "a gap"),
        (&[(0, &[5]), (0, &[5])], "a partition twice"),
        (&[(-1, &[5]), (0, &[5])], "a negative partition"),
    ] {
        let answer = call_one(&mut client, assigned("bad", assignments));
        assert_eq!(answer.error_code, ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{what}");
    }
    let both = |topic: CreatableTopic| {
        check_refused(&broker, topic, ErrorCode::INVALID_REQUEST, "must be -1");
    };
    both(CreatableTopic { num_partitions: 1, ..assigned("bad", &[(0, &[5])]) });
    both(CreatableTopic { replication_factor: 1, ..assigned("bad", &[(0, &[5])]) });
}

#[test]
fn settings_are_checked() {
    let broker = TestBroker::start(&[]);
    for (name, value, text) in [
        ("retention.byte", Some("1"), "did you mean retention.bytes?"),
        ("log.segment.bytes", Some("2097152"), "did you mean segment.bytes?"),
        ("nonsense", Some("1"), "\"nonsense\""),
        ("segment.bytes", Some("1"), "segment.bytes"),
        ("cleanup.policy", Some("burn"), "\"burn\" for cleanup.policy"),
        ("message.timestamp.type", Some("Sometimes"), "message.timestamp.type"),
        ("retention.ms", None, "retention.ms has no value"),
    ] {
        let topic = CreatableTopic { configs: vec![setting(name, value)], ..new_topic("a") };
        check_refused(&broker, topic, ErrorCode::INVALID_CONFIG, text);
    }
    // What is wrong with the topic itself comes first.
    let topic = CreatableTopic { configs: vec![setting("nonsense", None)], ..new_topic("a b") };
    check_refused(&broker, topic, ErrorCode::INVALID_TOPIC_EXCEPTION, "topic name");
}
