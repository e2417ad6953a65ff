//! ConsumerGroupDescribe (69), versions 0 and 1: state and members of KIP-848 groups; for classic groups there is
//! DescribeGroups. From version 1 on each member's protocol is told (KIP-1099). Each group is described once, however
//! often it is named.

use ottla_engine::{
    coordinator::{
        InstanceId,
        consumer::{self, DescribedTopic, MemberDescription},
    },
    groups::GroupDescription,
};
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::consumer_group_describe::{
        Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member,
        TopicPartitions,
    },
};
use ottla_storage::Storage;

use super::groups::{code, each_once, operations, reason, text};
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

/// Kafka's number for a member that uses the protocol of KIP-848.
const CONSUMER: i8 = 1;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: ConsumerGroupDescribeRequest,
) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: ConsumerGroupDescribeRequest,
) -> Result<Frame, EncodeError> {
    let operations = operations(request.include_authorized_operations);
    let mut groups = Vec::new();
    for group_id in each_once(request.group_ids) {
        let described = match find(&context, &group_id).await {
            Ok(group) => describe(group, operations),
            Err((error_code, why)) => {
                DescribedGroup { error_code, error_message: reason(&why), ..DescribedGroup::default() }
            }
        };
        groups.push(DescribedGroup { group_id, ..described });
    }
    let response = ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

async fn find<S: Storage>(
    context: &Context<S>,
    group_id: &str,
) -> Result<consumer::GroupDescription, (ErrorCode, String)> {
    if group_id.is_empty() {
        return Err((ErrorCode::INVALID_GROUP_ID, "the group id must not be empty".into()));
    }
    let missing = |why: &str| Err((ErrorCode::GROUP_ID_NOT_FOUND, why.to_owned()));
    match context.groups.describe(group_id).await {
        Ok(Some(GroupDescription::Consumer(group))) => Ok(group),
        Ok(Some(GroupDescription::Classic(_))) => {
            missing(&format!("group {group_id} is not a consumer group"))
        }
        Ok(None) => missing(&format!("there is no group {group_id}")),
        Err(error) => Err((code(context.broker(), "describing a group", &error), error.to_string())),
    }
}

fn describe(group: consumer::GroupDescription, authorized_operations: i32) -> DescribedGroup {
    DescribedGroup {
        group_state: Str::from_static(group.state.name()),
        group_epoch: group.group_epoch.0,
        assignment_epoch: group.assignment_epoch.0,
        assignor_name: Str::from_static(group.assignor.name()),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations,
        ..DescribedGroup::default()
    }
}

fn member(member: MemberDescription) -> Member {
    Member {
        member_id: member.member_id.as_str().into(),
        instance_id: text(member.instance_id.as_ref().map(InstanceId::as_str)),
        rack_id: text(member.rack),
        member_epoch: member.member_epoch.0,
        client_id: Str::from(&*member.client_id),
        client_host: Str::from(&*member.client_host),
        subscribed_topic_names: member.topics.iter().map(|name| Str::from(&**name)).collect(),
        subscribed_topic_regex: text(member.pattern),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: CONSUMER,
        ..Member::default()
    }
}

fn assignment(topics: Vec<DescribedTopic>) -> Assignment {
    let topic = |topic: DescribedTopic| TopicPartitions {
        topic_id: topic.id.0.into(),
        topic_name: Str::from(&*topic.name),
        partitions: topic.partitions.into_iter().map(|partition| partition.0).collect(),
        ..TopicPartitions::default()
    };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect(), ..Assignment::default() }
}
