//! DeleteTopics (20), versions 1 to 6: by name, or by id from version 6 on. Who is asked is as for CreateTopics.

use ottla_protocol::{
    ErrorCode, Str,
    messages::delete_topics::{
        DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
    },
};

use super::{Call, Done, create_topics::check_controller};
use crate::{
    faults::Asked,
    state::{Refusal, State},
};

pub(super) fn asked(request: &DeleteTopicsRequest, state: &State) -> Vec<Asked> {
    let meant = all(request).filter_map(|topic| name(state, &topic));
    meant.map(|topic| Asked { topic, partition: None }).collect()
}

pub(super) fn handle(
    state: &mut State,
    call: &Call,
    request: DeleteTopicsRequest,
) -> Done<DeleteTopicsResponse> {
    let delete = |topic: DeleteTopicState| match delete(state, call, &topic) {
        Ok((name, topic_id)) => {
            DeletableTopicResult { name: Some(name.into()), topic_id, ..DeletableTopicResult::default() }
        }
        Err(refusal) => DeletableTopicResult {
            name: topic.name,
            topic_id: topic.topic_id,
            error_code: refusal.code,
            error_message: Some(refusal.why.into()),
            ..DeletableTopicResult::default()
        },
    };
    let responses = all(&request).map(delete).collect();
    Done::Answer(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
}

/// The topics of a request in any version.
fn all(request: &DeleteTopicsRequest) -> impl Iterator<Item = DeleteTopicState> + '_ {
    let by_name = |name: &Str| DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() };
    request.topics.iter().cloned().chain(request.topic_names.iter().map(by_name))
}

/// The name of the topic that is meant, if it can be known.
fn name(state: &State, topic: &DeleteTopicState) -> Option<String> {
    match &topic.name {
        Some(name) => Some(name.to_string()),
        None => state.name_of(topic.topic_id).cloned(),
    }
}

fn delete(
    state: &mut State,
    call: &Call,
    asked: &DeleteTopicState,
) -> Result<(String, ottla_protocol::Uuid), Refusal> {
    if asked.name.is_some() != asked.topic_id.is_zero() {
        let why = "a topic is deleted by its name or by its id, and by one of them alone";
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    }
    let by_id = asked.name.is_none();
    let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let unknown = || Refusal::new(unknown, "there is no such topic");
    let name = name(state, asked).ok_or_else(unknown)?;
    let topic = call.on_topic(&name, || {
        check_controller(state, call)?;
        state.topics.remove(&name).ok_or_else(unknown)
    })?;
    Ok((name, topic.id))
}
