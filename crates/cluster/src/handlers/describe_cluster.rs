//! DescribeCluster (60), versions 0 to 2: the nodes and the cluster's id (KIP-700). Fenced ones are told from version 2
//! on, where they are asked for (KIP-1073).

use ottla_protocol::{
    ErrorCode,
    messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse},
};

use super::{Call, Done};
use crate::state::{Node, State};

/// Kafka's numbers for the kinds of endpoint (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: DescribeClusterRequest,
) -> Done<DescribeClusterResponse> {
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        _ => Some(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
    };
    if let Some(error_code) = call.error().or(refused) {
        return Done::Answer(DescribeClusterResponse { error_code, ..DescribeClusterResponse::default() });
    }
    let broker = |node: &Node| {
        let (host, port) = node.endpoint();
        let (broker_id, is_fenced) = (node.id, node.fenced);
        DescribeClusterBroker { broker_id, host, port, is_fenced, ..DescribeClusterBroker::default() }
    };
    let told = state.nodes.iter().filter(|node| !node.fenced || request.include_fenced_brokers);
    Done::Answer(DescribeClusterResponse {
        cluster_id: state.cluster_id.as_str().into(),
        controller_id: state.controller().unwrap_or(-1),
        brokers: told.map(broker).collect(),
        ..DescribeClusterResponse::default()
    })
}
