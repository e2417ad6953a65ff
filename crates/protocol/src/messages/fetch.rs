//! Fetch (key 1), versions 4 to 18.
//!
//! A consumer, or a follower, asks for the records of partitions from given offsets on. The broker holds the
//! answer back until there are `min_bytes` or `max_wait_ms` have passed. The batch at an offset comes whole: it may
//! begin before the offset that was asked for, and the last one may be cut off.
//!
//! * 4: isolation level, last stable offset and aborted transactions (KIP-98).
//! * 5: log start offsets (KIP-107).
//! * 7: sessions, in which only what changes is sent (KIP-227).
//! * 9: leader epochs, with which a fetch from a stale leader is fenced (KIP-320).
//! * 10: zstd (KIP-110).
//! * 11: rack of the client and preferred read replica (KIP-392).
//! * 12: flexible; diverging epochs (KIP-595).
//! * 13: topic ids instead of names (KIP-516).
//! * 15: the replica state instead of a replica id (KIP-903).
//! * 16: endpoints of leaders (KIP-951).
//! * 17: directory ids of replicas (KIP-853). 18: the high watermark that a replica knows (KIP-1166).

use ottla_protocol::{ErrorCode, Message, Records, Str, TaggedFields, Uuid};

/// From where to read which partitions, and how much.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = FETCH, response = FetchResponse, versions = "4-18")]
pub struct FetchRequest {
    /// The id of the cluster, known to replicas only. Ignorable.
    #[kafka(versions = "12+", tagged = "12+", tag = 0, ignorable)]
    pub cluster_id: Option<Str>,
    /// The broker id of a follower, -1 from a consumer.
    #[kafka(versions = "0-14", default = -1)]
    pub replica_id: i32,
    /// Which follower asks.
    #[kafka(versions = "15+", tagged = "15+", tag = 1)]
    pub replica_state: ReplicaState,
    /// How long the broker may wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// How many bytes of records are worth an answer before that.
    pub min_bytes: i32,
    /// How many bytes of records the answer may have. The first batch comes even if it is larger.
    #[kafka(default = i32::MAX)]
    pub max_bytes: i32,
    /// 0: all records (read uncommitted). 1: only those before the last stable offset (read committed).
    pub isolation_level: i8,
    /// The fetch session, 0 for none or a new one. Ignorable.
    #[kafka(versions = "7+", ignorable)]
    pub session_id: i32,
    /// The request's number in its session: 0 asks for a new session, -1 for none. Ignorable.
    #[kafka(versions = "7+", ignorable, default = -1)]
    pub session_epoch: i32,
    /// The topics; in a session, those that were added or changed.
    pub topics: Vec<FetchTopic>,
    /// The topics and partitions to take out of the session.
    #[kafka(versions = "7+")]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// The rack of the client, so that a replica near it may serve it; empty if unknown. Ignorable.
    #[kafka(versions = "11+", ignorable)]
    pub rack_id: Str,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which follower asks.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReplicaState {
    /// The follower's broker id, -1 from a consumer.
    #[kafka(default = -1)]
    pub replica_id: i32,
    /// Its broker epoch, -1 if unknown.
    #[kafka(default = -1)]
    pub replica_epoch: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// From where to read the partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchTopic {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-12", ignorable)]
    pub topic: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<FetchPartition>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// From where to read one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchPartition {
    /// The partition's index.
    pub partition: i32,
    /// The leader epoch that the client knows; -1 if it knows none. Ignorable.
    #[kafka(versions = "9+", ignorable, default = -1)]
    pub current_leader_epoch: i32,
    /// The first offset that is wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record that the client has, -1 if it has none or does not know.
    #[kafka(versions = "12+", default = -1)]
    pub last_fetched_epoch: i32,
    /// The log start offset of a follower; -1 from a consumer. Ignorable.
    #[kafka(versions = "5+", ignorable, default = -1)]
    pub log_start_offset: i64,
    /// How many bytes of this partition the answer may have.
    pub partition_max_bytes: i32,
    /// The directory of the follower's replica. Ignorable.
    #[kafka(versions = "17+", tagged = "17+", tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
    /// The high watermark that the replica knows; `i64::MAX` if it is up to date or a consumer. Ignorable.
    #[kafka(versions = "18+", tagged = "18+", tag = 1, ignorable, default = i64::MAX)]
    pub high_watermark: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Partitions of one topic to take out of a session.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ForgottenTopic {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-12", ignorable)]
    pub topic: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    /// The indexes of the partitions.
    pub partitions: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The records.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = FetchRequest)]
pub struct FetchResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole, such as its session. Ignorable.
    #[kafka(versions = "7+", ignorable)]
    pub error_code: ErrorCode,
    /// The fetch session, 0 if there is none.
    #[kafka(versions = "7+")]
    pub session_id: i32,
    /// The topics; in a session, those that have something new.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where the leaders that `current_leader` names can be reached.
    #[kafka(versions = "16+", tagged = "16+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The records of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchableTopicResponse {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-12", ignorable)]
    pub topic: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<PartitionData>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The records of one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionData {
    /// The partition's index.
    pub partition_index: i32,
    /// Why there are no records, or `NONE`.
    pub error_code: ErrorCode,
    /// The high watermark: the offset up to which every replica in sync has the records.
    pub high_watermark: i64,
    /// The last stable offset: no transaction is open before it. -1 if unknown.
    #[kafka(default = -1)]
    pub last_stable_offset: i64,
    /// The log start offset; -1 if unknown. Ignorable.
    #[kafka(versions = "5+", ignorable, default = -1)]
    pub log_start_offset: i64,
    /// Where the client's log parts from the leader's, if it does.
    #[kafka(versions = "12+", tagged = "12+", tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    /// The leader, for a client that asked another broker.
    #[kafka(versions = "12+", tagged = "12+", tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot that a replica must load because the log no longer goes back far enough.
    #[kafka(versions = "12+", tagged = "12+", tag = 2)]
    pub snapshot_id: SnapshotId,
    /// The aborted transactions with records in this answer; null if the client reads uncommitted.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The broker to ask next time, -1 for this one.
    #[kafka(versions = "11+", default = -1)]
    pub preferred_read_replica: i32,
    /// The record batches.
    pub records: Records,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The end of a leader epoch in the leader's log.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct EpochEndOffset {
    /// The greatest epoch of the leader's that is not above the client's, -1 if unknown.
    #[kafka(default = -1)]
    pub epoch: i32,
    /// The offset after its last record, -1 if unknown.
    #[kafka(default = -1)]
    pub end_offset: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Who leads a partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    /// The leader's broker id, -1 if unknown.
    #[kafka(default = -1)]
    pub leader_id: i32,
    /// The leader epoch, -1 if unknown.
    #[kafka(default = -1)]
    pub leader_epoch: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A snapshot of the metadata log.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SnapshotId {
    /// The offset after the last record that it holds, -1 if unknown.
    #[kafka(default = -1)]
    pub end_offset: i64,
    /// The epoch of that record, -1 if unknown.
    #[kafka(default = -1)]
    pub epoch: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// An aborted transaction, whose records a client that reads committed skips.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AbortedTransaction {
    /// Its producer id.
    pub producer_id: i64,
    /// The offset of its first record in this partition.
    pub first_offset: i64,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct NodeEndpoint {
    /// The broker's id.
    pub node_id: i32,
    /// Its host name or address.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, null if it has none.
    pub rack: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
