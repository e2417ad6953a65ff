//! One file for each API: decodes into domain types, calls the engine, encodes what it answers.

pub(crate) mod api_versions;
pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod fetch;
pub(crate) mod init_producer_id;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;

use ottla_protocol::ErrorCode;
use ottla_storage::Storage;

use crate::context::Context;

/// "Not asked for", where a response has operations that the client is authorized to.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// All operations on a topic: read, write, create, delete, alter, describe, describe and alter configurations.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// All operations on a cluster: create, alter, describe, cluster action, describe and alter configurations,
/// idempotent write.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000 & !(1 << 6);

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
