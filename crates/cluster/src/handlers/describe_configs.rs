//! DescribeConfigs (32), versions 1 to 4: the settings of topics (2), and of brokers (4) those few that a cluster for
//! tests has. Other resources answer INVALID_REQUEST.

use std::collections::HashSet;

use ottla_protocol::{
    ErrorCode, Str,
    messages::describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
        DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};

use super::{Call, Done};
use crate::{
    faults::Asked,
    settings::{self, Kind},
    state::{Refusal, State},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(super) fn asked(request: &DescribeConfigsRequest, _: &State) -> Vec<Asked> {
    let topics = request.resources.iter().filter(|resource| resource.resource_type == TOPIC);
    topics.map(|resource| Asked { topic: resource.resource_name.to_string(), partition: None }).collect()
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: DescribeConfigsRequest,
) -> Done<DescribeConfigsResponse> {
    let describe = |resource: &DescribeConfigsResource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match look(state, call, resource) {
            Ok(configs) => {
                let wanted = |config: &DescribeConfigsResourceResult| {
                    resource.configuration_keys.as_ref().is_none_or(|keys| keys.contains(&config.name))
                };
                result.configs = configs.into_iter().filter(wanted).collect();
            }
            Err(Refusal { code, why }) => {
                result.error_code = code;
                result.error_message = Some(why.into());
            }
        }
        if !request.include_synonyms {
            result.configs.iter_mut().for_each(|config| config.synonyms.clear());
        }
        result
    };
    // Each is answered once, however often it is named: an answer is far longer than what asks for it.
    let mut named = HashSet::new();
    let first = |resource: &&DescribeConfigsResource| {
        named.insert((resource.resource_type, resource.resource_name.clone()))
    };
    let results = request.resources.iter().filter(first).map(describe).collect();
    Done::Answer(DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() })
}

fn look(
    state: &State,
    call: &Call,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    match resource.resource_type {
        TOPIC => {
            let name = &*resource.resource_name;
            if let Some(code) = call.topic_error(name) {
                return Err(Refusal::new(code, "the test asked for this error"));
            }
            let unknown = || Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
            let given = &state.topics.get(name).ok_or_else(unknown)?.configs;
            let describe = |setting: &settings::Setting| {
                let value = settings::value(given, setting.name).to_owned();
                described(setting.name, value, setting.kind, settings::source(given, setting.name))
            };
            Ok(settings::TOPIC.iter().map(describe).collect())
        }
        BROKER if *resource.resource_name == call.node.to_string() => {
            let of_cluster = &state.settings;
            let settings = [
                ("auto.create.topics.enable", of_cluster.auto_create_topics.to_string(), Kind::Boolean),
                ("default.replication.factor", of_cluster.replication_factor.to_string(), Kind::Int),
                ("num.partitions", of_cluster.num_partitions.to_string(), Kind::Int),
                ("socket.request.max.bytes", of_cluster.request_bytes_max.to_string(), Kind::Int),
            ];
            let describe = |(name, value, kind)| DescribeConfigsResourceResult {
                read_only: true,
                ..described(name, value, kind, settings::STATIC_BROKER_CONFIG)
            };
            Ok(settings.into_iter().map(describe).collect())
        }
        BROKER => {
            let why = format!("this is broker {}, and it knows its own settings alone", call.node);
            Err(Refusal::new(ErrorCode::INVALID_REQUEST, why))
        }
        other => {
            let why = format!("resource type {other} is not known: ask for topics (2) or brokers (4)");
            Err(Refusal::new(ErrorCode::INVALID_REQUEST, why))
        }
    }
}

fn described(name: &str, value: String, kind: Kind, source: i8) -> DescribeConfigsResourceResult {
    let value: Str = value.into();
    let synonym = DescribeConfigsSynonym {
        name: name.into(),
        value: Some(value.clone()),
        source,
        ..Default::default()
    };
    DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(value),
        config_source: source,
        synonyms: vec![synonym],
        config_type: kind as i8,
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}
