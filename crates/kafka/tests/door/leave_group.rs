//! LeaveGroup, versions 0 to 5.

use ottla_protocol::{
    ErrorCode, Message,
    messages::{
        heartbeat::HeartbeatRequest,
        join_group::JoinGroupRequest,
        leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity},
    },
};

use crate::members::{Member, alone, alone_as, broker, enter, joining};

fn leaving(version: i16, group: &str, member_id: &str) -> LeaveGroupRequest {
    let mut request = LeaveGroupRequest { group_id: group.into(), ..LeaveGroupRequest::default() };
    if version >= 3 {
        request.members = vec![identity(member_id, None)];
    } else {
        request.member_id = member_id.into();
    }
    request
}

fn identity(member_id: &str, instance: Option<&str>) -> MemberIdentity {
    MemberIdentity {
        member_id: member_id.into(),
        group_instance_id: instance.map(Into::into),
        reason: Some("closed by its user".into()),
        ..MemberIdentity::default()
    }
}

/// The error of the one member that leaves.
fn outcome(version: i16, answer: &LeaveGroupResponse) -> ErrorCode {
    assert_eq!(answer.throttle_time_ms, 0);
    if version < 3 {
        return answer.error_code;
    }
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let [member] = &answer.members[..] else { panic!("{answer:?}") };
    assert_eq!(member.group_instance_id, None);
    member.error_code
}

#[test]
fn every_version_lets_a_member_go() {
    let broker = broker();
    let mut client = broker.client();
    for version in LeaveGroupRequest::VERSIONS {
        let member = alone(&mut client, "readers");
        let request = leaving(version, "readers", &member.id);
        assert_eq!(outcome(version, &client.call(version, &request)), ErrorCode::NONE);
        let beating = HeartbeatRequest {
            group_id: "readers".into(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..HeartbeatRequest::default()
        };
        assert_eq!(client.call(4, &beating).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
        let again = outcome(version, &client.call(version, &request));
        assert_eq!(again, ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

#[test]
fn what_is_wrong_is_refused_in_every_version() {
    let broker = broker();
    let mut client = broker.client();
    let Member { id, .. } = alone(&mut client, "readers");
    enter(&mut client, "new readers", "m", &["orders"]);
    for version in LeaveGroupRequest::VERSIONS {
        let answer = client.call(version, &leaving(version, "", &id));
        assert_eq!(answer.error_code, ErrorCode::INVALID_GROUP_ID);
        assert!(answer.members.is_empty());
        for (group, member_id) in
            [("no such group", &*id), ("readers", "stranger"), ("readers", ""), ("new readers", "m")]
        {
            let answer = client.call(version, &leaving(version, group, member_id));
            assert_eq!(outcome(version, &answer), ErrorCode::UNKNOWN_MEMBER_ID, "version {version}: {group}");
        }
    }
}

#[test]
fn several_members_are_answered_each() {
    let broker = broker();
    let mut client = broker.client();
    for version in 3..=5 {
        let request =
            JoinGroupRequest { group_instance_id: Some("reader-1".into()), ..joining("readers", "") };
        alone_as(&mut client, "readers", request);
        let members = vec![
            identity("stranger", None),
            identity("other", Some("reader-1")),
            identity("", Some("reader-2")),
            // An operator names it by its instance alone.
            identity("", Some("reader-1")),
            identity("", Some("reader-1")),
        ];
        let request =
            LeaveGroupRequest { group_id: "readers".into(), members, ..LeaveGroupRequest::default() };
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, ErrorCode::NONE);
        let outcomes: Vec<_> = answer
            .members
            .iter()
            .map(|it| (&*it.member_id, it.group_instance_id.as_deref(), it.error_code))
            .collect();
        assert_eq!(
            outcomes,
            [
                ("stranger", None, ErrorCode::UNKNOWN_MEMBER_ID),
                ("other", Some("reader-1"), ErrorCode::FENCED_INSTANCE_ID),
                ("", Some("reader-2"), ErrorCode::UNKNOWN_MEMBER_ID),
                ("", Some("reader-1"), ErrorCode::NONE),
                ("", Some("reader-1"), ErrorCode::UNKNOWN_MEMBER_ID),
            ],
        );
        let nobody = LeaveGroupRequest { group_id: "readers".into(), ..LeaveGroupRequest::default() };
        let answer = client.call(version, &nobody);
        assert!(answer.error_code.is_none() && answer.members.is_empty());
    }
}
