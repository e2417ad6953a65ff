//! ListOffsets (2), versions 1 to 11: the earliest (-2) and the latest (-1) offset of partitions. Offsets by
//! time, and of the greatest timestamp, are not there: they answer INVALID_REQUEST, which no client retries.

use ottla_protocol::{
    ErrorCode,
    messages::list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
        ListOffsetsTopicResponse,
    },
};
use ottla_storage::{Log, Storage};

use super::check_epoch;
use crate::{
    context::{Call, Context},
    dispatch::RequestError,
    reply::{Reply, frame},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The first version whose response has the leader epoch; the others cannot be written with one.
const LEADER_EPOCH: i16 = 4;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &ListOffsetsRequest,
) -> Result<Reply, RequestError> {
    let topics = context.broker().topics();
    let topics = request.topics.iter().map(|asked| {
        let topic = topics.named(&asked.name);
        let partition = |asked: &ListOffsetsPartition| {
            let log = topic.and_then(|topic| topic.partition(asked.partition_index));
            let mut answer = look(context, log.map(|log| log.as_ref()), asked);
            if call.version < LEADER_EPOCH {
                answer.leader_epoch = ListOffsetsPartitionResponse::default().leader_epoch;
            }
            answer
        };
        ListOffsetsTopicResponse {
            name: asked.name.clone(),
            partitions: asked.partitions.iter().map(partition).collect(),
            ..ListOffsetsTopicResponse::default()
        }
    });
    let response = ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn look<S: Storage>(
    context: &Context<S>,
    log: Option<&S::Log>,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        ..ListOffsetsPartitionResponse::default()
    };
    let failed = |error_code| ListOffsetsPartitionResponse { error_code, ..answer.clone() };
    let Some(log) = log else { return failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) };
    if let Err(code) = check_epoch(context, asked.current_leader_epoch) {
        return failed(code);
    }
    let bounds = log.bounds();
    let offset = match asked.timestamp {
        LATEST => bounds.high_watermark.0,
        EARLIEST => bounds.log_start.0,
        _ => {
            tracing::debug!(peer = %context.peer, "offsets by time were asked for, which are not supported");
            return failed(ErrorCode::INVALID_REQUEST);
        }
    };
    ListOffsetsPartitionResponse { offset, leader_epoch: bounds.leader_epoch.0, ..answer }
}
