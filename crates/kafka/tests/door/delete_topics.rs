//! DeleteTopics, versions 1 to 6.

use ottla_protocol::{
    ErrorCode, Message, Str, Uuid,
    messages::{
        delete_topics::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest},
        metadata::MetadataRequest,
    },
};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::{batch, create, produce};

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.into()), ..DeleteTopicState::default() }
}

fn by_id(topic_id: Uuid) -> DeleteTopicState {
    DeleteTopicState { topic_id, ..DeleteTopicState::default() }
}

fn delete(client: &mut TestClient, topics: Vec<DeleteTopicState>) -> Vec<DeletableTopicResult> {
    let request = DeleteTopicsRequest { topics, timeout_ms: 30_000, ..DeleteTopicsRequest::default() };
    let answer = client.call(6, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.responses
}

/// Deletes by name in a version.
fn delete_named(client: &mut TestClient, version: i16, names: &[&str]) -> Vec<(String, ErrorCode)> {
    let mut request = DeleteTopicsRequest { timeout_ms: 30_000, ..DeleteTopicsRequest::default() };
    if version >= 6 {
        request.topics = names.iter().map(|name| by_name(name)).collect();
    } else {
        request.topic_names = names.iter().map(|name| Str::from(*name)).collect();
    }
    let outcome = |it: &DeletableTopicResult| {
        assert_eq!(it.error_message.is_some(), version >= 5 && !it.error_code.is_none(), "{it:?}");
        (it.name.as_ref().unwrap().to_string(), it.error_code)
    };
    client.call(version, &request).responses.iter().map(outcome).collect()
}

#[test]
fn every_version_deletes_by_name() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in DeleteTopicsRequest::VERSIONS {
        create(&mut client, "a", 2);
        create(&mut client, "b", 1);
        let outcomes = delete_named(&mut client, version, &["a", "none", "b"]);
        let expected =
            [("a", ErrorCode::NONE), ("none", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), ("b", ErrorCode::NONE)];
        assert_eq!(outcomes, expected.map(|(name, code)| (name.to_owned(), code)), "version {version}");
        assert!(client.call(12, &MetadataRequest::default()).topics.is_empty());
    }
    assert!(delete(&mut client, Vec::new()).is_empty());
}

#[test]
fn version_6_deletes_by_id() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let (a, b) = (create(&mut client, "a", 1), create(&mut client, "b", 1));
    let unknown = Uuid::from([7; 16]);
    let answers = delete(&mut client, vec![by_id(a.id), by_id(unknown), by_name("b")]);
    let outcomes: Vec<_> =
        answers.iter().map(|it| (it.name.as_deref(), it.topic_id, it.error_code)).collect();
    assert_eq!(
        outcomes,
        [
            (Some("a"), a.id, ErrorCode::NONE),
            (None, unknown, ErrorCode::UNKNOWN_TOPIC_ID),
            (Some("b"), b.id, ErrorCode::NONE),
        ],
    );
    let again = delete(&mut client, vec![by_id(a.id)]);
    assert_eq!(again[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn what_is_ambiguous_deletes_nothing() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let (a, b) = (create(&mut client, "a", 1), create(&mut client, "b", 1));
    let both = DeleteTopicState { topic_id: a.id, ..by_name("a") };
    for (topics, what) in [
        (vec![both], "name and id"),
        (vec![DeleteTopicState::default()], "neither"),
        (vec![by_name("a"), by_name("a"), by_name("a")], "a name that is there twice"),
        (vec![by_id(b.id), by_id(b.id)], "an id that is there twice"),
        (vec![by_name("b"), by_id(b.id)], "a topic by its name and by its id"),
    ] {
        let answers = delete(&mut client, topics);
        let [answer] = &answers[..] else { panic!("{what}: {answers:?}") };
        assert_eq!(answer.error_code, ErrorCode::INVALID_REQUEST, "{what}");
        assert!(answer.error_message.is_some());
    }
    for version in 1..=6 {
        let outcomes = delete_named(&mut client, version, &["a", "a"]);
        assert_eq!(outcomes, [("a".to_owned(), ErrorCode::INVALID_REQUEST)]);
    }
    assert_eq!(broker.broker().topics().all().count(), 2);
}

#[test]
fn switched_off_it_says_so() {
    let broker = TestBroker::start(&["delete.topic.enable=false"]);
    let mut client = broker.client();
    create(&mut client, "a", 1);
    for version in DeleteTopicsRequest::VERSIONS {
        // Before version 3 clients do not know the error.
        let error = if version < 3 { ErrorCode::INVALID_REQUEST } else { ErrorCode::TOPIC_DELETION_DISABLED };
        let outcomes = delete_named(&mut client, version, &["a", "none"]);
        assert_eq!(outcomes, [("a".to_owned(), error), ("none".to_owned(), error)]);
    }
    assert!(broker.broker().topics().named("a").is_some());
}

#[test]
fn a_topic_that_is_created_again_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = TestBroker::in_directory(dir.path(), &[]);
    let mut client = broker.client();
    let old = create(&mut client, "a", 1);
    assert_eq!(produce(&mut client, 13, &old, 0, &batch(&["1", "2"])).base_offset, 0);
    assert_eq!(delete_named(&mut client, 6, &["a"]), [("a".to_owned(), ErrorCode::NONE)]);
    let gone = produce(&mut client, 12, &old, 0, &batch(&["3"]));
    assert_eq!(gone.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);

    let new = create(&mut client, "a", 1);
    assert_ne!(new.id, old.id);
    assert_eq!(produce(&mut client, 13, &old, 0, &batch(&["4"])).error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    let written = produce(&mut client, 13, &new, 0, &batch(&["5"]));
    assert_eq!((written.error_code, written.base_offset), (ErrorCode::NONE, 0), "it begins anew");
}
