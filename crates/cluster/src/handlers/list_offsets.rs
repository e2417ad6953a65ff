//! ListOffsets (2), versions 1 to 11: the earliest (-2) and the latest (-1) offset of partitions, the one of the
//! greatest timestamp (-3, from version 7 on, KIP-734), and the first one at a time. All is on local disk, so that -4 is
//! the earliest too, and -5 and -6 find nothing. From version 4 on an offset comes with its leader epoch (KIP-320).

use ottla_protocol::{
    ErrorCode,
    messages::list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
        ListOffsetsTopicResponse,
    },
};

use super::{Call, Done, partitions};
use crate::{faults::Asked, log::Found, state::State};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version that has leader epochs.
const EPOCHS_FROM: i16 = 4;

/// What is told where no record is found.
const NOTHING: Found = Found { timestamp: -1, offset: -1, leader_epoch: -1 };

pub(super) fn asked(request: &ListOffsetsRequest, _: &State) -> Vec<Asked> {
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
    request: ListOffsetsRequest,
) -> Done<ListOffsetsResponse> {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |asked: &ListOffsetsPartition| {
            let answer = ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                ..ListOffsetsPartitionResponse::default()
            };
            match look(state, call, &topic.name, asked) {
                Ok(Found { timestamp, offset, leader_epoch }) => {
                    // Older versions have no room for the epoch.
                    let leader_epoch = if call.version < EPOCHS_FROM { -1 } else { leader_epoch };
                    ListOffsetsPartitionResponse { timestamp, offset, leader_epoch, ..answer }
                }
                Err(error_code) => ListOffsetsPartitionResponse { error_code, ..answer },
            }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions,
            ..ListOffsetsTopicResponse::default()
        }
    });
    Done::Answer(ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() })
}

fn look(
    state: &mut State,
    call: &Call,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Found, ErrorCode> {
    if let Some(code) = call.partition_error(topic, asked.partition_index) {
        return Err(code);
    }
    let (partition, _) = state.led(call.node, topic, asked.partition_index, asked.current_leader_epoch)?;
    let log = &partition.log;
    let at = |offset, leader_epoch: Option<i32>| Found {
        timestamp: -1,
        offset,
        leader_epoch: leader_epoch.unwrap_or(-1),
    };
    // The versions that have a meaning of their own for it.
    let since = match asked.timestamp {
        LATEST | EARLIEST | 0.. => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    };
    if call.version < since {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    Ok(match asked.timestamp {
        // The next record will be of the current epoch.
        LATEST => at(log.end(), Some(partition.leader_epoch)),
        EARLIEST | EARLIEST_LOCAL => at(log.start(), log.epoch_at(log.start())),
        MAX_TIMESTAMP => log.at_max_timestamp().unwrap_or(NOTHING),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => NOTHING,
        time => log.at_time(time).unwrap_or(NOTHING),
    })
}
