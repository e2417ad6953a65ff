//! DescribeGroups (key 15), versions 0 to 6.
//!
//! An admin client asks for the state and the members of classic groups. For consumer groups there is
//! ConsumerGroupDescribe.
//!
//! * 1: throttle time.
//! * 3: authorized operations on request (KIP-430).
//! * 4: static members (KIP-345).
//! * 5: flexible.
//! * 6: GROUP_ID_NOT_FOUND with a message for a group that is not there, which was described as `Dead` before
//!   (KIP-1043).

use bytes::Bytes;
use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which groups are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DESCRIBE_GROUPS, response = DescribeGroupsResponse, versions = "0-6")]
pub struct DescribeGroupsRequest {
    /// The ids of the groups.
    pub groups: Vec<Str>,
    /// Whether to tell which operations on each group the client is authorized for.
    #[kafka(versions = "3+")]
    pub include_authorized_operations: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DescribeGroupsRequest)]
pub struct DescribeGroupsResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// The groups.
    pub groups: Vec<DescribedGroup>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroup {
    /// Why it cannot be described, or `NONE`.
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say.
    #[kafka(versions = "6+")]
    pub error_message: Option<Str>,
    /// Its id.
    pub group_id: Str,
    /// Its state, such as `Stable`; empty on an error.
    pub group_state: Str,
    /// What it is for, such as `consumer`; empty on an error or if it has only offsets.
    pub protocol_type: Str,
    /// The protocol of its generation, such as `range`; empty if it has none.
    pub protocol_data: Str,
    /// Its members.
    pub members: Vec<DescribedGroupMember>,
    /// A bit for each operation on it that the client is authorized for; `i32::MIN` if not asked.
    #[kafka(versions = "3+", default = i32::MIN)]
    pub authorized_operations: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroupMember {
    /// Its member id.
    pub member_id: Str,
    /// Its instance id; null if it is a dynamic one. Ignorable.
    #[kafka(versions = "4+", ignorable)]
    pub group_instance_id: Option<Str>,
    /// The client id of its last JoinGroup.
    pub client_id: Str,
    /// The address that request came from, such as `/10.0.0.7`.
    pub client_host: Str,
    /// What it sent for the protocol of the generation; empty if there is none.
    pub member_metadata: Bytes,
    /// What the leader assigned to it; empty if nothing is.
    pub member_assignment: Bytes,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
