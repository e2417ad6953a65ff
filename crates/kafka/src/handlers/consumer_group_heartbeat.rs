//! ConsumerGroupHeartbeat (68), versions 0 and 1: all that a member of a KIP-848 group ever sends. In version 0 the
//! broker gives a new member its id; from version 1 on members choose theirs (KIP-1082), and may subscribe by a
//! regular expression.

use std::{fmt, sync::Arc, time::Duration};

use ottla_engine::{
    coordinator::{
        InstanceId, MemberEpoch, MemberId,
        assignor::{self, TopicPartition},
        consumer::{Accepted, Heartbeat, Pattern},
    },
    groups::GroupError,
};
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::consumer_group_heartbeat::{
        Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
    },
};
use ottla_records::{PartitionIndex, TopicId};
use ottla_storage::Storage;

use super::groups::{client_host, code, reason, uuid};
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

/// The first version in which members choose their ids.
const OWN_IDS_FROM: i16 = 1;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    client_id: Option<Str>,
    request: ConsumerGroupHeartbeatRequest,
) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, client_id.unwrap_or_default(), request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    client_id: Str,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<Frame, EncodeError> {
    let response = if request.group_id.is_empty() {
        refused(ErrorCode::INVALID_REQUEST, &"the group id must not be empty")
    } else {
        let pattern = match &request.subscribed_topic_regex {
            Some(text) => Some(context.groups.resolve(text).await),
            None => None,
        };
        let heartbeat = read(&context, call, &client_id, &request, pattern);
        match context.groups.consumer_heartbeat(&request.group_id, heartbeat).await {
            Ok(accepted) => accept(accepted),
            // So Kafka answers where a group must not change its protocol while it has members.
            Err(error @ GroupError::OtherProtocol) => refused(ErrorCode::GROUP_ID_NOT_FOUND, &error),
            Err(error) => refused(code(context.broker(), "a heartbeat in a group", &error), &error),
        }
    };
    frame(call.correlation_id, call.version, &response)
}

fn read<S: Storage>(
    context: &Context<S>,
    call: Call,
    client_id: &str,
    request: &ConsumerGroupHeartbeatRequest,
    pattern: Option<Pattern>,
) -> Heartbeat {
    let names_itself = call.version >= OWN_IDS_FROM || !request.member_id.is_empty();
    let fresh_id = || MemberId::from(uuid(&**context.broker().random()).as_str());
    Heartbeat {
        member_id: MemberId::from(request.member_id.as_str()),
        fresh_member_id: (!names_itself).then(fresh_id),
        member_epoch: MemberEpoch(request.member_epoch),
        instance_id: request.instance_id.as_deref().map(InstanceId::from),
        rack: request.rack_id.as_deref().map(Arc::from),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis),
        topics: request
            .subscribed_topic_names
            .as_ref()
            .map(|names| names.iter().map(|name| Arc::from(name.as_str())).collect()),
        pattern,
        assignor: request.server_assignor.as_deref().map(Arc::from),
        owned: request.topic_partitions.as_deref().map(owned),
        client_id: client_id.into(),
        client_host: client_host(context).into(),
    }
}

fn owned(topics: &[TopicPartitions]) -> assignor::Assignment {
    let partitions = topics.iter().flat_map(|topic| {
        let id = TopicId(topic.topic_id.into());
        topic.partitions.iter().map(move |index| TopicPartition::new(id, PartitionIndex(*index)))
    });
    partitions.collect()
}

fn accept(accepted: Accepted) -> ConsumerGroupHeartbeatResponse {
    let topic_partitions = |assignment: assignor::Assignment| {
        let topic = |(id, partitions): (TopicId, _)| topic(id, partitions);
        Assignment { topic_partitions: assignment.by_topic().map(topic).collect(), ..Assignment::default() }
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(accepted.member_id.as_str().into()),
        member_epoch: accepted.member_epoch.0,
        heartbeat_interval_ms: i32::try_from(accepted.heartbeat_interval.as_millis()).unwrap_or(i32::MAX),
        assignment: accepted.assignment.map(topic_partitions),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn topic(id: TopicId, partitions: impl Iterator<Item = PartitionIndex>) -> TopicPartitions {
    TopicPartitions {
        topic_id: id.0.into(),
        partitions: partitions.map(|partition| partition.0).collect(),
        ..TopicPartitions::default()
    }
}

fn refused(error_code: ErrorCode, why: &dyn fmt::Display) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: reason(why),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
