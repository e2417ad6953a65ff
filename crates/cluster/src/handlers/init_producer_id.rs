//! InitProducerId (22), versions 0 to 5: an id for an idempotent producer. It is a new one each time, also where the
//! producer tells the one that it has (KIP-360): without transactions a producer raises its epoch by itself.
//! Transactions are not there: a transactional id answers INVALID_REQUEST, which no client retries.

use ottla_protocol::{
    ErrorCode,
    messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};

use super::{Call, Done};
use crate::state::State;

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: InitProducerIdRequest,
) -> Done<InitProducerIdResponse> {
    let half_told = (request.producer_id == -1) != (request.producer_epoch == -1);
    let refused = (request.transactional_id.is_some() || half_told).then_some(ErrorCode::INVALID_REQUEST);
    Done::Answer(match call.error().or(refused) {
        Some(error_code) => {
            InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() }
        }
        None => InitProducerIdResponse {
            producer_id: state.next_producer_id(),
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
    })
}
