//! OffsetDelete (47), version 0: a group forgets how far it has come in partitions of topics that nobody in it
//! subscribes to (KIP-496).

use ottla_protocol::{
    EncodeError, ErrorCode,
    messages::offset_delete::{
        OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
        OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
    },
};
use ottla_records::PartitionIndex;
use ottla_storage::{OffsetKey, Storage};

use super::groups::code;
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: OffsetDeleteRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: OffsetDeleteRequest,
) -> Result<Frame, EncodeError> {
    let response = match delete(&context, request).await {
        Ok(topics) => OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() },
        Err(error_code) => OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() },
    };
    frame(call.correlation_id, call.version, &response)
}

async fn delete<S: Storage>(
    context: &Context<S>,
    request: OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let mut keys = Vec::new();
    let mut topics: Vec<_> =
        request.topics.into_iter().map(|topic| find(context, topic, &mut keys)).collect();
    let deleted = context.groups.delete_offsets(&request.group_id, keys).await;
    let mut deleted =
        deleted.map_err(|error| code(context.broker(), "deleting committed offsets", &error))?.into_iter();
    let there = topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
        .filter(|partition| partition.error_code.is_none());
    for partition in there {
        if deleted.next() != Some(true) {
            partition.error_code = ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC;
        }
    }
    Ok(topics)
}

/// A topic of the answer, and the keys of its partitions that are there.
fn find<S: Storage>(
    context: &Context<S>,
    asked: OffsetDeleteRequestTopic,
    keys: &mut Vec<OffsetKey>,
) -> OffsetDeleteResponseTopic {
    let topics = context.broker().topics();
    let topic = topics.named(&asked.name);
    let partition = |OffsetDeleteRequestPartition { partition_index, .. }| {
        let there = topic.filter(|topic| topic.partition(partition_index).is_some());
        keys.extend(
            there.map(|topic| OffsetKey { topic: topic.id, partition: PartitionIndex(partition_index) }),
        );
        let error_code = there.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |_| ErrorCode::NONE);
        OffsetDeleteResponsePartition {
            partition_index,
            error_code,
            ..OffsetDeleteResponsePartition::default()
        }
    };
    OffsetDeleteResponseTopic {
        partitions: asked.partitions.into_iter().map(partition).collect(),
        name: asked.name,
        ..OffsetDeleteResponseTopic::default()
    }
}
