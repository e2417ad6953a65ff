//! DeleteGroups (key 42), versions 0 to 2 (KIP-229).
//!
//! An admin client deletes groups that have no members, with their offsets.
//!
//! * 2: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// The groups to delete.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DELETE_GROUPS, response = DeleteGroupsResponse, versions = "0-2")]
pub struct DeleteGroupsRequest {
    /// The ids of the groups.
    pub groups_names: Vec<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DeleteGroupsRequest)]
pub struct DeleteGroupsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The groups.
    pub results: Vec<DeletableGroupResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of one group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeletableGroupResult {
    /// Its id.
    pub group_id: Str,
    /// Why it was not deleted, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
