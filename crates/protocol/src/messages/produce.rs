//! Produce (key 0), versions 3 to 13.
//!
//! A producer sends record batches for partitions that this broker leads. With `acks` 0 there is no response.
//!
//! * 3: transactional id; only record batches of magic 2 (KIP-98).
//! * 4: KAFKA_STORAGE_ERROR may be answered (KIP-112).
//! * 5: the response has the log start offset, so that idempotent producers can tell lost data from expired
//!   (KIP-193).
//! * 7: zstd (KIP-110).
//! * 8: errors of single records and a message (KIP-467).
//! * 9: flexible.
//! * 10: the response may name the current leader and its endpoint (KIP-951).
//! * 11: TRANSACTION_ABORTABLE may be answered (KIP-890). 12: partitions join a transaction by being produced to.
//! * 13: topic ids instead of names (KIP-516).
//!
//! Kafka's brokers announce version 0 as the oldest, though they refuse 0 to 2: librdkafka takes the lower end
//! for a sign of what compression it may use.

use ottla_protocol::{ErrorCode, Message, Records, Str, TaggedFields, Uuid};

/// Record batches for partitions.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = PRODUCE, response = ProduceResponse, versions = "3-13")]
pub struct ProduceRequest {
    /// The transactional id, or null if the producer is not transactional.
    pub transactional_id: Option<Str>,
    /// Who must have the records before the broker answers: 0 nobody (and there is no answer), 1 the leader,
    /// -1 every replica that is in sync.
    pub acks: i16,
    /// How long the broker may wait for that, in milliseconds.
    pub timeout_ms: i32,
    /// The topics.
    pub topic_data: Vec<TopicProduceData>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Record batches for the partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceData {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-12", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partition_data: Vec<PartitionProduceData>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Record batches for one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceData {
    /// The partition's index.
    pub index: i32,
    /// The record batches. Kafka refuses more than one in a request.
    pub records: Records,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ProduceRequest)]
pub struct ProduceResponse {
    /// The topics.
    pub responses: Vec<TopicProduceResponse>,
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// Where the leaders that `current_leader` names can be reached.
    #[kafka(versions = "10+", tagged = "10+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of the batches of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceResponse {
    /// The topic's name. Ignorable.
    #[kafka(versions = "0-12", ignorable)]
    pub name: Str,
    /// The topic's id. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partition_responses: Vec<PartitionProduceResponse>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of the batches of one partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceResponse {
    /// The partition's index.
    pub index: i32,
    /// Why they were not written, or `NONE`.
    pub error_code: ErrorCode,
    /// The offset of the first record, -1 on an error.
    pub base_offset: i64,
    /// When the batch was appended, in milliseconds since 1970, if the topic stamps records with that time;
    /// else -1.
    #[kafka(default = -1)]
    pub log_append_time_ms: i64,
    /// The partition's log start offset; -1 if unknown. Ignorable.
    #[kafka(versions = "5+", ignorable, default = -1)]
    pub log_start_offset: i64,
    /// The records because of which the batch was refused. Ignorable.
    #[kafka(versions = "8+", ignorable)]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// What was wrong, for people; null if there is nothing to say. Ignorable.
    #[kafka(versions = "8+", ignorable)]
    pub error_message: Option<Str>,
    /// The leader, for a producer that asked another broker.
    #[kafka(versions = "10+", tagged = "10+", tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A record because of which its batch was refused.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct BatchIndexAndErrorMessage {
    /// The place of the record in its batch, from 0.
    pub batch_index: i32,
    /// What was wrong, for people; null if there is nothing to say.
    pub batch_index_error_message: Option<Str>,
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
