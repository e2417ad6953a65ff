//! FindCoordinator (key 10), versions 0 to 6.
//!
//! A client asks which broker coordinates a group or the transactions of an id, before it sends that broker
//! anything about it.
//!
//! * 1: transactional ids beside groups (KIP-98); throttle time, error messages.
//! * 3: flexible.
//! * 4: many keys in one request, each with an error of its own (KIP-699).
//! * 5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! * 6: share groups (KIP-932).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Whose coordinator is looked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = FIND_COORDINATOR, response = FindCoordinatorResponse, versions = "0-6")]
pub struct FindCoordinatorRequest {
    /// The group id or transactional id.
    #[kafka(versions = "0-3")]
    pub key: Str,
    /// What the keys are: 0 group ids, 1 transactional ids, 2 partitions of share groups, written
    /// `group:topic id:partition`.
    #[kafka(versions = "1+")]
    pub key_type: i8,
    /// The keys, all of one type.
    #[kafka(versions = "4+")]
    pub coordinator_keys: Vec<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The coordinator: in the response itself up to version 3, and one for each key from 4 on.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = FindCoordinatorRequest)]
pub struct FindCoordinatorResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// Why there is no coordinator, or `NONE`.
    #[kafka(versions = "0-3")]
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say. The empty string by default. Ignorable.
    #[kafka(versions = "1-3", ignorable, default = Some(Str::EMPTY))]
    pub error_message: Option<Str>,
    /// The broker id of the coordinator, -1 on an error.
    #[kafka(versions = "0-3")]
    pub node_id: i32,
    /// Its host name or address.
    #[kafka(versions = "0-3")]
    pub host: Str,
    /// Its port, -1 on an error.
    #[kafka(versions = "0-3")]
    pub port: i32,
    /// The coordinators of the keys.
    #[kafka(versions = "4+")]
    pub coordinators: Vec<Coordinator>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The coordinator of one key.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Coordinator {
    /// The key.
    pub key: Str,
    /// The broker id of the coordinator, -1 on an error.
    pub node_id: i32,
    /// Its host name or address.
    pub host: Str,
    /// Its port, -1 on an error.
    pub port: i32,
    /// Why there is no coordinator, or `NONE`.
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say. The empty string by default.
    #[kafka(default = Some(Str::EMPTY))]
    pub error_message: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
