//! JoinGroup, versions 0 to 9.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message,
    messages::{
        api_versions::ApiVersionsRequest,
        join_group::{JoinGroupRequest, JoinGroupResponse},
    },
};

use crate::members::{
    alone, broker, broker_with, enter, join, joining, member_of, protocol, subscription, sync,
    until_rebalance,
};

/// What a refused join is told besides.
fn check_refused(version: i16, answer: &JoinGroupResponse, code: ErrorCode, member_id: &str) {
    assert_eq!(answer.error_code, code, "version {version}: {answer:?}");
    assert_eq!((answer.generation_id, &*answer.leader, &*answer.member_id), (-1, "", member_id));
    let no_protocol = (version < 7).then(|| "".into());
    assert_eq!((&answer.protocol_type, &answer.protocol_name), (&None, &no_protocol));
    assert!(answer.members.is_empty() && !answer.skip_assignment);
}

#[test]
fn every_version_lets_a_member_in() {
    let broker = broker();
    let mut client = broker.client();
    for version in JoinGroupRequest::VERSIONS {
        let group = format!("group-{version}");
        let first = client.call(version, &joining(&group, ""));
        let answer = if version >= 4 {
            check_refused(version, &first, ErrorCode::MEMBER_ID_REQUIRED, &first.member_id);
            client.call(version, &joining(&group, &first.member_id))
        } else {
            first
        };
        assert_eq!((answer.error_code, answer.generation_id), (ErrorCode::NONE, 1), "{answer:?}");
        assert_eq!(answer.throttle_time_ms, 0);
        // The id is made of the client's name and a UUID.
        let id = answer.member_id.strip_prefix("test-").expect("the client's name");
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(answer.leader, answer.member_id);
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        assert_eq!(answer.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        let [member] = &answer.members[..] else { panic!("{answer:?}") };
        assert_eq!(member.member_id, answer.member_id);
        assert_eq!((&member.group_instance_id, &member.metadata), (&None, &subscription(&["orders"])));
    }
}

#[test]
fn two_members_get_into_one_generation_and_the_leader_knows_both() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    let first = alone(&mut one, "readers");
    let request = JoinGroupRequest {
        group_instance_id: Some("reader-2".into()),
        reason: Some("more work".into()),
        protocols: vec![
            protocol("roundrobin", Bytes::from_static(b"rr")),
            protocol("range", Bytes::from_static(b"second")),
        ],
        ..joining("readers", "")
    };
    let waits = other.send(9, &request);
    // The join waits for the first member, who hears of it in its heartbeat.
    until_rebalance(&mut one, &first);
    assert!(!other.has_answer());
    let led = one.call(9, &joining("readers", &first.id));
    let joined = other.receive(waits);
    assert_eq!((led.generation_id, joined.generation_id), (2, 2), "{led:?} {joined:?}");
    assert_eq!((&led.leader, &joined.leader), (&first.id, &first.id));
    assert!(joined.members.is_empty() && joined.member_id.starts_with("reader-2-"));
    assert_eq!(led.protocol_name.as_deref(), Some("range"));
    let mut roster: Vec<_> =
        led.members.iter().map(|it| (it.group_instance_id.as_deref(), it.metadata.clone())).collect();
    roster.sort();
    let second = Bytes::from_static(b"second");
    assert_eq!(roster, [(None, subscription(&["orders"])), (Some("reader-2"), second)]);
}

#[test]
fn a_join_that_waits_holds_up_nobody_else() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    let first = alone(&mut one, "readers");
    let waits = other.send(3, &joining("readers", ""));
    until_rebalance(&mut one, &first);
    for _ in 0..100 {
        assert_eq!(one.call(0, &ApiVersionsRequest::default()).error_code, ErrorCode::NONE);
    }
    assert!(!other.has_answer());
    let led = one.call(9, &joining("readers", &first.id));
    assert_eq!(other.receive(waits).generation_id, led.generation_id);
}

#[test]
fn a_stop_does_not_wait_for_a_join() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    let first = alone(&mut one, "readers");
    let waits = other.send(3, &joining("readers", ""));
    until_rebalance(&mut one, &first);
    drop(broker);
    check_refused(3, &other.receive(waits), ErrorCode::COORDINATOR_NOT_AVAILABLE, "");
}

