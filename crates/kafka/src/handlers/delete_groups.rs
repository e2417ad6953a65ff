//! DeleteGroups (42), versions 0 to 2: deletes groups without members, and their offsets (KIP-229). A group that is
//! named several times is answered once.

use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse},
};
use ottla_storage::Storage;

use super::groups::{code, each_once};
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: DeleteGroupsRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: DeleteGroupsRequest,
) -> Result<Frame, EncodeError> {
    let mut results = Vec::new();
    for group_id in each_once(request.groups_names) {
        let error_code = match context.groups.delete(&group_id).await {
            Ok(()) => ErrorCode::NONE,
            Err(error) => code(context.broker(), "deleting a group", &error),
        };
        results.push(DeletableGroupResult { group_id, error_code, ..DeletableGroupResult::default() });
    }
    let response = DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() };
    frame(call.correlation_id, call.version, &response)
}
