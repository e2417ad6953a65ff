//! ListGroups (key 16), versions 0 to 5.
//!
//! An admin client asks for the groups that a broker coordinates.
//!
//! * 1: throttle time.
//! * 3: flexible.
//! * 4: states, and only groups in some of them on request (KIP-518).
//! * 5: types, and only groups of some of them on request (KIP-848).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which groups are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = LIST_GROUPS, response = ListGroupsResponse, versions = "0-5")]
pub struct ListGroupsRequest {
    /// The states, such as `Stable`, of the groups to list; empty for all.
    #[kafka(versions = "4+")]
    pub states_filter: Vec<Str>,
    /// The types, such as `classic` and `consumer`, of the groups to list; empty for all.
    #[kafka(versions = "5+")]
    pub types_filter: Vec<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ListGroupsRequest)]
pub struct ListGroupsResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What was wrong with the request, or `NONE`.
    pub error_code: ErrorCode,
    /// The groups.
    pub groups: Vec<ListedGroup>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: Str,
    /// What it is for, such as `consumer`; empty if it has only offsets.
    pub protocol_type: Str,
    /// Its state, such as `Stable`. Ignorable.
    #[kafka(versions = "4+", ignorable)]
    pub group_state: Str,
    /// Its type, such as `classic`. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub group_type: Str,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
