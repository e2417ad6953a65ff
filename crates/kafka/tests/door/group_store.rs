//! What clients of groups are told when the store of groups cannot answer, or has a group that cannot be read.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message, Request,
    messages::{
        consumer_group_describe::ConsumerGroupDescribeRequest,
        delete_groups::DeleteGroupsRequest,
        describe_groups::DescribeGroupsRequest,
        heartbeat::HeartbeatRequest,
        leave_group::{LeaveGroupRequest, MemberIdentity},
        list_groups::ListGroupsRequest,
        offset_commit::OffsetCommitRequest,
        offset_delete::OffsetDeleteRequest,
        offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    },
};
use ottla_storage::{GroupChange, GroupKind, GroupRow, GroupStore, StateStoreError, Storage};
use ottla_testing_internal::TestClient;

use crate::{
    members::{Member, alone, broker, commit, committing, entering, joining, offset, sync, syncing},
    support::{Topic, create},
};

/// Calls an API in every version.
fn in_every_version<R: Request + Message>(
    client: &mut TestClient,
    request: impl Fn(i16) -> R,
    mut check: impl FnMut(i16, R::Response),
) {
    for version in R::VERSIONS {
        let answer = client.call(version, &request(version));
        check(version, answer);
    }
}

/// All APIs about a group, in every version, answer this error.
fn check_all(client: &mut TestClient, group: &'static str, topic: &Topic, code: ErrorCode) {
    let member = Member { group, id: "m".into(), generation: 1 };
    in_every_version(client, |_| joining(group, ""), |_, answer| assert_eq!(answer.error_code, code));
    in_every_version(
        client,
        |version| syncing(version, &member, &[]),
        |_, answer| assert_eq!(answer.error_code, code),
    );
    let beating = || HeartbeatRequest { group_id: group.into(), ..HeartbeatRequest::default() };
    in_every_version(client, |_| beating(), |_, answer| assert_eq!(answer.error_code, code));
    let leaving = |version| match version {
        3.. => LeaveGroupRequest {
            group_id: group.into(),
            members: vec![MemberIdentity::default()],
            ..LeaveGroupRequest::default()
        },
        _ => LeaveGroupRequest { group_id: group.into(), ..LeaveGroupRequest::default() },
    };
    in_every_version(client, leaving, |_, answer| {
        assert_eq!(answer.error_code, code);
        assert!(answer.members.is_empty());
    });
    in_every_version(
        client,
        |version| committing(version, group, topic, vec![offset(0, 1)]),
        |version, answer| {
            assert_eq!(answer.topics[0].partitions[0].error_code, code, "version {version}");
        },
    );
    let describing =
        || DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    in_every_version(
        client,
        |_| describing(),
        |version, answer| {
            assert_eq!((answer.groups[0].error_code, &*answer.groups[0].group_state), (code, ""));
            assert_eq!(answer.groups[0].error_message.is_some(), version >= 6);
        },
    );
    let describing = || ConsumerGroupDescribeRequest {
        group_ids: vec![group.into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    in_every_version(
        client,
        |_| describing(),
        |_, answer| {
            assert_eq!(answer.groups[0].error_code, code);
            assert!(answer.groups[0].error_message.is_some());
        },
    );
    let deleting =
        || DeleteGroupsRequest { groups_names: vec![group.into()], ..DeleteGroupsRequest::default() };
    in_every_version(client, |_| deleting(), |_, answer| assert_eq!(answer.results[0].error_code, code));
    in_every_version(
        client,
        |_| OffsetDeleteRequest { group_id: group.into(), ..OffsetDeleteRequest::default() },
        |_, answer| assert_eq!(answer.error_code, code),
    );
    in_every_version(
        client,
        |_| entering(group, "m", &["orders"]),
        |_, answer| {
            assert_eq!(answer.error_code, code);
            assert!(answer.error_message.is_some() && answer.member_id.is_none());
        },
    );
}

/// OffsetFetch in every version, by somebody who names himself where that can be done.
fn check_fetch(client: &mut TestClient, group: &str, code: impl Fn(i16) -> ErrorCode) {
    let request = |version| {
        let mut request = OffsetFetchRequest::default();
        if version >= 8 {
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: group.into(),
                member_id: (version >= 9).then(|| "m".into()),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            }];
        } else {
            request.group_id = group.into();
            let partition_indexes = vec![0];
            request.topics = Some(vec![OffsetFetchRequestTopic {
                name: "orders".into(),
                partition_indexes,
                ..OffsetFetchRequestTopic::default()
            }]);
        }
        request
    };
    in_every_version(client, request, |version, answer| {
        let code = code(version);
        match version {
            8.. => assert_eq!(answer.groups[0].error_code, code, "version {version}"),
            2.. => assert_eq!((answer.error_code, answer.topics.is_empty()), (code, !code.is_none())),
            _ => {
                let partition = &answer.topics[0].partitions[0];
                assert_eq!((partition.error_code, partition.committed_offset), (code, -1));
            }
        }
    });
}

#[test]
fn clients_look_for_the_coordinator_again_while_the_store_fails() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let fail = |failure| broker.storage().groups().fail(failure);
    for (failure, code) in [
        (StateStoreError::DiskFull, ErrorCode::NOT_COORDINATOR),
        (StateStoreError::Failed("the disk broke".into()), ErrorCode::NOT_COORDINATOR),
        (StateStoreError::Refused("it is full".into()), ErrorCode::UNKNOWN_SERVER_ERROR),
    ] {
        fail(Some(failure));
        check_all(&mut client, "readers", &topic, code);
        check_fetch(&mut client, "readers", |_| code);
        in_every_version(
            &mut client,
            |_| ListGroupsRequest::default(),
            |_, answer| {
                // Nobody has looked for a coordinator before a list.
                let code = match code {
                    ErrorCode::NOT_COORDINATOR => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                    code => code,
                };
                assert_eq!((answer.error_code, answer.groups.len()), (code, 0));
            },
        );
    }
    // It goes on by itself.
    fail(None);
    let member = alone(&mut client, "readers");
    fail(Some(StateStoreError::DiskFull));
    let request = OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation,
        ..committing(9, "readers", &topic, vec![offset(0, 1), offset(9, 1)])
    };
    assert_eq!(
        commit(&mut client, 9, &request),
        [(0, ErrorCode::NOT_COORDINATOR), (9, ErrorCode::NOT_COORDINATOR)],
        "a member hears that nothing of it was committed",
    );
    fail(None);
    assert_eq!(sync(&mut client, 5, &member, &[]).assignment, "all");
}

#[test]
fn a_group_that_cannot_be_read_is_an_error_of_the_broker() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let row = GroupRow {
        id: "broken".into(),
        kind: GroupKind::Classic,
        epoch: 1,
        protocol_type: "consumer".into(),
        state: Bytes::from_static(b"what no version has written"),
        empty_since: None,
    };
    let stored = broker.storage().groups().change_groups(vec![GroupChange::PutGroup(row)]);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stored).unwrap();
    check_all(&mut client, "broken", &topic, ErrorCode::UNKNOWN_SERVER_ERROR);
    // Its offsets can be read, by those who need not be members.
    check_fetch(&mut client, "broken", |version| match version {
        9.. => ErrorCode::UNKNOWN_SERVER_ERROR,
        _ => ErrorCode::NONE,
    });
    // Others do not suffer from it.
    alone(&mut client, "readers");
}
