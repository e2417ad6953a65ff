//! One file for each API: decodes into domain types, calls the engine, encodes what it answers.

pub(crate) mod api_versions;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
mod groups;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

use ottla_protocol::ErrorCode;
use ottla_records::{LeaderEpoch, Offset};
use ottla_storage::{EpochEnd, Log, Storage};

use crate::context::Context;

/// "Not asked for", where a response has operations that the client is authorized to.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// All operations on a topic: read, write, create, delete, alter, describe, describe and alter configurations.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// All operations on a cluster: create, alter, describe, cluster action, describe and alter configurations,
/// idempotent write.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Compares the leader epoch that a client believes in with the broker's (KIP-320).
fn check_epoch<S: Storage>(context: &Context<S>, claimed: i32) -> Result<(), ErrorCode> {
    let current = context.broker().leader_epoch().0;
    match claimed {
        -1 => Ok(()),
        older if older < current => Err(ErrorCode::FENCED_LEADER_EPOCH),
        newer if newer > current => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// Where a leader epoch ended, as [`Log::end_of_epoch`] says it, in a log that knows of the epoch of this life:
/// the log itself hears of an epoch only with its first record.
fn end_of_epoch<S: Storage>(context: &Context<S>, log: &S::Log, epoch: LeaderEpoch) -> Option<EpochEnd> {
    let current = context.broker().leader_epoch();
    if epoch < LeaderEpoch(0) || epoch > current {
        return None;
    }
    // What is past the bounds that are read first does not matter: they were right at that moment.
    let bounds = log.bounds();
    let unwritten = || {
        let last = bounds.leader_epoch;
        let found = if epoch == current || last == LeaderEpoch::NONE { epoch } else { last };
        EpochEnd { epoch: found, end_offset: bounds.high_watermark }
    };
    Some(log.end_of_epoch(epoch).unwrap_or_else(unwritten))
}

/// The leader epoch of the record at an offset that is not past the end; of the next record, at the end.
fn epoch_at<S: Storage>(context: &Context<S>, log: &S::Log, offset: Offset) -> LeaderEpoch {
    let mut epoch = context.broker().leader_epoch();
    // Each turn is an epoch back, and there are as many as unclean restarts that the log has seen.
    while let Some(before) = end_of_epoch(context, log, LeaderEpoch(epoch.0 - 1)) {
        if before.end_offset <= offset || before.epoch >= epoch {
            break;
        }
        epoch = before.epoch;
    }
    epoch
}
