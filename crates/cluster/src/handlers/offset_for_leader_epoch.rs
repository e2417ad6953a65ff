//! OffsetForLeaderEpoch (23), versions 2 to 4: where a leader epoch ended (KIP-320).

use ottla_protocol::{
    ErrorCode,
    messages::offset_for_leader_epoch::{
        EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
        OffsetForLeaderTopicResult,
    },
};

use super::{Call, Done, partitions};
use crate::{faults::Asked, log::EpochEnd, state::State};

/// What is told where an epoch is not known.
const NOTHING: EpochEnd = EpochEnd { epoch: -1, end_offset: -1 };

pub(super) fn asked(request: &OffsetForLeaderEpochRequest, _: &State) -> Vec<Asked> {
    partitions(
        request
            .topics
            .iter()
            .map(|topic| (&*topic.topic, topic.partitions.iter().map(|partition| partition.partition))),
    )
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> Done<OffsetForLeaderEpochResponse> {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |asked: &OffsetForLeaderPartition| {
            let answer = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
            match look(state, call, &topic.topic, asked) {
                Ok(EpochEnd { epoch, end_offset }) => {
                    EpochEndOffset { leader_epoch: epoch, end_offset, ..answer }
                }
                Err(error_code) => EpochEndOffset { error_code, ..answer },
            }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        let topic = topic.topic.clone();
        OffsetForLeaderTopicResult { topic, partitions, ..OffsetForLeaderTopicResult::default() }
    });
    Done::Answer(OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    })
}

fn look(
    state: &mut State,
    call: &Call,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEnd, ErrorCode> {
    if let Some(code) = call.partition_error(topic, asked.partition) {
        return Err(code);
    }
    let (partition, _) = state.led(call.node, topic, asked.partition, asked.current_leader_epoch)?;
    Ok(partition.log.end_of_epoch(asked.leader_epoch, partition.leader_epoch).unwrap_or(NOTHING))
}
