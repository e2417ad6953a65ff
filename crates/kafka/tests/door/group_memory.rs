//! Groups within the memory budget: members that bring too much are refused, and a request that waits costs what it
//! keeps.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode,
    messages::{
        consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
        describe_groups::DescribeGroupsRequest,
        join_group::JoinGroupRequest,
        sync_group::{SyncGroupRequest, SyncGroupRequestAssignment},
    },
};
use ottla_testing_internal::TestClient;

use crate::members::{alone, broker_with, entering, joining, protocol};

const MIB: usize = 1 << 20;
/// Request frames may take 4 MiB, and groups 6.
const SMALL: &[&str] = &["memory.budget=32MiB"];

/// A member that brings so much.
fn large(group: &str, bytes: usize) -> JoinGroupRequest {
    let protocols = vec![protocol("range", Bytes::from(vec![0; bytes]))];
    JoinGroupRequest { protocols, ..joining(group, "") }
}

/// How many members a group has, those included whose join waits.
fn members(client: &mut TestClient, group: &str) -> usize {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    client.call(0, &request).groups[0].members.len()
}

#[test]
fn joins_that_wait_leave_memory_to_others() {
    let broker = broker_with(SMALL);
    let mut client = broker.client();
    let leader = alone(&mut client, "readers");
    let mut waiting = Vec::new();
    let (mut last, refused) = loop {
        assert!(waiting.len() < 8, "they must count");
        let mut other = broker.client();
        let sent = other.send(3, &large("readers", MIB / 2));
        while !other.has_answer() && members(&mut client, "readers") < waiting.len() + 2 {}
        if other.has_answer() {
            let refused = other.receive(sent);
            break (other, refused);
        }
        waiting.push((other, sent));
    };
    // The client is to try again, which helps as soon as the others are in.
    assert_eq!(refused.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(waiting.len() >= 3, "{}", waiting.len());
    let much = Bytes::from(vec![0; MIB / 2]);
    let assignments = vec![SyncGroupRequestAssignment { assignment: much, ..Default::default() }];
    let syncing = SyncGroupRequest { group_id: "another".into(), assignments, ..Default::default() };
    assert_eq!(last.call(4, &syncing).error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let led = client.call(9, &joining("readers", &leader.id));
    for (mut other, sent) in waiting {
        assert_eq!(other.receive(sent).generation_id, led.generation_id);
    }
    let mut again = last.call(3, &large("another", MIB / 2));
    while again.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
        again = last.call(3, &large("another", MIB / 2));
    }
    assert_eq!(again.error_code, ErrorCode::NONE);
}

#[test]
fn groups_that_hold_all_they_may_take_nobody_in() {
    let broker = broker_with(SMALL);
    let mut client = broker.client();
    let mut groups = 0;
    let refused = loop {
        assert!(groups < 14, "they must count");
        let answer = client.call(3, &large(&format!("group-{groups}"), MIB / 2));
        if answer.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            continue;
        }
        if answer.error_code != ErrorCode::NONE {
            break answer;
        }
        groups += 1;
    };
    assert_eq!((refused.error_code, &*refused.member_id), (ErrorCode::GROUP_MAX_SIZE_REACHED, ""));
    assert!(groups >= 8, "{groups}");
    let names = (0..10_000).map(|number| format!("topic-{number}").into()).collect();
    let request =
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(names), ..entering("new", "m", &[]) };
    let refused = client.call(1, &request);
    assert_eq!(refused.error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert!(refused.error_message.unwrap().contains("memory.budget"));
}
