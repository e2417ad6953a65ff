//! OffsetCommit (key 8), versions 2 to 10.
//!
//! A consumer says how far its group has come, so that the group goes on there after a rebalance or a restart. A
//! client that is in no group commits with a generation of -1 and no member id.
//!
//! * 3: throttle time.
//! * 5: how long offsets are kept is up to the broker alone (KIP-211).
//! * 6: leader epochs (KIP-320).
//! * 7: static members (KIP-345).
//! * 8: flexible.
//! * 9: members of consumer groups (KIP-848), with STALE_MEMBER_EPOCH as an answer; GROUP_ID_NOT_FOUND for a group
//!   that is not there, which was ILLEGAL_GENERATION before.
//! * 10: topic ids instead of names (KIP-848).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// How far a group has come.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = OFFSET_COMMIT, response = OffsetCommitResponse, versions = "2-10")]
pub struct OffsetCommitRequest {
    /// The group.
    pub group_id: Str,
    /// The generation of a member of a classic group, the epoch of a member of a consumer group; -1 if the client is
    /// in no group.
    #[kafka(default = -1)]
    pub generation_id_or_member_epoch: i32,
    /// The member's id; empty if the client is in no group.
    pub member_id: Str,
    /// The id of a static member that its user chose; null from a dynamic one.
    #[kafka(versions = "7+")]
    pub group_instance_id: Option<Str>,
    /// How long to keep the offsets, in milliseconds; -1 for as long as the broker is set up to. Ignorable.
    #[kafka(versions = "2-4", ignorable, default = -1)]
    pub retention_time_ms: i64,
    /// The topics.
    pub topics: Vec<OffsetCommitRequestTopic>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// How far a group has come in one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestTopic {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-9", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<OffsetCommitRequestPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// How far a group has come in one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestPartition {
    /// The partition's index.
    pub partition_index: i32,
    /// The offset of the next record that the group will read.
    pub committed_offset: i64,
    /// The leader epoch of the last record that it has read; -1 if unknown. Ignorable.
    #[kafka(versions = "6+", ignorable, default = -1)]
    pub committed_leader_epoch: i32,
    /// What the client wants to keep with the offset; null if nothing. The empty string by default.
    #[kafka(default = Some(Str::EMPTY))]
    pub committed_metadata: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was committed.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = OffsetCommitRequest)]
pub struct OffsetCommitResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetCommitResponseTopic>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was committed of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponseTopic {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-9", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<OffsetCommitResponsePartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Whether the offset of one partition was committed.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponsePartition {
    /// The partition's index.
    pub partition_index: i32,
    /// Why it was not, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
