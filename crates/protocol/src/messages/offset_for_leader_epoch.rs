//! OffsetForLeaderEpoch (key 23), versions 2 to 4.
//!
//! A client asks where leader epochs end, to find where its log parts from the leader's, or whether what it has
//! read was lost (KIP-320).
//!
//! * 2: the client's own epoch, throttle time.
//! * 3: the replica id, so that followers may see more than the high watermark.
//! * 4: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which epochs are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = OFFSET_FOR_LEADER_EPOCH, response = OffsetForLeaderEpochResponse, versions = "2-4")]
pub struct OffsetForLeaderEpochRequest {
    /// The broker id of a follower, -1 from a consumer; -2 where the version does not tell. Ignorable.
    #[kafka(versions = "3+", ignorable, default = -2)]
    pub replica_id: i32,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopic>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which epochs of one topic are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderTopic {
    /// The topic's name.
    pub topic: Str,
    /// The partitions.
    pub partitions: Vec<OffsetForLeaderPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which epoch of one partition is asked for.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderPartition {
    /// The partition's index.
    pub partition: i32,
    /// The leader epoch that the client knows, -1 if it knows none.
    #[kafka(default = -1)]
    pub current_leader_epoch: i32,
    /// The epoch whose end is asked for.
    pub leader_epoch: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Where the epochs end.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = OffsetForLeaderEpochRequest)]
pub struct OffsetForLeaderEpochResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopicResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Where the epochs of one topic end.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderTopicResult {
    /// The topic's name.
    pub topic: Str,
    /// The partitions.
    pub partitions: Vec<EpochEndOffset>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Where the epoch of one partition ends.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct EpochEndOffset {
    /// Why there is no answer, or `NONE`.
    pub error_code: ErrorCode,
    /// The partition's index.
    pub partition: i32,
    /// The greatest epoch that is not above the one that was asked for, -1 if there is none.
    #[kafka(default = -1)]
    pub leader_epoch: i32,
    /// The offset after its last record, -1 if unknown.
    #[kafka(default = -1)]
    pub end_offset: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
