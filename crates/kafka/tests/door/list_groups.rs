//! ListGroups, versions 0 to 5.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::{
        join_group::JoinGroupRequest,
        list_groups::{ListGroupsRequest, ListedGroup},
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, alone_as, beating, broker, commit_one, enter, joining},
    support::create,
};

fn list(client: &mut TestClient, version: i16, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
    let texts = |texts: &[&str]| texts.iter().map(|text| Str::from(*text)).collect();
    let request = ListGroupsRequest {
        states_filter: texts(states),
        types_filter: texts(types),
        ..ListGroupsRequest::default()
    };
    let answer = client.call(version, &request);
    assert_eq!((answer.error_code, answer.throttle_time_ms), (ErrorCode::NONE, 0));
    answer.groups
}

/// A stable group, an empty one, one of offsets alone, and two of KIP-848.
fn fill(client: &mut TestClient) {
    let topic = create(client, "orders", 1);
    alone(client, "a-stable");
    commit_one(client, "b-offsets", &topic, 0, 1);
    enter(client, "c-new", "m", &["orders"]);
    enter(client, "d-new-empty", "m", &["orders"]);
    client.call(1, &beating("d-new-empty", "m", -1));
    let connect = JoinGroupRequest { protocol_type: "connect".into(), ..joining("e-workers", "") };
    super::members::member_of("e-workers", &super::members::join(client, 9, connect));
}

#[test]
fn every_version_lists_all_groups_as_far_as_it_can_tell() {
    let broker = broker();
    let mut client = broker.client();
    assert!(list(&mut client, 5, &[], &[]).is_empty());
    fill(&mut client);
    let expected = [
        ("a-stable", "consumer", "Stable", "classic"),
        ("b-offsets", "", "Empty", "classic"),
        ("c-new", "consumer", "Stable", "consumer"),
        ("d-new-empty", "consumer", "Empty", "consumer"),
        ("e-workers", "connect", "CompletingRebalance", "classic"),
    ];
    for version in ListGroupsRequest::VERSIONS {
        let listed = list(&mut client, version, &[], &[]);
        let told: Vec<_> = listed
            .iter()
            .map(|it| (&*it.group_id, &*it.protocol_type, &*it.group_state, &*it.group_type))
            .collect();
        let expected = expected.map(|(id, protocol_type, state, kind)| {
            (id, protocol_type, if version >= 4 { state } else { "" }, if version >= 5 { kind } else { "" })
        });
        assert_eq!(told, expected, "version {version}");
    }
}

#[test]
fn filters_pass_what_they_name() {
    let broker = broker();
    let mut client = broker.client();
    fill(&mut client);
    let mut check = |states: &[&str], types: &[&str], expected: &[&str]| {
        let versions = if types.is_empty() { 4..=5 } else { 5..=5 };
        for version in versions {
            let listed = list(&mut client, version, states, types);
            let names: Vec<&str> = listed.iter().map(|it| &*it.group_id).collect();
            assert_eq!(names, expected, "version {version}: {states:?} {types:?}");
        }
    };
    check(&["Stable"], &[], &["a-stable", "c-new"]);
    check(&["sTABLE", " empty "], &[], &["a-stable", "b-offsets", "c-new", "d-new-empty"]);
    check(&["CompletingRebalance"], &[], &["e-workers"]);
    check(&["Dead"], &[], &[]);
    check(&["no such state"], &[], &[]);
    check(&[], &["Consumer"], &["c-new", "d-new-empty"]);
    check(&[], &["classic"], &["a-stable", "b-offsets", "e-workers"]);
    check(&[], &["share"], &[]);
    check(&["Empty"], &["classic", "streams"], &["b-offsets"]);
}

#[test]
fn a_group_that_is_left_is_empty() {
    let broker = broker();
    let mut client = broker.client();
    let request = JoinGroupRequest { group_instance_id: Some("r".into()), ..joining("readers", "") };
    let member = alone_as(&mut client, "readers", request);
    let leaving = ottla_protocol::messages::leave_group::LeaveGroupRequest {
        group_id: "readers".into(),
        member_id: member.id,
        ..Default::default()
    };
    assert_eq!(client.call(2, &leaving).error_code, ErrorCode::NONE);
    let listed = list(&mut client, 5, &[], &[]);
    assert_eq!((&*listed[0].group_state, &*listed[0].protocol_type), ("Empty", "consumer"));
}
