//! ConsumerGroupHeartbeat, versions 0 and 1.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::consumer_group_heartbeat::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, beating, broker, broker_with, enter, entering, owning},
    support::{Topic, create},
};

/// The partitions of an answer, by topic.
fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<(ottla_protocol::Uuid, Vec<i32>)>> {
    let topics = &answer.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect())
}

fn check_refused(
    client: &mut TestClient,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
    code: ErrorCode,
) {
    let answer = client.call(version, request);
    assert_eq!(answer.error_code, code, "version {version}: {request:?} {answer:?}");
    assert!(answer.error_message.is_some_and(|why| !why.is_empty()));
    let nothing = (answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms, answer.assignment);
    assert_eq!(nothing, (None, 0, 0, None));
}

fn check_accepted(answer: &ConsumerGroupHeartbeatResponse) {
    assert_eq!((answer.error_code, answer.throttle_time_ms), (ErrorCode::NONE, 0), "{answer:?}");
    assert_eq!(answer.error_message, None);
}

#[test]
fn every_version_joins_stays_and_leaves() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 3);
    for version in ConsumerGroupHeartbeatRequest::VERSIONS {
        // In version 0 the broker may choose the id.
        let id = if version == 0 { "" } else { "mine" };
        let joined = client.call(version, &entering("readers", id, &["orders"]));
        check_accepted(&joined);
        let id = joined.member_id.clone().unwrap();
        assert_eq!(id.len(), if version == 0 { 36 } else { 4 }, "{id}");
        assert_eq!(joined.heartbeat_interval_ms, 5_000);
        assert!(joined.member_epoch > 0);
        assert_eq!(assigned(&joined), Some(vec![(topic.id, vec![0, 1, 2])]));

        let stayed = client.call(version, &beating("readers", &id, joined.member_epoch));
        check_accepted(&stayed);
        assert_eq!((stayed.member_epoch, stayed.assignment), (joined.member_epoch, None));
        assert_eq!(stayed.member_id.as_ref(), Some(&id));

        let left = client.call(version, &beating("readers", &id, -1));
        check_accepted(&left);
        assert_eq!((left.member_epoch, left.heartbeat_interval_ms, left.assignment), (-1, 0, None));
        let gone = beating("readers", &id, joined.member_epoch);
        check_refused(&mut client, version, &gone, ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

#[test]
fn two_members_share_the_partitions() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 4);
    let first = enter(&mut client, "readers", "one", &["orders"]);
    enter(&mut client, "readers", "two", &["orders"]);
    let asked = client.call(1, &beating("readers", "one", first.member_epoch));
    let kept = assigned(&asked).expect("it is to give up some").remove(0).1;
    assert_eq!(kept.len(), 2);
    let gave = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owning(&topic, &kept)),
        ..beating("readers", "one", asked.member_epoch)
    };
    check_accepted(&client.call(1, &gave));
    let mut epoch = 0;
    let mut got = None;
    while got.is_none() {
        let request = match epoch {
            0 => entering("readers", "two", &["orders"]),
            epoch => beating("readers", "two", epoch),
        };
        let answer = client.call(1, &request);
        check_accepted(&answer);
        epoch = answer.member_epoch;
        got = assigned(&answer).filter(|topics| !topics.is_empty());
    }
    let mut all = [kept, got.unwrap().remove(0).1].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn what_is_wrong_with_a_request_alone_is_refused() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    for version in ConsumerGroupHeartbeatRequest::VERSIONS {
        let valid = || entering("refused", "m", &["orders"]);
        for request in [
            entering("", "m", &["orders"]),
            ConsumerGroupHeartbeatRequest { instance_id: Some("".into()), ..valid() },
            ConsumerGroupHeartbeatRequest { rack_id: Some(" ".into()), ..valid() },
            ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..valid() },
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..valid() },
            ConsumerGroupHeartbeatRequest { topic_partitions: Some(owning(&topic, &[0])), ..valid() },
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..valid() },
            beating("refused", "", 1),
            beating("refused", "", -1),
            beating("refused", "m", -2),
            beating("refused", "m", -3),
        ] {
            check_refused(&mut client, version, &request, ErrorCode::INVALID_REQUEST);
        }
        let request = ConsumerGroupHeartbeatRequest { server_assignor: Some("best".into()), ..valid() };
        check_refused(&mut client, version, &request, ErrorCode::UNSUPPORTED_ASSIGNOR);
        for request in [beating("refused", "m", 1), beating("refused", "m", -1)] {
            check_refused(&mut client, version, &request, ErrorCode::UNKNOWN_MEMBER_ID);
        }
    }
    // From version 1 on members choose their ids.
    check_refused(&mut client, 1, &entering("refused", "", &["orders"]), ErrorCode::INVALID_REQUEST);
}