#[test]
fn what_is_wrong_with_a_request_alone_is_refused_in_every_version() {
    let broker = broker();
    let mut client = broker.client();
    for version in JoinGroupRequest::VERSIONS {
        let mut check = |code, request: JoinGroupRequest| {
            let answer = client.call(version, &request);
            check_refused(version, &answer, code, &request.member_id);
        };
        let valid = || joining("refused", "");
        check(ErrorCode::INVALID_GROUP_ID, joining("", "somebody"));
        for session_timeout_ms in [-1, 0, 5999, 1_800_001, i32::MIN, i32::MAX] {
            check(ErrorCode::INVALID_SESSION_TIMEOUT, JoinGroupRequest { session_timeout_ms, ..valid() });
        }
        let inconsistent = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
        check(inconsistent, JoinGroupRequest { protocol_type: "".into(), ..valid() });
        check(inconsistent, JoinGroupRequest { protocols: Vec::new(), ..valid() });
        check(ErrorCode::UNKNOWN_MEMBER_ID, joining("refused", "somebody"));
    }
}

#[test]
fn a_name_that_leaves_no_room_for_an_id_is_refused() {
    let broker = broker();
    let mut client = broker.client();
    let named = |bytes: usize| JoinGroupRequest {
        group_instance_id: Some("x".repeat(bytes).into()),
        ..joining("readers", "")
    };
    for version in 5..=9 {
        let answer = client.call(version, &named(32_767 - 36));
        check_refused(version, &answer, ErrorCode::INVALID_REQUEST, "");
    }
    assert_eq!(client.call(9, &named(32_767 - 37)).member_id.len(), 32_767);
}

#[test]
fn a_member_that_does_not_fit_its_group_is_refused() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    alone(&mut one, "readers");
    for version in JoinGroupRequest::VERSIONS {
        let mut check = |request: JoinGroupRequest| {
            let answer = other.call(version, &request);
            check_refused(version, &answer, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "");
        };
        check(JoinGroupRequest { protocol_type: "connect".into(), ..joining("readers", "") });
        let protocols = vec![protocol("sticky", Bytes::new())];
        check(JoinGroupRequest { protocols, ..joining("readers", "") });
        let unknown = other.call(version, &joining("readers", "stranger"));
        check_refused(version, &unknown, ErrorCode::UNKNOWN_MEMBER_ID, "stranger");
    }
}

#[test]
fn a_group_of_the_other_protocol_is_not_joined() {
    let broker = broker();
    let mut client = broker.client();
    enter(&mut client, "readers", "m", &["orders"]);
    for version in JoinGroupRequest::VERSIONS {
        let answer = client.call(version, &joining("readers", ""));
        check_refused(version, &answer, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "");
    }
}

#[test]
fn a_group_that_is_full_takes_nobody() {
    let broker = broker_with(&["group.max.size=1"]);
    let (mut one, mut other) = (broker.client(), broker.client());
    alone(&mut one, "readers");
    for version in JoinGroupRequest::VERSIONS {
        let answer = other.call(version, &joining("readers", ""));
        check_refused(version, &answer, ErrorCode::GROUP_MAX_SIZE_REACHED, "");
    }
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_past() {
    let broker = broker();
    let mut client = broker.client();
    for version in 5..=9 {
        let group: &'static str = ["g5", "g6", "g7", "g8", "g9"][version as usize - 5];
        let request =
            || JoinGroupRequest { group_instance_id: Some("reader-1".into()), ..joining(group, "") };
        let first = client.call(version, &request());
        // It knows its name: it need not be told an id first.
        let before = member_of(group, &first);
        sync(&mut client, 4, &before, &[(&before.id, "all")]);
        let again = client.call(version, &request());
        assert_eq!((again.error_code, again.generation_id), (ErrorCode::NONE, 1), "{again:?}");
        assert_ne!(again.member_id, before.id);
        // From version 9 on it hears that there is nothing to assign; before, that somebody else leads.
        assert_eq!(again.skip_assignment, version >= 9);
        assert_eq!(again.leader == again.member_id, version >= 9);
        let old = client.call(version, &JoinGroupRequest { member_id: before.id.clone(), ..request() });
        check_refused(version, &old, ErrorCode::FENCED_INSTANCE_ID, &before.id);
    }
}

#[test]
fn a_member_that_joins_again_is_known() {
    let broker = broker();
    let mut client = broker.client();
    let member = alone(&mut client, "readers");
    let again = join(&mut client, 9, joining("readers", &member.id));
    // The leader asks for a new rebalance by it.
    assert_eq!((again.error_code, again.generation_id), (ErrorCode::NONE, 2));
    assert_eq!(again.member_id, member.id);
}
