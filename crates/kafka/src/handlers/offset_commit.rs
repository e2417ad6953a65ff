//! OffsetCommit (8), versions 2 to 10: stores how far a group has come, and is answered when that is durable.
//! Versions 2 to 4 may say how long an offset is kept. From version 9 on members of KIP-848 groups commit, and from
//! version 10 on topics are named by id. The group may have an empty name, an old habit that Kafka keeps up.
//!
//! Every commit of every consumer comes here: nothing is copied of it but what the offsets keep.

use ottla_engine::{
    Topic, Topics,
    coordinator::{InstanceId, MemberId},
    groups::{CommitClaim, GroupError},
};
use ottla_protocol::{
    ErrorCode,
    messages::offset_commit::{
        OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    },
};
use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{OffsetKey, OffsetRow, Storage};

use super::groups::code;
use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

/// The first version that tells member epochs.
const EPOCHS_FROM: i16 = 9;
/// The first version that names topics by id.
const BY_ID_FROM: i16 = 10;
/// The retention that leaves it to the broker.
const BROKERS_RETENTION: i64 = -1;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: OffsetCommitRequest,
) -> Result<Reply, RequestError> {
    let mut commit = Commit::new(context, &request);
    let known = context.broker().topics();
    let topics = request.topics.into_iter().map(|topic| commit.take(&known, call, topic)).collect();
    let mut response = OffsetCommitResponse { topics, ..OffsetCommitResponse::default() };
    if commit.is_of_unknown_partitions {
        return Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?));
    }
    let claim = CommitClaim {
        member_id: MemberId::from(request.member_id.as_str()),
        instance_id: request.group_instance_id.as_deref().map(InstanceId::from),
        epoch: request.generation_id_or_member_epoch,
        tells_epochs: call.version >= EPOCHS_FROM,
    };
    let (door, groups, group_id) = (context.door.clone(), context.groups.clone(), request.group_id);
    Ok(Reply::Later(Box::pin(async move {
        if let Err(error) = groups.commit(&group_id, claim, commit.rows).await {
            let code = match error {
                // Which older clients know.
                GroupError::NotFound if call.version < EPOCHS_FROM => ErrorCode::ILLEGAL_GENERATION,
                error => code(door.broker(), "committing offsets", &error),
            };
            refuse(&mut response, code);
        }
        frame(call.correlation_id, call.version, &response)
    })))
}

/// What is to be committed of a request.
struct Commit {
    rows: Vec<OffsetRow>,
    committed_at: TimestampMs,
    expires_at: Option<TimestampMs>,
    /// See [`fits`].
    metadata_units_max: usize,
    /// No partition of it is there, so that the group need not be asked.
    is_of_unknown_partitions: bool,
}

impl Commit {
    fn new<S: Storage>(context: &Context<S>, request: &OffsetCommitRequest) -> Self {
        let now = context.broker().clock().wall();
        let retention = Some(request.retention_time_ms).filter(|ms| *ms != BROKERS_RETENTION);
        Self {
            rows: Vec::with_capacity(request.topics.first().map_or(0, |topic| topic.partitions.len())),
            committed_at: now,
            expires_at: retention.map(|ms| TimestampMs(now.0.saturating_add(ms))),
            metadata_units_max: context.broker().settings().offset_metadata_max_bytes as usize,
            is_of_unknown_partitions: true,
        }
    }

    /// Takes the offsets of a topic that can be committed, and says what is wrong with the others.
    fn take<S: Storage>(
        &mut self,
        topics: &Topics<S>,
        call: Call,
        asked: OffsetCommitRequestTopic,
    ) -> OffsetCommitResponseTopic {
        let (topic, unknown) = match call.version {
            BY_ID_FROM.. => (topics.with_id(TopicId(asked.topic_id.into())), ErrorCode::UNKNOWN_TOPIC_ID),
            _ => (topics.named(&asked.name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        let partition = |partition: OffsetCommitRequestPartition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: match &topic {
                Some(topic) => self.take_partition(topic, partition),
                None => unknown,
            },
            ..OffsetCommitResponsePartition::default()
        };
        OffsetCommitResponseTopic {
            partitions: asked.partitions.into_iter().map(partition).collect(),
            name: asked.name,
            topic_id: asked.topic_id,
            ..OffsetCommitResponseTopic::default()
        }
    }

    fn take_partition<S: Storage>(
        &mut self,
        topic: &Topic<S>,
        asked: OffsetCommitRequestPartition,
    ) -> ErrorCode {
        if topic.partition(asked.partition_index).is_none() {
            return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        }
        self.is_of_unknown_partitions = false;
        let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
        if !fits(metadata, self.metadata_units_max) {
            return ErrorCode::OFFSET_METADATA_TOO_LARGE;
        }
        self.rows.push(OffsetRow {
            key: OffsetKey { topic: topic.id, partition: PartitionIndex(asked.partition_index) },
            topic_name: topic.name.clone(),
            offset: Offset(asked.committed_offset),
            leader_epoch: LeaderEpoch(asked.committed_leader_epoch.max(LeaderEpoch::NONE.0)),
            metadata: metadata.to_owned(),
            committed_at: self.committed_at,
            expires_at: self.expires_at,
        });
        ErrorCode::NONE
    }
}

/// Whether a text has at most so many units of UTF-16, in which Kafka counts.
fn fits(text: &str, units_max: usize) -> bool {
    text.len() <= units_max || text.encode_utf16().take(units_max.saturating_add(1)).count() <= units_max
}

/// Nothing was committed: what was to be is refused.
fn refuse(response: &mut OffsetCommitResponse, error_code: ErrorCode) {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions {
        partition.error_code = error_code;
    }
}
