//! InitProducerId (key 22), versions 0 to 5.
//!
//! A producer asks for its id and epoch, and with a transactional id ends what its predecessor left open.
//!
//! * 2: flexible.
//! * 3: a producer may ask for a new epoch of the id that it has (KIP-360).
//! * 4: PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH (KIP-588).
//! * 5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//!
//! Version 6 (two-phase commit, KIP-939) is not stable in Kafka 4.3 and not here.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Who asks for a producer id.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = INIT_PRODUCER_ID, response = InitProducerIdResponse, versions = "0-5")]
pub struct InitProducerIdRequest {
    /// The transactional id, or null if the producer is only idempotent.
    pub transactional_id: Option<Str>,
    /// How long a transaction may stay open before the broker aborts it, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The producer id that the producer has, -1 if none.
    #[kafka(versions = "3+", default = -1)]
    pub producer_id: i64,
    /// Its epoch, -1 if none.
    #[kafka(versions = "3+", default = -1)]
    pub producer_epoch: i16,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The producer id.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = InitProducerIdRequest)]
pub struct InitProducerIdResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why there is none, or `NONE`.
    pub error_code: ErrorCode,
    /// The producer id, -1 on an error.
    #[kafka(default = -1)]
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
