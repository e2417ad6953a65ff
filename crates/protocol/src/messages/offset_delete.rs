//! OffsetDelete (key 47), version 0, which is not flexible (KIP-496).
//!
//! An admin client makes a group forget how far it has come in partitions of topics that it no longer reads.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which offsets to forget.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = OFFSET_DELETE, response = OffsetDeleteResponse, versions = "0")]
pub struct OffsetDeleteRequest {
    /// The group.
    pub group_id: Str,
    /// The topics.
    pub topics: Vec<OffsetDeleteRequestTopic>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which offsets of one topic to forget.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteRequestTopic {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<OffsetDeleteRequestPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A partition whose offset to forget.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteRequestPartition {
    /// The partition's index.
    pub partition_index: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was forgotten.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = OffsetDeleteRequest)]
pub struct OffsetDeleteResponse {
    /// What was wrong with the request as a whole, or `NONE`.
    pub error_code: ErrorCode,
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetDeleteResponseTopic>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was forgotten of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteResponseTopic {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<OffsetDeleteResponsePartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Whether the offset of one partition was forgotten.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteResponsePartition {
    /// The partition's index.
    pub partition_index: i32,
    /// Why it was not, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
