//! InitProducerId (22), versions 0 to 5: an id for an idempotent producer. It is a new one each time, also where
//! the producer tells the one it has (KIP-360): without transactions a producer raises its epoch by itself.
//! Transactions are not there: a transactional id answers INVALID_REQUEST, which no client retries.

use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};
use ottla_storage::Storage;

use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame},
};

/// No producer id and no epoch.
const NONE: (i64, i16) = (-1, -1);

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: InitProducerIdRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: InitProducerIdRequest,
) -> Result<Frame, EncodeError> {
    let failed = |error_code| InitProducerIdResponse {
        error_code,
        producer_id: NONE.0,
        producer_epoch: NONE.1,
        ..InitProducerIdResponse::default()
    };
    let told = (request.producer_id, request.producer_epoch);
    let response = if request.transactional_id.is_some() {
        context.broker().notices().unsupported("a transactional producer", context.peer);
        failed(ErrorCode::INVALID_REQUEST)
    } else if told != NONE && (told.0 == NONE.0 || told.1 == NONE.1) {
        // An id without its epoch, or an epoch without its id.
        failed(ErrorCode::INVALID_REQUEST)
    } else {
        match context.broker().next_producer_id().await {
            Ok(id) => InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Err(error) => {
                context.broker().notices().failed("giving a producer id", &error);
                failed(errors::store(&error))
            }
        }
    };
    frame(call.correlation_id, call.version, &response)
}
