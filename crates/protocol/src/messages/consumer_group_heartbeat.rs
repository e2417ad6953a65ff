//! ConsumerGroupHeartbeat (key 68), versions 0 to 1, all flexible (KIP-848).
//!
//! All that a member of a consumer group ever sends: it joins, says that it is alive and what it owns, learns what
//! it shall own, and leaves. What did not change since the last heartbeat is left out, in both directions.
//!
//! * 1: topics by a regular expression; the member chooses its own id (KIP-1082).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// Who is alive, and what is new.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = CONSUMER_GROUP_HEARTBEAT, response = ConsumerGroupHeartbeatResponse, versions = "0-1")]
pub struct ConsumerGroupHeartbeatRequest {
    /// The group.
    pub group_id: Str,
    /// The member's id, which it keeps for as long as it lives. In version 0 empty from one that joins: then the
    /// coordinator chooses it.
    pub member_id: Str,
    /// The member's epoch: 0 to join, -1 to leave, -2 from a static member that will come back.
    pub member_epoch: i32,
    /// The id of a static member that its user chose; null from a dynamic one.
    pub instance_id: Option<Str>,
    /// The member's rack; null if it has none or it did not change.
    pub rack_id: Option<Str>,
    /// How long the coordinator waits for the member to give partitions up, in milliseconds; -1 if it did not
    /// change.
    #[kafka(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The names of the topics that it subscribes to; null if they did not change.
    pub subscribed_topic_names: Option<Vec<Str>>,
    /// A regular expression of RE2 for such names, empty for none; null if it did not change.
    #[kafka(versions = "1+")]
    pub subscribed_topic_regex: Option<Str>,
    /// The assignor to use, such as `uniform`; null if the coordinator chooses or it did not change.
    pub server_assignor: Option<Str>,
    /// The partitions that the member owns; null if they did not change.
    pub topic_partitions: Option<Vec<TopicPartitions>>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Partitions of one topic, in the request and in the response.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The indexes of the partitions.
    pub partitions: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What the member shall own.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ConsumerGroupHeartbeatRequest)]
pub struct ConsumerGroupHeartbeatResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong, or `NONE`.
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// The member's id; null on an error.
    pub member_id: Option<Str>,
    /// The member's epoch.
    pub member_epoch: i32,
    /// When the next heartbeat is expected, in milliseconds from this one.
    pub heartbeat_interval_ms: i32,
    /// What it shall own; null if that did not change.
    pub assignment: Option<Assignment>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What a member shall own.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Assignment {
    /// The partitions that are free for it already.
    pub topic_partitions: Vec<TopicPartitions>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
