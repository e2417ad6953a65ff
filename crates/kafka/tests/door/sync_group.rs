//! SyncGroup, versions 0 to 5.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message,
    messages::sync_group::{SyncGroupRequest, SyncGroupResponse},
};

use crate::members::{Member, alone, broker, enter, joining, member_of, replaced, sync, syncing};

fn check_refused(version: i16, answer: &SyncGroupResponse, code: ErrorCode) {
    assert_eq!(answer.error_code, code, "version {version}: {answer:?}");
    assert_eq!((&answer.protocol_type, &answer.protocol_name), (&None, &None));
    assert!(answer.assignment.is_empty());
}

#[test]
fn every_version_gives_a_member_what_the_leader_gave() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    for version in SyncGroupRequest::VERSIONS {
        let group: &'static str = ["g0", "g1", "g2", "g3", "g4", "g5"][version as usize];
        let first = alone(&mut one, group);
        let named = other.call(9, &joining(group, ""));
        assert_eq!(named.error_code, ErrorCode::MEMBER_ID_REQUIRED);
        // The first hears of the second, whose id the group waits for, and joins again.
        let led = one.send(9, &joining(group, &first.id));
        let second = member_of(group, &other.call(9, &joining(group, &named.member_id)));
        let first = member_of(group, &one.receive(led));
        assert_eq!(first.generation, second.generation);

        let waits = other.send(version, &syncing(version, &second, &[]));
        let given =
            sync(&mut one, version, &first, &[(&first.id, "one"), (&second.id, "two"), ("gone", "x")]);
        let got = other.receive(waits);
        for (answer, assignment) in [(&given, "one"), (&got, "two")] {
            assert_eq!((answer.error_code, answer.throttle_time_ms), (ErrorCode::NONE, 0));
            assert_eq!(answer.assignment, assignment, "version {version}");
            assert_eq!(answer.protocol_type.as_deref(), (version >= 5).then_some("consumer"));
            assert_eq!(answer.protocol_name.as_deref(), (version >= 5).then_some("range"));
        }
        // It can be asked for again, and nobody but the leader is listened to.
        let again = sync(&mut other, version, &second, &[(&second.id, "more")]);
        assert_eq!(again.assignment, "two");
    }
}

#[test]
fn what_is_wrong_is_refused_in_every_version() {
    let broker = broker();
    let mut client = broker.client();
    let member = alone(&mut client, "readers");
    enter(&mut client, "new readers", "m", &["orders"]);
    for version in SyncGroupRequest::VERSIONS {
        let mut check = |code, member: Member| {
            check_refused(version, &sync(&mut client, version, &member, &[]), code);
        };
        check(ErrorCode::INVALID_GROUP_ID, Member { group: "", ..member.clone() });
        check(ErrorCode::UNKNOWN_MEMBER_ID, Member { group: "no such group", ..member.clone() });
        check(ErrorCode::UNKNOWN_MEMBER_ID, Member { id: "stranger".into(), ..member.clone() });
        check(ErrorCode::UNKNOWN_MEMBER_ID, Member { group: "new readers", id: "m".into(), generation: 1 });
        check(ErrorCode::ILLEGAL_GENERATION, Member { generation: 7, ..member.clone() });
    }
    for version in 3..=5 {
        let request =
            SyncGroupRequest { group_instance_id: Some("nobody".into()), ..syncing(version, &member, &[]) };
        check_refused(version, &client.call(version, &request), ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

#[test]
fn version_5_says_what_the_group_is() {
    let broker = broker();
    let mut client = broker.client();
    let member = alone(&mut client, "readers");
    let valid = || syncing(5, &member, &[]);
    for request in [
        SyncGroupRequest { protocol_type: None, ..valid() },
        SyncGroupRequest { protocol_name: None, ..valid() },
        SyncGroupRequest { protocol_type: Some("connect".into()), ..valid() },
        SyncGroupRequest { protocol_name: Some("sticky".into()), ..valid() },
    ] {
        check_refused(5, &client.call(5, &request), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    assert_eq!(client.call(5, &valid()).assignment, Bytes::from_static(b"all"));
}

#[test]
fn a_static_member_that_was_replaced_is_fenced() {
    let broker = broker();
    let mut client = broker.client();
    let (before, _) = replaced(&mut client, "readers");
    for version in 3..=5 {
        let old =
            SyncGroupRequest { group_instance_id: Some("reader-1".into()), ..syncing(version, &before, &[]) };
        check_refused(version, &client.call(version, &old), ErrorCode::FENCED_INSTANCE_ID);
    }
}

#[test]
fn a_sync_in_a_rebalance_is_refused() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    let member = alone(&mut one, "readers");
    let waits = other.send(3, &joining("readers", ""));
    let mut answer = sync(&mut one, 5, &member, &[]);
    while answer.error_code.is_none() {
        answer = sync(&mut one, 5, &member, &[]);
    }
    check_refused(5, &answer, ErrorCode::REBALANCE_IN_PROGRESS);
    let led = one.call(9, &joining("readers", &member.id));
    assert_eq!(other.receive(waits).generation_id, led.generation_id);
}
