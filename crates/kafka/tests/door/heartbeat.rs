//! Heartbeat, versions 0 to 4.

use ottla_protocol::{ErrorCode, Message, messages::heartbeat::HeartbeatRequest};
use ottla_testing_internal::TestClient;

use crate::members::{Member, alone, broker, enter, heartbeat_of, joining, replaced};

fn beat(client: &mut TestClient, version: i16, request: &HeartbeatRequest) -> ErrorCode {
    let answer = client.call(version, request);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.error_code
}

#[test]
fn every_version_is_heard() {
    let broker = broker();
    let mut client = broker.client();
    let member = alone(&mut client, "readers");
    for version in HeartbeatRequest::VERSIONS {
        assert_eq!(beat(&mut client, version, &heartbeat_of(&member)), ErrorCode::NONE);
    }
}

#[test]
fn what_is_wrong_is_refused_in_every_version() {
    let broker = broker();
    let mut client = broker.client();
    let member = alone(&mut client, "readers");
    enter(&mut client, "new readers", "m", &["orders"]);
    for version in HeartbeatRequest::VERSIONS {
        for (code, member) in [
            (ErrorCode::INVALID_GROUP_ID, Member { group: "", ..member.clone() }),
            (ErrorCode::UNKNOWN_MEMBER_ID, Member { group: "no such group", ..member.clone() }),
            (ErrorCode::UNKNOWN_MEMBER_ID, Member { id: "".into(), ..member.clone() }),
            (ErrorCode::UNKNOWN_MEMBER_ID, Member { group: "new readers", id: "m".into(), generation: 1 }),
            (ErrorCode::ILLEGAL_GENERATION, Member { generation: 2, ..member.clone() }),
        ] {
            assert_eq!(
                beat(&mut client, version, &heartbeat_of(&member)),
                code,
                "version {version}: {member:?}"
            );
        }
    }
}

#[test]
fn a_static_member_that_was_replaced_is_fenced() {
    let broker = broker();
    let mut client = broker.client();
    let (before, now) = replaced(&mut client, "readers");
    for version in 3..=4 {
        let as_instance = |member, name: &str| HeartbeatRequest {
            group_instance_id: Some(name.into()),
            ..heartbeat_of(member)
        };
        assert_eq!(
            beat(&mut client, version, &as_instance(&before, "reader-1")),
            ErrorCode::FENCED_INSTANCE_ID
        );
        assert_eq!(beat(&mut client, version, &as_instance(&now, "reader-2")), ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(beat(&mut client, version, &as_instance(&now, "reader-1")), ErrorCode::NONE);
    }
}

#[test]
fn a_rebalance_is_told() {
    let broker = broker();
    let (mut one, mut other) = (broker.client(), broker.client());
    let member = alone(&mut one, "readers");
    let waits = other.send(3, &joining("readers", ""));
    while beat(&mut one, 4, &heartbeat_of(&member)).is_none() {}
    for version in HeartbeatRequest::VERSIONS {
        assert_eq!(beat(&mut one, version, &heartbeat_of(&member)), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    let led = one.call(9, &joining("readers", &member.id));
    assert_eq!(other.receive(waits).generation_id, led.generation_id);
}
