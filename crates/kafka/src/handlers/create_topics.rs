//! CreateTopics (19), versions 2 to 7. A topic that is acknowledged can be written to at once. The replication
//! factor in the answer is the one that holds: 1, the number of brokers.

use std::collections::HashMap;

use ottla_engine::{CreateError, TopicRequest, settings::describe_topic};
use ottla_protocol::{
    EncodeError, ErrorCode, Str, Uuid,
    messages::create_topics::{
        CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
        CreateTopicsResponse,
    },
};
use ottla_storage::Storage;

use super::describe_configs::source_id;
use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame},
};

/// Most partitions that one request may create, as in Kafka.
const REQUEST_PARTITIONS_MAX: u64 = 10_000;
const TOO_MANY_PARTITIONS: &str = "a request creates at most 10000 partitions: send several requests";

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: CreateTopicsRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: CreateTopicsRequest,
) -> Result<Frame, EncodeError> {
    let mut times: HashMap<Str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let too_many = partitions(&context, &request) > REQUEST_PARTITIONS_MAX;
    let mut topics: Vec<CreatableTopicResult> = Vec::with_capacity(times.len());
    for topic in &request.topics {
        // A name that is there several times is answered at the first.
        let times = times.remove(&topic.name).unwrap_or_default();
        topics.push(match times {
            0 => continue,
            _ if too_many => failed(topic, ErrorCode::POLICY_VIOLATION, TOO_MANY_PARTITIONS),
            1 => create(&context, topic, request.validate_only).await,
            _ => failed(topic, ErrorCode::INVALID_REQUEST, "the topic is named more than once"),
        });
    }
    let response = CreateTopicsResponse { topics, ..CreateTopicsResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

/// How many partitions the topics of a request have together; each topic counts as one at least.
fn partitions<S: Storage>(context: &Context<S>, request: &CreateTopicsRequest) -> u64 {
    let default = context.broker().settings().num_partitions;
    let of = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len() as u64,
        -1 => default.into(),
        given => u64::try_from(given).unwrap_or(0).max(1),
    };
    request.topics.iter().map(of).sum()
}

async fn create<S: Storage>(
    context: &Context<S>,
    topic: &CreatableTopic,
    validate_only: bool,
) -> CreatableTopicResult {
    let request = match domain_request(context, topic) {
        Ok(request) => request,
        Err((code, why)) => return failed(topic, code, why),
    };
    let broker = context.broker();
    let created: Result<_, CreateError> = if validate_only {
        broker
            .check_create(&request)
            .map(|(partitions, settings)| (Uuid::default(), partitions as usize, settings))
    } else {
        let created = broker.create(&request).await;
        created.map(|topic| (topic.id.0.into(), topic.partitions.len(), topic.given.clone()))
    };
    match created {
        Ok((topic_id, partitions, settings)) => CreatableTopicResult {
            name: topic.name.clone(),
            topic_id,
            num_partitions: partitions as i32,
            replication_factor: 1,
            configs: Some(
                describe_topic(&settings, broker.settings())
                    .map(|described| CreatableTopicConfigs {
                        name: described.name.into(),
                        value: described.value.map(Str::from),
                        read_only: described.read_only,
                        config_source: source_id(described.source),
                        is_sensitive: described.sensitive,
                        ..CreatableTopicConfigs::default()
                    })
                    .collect(),
            ),
            ..CreatableTopicResult::default()
        },
        Err(error) => failed(topic, errors::create(&error), &error.to_string()),
    }
}

fn domain_request<S: Storage>(
    context: &Context<S>,
    topic: &CreatableTopic,
) -> Result<TopicRequest, (ErrorCode, &'static str)> {
    let settings = topic
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)))
        .collect();
    let name = topic.name.to_string();
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let why = "with an assignment of replicas, partitions and replication factor must be -1";
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
        let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
        indexes.sort_unstable();
        let dense = indexes.iter().enumerate().all(|(i, index)| i as i32 == *index);
        let ours = topic.assignments.iter().all(|a| a.broker_ids == [context.identity.node_id]);
        if !dense || !ours {
            let why = "an assignment names each partition from 0 on once, and this broker alone";
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
        }
        let partitions = i32::try_from(indexes.len()).ok();
        return Ok(TopicRequest { name, partitions, replication_factor: Some(1), settings });
    }
    let partitions = (topic.num_partitions != -1).then_some(topic.num_partitions);
    let replication_factor = (topic.replication_factor != -1).then_some(topic.replication_factor);
    Ok(TopicRequest { name, partitions, replication_factor, settings })
}

fn failed(topic: &CreatableTopic, error_code: ErrorCode, why: &str) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code,
        error_message: Some(why.into()),
        ..CreatableTopicResult::default()
    }
}
