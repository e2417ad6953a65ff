//! LeaveGroup (13), versions 0 to 5: a member leaves a classic group. From version 3 on several may leave, or be made
//! to by an operator, who names static members by their instance ids alone (KIP-345); from version 5 on they say why
//! (KIP-800).

use std::sync::Arc;

use ottla_engine::groups::{GroupError, LeavingMember};
use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse},
};
use ottla_storage::Storage;

use super::groups::code;
use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame},
};

/// The first version in which several members may leave.
const SEVERAL_FROM: i16 = 3;

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: LeaveGroupRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: LeaveGroupRequest,
) -> Result<Frame, EncodeError> {
    let members = match call.version {
        SEVERAL_FROM.. => request.members,
        _ => vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }],
    };
    let response = match leave(&context, &request.group_id, &members).await {
        Err(error_code) => LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() },
        Ok(codes) if call.version >= SEVERAL_FROM => {
            let member = |(member, error_code): (MemberIdentity, ErrorCode)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code,
                ..MemberResponse::default()
            };
            let members = members.into_iter().zip(codes).map(member).collect();
            LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
        }
        Ok(codes) => LeaveGroupResponse {
            error_code: codes.into_iter().next().unwrap_or(ErrorCode::NONE),
            ..LeaveGroupResponse::default()
        },
    };
    frame(call.correlation_id, call.version, &response)
}

/// What became of each member, in their order.
async fn leave<S: Storage>(
    context: &Context<S>,
    group_id: &str,
    members: &[MemberIdentity],
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let leaving = |member: &MemberIdentity| LeavingMember {
        member_id: member.member_id.as_str().into(),
        instance_id: member.group_instance_id.as_deref().map(Arc::from),
        reason: member.reason.as_deref().map(Arc::from),
    };
    match context.groups.leave(group_id, members.iter().map(leaving).collect()).await {
        Ok(outcomes) => {
            let code = |outcome: Result<(), _>| {
                outcome.map_or_else(|error| errors::classic(&error), |()| ErrorCode::NONE)
            };
            Ok(outcomes.into_iter().map(code).collect())
        }
        // They are no members of a group of KIP-848, which is not left in this way.
        Err(GroupError::OtherProtocol) => Ok(vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()]),
        Err(error) => Err(code(context.broker(), "leaving a group", &error)),
    }
}
