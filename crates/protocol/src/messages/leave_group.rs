//! LeaveGroup (key 13), versions 0 to 5.
//!
//! A member leaves its classic group, or an admin client removes members of a group.
//!
//! * 1: throttle time.
//! * 3: many members in one request, static ones too (KIP-345).
//! * 4: flexible.
//! * 5: each may say why it leaves (KIP-800).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Who leaves: `member_id` alone up to version 2, and `members` from 3 on.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = LEAVE_GROUP, response = LeaveGroupResponse, versions = "0-5")]
pub struct LeaveGroupRequest {
    /// The group.
    pub group_id: Str,
    /// The id of the member that leaves.
    #[kafka(versions = "0-2")]
    pub member_id: Str,
    /// The members that leave.
    #[kafka(versions = "3+")]
    pub members: Vec<MemberIdentity>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A member that leaves.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberIdentity {
    /// Its member id; empty if it is told by its instance id alone.
    pub member_id: Str,
    /// Its instance id; null if it is a dynamic one.
    pub group_instance_id: Option<Str>,
    /// Why it leaves, for people; null if not told. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub reason: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Who has left.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = LeaveGroupRequest)]
pub struct LeaveGroupResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole, up to version 2 with its member; or `NONE`.
    pub error_code: ErrorCode,
    /// The members.
    #[kafka(versions = "3+")]
    pub members: Vec<MemberResponse>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Whether a member has left.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberResponse {
    /// Its member id, as in the request.
    pub member_id: Str,
    /// Its instance id, as in the request; null if it is a dynamic one. The empty string by default.
    #[kafka(default = Some(Str::EMPTY))]
    pub group_instance_id: Option<Str>,
    /// Why it has not left, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
