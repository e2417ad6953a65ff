//! DescribeCluster (60), versions 0 to 2: this broker and the cluster's id (KIP-700).

use ottla_protocol::{
    ErrorCode,
    messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse},
};
use ottla_storage::Storage;

use super::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN};
use crate::{
    context::{Call, Context},
    dispatch::RequestError,
    reply::{Reply, frame},
};

const BROKERS: i8 = 1;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &DescribeClusterRequest,
) -> Result<Reply, RequestError> {
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker().cluster_id().into(),
        controller_id: context.identity.node_id,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNKNOWN
        },
        ..DescribeClusterResponse::default()
    };
    if call.version >= 1 && request.endpoint_type != BROKERS {
        response.error_code = ErrorCode::MISMATCHED_ENDPOINT_TYPE;
        response.error_message = Some("this is a broker, not a controller".into());
    } else {
        let (host, port) = context.advertised();
        let broker_id = context.identity.node_id;
        response.brokers =
            vec![DescribeClusterBroker { broker_id, host, port, ..DescribeClusterBroker::default() }];
    }
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}
