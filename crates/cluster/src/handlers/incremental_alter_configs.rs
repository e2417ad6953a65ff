//! IncrementalAlterConfigs (44), versions 0 and 1: changes what is given for topics, and for brokers while they run, setting
//! by setting (KIP-339).

use ottla_protocol::{
    ErrorCode,
    messages::incremental_alter_configs::{
        AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse,
    },
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

/// Kafka's numbers for the changes of a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn asked(request: &IncrementalAlterConfigsRequest, _: &State) -> Vec<Asked> {
    resources::topics(request.resources.iter().map(named))
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> Done<IncrementalAlterConfigsResponse> {
    let IncrementalAlterConfigsRequest { resources, validate_only, .. } = &request;
    let altered = resources::alter(state, call, resources, named, *validate_only, change);
    let response =
        |(resource, (error_code, error_message)): (&AlterConfigsResource, _)| AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        };
    let responses = resources.iter().zip(altered).map(response).collect();
    Done::Answer(IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() })
}

fn named(resource: &AlterConfigsResource) -> Named<'_> {
    (resource.resource_type, &resource.resource_name)
}

fn change(resource: &AlterConfigsResource, table: &Table, given: &mut Given) -> Result<(), Refusal> {
    let lacks_value = |config: &AlterableConfig| config.value.is_none() && config.config_operation != DELETE;
    resources::check_named(resource.configs.iter().map(|config| (&config.name, lacks_value(config))))?;
    for config in &resource.configs {
        let value = config.value.as_deref().unwrap_or_default();
        let change = match config.config_operation {
            SET => Change::Set(value),
            DELETE => Change::Delete,
            APPEND => Change::Append(value),
            SUBTRACT => Change::Subtract(value),
            other => {
                let why = format!("{other} is no change of a setting: they are 0 to 3");
                return Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
            }
        };
        table.change(given, &config.name, change)?;
    }
    Ok(())
}
