//! Metadata (key 3), versions 0 to 13.
//!
//! A client asks which brokers there are and who leads the partitions of which topics.
//!
//! * 0: an empty array asks for all topics. 1: null does, and an empty array asks for none; controller id, racks.
//! * 2: cluster id (KIP-78). 3: throttle time.
//! * 4: the client says whether topics may be created on being asked for (KIP-204).
//! * 5: offline replicas (KIP-112). 7: leader epochs (KIP-320).
//! * 8: authorized operations on request (KIP-430).
//! * 9: flexible.
//! * 10: topic ids; names in the request may be null (KIP-516), but Kafka looks topics up by id from 12 on only.
//! * 11: authorized operations on the cluster are gone from here (KIP-700): see DescribeCluster.
//! * 13: an error of the whole, with which a client is told to begin anew (KIP-1102).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// Which topics are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = METADATA, response = MetadataResponse, versions = "0-13")]
pub struct MetadataRequest {
    /// The topics; null for all.
    #[kafka(nullable = "1+")]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Whether topics that do not exist may be created, if the broker is set up to do so.
    #[kafka(versions = "4+", default = true)]
    pub allow_auto_topic_creation: bool,
    /// Whether to tell which operations on the cluster the client is authorized for.
    #[kafka(versions = "8-10")]
    pub include_cluster_authorized_operations: bool,
    /// Whether to tell which operations on each topic the client is authorized for.
    #[kafka(versions = "8+")]
    pub include_topic_authorized_operations: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic that is asked for, by name or id.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataRequestTopic {
    /// The topic's id; zero if asked by name. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// The topic's name; null if asked by id.
    #[kafka(nullable = "10+")]
    pub name: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The brokers and the topics.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = MetadataRequest)]
pub struct MetadataResponse {
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The brokers that are alive.
    pub brokers: Vec<MetadataResponseBroker>,
    /// The id of the cluster, null if it has none. Ignorable.
    #[kafka(versions = "2+", ignorable)]
    pub cluster_id: Option<Str>,
    /// The broker to send requests for the controller to, -1 if there is none. Ignorable.
    #[kafka(versions = "1+", ignorable, default = -1)]
    pub controller_id: i32,
    /// The topics.
    pub topics: Vec<MetadataResponseTopic>,
    /// A bit for each operation on the cluster that the client is authorized for; `i32::MIN` if not asked.
    #[kafka(versions = "8-10", default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    /// What was wrong with the request as a whole. Ignorable.
    #[kafka(versions = "13+", ignorable)]
    pub error_code: ErrorCode,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseBroker {
    /// The broker's id.
    pub node_id: i32,
    /// Its host name or address, on the listener that was asked.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, null if it has none. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub rack: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseTopic {
    /// Why it cannot be described, or `NONE`.
    pub error_code: ErrorCode,
    /// Its name; null if it was asked for by an id that does not exist.
    #[kafka(nullable = "12+")]
    pub name: Option<Str>,
    /// Its id. Ignorable.
    #[kafka(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// Whether it belongs to the broker, such as the one of committed offsets. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<MetadataResponsePartition>,
    /// A bit for each operation on it that the client is authorized for; `i32::MIN` if not asked.
    #[kafka(versions = "8+", default = i32::MIN)]
    pub topic_authorized_operations: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponsePartition {
    /// What is wrong with it, or `NONE`.
    pub error_code: ErrorCode,
    /// Its index.
    pub partition_index: i32,
    /// The broker that leads it, -1 if none does.
    pub leader_id: i32,
    /// The leader epoch; -1 if unknown. Ignorable.
    #[kafka(versions = "7+", ignorable, default = -1)]
    pub leader_epoch: i32,
    /// The brokers that have it.
    pub replica_nodes: Vec<i32>,
    /// Those of them that are in sync with the leader.
    pub isr_nodes: Vec<i32>,
    /// Those of them that are not available. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub offline_replicas: Vec<i32>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
