//! DeleteRecords (21), versions 0 to 2: moves the log start offset of partitions forward (KIP-107). Every replica follows
//! at once, so that the low watermark is the log start offset. Of a topic that is only compacted nothing is deleted.

use ottla_protocol::{
    ErrorCode,
    messages::delete_records::{
        DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
        DeleteRecordsTopicResult,
    },
};

use super::{Call, Done, partitions};
use crate::{faults::Asked, settings, state::State};

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// The low watermark where nothing was deleted.
const NOTHING: i64 = -1;

pub(super) fn asked(request: &DeleteRecordsRequest, _: &State) -> Vec<Asked> {
    partitions(
        request
            .topics
            .iter()
            .map(|topic| (&*topic.name, topic.partitions.iter().map(|partition| partition.partition_index))),
    )
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: DeleteRecordsRequest,
) -> Done<DeleteRecordsResponse> {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |asked: &DeleteRecordsPartition| {
            let index = asked.partition_index;
            let deleted = call.on_partition(&topic.name, index, || delete(state, call, &topic.name, asked));
            DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: deleted.unwrap_or(NOTHING),
                error_code: deleted.err().unwrap_or_default(),
                ..DeleteRecordsPartitionResult::default()
            }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions,
            ..DeleteRecordsTopicResult::default()
        }
    });
    Done::Answer(DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() })
}

/// Returns the low watermark.
fn delete(
    state: &mut State,
    call: &Call,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let (partition, configs) = state.led(call.node, topic, asked.partition_index, -1)?;
    if settings::policies(configs).eq(["compact"]) {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let log = &mut partition.log;
    let first_kept = if asked.offset == HIGH_WATERMARK { log.end() } else { asked.offset };
    // An offset before the log start asks for what is done.
    if !(0..=log.end()).contains(&first_kept) {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    log.set_start(first_kept);
    Ok(log.start())
}
