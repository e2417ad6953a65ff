//! CreatePartitions (key 37), versions 0 to 3 (KIP-195).
//!
//! An admin client gives topics more partitions.
//!
//! * 1: a response is sent before its client is held back (KIP-219).
//! * 2: flexible.
//! * 3: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// The topics that get more partitions.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = CREATE_PARTITIONS, response = CreatePartitionsResponse, versions = "0-3")]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// Whether to check only whether they could be created.
    pub validate_only: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic that gets more partitions.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions it has then, those that it has already included.
    pub count: i32,
    /// Which brokers get which of the new partitions, in the order of their indexes; null to leave it to the
    /// broker.
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which brokers get a new partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsAssignment {
    /// The ids of the brokers, the preferred leader first.
    pub broker_ids: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = CreatePartitionsRequest)]
pub struct CreatePartitionsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub results: Vec<CreatePartitionsTopicResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsTopicResult {
    /// Its name.
    pub name: Str,
    /// Why it did not get more partitions, or `NONE`.
    pub error_code: ErrorCode,
    /// What was wrong, for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
