//! ConsumerGroupDescribe, versions 0 and 1.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::{
        consumer_group_describe::{
            Assignment, ConsumerGroupDescribeRequest, DescribedGroup, TopicPartitions,
        },
        consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, beating, broker, enter, entering},
    support::create,
};

/// Read, delete, describe, describe and alter configurations.
const OPERATIONS: i32 = (1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11);

fn describe(client: &mut TestClient, version: i16, groups: &[&str], operations: bool) -> Vec<DescribedGroup> {
    let request = ConsumerGroupDescribeRequest {
        group_ids: groups.iter().map(|group| Str::from(*group)).collect(),
        include_authorized_operations: operations,
        ..ConsumerGroupDescribeRequest::default()
    };
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.groups
}

#[test]
fn every_version_describes_members_and_what_they_have() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    let request = ConsumerGroupHeartbeatRequest {
        instance_id: Some("reader-1".into()),
        rack_id: Some("rack-a".into()),
        server_assignor: Some("range".into()),
        subscribed_topic_regex: Some("pay.*".into()),
        ..entering("readers", "m", &["orders", "none"])
    };
    let joined = client.call(1, &request);
    assert_eq!(joined.error_code, ErrorCode::NONE, "{joined:?}");
    for version in ConsumerGroupDescribeRequest::VERSIONS {
        let described = describe(&mut client, version, &["readers", "readers"], true);
        let [group] = &described[..] else { panic!("{described:?}") };
        assert_eq!(
            (group.error_code, &group.error_message, &*group.group_id),
            (ErrorCode::NONE, &None, "readers")
        );
        assert_eq!((&*group.group_state, &*group.assignor_name), ("Stable", "range"));
        let epochs = (group.group_epoch, group.assignment_epoch);
        assert_eq!(epochs, (joined.member_epoch, joined.member_epoch));
        assert_eq!(group.authorized_operations, OPERATIONS);
        let [member] = &group.members[..] else { panic!("{group:?}") };
        assert_eq!((&*member.member_id, member.member_epoch), ("m", joined.member_epoch));
        assert_eq!(member.instance_id.as_deref(), Some("reader-1"));
        assert_eq!(member.rack_id.as_deref(), Some("rack-a"));
        assert_eq!((&*member.client_id, &*member.client_host), ("test", "/127.0.0.1"));
        assert_eq!(member.subscribed_topic_names, ["none", "orders"]);
        assert_eq!(member.subscribed_topic_regex.as_deref(), Some("pay.*"));
        let has = TopicPartitions {
            topic_id: topic.id,
            topic_name: "orders".into(),
            partitions: vec![0, 1],
            ..TopicPartitions::default()
        };
        let has = Assignment { topic_partitions: vec![has], ..Assignment::default() };
        assert_eq!((&member.assignment, &member.target_assignment), (&has, &has));
        assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
        assert_eq!(describe(&mut client, version, &["readers"], false)[0].authorized_operations, i32::MIN);
    }
}

#[test]
fn a_member_that_says_little_has_nulls() {
    let broker = broker();
    let mut client = broker.client();
    enter(&mut client, "readers", "m", &["orders"]);
    enter(&mut client, "left", "m", &["orders"]);
    client.call(1, &beating("left", "m", -1));
    for version in ConsumerGroupDescribeRequest::VERSIONS {
        let described = describe(&mut client, version, &["readers", "left"], false);
        let member = &described[0].members[0];
        assert_eq!(
            (&member.instance_id, &member.rack_id, &member.subscribed_topic_regex),
            (&None, &None, &None)
        );
        assert!(member.assignment.topic_partitions.is_empty());
        assert_eq!((&*described[1].group_state, described[1].members.len()), ("Empty", 0));
        assert_eq!(&*described[1].assignor_name, "uniform");
    }
}

#[test]
fn what_is_no_such_group_is_not_found() {
    let broker = broker();
    let mut client = broker.client();
    alone(&mut client, "classic");
    for version in ConsumerGroupDescribeRequest::VERSIONS {
        for (name, code, why) in [
            ("no such group", ErrorCode::GROUP_ID_NOT_FOUND, "there is no group no such group"),
            ("classic", ErrorCode::GROUP_ID_NOT_FOUND, "not a consumer group"),
            ("", ErrorCode::INVALID_GROUP_ID, "must not be empty"),
        ] {
            let described = describe(&mut client, version, &[name], true);
            let [group] = &described[..] else { panic!("{described:?}") };
            assert_eq!((&*group.group_id, group.error_code), (name, code));
            assert!(group.error_message.as_deref().unwrap().contains(why), "{group:?}");
            assert_eq!((&*group.group_state, group.authorized_operations), ("", i32::MIN));
        }
    }
}

#[test]
fn a_long_name_is_not_found_in_short() {
    let broker = broker();
    let mut client = broker.client();
    let long = "x".repeat(32_767);
    let described = describe(&mut client, 1, &[&long], false);
    assert_eq!((&*described[0].group_id, described[0].error_code), (&*long, ErrorCode::GROUP_ID_NOT_FOUND));
}
