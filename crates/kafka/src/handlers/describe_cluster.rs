//! DescribeCluster (60), versions 0 to 2: this broker and the cluster's id (KIP-700).

use ottla_protocol::{
    ErrorCode,
    messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse},
};
use ottla_storage::Storage;

use super::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN};
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

/// Kafka's numbers for the kinds of endpoint (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &DescribeClusterRequest,
) -> Result<Reply, RequestError> {
    let response = match request.endpoint_type {
        BROKERS => describe(context, request),
        CONTROLLERS => refused(
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "this is an endpoint of brokers, and there is none of controllers: ask for brokers",
        ),
        _ => {
            refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "the endpoint type is unknown: ask for brokers (1)")
        }
    };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn describe<S: Storage>(context: &Context<S>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let (host, port) = context.advertised();
    let node_id = context.identity.node_id;
    let broker = DescribeClusterBroker { broker_id: node_id, host, port, ..DescribeClusterBroker::default() };
    DescribeClusterResponse {
        cluster_id: context.broker().cluster_id().into(),
        controller_id: node_id,
        brokers: vec![broker],
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNKNOWN
        },
        ..DescribeClusterResponse::default()
    }
}

fn refused(error_code: ErrorCode, why: &str) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code,
        error_message: Some(why.into()),
        ..DescribeClusterResponse::default()
    }
}
