//! ListOffsets (2), versions 1 to 11: the earliest (-2) and the latest (-1) offset of partitions. Offsets by
//! time, of the greatest timestamp and of tiered storage are not there: they answer INVALID_REQUEST, which no
//! client retries. From version 4 on an offset comes with its leader epoch (KIP-320).

use std::collections::HashMap;

use ottla_protocol::{
    ErrorCode,
    messages::list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
        ListOffsetsTopic, ListOffsetsTopicResponse,
    },
};
use ottla_records::{LeaderEpoch, Offset};
use ottla_storage::{Log, Storage};

use super::{check_epoch, epoch_at};
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &ListOffsetsRequest,
) -> Result<Reply, RequestError> {
    let topics = context.broker().topics();
    let mut times: HashMap<(&str, i32), usize> = HashMap::new();
    for (topic, partition) in partitions(request) {
        *times.entry((&topic.name, partition.partition_index)).or_default() += 1;
    }
    let answer = |asked: &ListOffsetsTopic| {
        let topic = topics.named(&asked.name);
        let partition = |partition: &ListOffsetsPartition| {
            let index = partition.partition_index;
            let found = if times.get(&(&*asked.name, index)).is_some_and(|times| *times > 1) {
                // Which of them is meant?
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                look(context, topic.and_then(|topic| topic.partition(index)).map(|log| &**log), partition)
            };
            respond(call, index, found)
        };
        ListOffsetsTopicResponse {
            name: asked.name.clone(),
            partitions: asked.partitions.iter().map(partition).collect(),
            ..ListOffsetsTopicResponse::default()
        }
    };
    let response = ListOffsetsResponse {
        topics: request.topics.iter().map(answer).collect(),
        ..ListOffsetsResponse::default()
    };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn partitions(
    request: &ListOffsetsRequest,
) -> impl Iterator<Item = (&ListOffsetsTopic, &ListOffsetsPartition)> {
    request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
}

fn look<S: Storage>(
    context: &Context<S>,
    log: Option<&S::Log>,
    asked: &ListOffsetsPartition,
) -> Result<(Offset, LeaderEpoch), ErrorCode> {
    let log = log.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_epoch(context, asked.current_leader_epoch)?;
    let bounds = log.bounds();
    match asked.timestamp {
        // The next record will be of this life's epoch.
        LATEST => Ok((bounds.high_watermark, context.broker().leader_epoch())),
        EARLIEST => Ok((bounds.log_start, epoch_at(context, log, bounds.log_start))),
        _ => {
            context.broker().notices().unsupported("offsets by time", context.peer);
            Err(ErrorCode::INVALID_REQUEST)
        }
    }
}

fn respond(
    call: Call,
    partition_index: i32,
    found: Result<(Offset, LeaderEpoch), ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse { partition_index, ..ListOffsetsPartitionResponse::default() };
    match found {
        // Older versions have no room for the epoch.
        Ok((offset, _)) if call.version < 4 => ListOffsetsPartitionResponse { offset: offset.0, ..answer },
        Ok((offset, epoch)) => {
            ListOffsetsPartitionResponse { offset: offset.0, leader_epoch: epoch.0, ..answer }
        }
        Err(error_code) => ListOffsetsPartitionResponse { error_code, ..answer },
    }
}
