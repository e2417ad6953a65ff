//! SyncGroup (14), versions 0 to 5: a member asks for its assignment, and the leader brings those of all. It is
//! answered when the leader's are there. From version 5 on the member says which protocol type and protocol it takes
//! the group to have (KIP-559).

use std::sync::Arc;

use bytes::Bytes;
use ottla_engine::{
    coordinator::MemberId,
    groups::{GroupError, Member, SyncRequest},
};
use ottla_protocol::{
    ErrorCode,
    messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
};
use ottla_storage::Storage;

use super::groups::{code, hold, text, unless_stopping};
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

/// The first version in which protocol type and protocol must be named (KIP-559).
const PROTOCOL_FROM: i16 = 5;

/// While memory is short. Java's consumer knows no other error of SyncGroup after which it tries again.
const TRY_AGAIN: ErrorCode = ErrorCode::COORDINATOR_NOT_AVAILABLE;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &SyncGroupRequest,
) -> Result<Reply, RequestError> {
    let admitted = check(call, request).and_then(|()| hold(context, bytes(request)).ok_or(TRY_AGAIN));
    let held = match admitted {
        Ok(held) => held,
        Err(error_code) => {
            let response = refused(error_code);
            return Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?));
        }
    };
    let (door, groups) = (context.door.clone(), context.groups.clone());
    let stopping = context.stopping.clone();
    let (group_id, syncing) = (request.group_id.detached(), read(request));
    Ok(Reply::Appended(Box::pin(async move {
        let _held = held;
        let response = match unless_stopping(stopping, groups.sync(&group_id, syncing)).await {
            Ok(synced) => SyncGroupResponse {
                protocol_type: text(synced.protocol_type),
                protocol_name: text(synced.protocol),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            },
            // It is no member of a group of KIP-848, whose members do not sync.
            Err(GroupError::OtherProtocol) => refused(ErrorCode::UNKNOWN_MEMBER_ID),
            Err(GroupError::Busy) => refused(TRY_AGAIN),
            Err(error) => refused(code(door.broker(), "assigning a group's work", &error)),
        };
        frame(call.correlation_id, call.version, &response)
    })))
}

fn check(call: Call, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version >= PROTOCOL_FROM && !names_protocol {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    if request.group_id.is_empty() { Err(ErrorCode::INVALID_GROUP_ID) } else { Ok(()) }
}

/// The request in memory of its own.
fn read(request: &SyncGroupRequest) -> SyncRequest {
    let assignment = |it: &SyncGroupRequestAssignment| {
        (MemberId::from(it.member_id.as_str()), Bytes::copy_from_slice(&it.assignment))
    };
    SyncRequest {
        member: Member {
            member_id: request.member_id.as_str().into(),
            instance_id: request.group_instance_id.as_deref().map(Arc::from),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.as_deref().map(Arc::from),
        protocol: request.protocol_name.as_deref().map(Arc::from),
        assignments: request.assignments.iter().map(assignment).collect(),
    }
}

/// What a sync takes in memory while it waits.
fn bytes(request: &SyncGroupRequest) -> usize {
    let assignment = |it: &SyncGroupRequestAssignment| {
        size_of::<(MemberId, Bytes)>() + it.member_id.len() + it.assignment.len()
    };
    size_of::<SyncRequest>() + request.assignments.iter().map(assignment).sum::<usize>()
}

fn refused(error_code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code, ..SyncGroupResponse::default() }
}
