//! OffsetFetch (key 9), versions 1 to 10.
//!
//! A consumer or an admin client asks how far groups have come.
//!
//! * 2: null topics for all that the group has offsets of (KIP-88); an error of the whole.
//! * 3: throttle time.
//! * 5: leader epochs (KIP-320).
//! * 6: flexible.
//! * 7: offsets that open transactions may still change answer UNSTABLE_OFFSET_COMMIT on request (KIP-447).
//! * 8: many groups in one request, each with an error of its own (KIP-709).
//! * 9: member ids and epochs of consumer groups (KIP-848), with STALE_MEMBER_EPOCH as an answer.
//! * 10: topic ids instead of names (KIP-848).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// Whose offsets are asked for: of one group up to version 7, and of `groups` from 8 on.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = OFFSET_FETCH, response = OffsetFetchResponse, versions = "1-10")]
pub struct OffsetFetchRequest {
    /// The group.
    #[kafka(versions = "0-7")]
    pub group_id: Str,
    /// The topics; null for all. Empty by default.
    #[kafka(versions = "0-7", nullable = "2-7", default = Some(Vec::new()))]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// The groups.
    #[kafka(versions = "8+")]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Whether to refuse offsets that open transactions may still change.
    #[kafka(versions = "7+")]
    pub require_stable: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic, up to version 7.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopic {
    /// The topic's name.
    pub name: Str,
    /// The indexes of the partitions.
    pub partition_indexes: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestGroup {
    /// The group's id.
    pub group_id: Str,
    /// The id of the member that asks; null if none does, or it is one of a classic group. Ignorable.
    #[kafka(versions = "9+", ignorable)]
    pub member_id: Option<Str>,
    /// The epoch of that member; -1 if there is none. Ignorable.
    #[kafka(versions = "9+", ignorable, default = -1)]
    pub member_epoch: i32,
    /// The topics; null for all. Empty by default.
    #[kafka(default = Some(Vec::new()))]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic, from version 8 on.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopics {
    /// The topic's name. Ignorable.
    #[kafka(versions = "8-9", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// The indexes of the partitions.
    pub partition_indexes: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets: of one group up to version 7, and in `groups` from 8 on.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = OffsetFetchRequest)]
pub struct OffsetFetchResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    #[kafka(versions = "0-7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// What was wrong with the request as a whole, or `NONE`. Ignorable.
    #[kafka(versions = "2-7", ignorable)]
    pub error_code: ErrorCode,
    /// The groups.
    #[kafka(versions = "8+")]
    pub groups: Vec<OffsetFetchResponseGroup>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets of one topic, up to version 7.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopic {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<OffsetFetchResponsePartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offset of one partition, up to version 7.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartition {
    /// The partition's index.
    pub partition_index: i32,
    /// The offset of the next record that the group will read, -1 if it has committed none.
    pub committed_offset: i64,
    /// The leader epoch that was committed with it; -1 if unknown. Ignorable.
    #[kafka(versions = "5-7", ignorable, default = -1)]
    pub committed_leader_epoch: i32,
    /// What the client kept with the offset; null if nothing. The empty string by default.
    #[kafka(default = Some(Str::EMPTY))]
    pub metadata: Option<Str>,
    /// Why the offset is not told, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets of one group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseGroup {
    /// The group's id.
    pub group_id: Str,
    /// The topics.
    pub topics: Vec<OffsetFetchResponseTopics>,
    /// Why none of its offsets are told, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets of one topic, from version 8 on.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopics {
    /// The topic's name. Ignorable.
    #[kafka(versions = "8-9", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<OffsetFetchResponsePartitions>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offset of one partition, from version 8 on.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartitions {
    /// The partition's index.
    pub partition_index: i32,
    /// The offset of the next record that the group will read, -1 if it has committed none.
    pub committed_offset: i64,
    /// The leader epoch that was committed with it; -1 if unknown.
    #[kafka(default = -1)]
    pub committed_leader_epoch: i32,
    /// What the client kept with the offset; null if nothing. The empty string by default.
    #[kafka(default = Some(Str::EMPTY))]
    pub metadata: Option<Str>,
    /// Why the offset is not told, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
