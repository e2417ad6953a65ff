//! ConsumerGroupDescribe (key 69), versions 0 to 1, all flexible (KIP-848).
//!
//! An admin client asks for the state and the members of consumer groups. For classic groups there is
//! DescribeGroups.
//!
//! * 1: by which protocol each member is in the group (KIP-1099).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// Which groups are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = CONSUMER_GROUP_DESCRIBE, response = ConsumerGroupDescribeResponse, versions = "0-1")]
pub struct ConsumerGroupDescribeRequest {
    /// The ids of the groups.
    pub group_ids: Vec<Str>,
    /// Whether to tell which operations on each group the client is authorized for.
    pub include_authorized_operations: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ConsumerGroupDescribeRequest)]
pub struct ConsumerGroupDescribeResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The groups.
    pub groups: Vec<DescribedGroup>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroup {
    /// Why it cannot be described, or `NONE`.
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// Its id.
    pub group_id: Str,
    /// Its state, such as `Stable`; empty on an error.
    pub group_state: Str,
    /// Its epoch, which every change of members, subscriptions or topics raises.
    pub group_epoch: i32,
    /// The group epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor_name: Str,
    /// Its members.
    pub members: Vec<Member>,
    /// A bit for each operation on it that the client is authorized for; `i32::MIN` if not asked.
    #[kafka(default = i32::MIN)]
    pub authorized_operations: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Member {
    /// Its member id.
    pub member_id: Str,
    /// Its instance id; null if it is a dynamic one.
    pub instance_id: Option<Str>,
    /// Its rack; null if it has none.
    pub rack_id: Option<Str>,
    /// Its epoch.
    pub member_epoch: i32,
    /// Its client id.
    pub client_id: Str,
    /// The address that it came from, such as `/10.0.0.7`.
    pub client_host: Str,
    /// The names of the topics that it subscribes to.
    pub subscribed_topic_names: Vec<Str>,
    /// The regular expression that it subscribes by; null if it has none.
    pub subscribed_topic_regex: Option<Str>,
    /// What it owns.
    pub assignment: Assignment,
    /// What it shall own.
    pub target_assignment: Assignment,
    /// The protocol by which it is in the group: 0 classic, 1 consumer; -1 if unknown. Ignorable.
    #[kafka(versions = "1+", ignorable, default = -1)]
    pub member_type: i8,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What a member owns or shall own.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Assignment {
    /// The partitions.
    pub topic_partitions: Vec<TopicPartitions>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The topic's name.
    pub topic_name: Str,
    /// The indexes of the partitions.
    pub partitions: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
