//! DeleteRecords (key 21), versions 0 to 2 (KIP-107).
//!
//! An admin client makes partitions forget their records up to an offset. The leader of a partition is asked.
//!
//! * 1: a response is sent before its client is held back (KIP-219).
//! * 2: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which records to delete.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DELETE_RECORDS, response = DeleteRecordsResponse, versions = "0-2")]
pub struct DeleteRecordsRequest {
    /// The topics.
    pub topics: Vec<DeleteRecordsTopic>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which records of one topic to delete.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsTopic {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<DeleteRecordsPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which records of one partition to delete.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsPartition {
    /// The partition's index.
    pub partition_index: i32,
    /// The offset of the first record that stays; -1 for the high watermark, so that none stays.
    pub offset: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DeleteRecordsRequest)]
pub struct DeleteRecordsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DeleteRecordsTopicResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was deleted of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsTopicResult {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<DeleteRecordsPartitionResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What was deleted of one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsPartitionResult {
    /// The partition's index.
    pub partition_index: i32,
    /// The least log start offset of its replicas; -1 where nothing was deleted.
    pub low_watermark: i64,
    /// Why nothing was deleted, or `NONE`.
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
