//! AlterConfigs (33), versions 0 to 2: replaces all that is given for topics, and for brokers while they run (KIP-133).
//! What is not named has its default again.

use ottla_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::{
    Call, Done,
    resources::{self, Named},
};
use crate::{
    faults::Asked,
    settings::{Change, Given, Table},
    state::{Refusal, State},
};

pub(super) fn asked(request: &AlterConfigsRequest, _: &State) -> Vec<Asked> {
    resources::topics(request.resources.iter().map(named))
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: AlterConfigsRequest,
) -> Done<AlterConfigsResponse> {
    let AlterConfigsRequest { resources, validate_only, .. } = &request;
    let altered = resources::alter(state, call, resources, named, *validate_only, replace);
    let response =
        |(resource, (error_code, error_message)): (&AlterConfigsResource, _)| AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        };
    let responses = resources.iter().zip(altered).map(response).collect();
    Done::Answer(AlterConfigsResponse { responses, ..AlterConfigsResponse::default() })
}

fn named(resource: &AlterConfigsResource) -> Named<'_> {
    (resource.resource_type, &resource.resource_name)
}

fn replace(resource: &AlterConfigsResource, table: &Table, given: &mut Given) -> Result<(), Refusal> {
    resources::check_named(resource.configs.iter().map(|config| (&config.name, config.value.is_none())))?;
    given.clear();
    for config in &resource.configs {
        table.change(given, &config.name, Change::Set(config.value.as_deref().unwrap_or_default()))?;
    }
    Ok(())
}
