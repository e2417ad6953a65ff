//! Metadata (3), versions 0 to 13: this broker, and the topics there are. Topics may be asked for by id from
//! version 12 on: versions 10 and 11 have the field, and Kafka refuses its use. A topic that is created by this
//! call is ready in its answer.

use std::{collections::HashSet, sync::Arc};

use ottla_engine::{CreateError, Topic};
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::metadata::{
        MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
        MetadataResponsePartition, MetadataResponseTopic,
    },
};
use ottla_records::TopicId;
use ottla_storage::Storage;

use super::{CLUSTER_OPERATIONS, OPERATIONS_UNKNOWN, TOPIC_OPERATIONS};
use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame},
};

/// The first version in which a topic may be asked for by its id.
const BY_ID_FROM: i16 = 12;

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: MetadataRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: MetadataRequest,
) -> Result<Frame, EncodeError> {
    let operations =
        if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_UNKNOWN };
    // Before version 1, no topics meant all of them.
    let all = request.topics.as_ref().is_none_or(|topics| call.version == 0 && topics.is_empty());
    let mut topics = Vec::new();
    if all {
        topics.extend(context.broker().topics().all().map(|topic| describe(&context, topic, operations)));
    }
    // Each is answered once, however often it is named: an answer is far longer than what asks for it.
    let mut named = HashSet::new();
    for asked in request.topics.unwrap_or_default() {
        if !named.insert((asked.name.clone(), asked.topic_id)) {
            continue;
        }
        let found = if call.version < BY_ID_FROM && (asked.name.is_none() || !asked.topic_id.is_zero()) {
            Err(ErrorCode::INVALID_REQUEST)
        } else {
            find(&context, &asked, request.allow_auto_topic_creation).await
        };
        topics.push(match found {
            Ok(topic) => describe(&context, &topic, operations),
            Err(error_code) => MetadataResponseTopic {
                error_code,
                // A name cannot be null in the answer either.
                name: if call.version < BY_ID_FROM { asked.name.or(Some(Str::EMPTY)) } else { asked.name },
                topic_id: asked.topic_id,
                topic_authorized_operations: OPERATIONS_UNKNOWN,
                ..MetadataResponseTopic::default()
            },
        });
    }
    let (host, port) = context.advertised();
    let node_id = context.identity.node_id;
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id, host, port, ..MetadataResponseBroker::default() }],
        cluster_id: Some(context.broker().cluster_id().into()),
        controller_id: node_id,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNKNOWN
        },
        ..MetadataResponse::default()
    };
    frame(call.correlation_id, call.version, &response)
}

async fn find<S: Storage>(
    context: &Context<S>,
    asked: &MetadataRequestTopic,
    may_create: bool,
) -> Result<Arc<Topic<S>>, ErrorCode> {
    let broker = context.broker();
    let name = match &asked.name {
        Some(name) if asked.topic_id.is_zero() => name,
        _ => {
            let id = TopicId(asked.topic_id.into());
            return broker.topics().with_id(id).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_ID);
        }
    };
    if let Some(topic) = broker.topics().named(name) {
        return Ok(topic.clone());
    }
    if !may_create || !broker.settings().auto_create_topics {
        return Err(match ottla_engine::validate(name) {
            Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        });
    }
    broker.get_or_create(name).await.map_err(|error| {
        // The client's own mistakes are for the client to hear of, the rest has no room in the answer.
        if !matches!(error, CreateError::Name(_) | CreateError::Collision(..)) {
            broker.notices().failed("creating a topic that was asked for", &error);
        }
        errors::create(&error)
    })
}

fn describe<S: Storage>(context: &Context<S>, topic: &Topic<S>, operations: i32) -> MetadataResponseTopic {
    let node = context.identity.node_id;
    let leader_epoch = context.broker().leader_epoch().0;
    let partition = |partition_index: usize| MetadataResponsePartition {
        partition_index: partition_index as i32,
        leader_id: node,
        leader_epoch,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        ..MetadataResponsePartition::default()
    };
    MetadataResponseTopic {
        name: Some(Str::from(&*topic.name)),
        topic_id: topic.id.0.into(),
        partitions: (0..topic.partitions.len()).map(partition).collect(),
        topic_authorized_operations: operations,
        ..MetadataResponseTopic::default()
    }
}
