//! FindCoordinator (10), versions 0 to 6: who coordinates a group. It is this broker, for every group, also for one
//! that nobody has joined. From version 4 on there are several keys in a request (KIP-699), of which each is
//! answered once. Transactions and share groups are not there: they answer INVALID_REQUEST, which no client retries.

use ottla_protocol::{
    ErrorCode, Str,
    messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
};
use ottla_storage::Storage;

use super::groups::each_once;
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

/// The first version with several keys.
const BATCHED_FROM: i16 = 4;

/// Kafka's numbers for what a key names.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: FindCoordinatorRequest,
) -> Result<Reply, RequestError> {
    let answer = find(context, request.key_type);
    let response = if call.version >= BATCHED_FROM {
        let keys = each_once(request.coordinator_keys);
        let coordinators = keys.map(|key| Coordinator { key, ..answer.clone() }).collect();
        FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
    } else {
        let Coordinator { node_id, host, port, error_code, error_message, .. } = answer;
        FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..FindCoordinatorResponse::default()
        }
    };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

/// The answer for every key of a type.
fn find<S: Storage>(context: &Context<S>, key_type: i8) -> Coordinator {
    let missing = match key_type {
        GROUP => {
            let (host, port) = context.advertised();
            let node_id = context.identity.node_id;
            return Coordinator { node_id, host, port, error_message: None, ..Coordinator::default() };
        }
        TRANSACTION => {
            context.broker().notices().unsupported("a coordinator of transactions", context.peer);
            "transactions are not supported by this broker"
        }
        SHARE => {
            context.broker().notices().unsupported("a coordinator of share groups", context.peer);
            "share groups are not supported by this broker"
        }
        _ => "the key type is unknown: ask for a group (0)",
    };
    Coordinator {
        node_id: -1,
        port: -1,
        error_code: ErrorCode::INVALID_REQUEST,
        error_message: Some(Str::from_static(missing)),
        ..Coordinator::default()
    }
}
