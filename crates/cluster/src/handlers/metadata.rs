//! Metadata (3), versions 0 to 13: the nodes that are alive, and topics with their leaders. Topics may be asked for by
//! id from version 12 on. A topic that is created by this call is there with the next one, as in Kafka.

use std::collections::HashSet;

use ottla_protocol::{
    ErrorCode, Str,
    messages::metadata::{
        MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
        MetadataResponsePartition, MetadataResponseTopic,
    },
};

use super::{Call, Done};
use crate::{
    faults::Asked,
    state::{NewTopic, Node, Partition, State, check_name},
    versions::KafkaVersion,
};

/// The first version in which a topic may be asked for by its id.
const BY_ID_FROM: i16 = 12;

pub(super) fn asked(request: &MetadataRequest, state: &State) -> Vec<Asked> {
    let names: Vec<String> = match &request.topics {
        None => state.topics.keys().cloned().collect(),
        Some(topics) => topics.iter().filter_map(|asked| name(state, asked)).collect(),
    };
    names.into_iter().map(|topic| Asked { topic, partition: None }).collect()
}

pub(super) fn handle(state: &mut State, call: &Call, request: MetadataRequest) -> Done<MetadataResponse> {
    // Before version 1, no topics meant all of them.
    let asked = request.topics.filter(|topics| call.version > 0 || !topics.is_empty());
    let topics = match asked {
        None => {
            let names: Vec<String> = state.topics.keys().cloned().collect();
            names.iter().map(|name| describe(state, call, name)).collect()
        }
        Some(topics) => {
            // Each is answered once, however often it is named: an answer is far longer than what asks for it.
            let mut named = HashSet::new();
            let topics =
                topics.into_iter().filter(|asked| named.insert((asked.name.clone(), asked.topic_id)));
            topics.map(|asked| topic(state, call, asked, request.allow_auto_topic_creation)).collect()
        }
    };
    let broker = |node: &Node| {
        let (host, port) = node.endpoint();
        MetadataResponseBroker { node_id: node.id, host, port, ..MetadataResponseBroker::default() }
    };
    Done::Answer(MetadataResponse {
        brokers: state.live_nodes().map(broker).collect(),
        cluster_id: Some(state.cluster_id.as_str().into()),
        controller_id: state.controller().unwrap_or(-1),
        topics,
        error_code: call.error().filter(|code| *code == ErrorCode::REBOOTSTRAP_REQUIRED).unwrap_or_default(),
        ..MetadataResponse::default()
    })
}

fn name(state: &State, asked: &MetadataRequestTopic) -> Option<String> {
    match &asked.name {
        Some(name) if asked.topic_id.is_zero() => Some(name.to_string()),
        _ => state.name_of(asked.topic_id).cloned(),
    }
}

fn topic(
    state: &mut State,
    call: &Call,
    asked: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let by_id = asked.name.is_none() || !asked.topic_id.is_zero();
    let found = match name(state, &asked) {
        _ if by_id && call.version < BY_ID_FROM => Err(ErrorCode::INVALID_REQUEST),
        None => Err(ErrorCode::UNKNOWN_TOPIC_ID),
        Some(name) if state.topics.contains_key(&name) => Ok(name),
        Some(name) => call.on_topic(&name, || Err(missing(state, call, &name, may_create))),
    };
    match found {
        Ok(name) => describe(state, call, &name),
        Err(error_code) => MetadataResponseTopic {
            error_code,
            // A name cannot be null in the answer either.
            name: if call.version < BY_ID_FROM { asked.name.or(Some(Str::EMPTY)) } else { asked.name },
            topic_id: asked.topic_id,
            ..MetadataResponseTopic::default()
        },
    }
}

/// Creates a topic that is not there if that is allowed. Kafka does it by and by, so that it is not there yet.
fn missing(state: &mut State, call: &Call, name: &str, may_create: bool) -> ErrorCode {
    if let Err(refusal) = check_name(name) {
        return refusal.code;
    }
    if !may_create || !state.settings.auto_create_topics {
        return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    }
    if let Err(refusal) = state.create(&NewTopic { name: name.into(), ..NewTopic::default() }) {
        return refusal.code;
    }
    match state.node(call.node) {
        Some(node) if node.version < KafkaVersion::V3_9 => ErrorCode::LEADER_NOT_AVAILABLE,
        // Since there is no ZooKeeper, a topic that comes is like one that is not there.
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

fn describe(state: &State, call: &Call, name: &str) -> MetadataResponseTopic {
    let topic = &state.topics[name];
    let answer = MetadataResponseTopic {
        name: Some(name.into()),
        topic_id: topic.id,
        ..MetadataResponseTopic::default()
    };
    let failed = call.topic_error(name).filter(|code| *code != ErrorCode::REBOOTSTRAP_REQUIRED);
    if let Some(error_code) = failed {
        return MetadataResponseTopic { error_code, ..answer };
    }
    let live = |id: &i32| state.live_nodes().any(|node| node.id == *id);
    let partition = |(index, partition): (usize, &Partition)| {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        let (isr_nodes, offline_replicas) = partition.replicas.iter().copied().partition(live);
        let leaderless = partition.leader.is_none().then_some(ErrorCode::LEADER_NOT_AVAILABLE);
        let failed =
            call.partition_error(name, index).filter(|code| *code != ErrorCode::REBOOTSTRAP_REQUIRED);
        MetadataResponsePartition {
            error_code: failed.or(leaderless).unwrap_or_default(),
            partition_index: index,
            leader_id: partition.leader.unwrap_or(-1),
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes,
            offline_replicas,
            ..MetadataResponsePartition::default()
        }
    };
    MetadataResponseTopic {
        partitions: topic.partitions.iter().enumerate().map(partition).collect(),
        ..answer
    }
}
