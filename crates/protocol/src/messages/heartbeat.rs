//! Heartbeat (key 12), versions 0 to 4.
//!
//! A member of a classic group says that it is alive, and learns with REBALANCE_IN_PROGRESS that it must join
//! again.
//!
//! * 1: throttle time.
//! * 3: static members (KIP-345).
//! * 4: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Who is alive.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = HEARTBEAT, response = HeartbeatResponse, versions = "0-4")]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: Str,
    /// The generation that the member is in.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Str,
    /// The id of a static member that its user chose; null from a dynamic one.
    #[kafka(versions = "3+")]
    pub group_instance_id: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Whether the member may go on.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = HeartbeatRequest)]
pub struct HeartbeatResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// Why it may not, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