#[test]
fn what_is_long_is_refused_in_short() {
    let broker = broker();
    let mut client = broker.client();
    let long = "(".repeat(32_767);
    let valid = || entering("refused", "m", &["orders"]);
    for (request, code) in [
        (
            ConsumerGroupHeartbeatRequest { server_assignor: Some(long.as_str().into()), ..valid() },
            ErrorCode::UNSUPPORTED_ASSIGNOR,
        ),
        (
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some(long.as_str().into()), ..valid() },
            ErrorCode::INVALID_REGULAR_EXPRESSION,
        ),
        (beating("refused", &long, 1), ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        check_refused(&mut client, 1, &request, code);
    }
}

#[test]
fn a_member_that_is_not_where_it_says_is_refused() {
    let broker = broker_with(&["group.consumer.max.size=2"]);
    let mut client = broker.client();
    create(&mut client, "orders", 1);
    for version in ConsumerGroupHeartbeatRequest::VERSIONS {
        let group = format!("readers-{version}");
        let of_instance = |member: &str| ConsumerGroupHeartbeatRequest {
            instance_id: Some("reader-1".into()),
            ..entering(&group, member, &["orders"])
        };
        let joined = client.call(version, &of_instance("one"));
        check_accepted(&joined);
        let epoch = joined.member_epoch;
        let mut check = |request: &ConsumerGroupHeartbeatRequest, code| {
            check_refused(&mut client, version, request, code);
        };
        check(&of_instance("two"), ErrorCode::UNRELEASED_INSTANCE_ID);
        let fenced = ConsumerGroupHeartbeatRequest {
            instance_id: Some("reader-1".into()),
            ..beating(&group, "two", epoch)
        };
        check(&fenced, ErrorCode::FENCED_INSTANCE_ID);
        let unknown = ConsumerGroupHeartbeatRequest {
            instance_id: Some("reader-2".into()),
            ..beating(&group, "one", epoch)
        };
        check(&unknown, ErrorCode::UNKNOWN_MEMBER_ID);
        check(&beating(&group, "one", epoch + 1), ErrorCode::FENCED_MEMBER_EPOCH);
        check_accepted(&client.call(version, &entering(&group, "two", &["orders"])));
        let full = entering(&group, "three", &["orders"]);
        check_refused(&mut client, version, &full, ErrorCode::GROUP_MAX_SIZE_REACHED);
    }
}

#[test]
fn a_classic_group_with_members_is_not_taken_over() {
    let broker = broker();
    let mut client = broker.client();
    alone(&mut client, "readers");
    for version in ConsumerGroupHeartbeatRequest::VERSIONS {
        let request = entering("readers", "m", &["orders"]);
        check_refused(&mut client, version, &request, ErrorCode::GROUP_ID_NOT_FOUND);
    }
}

#[test]
fn a_regular_expression_stands_for_topics() {
    let broker = broker();
    let mut client = broker.client();
    let (orders, _) = (create(&mut client, "orders-eu", 2), create(&mut client, "payments", 1));
    let by = |group: &str, pattern: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(pattern.into()),
        ..entering(group, "m", &[])
    };
    let joined = client.call(1, &by("readers", "orders-.*"));
    check_accepted(&joined);
    assert_eq!(assigned(&joined), Some(vec![(orders.id, vec![0, 1])]));
    // An empty one is none, and the member subscribes to nothing.
    let none = client.call(1, &by("readers of nothing", ""));
    check_accepted(&none);
    assert_eq!(assigned(&none), Some(Vec::new()));
    check_refused(&mut client, 1, &by("refused", "orders-("), ErrorCode::INVALID_REGULAR_EXPRESSION);
}

#[test]
fn names_and_partitions_that_come_twice_count_once() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    let names = ["orders", "none", "orders"];
    let joined = client.call(1, &entering("readers", "m", &names));
    check_accepted(&joined);
    assert_eq!(assigned(&joined), Some(vec![(topic.id, vec![0, 1])]));
    let twice: Vec<TopicPartitions> = [owning(&topic, &[1, 0, 1]), owning(&topic, &[0])].concat();
    let again = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(twice),
        subscribed_topic_names: Some(names.map(Str::from).to_vec()),
        ..beating("readers", "m", joined.member_epoch)
    };
    let answer = client.call(1, &again);
    check_accepted(&answer);
    assert_eq!(answer.member_epoch, joined.member_epoch, "nothing is new");
}

#[test]
fn a_new_topic_comes_to_who_waits_for_it() {
    let broker = broker();
    let mut client = broker.client();
    let mut answer = enter(&mut client, "readers", "m", &["later"]);
    assert_eq!(assigned(&answer), Some(Vec::new()));
    let Topic { id, .. } = create(&mut client, "later", 1);
    while assigned(&answer).is_none_or(|topics| topics.is_empty()) {
        answer = client.call(1, &beating("readers", "m", answer.member_epoch));
        check_accepted(&answer);
    }
    assert_eq!(assigned(&answer), Some(vec![(id, vec![0])]));
}
