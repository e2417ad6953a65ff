//! ListOffsets (key 2), versions 1 to 11.
//!
//! A client asks which offset belongs to a time, or for an end of the log. Negative timestamps have meanings of
//! their own: -1 the end (the high watermark, or the last stable offset if reading committed), -2 the log start
//! offset, -3 the record with the greatest timestamp, -4 the earliest offset on local disk, -5 the latest offset in
//! remote storage, -6 the earliest offset that is not there yet.
//!
//! * 1: one offset for each partition instead of several.
//! * 2: isolation level (KIP-98), throttle time.
//! * 4: leader epochs (KIP-320).
//! * 6: flexible.
//! * 7: timestamp -3 (KIP-734). 8: -4 (KIP-405). 9: -5 (KIP-1005). 11: -6 (KIP-1023).
//! * 10: how long the broker may wait for remote storage (KIP-1075).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Which times are looked for in which partitions.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = LIST_OFFSETS, response = ListOffsetsResponse, versions = "1-11")]
pub struct ListOffsetsRequest {
    /// The broker id of a follower, -1 from a client.
    pub replica_id: i32,
    /// 0: the end of the log is the high watermark (read uncommitted). 1: it is the last stable offset (read
    /// committed).
    #[kafka(versions = "2+")]
    pub isolation_level: i8,
    /// The topics.
    pub topics: Vec<ListOffsetsTopic>,
    /// How long the broker may wait for remote storage, in milliseconds. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub timeout_ms: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which times are looked for in the partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopic {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<ListOffsetsPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which time is looked for in one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartition {
    /// The partition's index.
    pub partition_index: i32,
    /// The leader epoch that the client knows; -1 if it knows none. Ignorable.
    #[kafka(versions = "4+", ignorable, default = -1)]
    pub current_leader_epoch: i32,
    /// The time in milliseconds since 1970, or one of the negative ones.
    pub timestamp: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ListOffsetsRequest)]
pub struct ListOffsetsResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<ListOffsetsTopicResponse>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offsets of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopicResponse {
    /// The topic's name.
    pub name: Str,
    /// The partitions.
    pub partitions: Vec<ListOffsetsPartitionResponse>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The offset in one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartitionResponse {
    /// The partition's index.
    pub partition_index: i32,
    /// Why there is no answer, or `NONE`.
    pub error_code: ErrorCode,
    /// The timestamp of the record that was found, -1 if none was looked for or found.
    #[kafka(default = -1)]
    pub timestamp: i64,
    /// The offset, -1 if no record is that late.
    #[kafka(default = -1)]
    pub offset: i64,
    /// The leader epoch of the record at that offset, -1 if unknown.
    #[kafka(versions = "4+", default = -1)]
    pub leader_epoch: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
