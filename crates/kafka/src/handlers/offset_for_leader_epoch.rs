//! OffsetForLeaderEpoch (23), versions 2 to 4: where a leader epoch ended (KIP-320).

use ottla_protocol::{
    ErrorCode,
    messages::offset_for_leader_epoch::{
        EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
        OffsetForLeaderTopicResult,
    },
};
use ottla_records::LeaderEpoch;
use ottla_storage::Storage;

use super::{check_epoch, end_of_epoch};
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &OffsetForLeaderEpochRequest,
) -> Result<Reply, RequestError> {
    let topics = context.broker().topics();
    let topics = request.topics.iter().map(|asked| {
        let topic = topics.named(&asked.topic);
        let partition = |asked: &OffsetForLeaderPartition| {
            let log = topic.and_then(|topic| topic.partition(asked.partition));
            look(context, log.map(|log| log.as_ref()), asked)
        };
        OffsetForLeaderTopicResult {
            topic: asked.topic.clone(),
            partitions: asked.partitions.iter().map(partition).collect(),
            ..OffsetForLeaderTopicResult::default()
        }
    });
    let response =
        OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn look<S: Storage>(
    context: &Context<S>,
    log: Option<&S::Log>,
    asked: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let answer = EpochEndOffset {
        partition: asked.partition,
        leader_epoch: -1,
        end_offset: -1,
        ..EpochEndOffset::default()
    };
    let Some(log) = log else {
        return EpochEndOffset { error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..answer };
    };
    if let Err(error_code) = check_epoch(context, asked.current_leader_epoch) {
        return EpochEndOffset { error_code, ..answer };
    }
    match end_of_epoch(context, log, LeaderEpoch(asked.leader_epoch)) {
        Some(end) => EpochEndOffset { leader_epoch: end.epoch.0, end_offset: end.end_offset.0, ..answer },
        None => answer,
    }
}
