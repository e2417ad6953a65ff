//! SyncGroup (key 14), versions 0 to 5.
//!
//! After JoinGroup the leader of a classic group sends what each member has to do, and every member gets its part.
//! The answers wait for the leader's request.
//!
//! * 1: throttle time.
//! * 3: static members (KIP-345).
//! * 4: flexible.
//! * 5: protocol type and name, which must be those of the generation (KIP-559).

use bytes::Bytes;
use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Who asks, and from the leader the assignments.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = SYNC_GROUP, response = SyncGroupResponse, versions = "0-5")]
pub struct SyncGroupRequest {
    /// The group.
    pub group_id: Str,
    /// The generation that the member is in.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Str,
    /// The id of a static member that its user chose; null from a dynamic one.
    #[kafka(versions = "3+")]
    pub group_instance_id: Option<Str>,
    /// What the group is for, as the member understood it; null if it does not say. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub protocol_type: Option<Str>,
    /// The protocol of the generation, as the member understood it; null if it does not say. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub protocol_name: Option<Str>,
    /// The assignments, from the leader only.
    pub assignments: Vec<SyncGroupRequestAssignment>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What one member has to do.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SyncGroupRequestAssignment {
    /// The member's id.
    pub member_id: Str,
    /// Its assignment: of a consumer a
    /// [`ConsumerProtocolAssignment`](super::consumer_protocol::ConsumerProtocolAssignment).
    pub assignment: Bytes,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What the member has to do.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = SyncGroupRequest)]
pub struct SyncGroupResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// Why there is no assignment, or `NONE`.
    pub error_code: ErrorCode,
    /// What the group is for; null on an error. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub protocol_type: Option<Str>,
    /// The protocol of the generation; null on an error. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub protocol_name: Option<Str>,
    /// The member's assignment; empty on an error, or if the leader sent none for it.
    pub assignment: Bytes,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
