//! OffsetDelete, version 0.

use ottla_protocol::{
    ErrorCode,
    messages::{
        join_group::JoinGroupRequest,
        offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, alone_as, broker, commit_one, committed, enter, joining, protocol},
    support::create,
};

fn deleting(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let topic = |(name, partitions): &(&str, &[i32])| {
        let partition = |index: &i32| OffsetDeleteRequestPartition {
            partition_index: *index,
            ..OffsetDeleteRequestPartition::default()
        };
        OffsetDeleteRequestTopic {
            name: (*name).into(),
            partitions: partitions.iter().map(partition).collect(),
            ..OffsetDeleteRequestTopic::default()
        }
    };
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: topics.iter().map(topic).collect(),
        ..OffsetDeleteRequest::default()
    }
}

/// The error of the whole, and those of all partitions.
fn delete(client: &mut TestClient, group: &str, topics: &[(&str, &[i32])]) -> (ErrorCode, Vec<ErrorCode>) {
    let answer = client.call(0, &deleting(group, topics));
    assert_eq!(answer.throttle_time_ms, 0);
    let answered = answer
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| (topic.name.to_string(), it.partition_index)));
    if answer.error_code.is_none() {
        let asked =
            topics.iter().flat_map(|(name, indexes)| indexes.iter().map(|it| (name.to_string(), *it)));
        assert!(answered.eq(asked), "{answer:?}");
    } else {
        assert!(answer.topics.is_empty());
    }
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code);
    (answer.error_code, codes.collect())
}

#[test]
fn offsets_are_forgotten_one_by_one() {
    let broker = broker();
    let mut client = broker.client();
    let (orders, payments) = (create(&mut client, "orders", 3), create(&mut client, "payments", 1));
    for partition in 0..3 {
        commit_one(&mut client, "readers", &orders, partition, 5);
    }
    commit_one(&mut client, "readers", &payments, 0, 5);
    let (error, codes) = delete(
        &mut client,
        "readers",
        &[("none", &[0]), ("orders", &[1, 7, 2, -1]), ("payments", &[0, 0]), ("orders", &[])],
    );
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let none = ErrorCode::NONE;
    assert_eq!(error, none);
    assert_eq!(codes, [unknown, none, unknown, none, unknown, none, none]);
    let left = [(&orders, 0, 5), (&orders, 1, -1), (&orders, 2, -1), (&payments, 0, -1)];
    for (topic, partition, offset) in left {
        assert_eq!(committed(&mut client, "readers", topic, partition), offset);
    }
}

#[test]
fn what_is_wrong_with_the_group_is_said_once() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let asked: &[(&str, &[i32])] = &[("orders", &[0]), ("none", &[0])];
    assert_eq!(delete(&mut client, "", asked).0, ErrorCode::INVALID_GROUP_ID);
    assert_eq!(delete(&mut client, "no such group", asked).0, ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(delete(&mut client, "no such group", &[]).0, ErrorCode::GROUP_ID_NOT_FOUND);
    // The broker cannot look into what other kinds of groups do.
    let connect = JoinGroupRequest { protocol_type: "connect".into(), ..joining("workers", "") };
    commit_one(&mut client, "workers", &topic, 0, 5);
    let mut member = connect.clone();
    member.protocols = vec![protocol("range", "opaque".into())];
    super::members::member_of("workers", &super::members::join(&mut client, 9, member));
    assert_eq!(delete(&mut client, "workers", asked).0, ErrorCode::NON_EMPTY_GROUP);
    assert_eq!(committed(&mut client, "workers", &topic, 0), 5);
}

#[test]
fn what_members_subscribe_to_stays() {
    let broker = broker();
    let mut client = broker.client();
    let (orders, payments) = (create(&mut client, "orders", 1), create(&mut client, "payments", 1));
    for group in ["classic", "new", "unreadable"] {
        commit_one(&mut client, group, &orders, 0, 5);
        commit_one(&mut client, group, &payments, 0, 5);
    }
    alone(&mut client, "classic");
    enter(&mut client, "new", "m", &["orders"]);
    let garbage = vec![protocol("range", "no subscription".into())];
    alone_as(&mut client, "unreadable", JoinGroupRequest { protocols: garbage, ..joining("unreadable", "") });
    let asked: &[(&str, &[i32])] = &[("orders", &[0]), ("payments", &[0])];
    for group in ["classic", "new"] {
        let (error, codes) = delete(&mut client, group, asked);
        assert_eq!(error, ErrorCode::NONE);
        assert_eq!(codes, [ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode::NONE], "{group}");
        assert_eq!(committed(&mut client, group, &orders, 0), 5);
        assert_eq!(committed(&mut client, group, &payments, 0), -1);
    }
    // Members whose subscription cannot be read may subscribe to anything.
    let (_, codes) = delete(&mut client, "unreadable", asked);
    assert_eq!(codes, [ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC; 2]);
}
