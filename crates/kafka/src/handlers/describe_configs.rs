//! DescribeConfigs (32), versions 1 to 4: the settings of topics, with their sources, synonyms and
//! documentation. Other resources answer INVALID_REQUEST.

use std::collections::HashSet;

use ottla_engine::settings::{Described, Kind, Source, describe_topic};
use ottla_protocol::{
    ErrorCode, Str,
    messages::describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
        DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};
use ottla_storage::Storage;

use crate::{
    context::{Call, Context},
    reply::{Reply, RequestError, frame},
};

const TOPIC: i8 = 2;

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: &DescribeConfigsRequest,
) -> Result<Reply, RequestError> {
    let describe = |resource: &DescribeConfigsResource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match look(context, request, resource) {
            Ok(configs) => result.configs = configs,
            Err((code, why)) => {
                result.error_code = code;
                result.error_message = Some(why.into());
            }
        }
        result
    };
    // Each is answered once, however often it is named: an answer is far longer than what asks for it.
    let mut named = HashSet::new();
    let resources =
        request.resources.iter().filter(|it| named.insert((it.resource_type, &*it.resource_name)));
    let results = resources.map(describe).collect();
    let response = DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() };
    Ok(Reply::Now(frame(call.correlation_id, call.version, &response)?))
}

fn look<S: Storage>(
    context: &Context<S>,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, &'static str)> {
    if resource.resource_type != TOPIC {
        return Err((
            ErrorCode::INVALID_REQUEST,
            "only the settings of topics can be described by this broker",
        ));
    }
    let topics = context.broker().topics();
    let Some(topic) = topics.named(&resource.resource_name) else {
        return Err(match ottla_engine::validate(&resource.resource_name) {
            Ok(()) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic"),
            Err(_) => (ErrorCode::INVALID_TOPIC_EXCEPTION, "no topic can have this name"),
        });
    };
    let wanted = |name: &str| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| &**key == name))
    };
    let settings = describe_topic(&topic.given, context.broker().settings());
    Ok(settings.filter(|setting| wanted(setting.name)).map(|setting| entry(request, setting)).collect())
}

fn entry(request: &DescribeConfigsRequest, setting: Described) -> DescribeConfigsResourceResult {
    let synonyms = setting.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Str::from),
        source: source_id(synonym.source),
        ..DescribeConfigsSynonym::default()
    });
    DescribeConfigsResourceResult {
        name: setting.name.into(),
        value: setting.value.map(Str::from),
        read_only: setting.read_only,
        config_source: source_id(setting.source),
        is_sensitive: setting.sensitive,
        synonyms: if request.include_synonyms { synonyms.collect() } else { Vec::new() },
        config_type: kind_id(setting.kind),
        documentation: request.include_documentation.then(|| setting.documentation.into()),
        ..DescribeConfigsResourceResult::default()
    }
}

/// Kafka's number for where a value comes from.
pub(crate) fn source_id(source: Source) -> i8 {
    match source {
        Source::DynamicTopicConfig => 1,
        Source::StaticBrokerConfig => 4,
        Source::DefaultConfig => 5,
    }
}

/// Kafka's number for the type of a setting.
fn kind_id(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long | Kind::Size => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
