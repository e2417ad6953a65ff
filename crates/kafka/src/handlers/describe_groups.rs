//! DescribeGroups (15), versions 0 to 6: state and members of classic groups; for groups of KIP-848 there is
//! ConsumerGroupDescribe. A group that is not there is `Dead`, from version 6 on with GROUP_ID_NOT_FOUND and a message
//! (KIP-1043). Each group is described once, however often it is named.

use std::fmt;

use ottla_engine::{
    coordinator::{
        InstanceId,
        classic::{DescribedMember, Description, State},
    },
    groups::GroupDescription,
};
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::describe_groups::{
        DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
    },
};
use ottla_storage::Storage;

use super::groups::{code, each_once, operations, reason, text};
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

/// The first version in which a group that is not there is an error.
const NOT_FOUND_FROM: i16 = 6;

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: DescribeGroupsRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: DescribeGroupsRequest,
) -> Result<Frame, EncodeError> {
    let operations = operations(request.include_authorized_operations);
    let mut groups = Vec::new();
    for group_id in each_once(request.groups) {
        let described = match context.groups.describe(&group_id).await {
            Ok(Some(GroupDescription::Classic(group))) => describe(group, operations),
            Ok(Some(GroupDescription::Consumer(_))) => {
                missing(call, &format_args!("group {group_id} is not a classic group"), operations)
            }
            Ok(None) => missing(call, &format_args!("there is no group {group_id}"), operations),
            Err(error) => DescribedGroup {
                error_code: code(context.broker(), "describing a group", &error),
                error_message: reason(&error).filter(|_| call.version >= NOT_FOUND_FROM),
                ..DescribedGroup::default()
            },
        };
        groups.push(DescribedGroup { group_id, ..described });
    }
    let response = DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

fn describe(group: Description, authorized_operations: i32) -> DescribedGroup {
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.member_id.as_str().into(),
        group_instance_id: text(member.instance_id.as_ref().map(InstanceId::as_str)),
        client_id: Str::from(&*member.client_id),
        client_host: Str::from(&*member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        ..DescribedGroupMember::default()
    };
    DescribedGroup {
        group_state: Str::from_static(group.state.as_str()),
        protocol_type: text(group.protocol_type).unwrap_or_default(),
        protocol_data: text(group.protocol).unwrap_or_default(),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations,
        ..DescribedGroup::default()
    }
}

fn missing(call: Call, why: &dyn fmt::Display, operations: i32) -> DescribedGroup {
    let group_state = Str::from_static(State::Dead.as_str());
    if call.version < NOT_FOUND_FROM {
        return DescribedGroup {
            group_state,
            authorized_operations: operations,
            ..DescribedGroup::default()
        };
    }
    DescribedGroup {
        error_code: ErrorCode::GROUP_ID_NOT_FOUND,
        error_message: reason(why),
        group_state,
        ..DescribedGroup::default()
    }
}
