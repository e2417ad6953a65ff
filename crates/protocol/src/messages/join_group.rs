//! JoinGroup (key 11), versions 0 to 9.
//!
//! A member of a classic group asks to be in its next generation. The coordinator answers when all members have
//! asked or their time is up; the answer to the leader lists the members, so that it can share out the work.
//!
//! * 1: how long members get to join again, apart from their session timeout (KIP-62).
//! * 2: throttle time.
//! * 4: a new member gets an id with MEMBER_ID_REQUIRED and asks again with it (KIP-394).
//! * 5: static members (KIP-345).
//! * 6: flexible.
//! * 7: the response repeats the protocol type, and its protocol name may be null (KIP-559).
//! * 8: the member says why it joins (KIP-800).
//! * 9: a leader that comes back may be told to leave the assignment as it is (KIP-814).

use bytes::Bytes;
use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Who joins what.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = JOIN_GROUP, response = JoinGroupResponse, versions = "0-9")]
pub struct JoinGroupRequest {
    /// The group.
    pub group_id: Str,
    /// How long after its last heartbeat the member counts as gone, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the coordinator waits for the member in a rebalance, in milliseconds; -1 if it shall take the
    /// session timeout. Ignorable.
    #[kafka(versions = "1+", ignorable, default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The id that the coordinator gave the member; empty from a new one.
    pub member_id: Str,
    /// The id of a static member that its user chose; null from a dynamic one.
    #[kafka(versions = "5+")]
    pub group_instance_id: Option<Str>,
    /// What the group is for, such as `consumer` or `connect`.
    pub protocol_type: Str,
    /// The protocols that the member supports, the one it likes best first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// Why the member joins, for people; null if it does not say. Ignorable.
    #[kafka(versions = "8+", ignorable)]
    pub reason: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A protocol that a member supports.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupRequestProtocol {
    /// Its name: of a consumer an assignor's, such as `range`.
    pub name: Str,
    /// What the member tells the leader: of a consumer a
    /// [`ConsumerProtocolSubscription`](super::consumer_protocol::ConsumerProtocolSubscription).
    pub metadata: Bytes,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The generation.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = JoinGroupRequest)]
pub struct JoinGroupResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    /// Why the member is not in the group, or `NONE`.
    pub error_code: ErrorCode,
    /// The number of the generation, -1 on an error.
    #[kafka(default = -1)]
    pub generation_id: i32,
    /// What the group is for; null on an error. Ignorable.
    #[kafka(versions = "7+", ignorable)]
    pub protocol_type: Option<Str>,
    /// The protocol that the coordinator chose; null or empty on an error. The empty string by default.
    #[kafka(nullable = "7+", default = Some(Str::EMPTY))]
    pub protocol_name: Option<Str>,
    /// The member id of the leader.
    pub leader: Str,
    /// Whether the leader shall send no assignments.
    #[kafka(versions = "9+")]
    pub skip_assignment: bool,
    /// The id of the member that asked.
    pub member_id: Str,
    /// All members for the leader, none for the others.
    pub members: Vec<JoinGroupResponseMember>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupResponseMember {
    /// Its member id.
    pub member_id: Str,
    /// Its instance id; null if it is a dynamic one. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub group_instance_id: Option<Str>,
    /// What it sent for the protocol that was chosen.
    pub metadata: Bytes,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
