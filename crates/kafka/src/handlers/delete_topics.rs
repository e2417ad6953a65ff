//! DeleteTopics (20), versions 1 to 6: by name, or by id from version 6 on.

use std::collections::HashMap;

use ottla_engine::{DeleteError, Topics};
use ottla_protocol::{
    EncodeError, ErrorCode, Str, Uuid,
    messages::delete_topics::{
        DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
    },
};
use ottla_records::TopicId;
use ottla_storage::Storage;

use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame},
};

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: DeleteTopicsRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: DeleteTopicsRequest,
) -> Result<Frame, EncodeError> {
    let by_name = |name: Str| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() };
    let asked: Vec<_> =
        request.topics.into_iter().chain(request.topic_names.into_iter().map(by_name)).collect();
    let topics = context.broker().topics();
    let mut times: HashMap<_, usize> = HashMap::new();
    for topic in &asked {
        *times.entry(meant(&topics, topic)).or_default() += 1;
    }
    let mut responses = Vec::with_capacity(times.len());
    for topic in asked {
        // A topic that is there several times is answered at the first.
        let times = times.remove(&meant(&topics, &topic)).unwrap_or_default();
        let deleted = match times {
            0 => continue,
            1 => delete(&context, call, &topic).await,
            _ => Err((ErrorCode::INVALID_REQUEST, "the topic is named more than once".into())),
        };
        responses.push(result(topic, deleted));
    }
    let response = DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

/// Which topic is meant: one name and one id may be the same one.
fn meant<S: Storage>(topics: &Topics<S>, asked: &DeleteTopicState) -> (Option<Str>, Uuid) {
    let by_name = asked.name.as_ref().filter(|_| asked.topic_id.is_zero());
    match by_name.and_then(|name| topics.named(name)) {
        Some(topic) => (None, topic.id.0.into()),
        None => (asked.name.clone(), asked.topic_id),
    }
}

/// Deletes a topic, and returns its name and id.
async fn delete<S: Storage>(
    context: &Context<S>,
    call: Call,
    asked: &DeleteTopicState,
) -> Result<(Str, Uuid), (ErrorCode, String)> {
    let broker = context.broker();
    if !broker.settings().delete_topics {
        let error = DeleteError::SwitchedOff;
        // Clients of older versions do not know the error that says so.
        let code = if call.version < 3 { ErrorCode::INVALID_REQUEST } else { errors::delete(&error) };
        return Err((code, error.to_string()));
    }
    let topics = broker.topics();
    let (topic, unknown) = match &asked.name {
        Some(_) if !asked.topic_id.is_zero() => {
            let why = "a topic is deleted by name or by id, not by both";
            return Err((ErrorCode::INVALID_REQUEST, why.into()));
        }
        Some(name) => (topics.named(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        None if asked.topic_id.is_zero() => {
            return Err((ErrorCode::INVALID_REQUEST, "neither a name nor an id is given".into()));
        }
        None => (topics.with_id(TopicId(asked.topic_id.into())), ErrorCode::UNKNOWN_TOPIC_ID),
    };
    let topic = topic.ok_or_else(|| (unknown, DeleteError::Unknown.to_string()))?;
    match broker.delete(topic.id).await {
        Ok(()) => Ok(((&*topic.name).into(), topic.id.0.into())),
        // Another client was faster.
        Err(error @ DeleteError::Unknown) => Err((unknown, error.to_string())),
        Err(error) => Err((errors::delete(&error), error.to_string())),
    }
}

fn result(
    asked: DeleteTopicState,
    deleted: Result<(Str, Uuid), (ErrorCode, String)>,
) -> DeletableTopicResult {
    match deleted {
        Ok((name, topic_id)) => {
            DeletableTopicResult { name: Some(name), topic_id, ..DeletableTopicResult::default() }
        }
        Err((error_code, why)) => DeletableTopicResult {
            name: asked.name,
            topic_id: asked.topic_id,
            error_code,
            error_message: Some(why.into()),
            ..DeletableTopicResult::default()
        },
    }
}
