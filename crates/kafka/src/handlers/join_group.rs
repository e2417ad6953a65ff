//! JoinGroup (11), versions 0 to 9: a member joins a classic group, or joins it again, and is answered when the
//! rebalance is complete. From version 4 on a new member is told its id first and joins with it (KIP-394); from
//! version 5 on members may be static (KIP-345), and from version 9 on a leader that comes back need not assign
//! (KIP-814).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_engine::{
    coordinator::{
        InstanceId, MemberId,
        classic::{Joined, Joining, Protocol, Refusal, RosterEntry},
    },
    groups::GroupError,
};
use ottla_protocol::{
    ErrorCode, Str,
    messages::join_group::{
        JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
    },
};
use ottla_storage::Storage;

use super::groups::{TEXT_MAX, client_host, code, hold, text, unless_stopping, uuid};
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

/// The first version in which new dynamic members are told their id first (KIP-394).
const MEMBER_ID_FROM: i16 = 4;
/// The first version in which the answer may have no protocol.
const NULL_PROTOCOL_FROM: i16 = 7;
/// The first version in which a leader may be told not to assign (KIP-814).
const SKIPS_FROM: i16 = 9;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    client_id: Option<&Str>,
    request: &JoinGroupRequest,
) -> Result<Reply, RequestError> {
    let admitted = read(context, call, client_id, request).and_then(|joining| {
        // Clients wait a little and try again.
        let held = hold(context, bytes(&joining)).ok_or(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)?;
        Ok((joining, held))
    });
    let (joining, held) = match admitted {
        Ok(admitted) => admitted,
        Err(code) => {
            let response = refused(call, code, request.member_id.clone());
            return Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?));
        }
    };
    let (door, groups) = (context.door.clone(), context.groups.clone());
    let stopping = context.stopping.clone();
    let (group_id, member_id) = (request.group_id.detached(), request.member_id.detached());
    Ok(Reply::Appended(Box::pin(async move {
        let _held = held;
        let response = match unless_stopping(stopping, groups.join(&group_id, joining)).await {
            Ok(joined) => accepted(call, joined),
            Err(error) => {
                let code = code(door.broker(), "joining a group", &error);
                let member_id = match error {
                    GroupError::Classic(Refusal::MemberIdRequired(id)) => id.as_str().into(),
                    _ => member_id,
                };
                refused(call, code, member_id)
            }
        };
        frame(call.correlation_id, call.version, &response)
    })))
}

/// The request in memory of its own.
fn read<S: Storage>(
    context: &Context<S>,
    call: Call,
    client_id: Option<&Str>,
    request: &JoinGroupRequest,
) -> Result<Joining, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let session_timeout =
        milliseconds(request.session_timeout_ms).ok_or(ErrorCode::INVALID_SESSION_TIMEOUT)?;
    let client_id = client_id.map_or("", Str::as_str);
    let name = request.group_instance_id.as_deref().unwrap_or(client_id);
    let fresh_id = format!("{name}-{}", uuid(&**context.broker().random()));
    if fresh_id.len() > TEXT_MAX {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let protocol = |protocol: &JoinGroupRequestProtocol| Protocol {
        name: protocol.name.as_str().into(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    Ok(Joining {
        member_id: (!request.member_id.is_empty()).then(|| MemberId::from(request.member_id.as_str())),
        fresh_id: MemberId::from(fresh_id.as_str()),
        instance_id: request.group_instance_id.as_deref().map(InstanceId::from),
        client_id: client_id.into(),
        client_host: client_host(context).into(),
        protocol_type: request.protocol_type.as_str().into(),
        protocols: request.protocols.iter().map(protocol).collect(),
        session_timeout,
        // Version 0 has none, and -1 says so.
        rebalance_timeout: milliseconds(request.rebalance_timeout_ms).unwrap_or(session_timeout),
        requires_member_id: call.version >= MEMBER_ID_FROM,
        skips_assignment: call.version >= SKIPS_FROM,
        reason: request.reason.as_deref().map(Arc::from),
    })
}

fn milliseconds(ms: i32) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// What a join takes in memory while it waits.
fn bytes(joining: &Joining) -> usize {
    let protocol = |it: &Protocol| size_of::<Protocol>() + it.name.len() + it.metadata.len();
    size_of::<Joining>() + joining.protocols.iter().map(protocol).sum::<usize>()
}

fn accepted(call: Call, joined: Joined) -> JoinGroupResponse {
    let member = |entry: RosterEntry| JoinGroupResponseMember {
        member_id: entry.member_id.as_str().into(),
        group_instance_id: text(entry.instance_id.as_ref().map(InstanceId::as_str)),
        metadata: entry.metadata,
        ..JoinGroupResponseMember::default()
    };
    JoinGroupResponse {
        generation_id: joined.generation.0,
        protocol_type: text(joined.protocol_type),
        protocol_name: text(joined.protocol).filter(|name| !name.is_empty()).or_else(|| no_protocol(call)),
        leader: joined.leader.map_or(Str::EMPTY, |leader| leader.as_str().into()),
        skip_assignment: joined.skip_assignment && call.version >= SKIPS_FROM,
        member_id: joined.member_id.as_str().into(),
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(call: Call, error_code: ErrorCode, member_id: Str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code,
        protocol_name: no_protocol(call),
        member_id,
        ..JoinGroupResponse::default()
    }
}

fn no_protocol(call: Call) -> Option<Str> {
    (call.version < NULL_PROTOCOL_FROM).then_some(Str::EMPTY)
}
