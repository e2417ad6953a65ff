//! DescribeConfigs (32), versions 1 to 4: the settings of topics (2), and of brokers (4) those few that a cluster for
//! tests has; of all brokers together (a broker without a name) those that were given while they ran. Other resources
//! answer INVALID_REQUEST.

use std::collections::HashSet;

use ottla_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::{
    Call, Done,
    resources::{self, Named, Resource},
};
use crate::{
    faults::Asked,
    settings::{self, Kind, Setting, Source},
    state::{Refusal, State},
};

pub(super) fn asked(request: &DescribeConfigsRequest, _: &State) -> Vec<Asked> {
    resources::topics(request.resources.iter().map(named))
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
        match resources::with(state, call, named(resource), |state, found| Ok(look(state, call, found))) {
            Ok(configs) => {
                let wanted = |config: &DescribeConfigsResourceResult| {
                    let keys = resource.configuration_keys.as_ref();
                    keys.is_none_or(|keys| keys.is_empty() || keys.contains(&config.name))
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

fn named(resource: &DescribeConfigsResource) -> Named<'_> {
    (resource.resource_type, &resource.resource_name)
}

fn look(state: &State, call: &Call, resource: Resource<'_>) -> Vec<DescribeConfigsResourceResult> {
    let settings = resource.table().settings.iter();
    match resource {
        Resource::Topic(name) => {
            let given = &state.topics[name].configs;
            let describe = |setting: &Setting| {
                let (value, source) =
                    (settings::value(given, setting.name), settings::source(given, setting.name));
                described(setting.name, setting.kind, &[(value, source)])
            };
            settings.map(describe).collect()
        }
        Resource::Broker => {
            let describe = |setting: &Setting| {
                let of_node = state.node(call.node).and_then(|node| node.configs.get(setting.name));
                let of_all = state.default_configs.get(setting.name);
                let given = [
                    of_node.map(|value| (&**value, Source::DynamicBroker)),
                    of_all.map(|value| (&**value, Source::DynamicDefaultBroker)),
                    Some((setting.default, Source::Default)),
                ];
                described(setting.name, setting.kind, &given.into_iter().flatten().collect::<Vec<_>>())
            };
            let mut all: Vec<_> = settings.map(describe).chain(fixed(state)).collect();
            all.sort_by(|one, other| one.name.cmp(&other.name));
            all
        }
        Resource::AllBrokers => {
            let describe = |setting: &Setting| {
                let value = state.default_configs.get(setting.name)?;
                Some(described(setting.name, setting.kind, &[(value, Source::DynamicDefaultBroker)]))
            };
            settings.filter_map(describe).collect()
        }
    }
}

/// What a broker is started with.
fn fixed(state: &State) -> impl Iterator<Item = DescribeConfigsResourceResult> {
    let of_cluster = &state.settings;
    let settings = [
        ("auto.create.topics.enable", of_cluster.auto_create_topics.to_string(), Kind::Boolean),
        ("default.replication.factor", of_cluster.replication_factor.to_string(), Kind::Int),
        ("num.partitions", of_cluster.num_partitions.to_string(), Kind::Int),
        ("socket.request.max.bytes", of_cluster.request_bytes_max.to_string(), Kind::Int),
    ];
    settings.into_iter().map(|(name, value, kind)| DescribeConfigsResourceResult {
        read_only: true,
        ..described(name, kind, &[(&value, Source::StaticBroker)])
    })
}

/// A setting with the values that it could have, of which the first one holds.
fn described(name: &str, kind: Kind, values: &[(&str, Source)]) -> DescribeConfigsResourceResult {
    let is_sensitive = kind == Kind::Password;
    let told = |value: &str| (!is_sensitive).then(|| value.into());
    let synonym = |(value, source): &(&str, Source)| DescribeConfigsSynonym {
        name: name.into(),
        value: told(value),
        source: *source as i8,
        ..DescribeConfigsSynonym::default()
    };
    let (value, source) = values[0];
    DescribeConfigsResourceResult {
        name: name.into(),
        value: told(value),
        config_source: source as i8,
        is_sensitive,
        synonyms: values.iter().map(synonym).collect(),
        config_type: kind as i8,
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}
