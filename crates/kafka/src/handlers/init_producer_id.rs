//! InitProducerId (22), versions 0 to 5: an id for an idempotent producer. Transactions are not there: a
//! transactional id answers INVALID_REQUEST, which no client retries.

use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};
use ottla_storage::Storage;

use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

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
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    let response = if request.transactional_id.is_some() {
        tracing::debug!(peer = %context.peer, "a transactional producer, which is not supported");
        failed(ErrorCode::INVALID_REQUEST)
    } else {
        match context.broker().next_producer_id().await {
            Ok(id) => InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Err(error) => {
                tracing::warn!("no producer id could be given: {error}");
                failed(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        }
    };
    frame(call.correlation_id, call.version, &response)
}
