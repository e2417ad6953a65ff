//! CreatePartitions (37), versions 0 to 3: topics grow to a count of partitions, with replicas that are chosen or told
//! (KIP-195). Who is asked is as for CreateTopics.

use std::collections::HashMap;

use ottla_protocol::{
    ErrorCode, Str,
    messages::create_partitions::{
        CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
    },
};

use super::{Call, Done, create_topics::check_controller};
use crate::{
    faults::Asked,
    state::{Refusal, State},
};

pub(super) fn asked(request: &CreatePartitionsRequest, _: &State) -> Vec<Asked> {
    request.topics.iter().map(|topic| Asked { topic: topic.name.to_string(), partition: None }).collect()
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: CreatePartitionsRequest,
) -> Done<CreatePartitionsResponse> {
    let mut times: HashMap<Str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(times.len());
    for topic in &request.topics {
        // A name that is there several times is answered at the first.
        let grown = match times.remove(&topic.name) {
            None => continue,
            Some(1) => call.on_topic(&topic.name, || grow(state, call, topic, request.validate_only)),
            Some(_) => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "the topic is named more than once")),
        };
        let result = CreatePartitionsTopicResult { name: topic.name.clone(), ..Default::default() };
        results.push(match grown {
            Ok(()) => result,
            Err(Refusal { code, why }) => {
                CreatePartitionsTopicResult { error_code: code, error_message: Some(why.into()), ..result }
            }
        });
    }
    Done::Answer(CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() })
}

fn grow(
    state: &mut State,
    call: &Call,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_controller(state, call)?;
    let assignments = asked.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|assignment| assignment.broker_ids.clone()).collect::<Vec<_>>()
    });
    let new = state.plan_growth(&asked.name, asked.count, assignments)?;
    if !validate_only {
        state.grow(&asked.name, new);
    }
    Ok(())
}
