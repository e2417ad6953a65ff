//! Heartbeat (12), versions 0 to 4: a member of a classic group says that it is there. From version 3 on it may be a
//! static one (KIP-345).

use std::sync::Arc;

use ottla_engine::groups::Member;
use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::heartbeat::{HeartbeatRequest, HeartbeatResponse},
};
use ottla_storage::Storage;

use super::groups::code;
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: HeartbeatRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: HeartbeatRequest,
) -> Result<Frame, EncodeError> {
    let member = Member {
        member_id: request.member_id.as_str().into(),
        instance_id: request.group_instance_id.as_deref().map(Arc::from),
        generation: request.generation_id,
    };
    let error_code = if request.group_id.is_empty() {
        ErrorCode::INVALID_GROUP_ID
    } else {
        match context.groups.heartbeat(&request.group_id, member).await {
            Ok(()) => ErrorCode::NONE,
            Err(error) => code(context.broker(), "a heartbeat in a group", &error),
        }
    };
    let response = HeartbeatResponse { error_code, ..HeartbeatResponse::default() };
    frame(call.correlation_id, call.version, &response)
}
