//! CreateTopics (19), versions 2 to 7. A topic that is acknowledged can be written to at once. Nodes that stand for a
//! Kafka with ZooKeeper answer NOT_CONTROLLER where they are not the controller; newer ones pass requests on to it.

use std::collections::HashMap;

use ottla_protocol::{
    ErrorCode, Str,
    messages::create_topics::{
        CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
        CreateTopicsResponse,
    },
};

use super::{Call, Done};
use crate::{
    faults::Asked,
    settings,
    state::{NewTopic, Refusal, State, Topic},
    versions::KafkaVersion,
};

/// How many topics a request creates at most: their settings are far longer than what asks for them.
const TOPICS_MAX: usize = 1000;
const TOO_MANY: &str = "a request creates at most 1000 topics here: send several requests";

pub(super) fn asked(request: &CreateTopicsRequest, _: &State) -> Vec<Asked> {
    request.topics.iter().map(|topic| Asked { topic: topic.name.to_string(), partition: None }).collect()
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: CreateTopicsRequest,
) -> Done<CreateTopicsResponse> {
    let mut times: HashMap<Str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let too_many = times.len() > TOPICS_MAX;
    let mut topics = Vec::with_capacity(times.len());
    for topic in &request.topics {
        // A name that is there several times is answered at the first.
        let created = match times.remove(&topic.name) {
            None => continue,
            _ if too_many => Err(Refusal::new(ErrorCode::POLICY_VIOLATION, TOO_MANY)),
            Some(1) => call.on_topic(&topic.name, || create(state, call, topic, request.validate_only)),
            Some(_) => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "the topic is named more than once")),
        };
        topics.push(created.unwrap_or_else(|refusal| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: refusal.code,
            error_message: Some(refusal.why.into()),
            ..CreatableTopicResult::default()
        }));
    }
    Done::Answer(CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
}

/// Refuses where only the controller does what is asked, and the node is not it.
pub(super) fn check_controller(state: &State, call: &Call) -> Result<(), Refusal> {
    let with_zookeeper = state.node(call.node).is_some_and(|node| node.version < KafkaVersion::V3_9);
    if with_zookeeper && state.controller() != Some(call.node) {
        return Err(Refusal::new(ErrorCode::NOT_CONTROLLER, "another broker is the controller"));
    }
    Ok(())
}

fn create(
    state: &mut State,
    call: &Call,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    check_controller(state, call)?;
    let new = new_topic(state, asked)?;
    if validate_only {
        let topic = state.plan(&new)?;
        return Ok(CreatableTopicResult { topic_id: Default::default(), ..result(asked, &topic) });
    }
    state.create(&new).map(|topic| result(asked, topic))
}

fn new_topic(state: &State, asked: &CreatableTopic) -> Result<NewTopic, Refusal> {
    let mut configs = settings::Given::new();
    for config in &asked.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            Refusal::new(ErrorCode::INVALID_CONFIG, format!("the setting '{}' has no value", config.name))
        })?;
        configs.insert(config.name.to_string(), value.to_string());
    }
    let assignments = assignments(state, asked)?;
    Ok(NewTopic {
        name: asked.name.to_string(),
        partitions: (asked.num_partitions != -1).then_some(asked.num_partitions),
        replication_factor: (asked.replication_factor != -1).then_some(asked.replication_factor),
        configs,
        assignments,
    })
}

fn assignments(state: &State, asked: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    if !asked.assignments.is_empty() && (asked.num_partitions != -1 || asked.replication_factor != -1) {
        let why = "with an assignment of replicas, partitions and replication factor must be -1";
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    }
    let mut sorted: Vec<_> = asked.assignments.iter().collect();
    sorted.sort_unstable_by_key(|assignment| assignment.partition_index);
    let dense = sorted.iter().zip(0..).all(|(assignment, index)| assignment.partition_index == index);
    if !dense || !sorted.iter().all(|assignment| state.can_be_replicas(&assignment.broker_ids)) {
        let why = "an assignment names each partition from 0 on once, and brokers that are there";
        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    }
    Ok(sorted.into_iter().map(|assignment| assignment.broker_ids.clone()).collect())
}

fn result(asked: &CreatableTopic, topic: &Topic) -> CreatableTopicResult {
    let config = |setting: &settings::Setting| CreatableTopicConfigs {
        name: setting.name.into(),
        value: Some(settings::value(&topic.configs, setting.name).into()),
        config_source: settings::source(&topic.configs, setting.name) as i8,
        ..CreatableTopicConfigs::default()
    };
    CreatableTopicResult {
        name: asked.name.clone(),
        topic_id: topic.id,
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topic.partitions.first().map_or(-1, |partition| partition.replicas.len() as i16),
        configs: Some(settings::TOPIC.settings.iter().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}
