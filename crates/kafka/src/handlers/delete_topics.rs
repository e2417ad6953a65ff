//! DeleteTopics (20), versions 1 to 6: by name, or by id from version 6 on.

use ottla_protocol::{
    EncodeError, ErrorCode, Str,
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
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        responses.push(delete(&context, topic).await);
    }
    let response = DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

async fn delete<S: Storage>(context: &Context<S>, asked: DeleteTopicState) -> DeletableTopicResult {
    let topics = context.broker().topics();
    let (topic, unknown) = match &asked.name {
        Some(name) => (topics.named(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        None => (topics.with_id(TopicId(asked.topic_id.into())), ErrorCode::UNKNOWN_TOPIC_ID),
    };
    let mut result = DeletableTopicResult {
        name: asked.name,
        topic_id: asked.topic_id,
        ..DeletableTopicResult::default()
    };
    let Some(topic) = topic else {
        result.error_code = unknown;
        result.error_message = Some("there is no such topic".into());
        return result;
    };
    result.name = Some(topic.name.as_str().into());
    result.topic_id = topic.id.0.into();
    if let Err(error) = context.broker().delete(topic.id).await {
        result.error_code = errors::delete(&error);
        result.error_message = Some(error.to_string().into());
    }
    result
}
