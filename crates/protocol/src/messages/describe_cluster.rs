//! DescribeCluster (key 60), versions 0 to 2, all flexible (KIP-700).
//!
//! An admin client asks for the cluster's id, controller and brokers.
//!
//! * 1: whether brokers or controllers are meant (KIP-919).
//! * 2: fenced brokers on request (KIP-1073).

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DESCRIBE_CLUSTER, response = DescribeClusterResponse, versions = "0-2")]
pub struct DescribeClusterRequest {
    /// Whether to tell which operations on the cluster the client is authorized for.
    pub include_cluster_authorized_operations: bool,
    /// 1: the brokers. 2: the controllers.
    #[kafka(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    /// Whether to tell brokers that are fenced too.
    #[kafka(versions = "2+")]
    pub include_fenced_brokers: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DescribeClusterRequest)]
pub struct DescribeClusterResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request, or `NONE`.
    pub error_code: ErrorCode,
    /// The same for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// 1: the brokers follow. 2: the controllers do.
    #[kafka(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    /// The id of the cluster.
    pub cluster_id: Str,
    /// The broker to send requests for the controller to, -1 if there is none.
    #[kafka(default = -1)]
    pub controller_id: i32,
    /// The brokers.
    pub brokers: Vec<DescribeClusterBroker>,
    /// A bit for each operation on the cluster that the client is authorized for; `i32::MIN` if not asked.
    #[kafka(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeClusterBroker {
    /// Its id.
    pub broker_id: i32,
    /// Its host name or address.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, null if it has none.
    pub rack: Option<Str>,
    /// Whether it is fenced.
    #[kafka(versions = "2+")]
    pub is_fenced: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
