//! CreateTopics (key 19), versions 2 to 7.
//!
//! * 4: partitions and replication factor may be left to the broker's defaults with -1 (KIP-464).
//! * 5: flexible; the response tells what was created (KIP-525).
//! * 6: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).
//! * 7: the response has the topic's id (KIP-516).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// The topics to create.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = CREATE_TOPICS, response = CreateTopicsResponse, versions = "2-7")]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<CreatableTopic>,
    /// How long the broker may take, in milliseconds.
    #[kafka(default = 60_000)]
    pub timeout_ms: i32,
    /// Whether to check only whether they could be created.
    pub validate_only: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions it gets; -1 for the broker's default, or if `assignments` tells.
    pub num_partitions: i32,
    /// How many replicas each partition gets; -1 for the broker's default, or if `assignments` tells.
    pub replication_factor: i16,
    /// Which brokers get which partitions; empty to leave it to the broker.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// Its settings where they differ from the broker's.
    pub configs: Vec<CreatableTopicConfig>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Which brokers get a partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableReplicaAssignment {
    /// The partition's index.
    pub partition_index: i32,
    /// The ids of the brokers, the preferred leader first.
    pub broker_ids: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting of a topic to create.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfig {
    /// Its name.
    pub name: Str,
    /// Its value; Kafka refuses null.
    pub value: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = CreateTopicsRequest)]
pub struct CreateTopicsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<CreatableTopicResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicResult {
    /// Its name.
    pub name: Str,
    /// Its id. Ignorable.
    #[kafka(versions = "7+", ignorable)]
    pub topic_id: Uuid,
    /// Why it was not created, or `NONE`.
    pub error_code: ErrorCode,
    /// What was wrong, for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// Why its settings are not told, or `NONE`. Ignorable.
    #[kafka(versions = "5+", tagged = "5+", tag = 0, ignorable)]
    pub topic_config_error_code: ErrorCode,
    /// How many partitions it got; -1 if not told. Ignorable.
    #[kafka(versions = "5+", ignorable, default = -1)]
    pub num_partitions: i32,
    /// How many replicas each partition got; -1 if not told. Ignorable.
    #[kafka(versions = "5+", ignorable, default = -1)]
    pub replication_factor: i16,
    /// Its settings; null if they are not told. Empty by default. Ignorable.
    #[kafka(versions = "5+", ignorable, default = Some(Vec::new()))]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting of a created topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfigs {
    /// Its name.
    pub name: Str,
    /// Its value; null if it is sensitive or has none.
    pub value: Option<Str>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where its value comes from, with the numbers of DescribeConfigs; -1 if not told.
    #[kafka(default = -1)]
    pub config_source: i8,
    /// Whether its value is a secret.
    pub is_sensitive: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
