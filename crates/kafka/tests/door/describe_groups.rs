//! DescribeGroups, versions 0 to 6.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::{
        describe_groups::{DescribeGroupsRequest, DescribedGroup},
        join_group::JoinGroupRequest,
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone_as, broker, commit_one, enter, join, joining, subscription},
    support::create,
};

/// Read, delete, describe, describe and alter configurations.
const OPERATIONS: i32 = (1 << 3) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 11);

fn describe(client: &mut TestClient, version: i16, groups: &[&str], operations: bool) -> Vec<DescribedGroup> {
    let request = DescribeGroupsRequest {
        groups: groups.iter().map(|group| Str::from(*group)).collect(),
        include_authorized_operations: operations,
        ..DescribeGroupsRequest::default()
    };
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.groups
}

#[test]
fn every_version_describes_a_stable_group() {
    let broker = broker();
    let mut client = broker.client();
    let request = JoinGroupRequest { group_instance_id: Some("reader-1".into()), ..joining("readers", "") };
    let member = alone_as(&mut client, "readers", request);
    for version in DescribeGroupsRequest::VERSIONS {
        let asks = version >= 3;
        // Twice named, once described.
        let described = describe(&mut client, version, &["readers", "readers"], asks);
        let [group] = &described[..] else { panic!("{described:?}") };
        assert_eq!(
            (group.error_code, &group.error_message, &*group.group_id),
            (ErrorCode::NONE, &None, "readers")
        );
        assert_eq!(
            (&*group.group_state, &*group.protocol_type, &*group.protocol_data),
            ("Stable", "consumer", "range")
        );
        assert_eq!(group.authorized_operations, if asks { OPERATIONS } else { i32::MIN });
        let [told] = &group.members[..] else { panic!("{group:?}") };
        assert_eq!(
            (&told.member_id, &*told.client_id, &*told.client_host),
            (&member.id, "test", "/127.0.0.1")
        );
        assert_eq!(told.group_instance_id.as_deref(), (version >= 4).then_some("reader-1"));
        assert_eq!(
            (&told.member_metadata, &told.member_assignment[..]),
            (&subscription(&["orders"]), &b"all"[..])
        );
        assert_eq!(describe(&mut client, version, &["readers"], false)[0].authorized_operations, i32::MIN);
    }
}

#[test]
fn groups_in_other_states_are_described_with_what_is_known() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    commit_one(&mut client, "offsets", &topic, 0, 1);
    commit_one(&mut client, "", &topic, 0, 1);
    let joined = join(&mut client, 9, joining("joined", ""));
    for version in DescribeGroupsRequest::VERSIONS {
        let described = describe(&mut client, version, &["offsets", "", "joined"], false);
        for group in &described[..2] {
            let told = (group.error_code, &*group.group_state, &*group.protocol_type, &*group.protocol_data);
            assert_eq!(told, (ErrorCode::NONE, "Empty", "", ""), "version {version}");
            assert!(group.members.is_empty());
        }
        let group = &described[2];
        assert_eq!((&*group.group_state, &*group.protocol_data), ("CompletingRebalance", ""));
        let [member] = &group.members[..] else { panic!("{group:?}") };
        assert_eq!(member.member_id, joined.member_id);
        assert!(member.member_metadata.is_empty() && member.member_assignment.is_empty());
    }
}

#[test]
fn a_group_that_is_not_there_is_dead() {
    let broker = broker();
    let mut client = broker.client();
    enter(&mut client, "new", "m", &["orders"]);
    for version in DescribeGroupsRequest::VERSIONS {
        for name in ["no such group", "", "new"] {
            let described = describe(&mut client, version, &[name], version >= 3);
            let [group] = &described[..] else { panic!("{described:?}") };
            assert_eq!((&*group.group_id, &*group.group_state), (name, "Dead"), "version {version}");
            assert!(group.members.is_empty() && group.protocol_type.is_empty());
            if version >= 6 {
                assert_eq!(group.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
                let why = group.error_message.as_deref().unwrap();
                assert!(
                    why.contains(name) && why.contains("not a classic group") == (name == "new"),
                    "{why}"
                );
                assert_eq!(group.authorized_operations, i32::MIN);
            } else {
                assert_eq!((group.error_code, &group.error_message), (ErrorCode::NONE, &None));
                assert_eq!(group.authorized_operations, if version >= 3 { OPERATIONS } else { i32::MIN });
            }
        }
    }
}

#[test]
fn a_long_name_is_not_found_in_short() {
    let broker = broker();
    let mut client = broker.client();
    let long = "x".repeat(32_767);
    let described = describe(&mut client, 6, &[&long], false);
    assert_eq!((&*described[0].group_id, described[0].error_code), (&*long, ErrorCode::GROUP_ID_NOT_FOUND));
}
