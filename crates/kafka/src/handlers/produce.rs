//! Produce (0), versions 3 to 13: appends one record batch for each partition. Topics are named by id from
//! version 13 on. Answered once all of it is durable; with acks=0 not at all. Transactions are not there.

use std::sync::Arc;

use ottla_engine::Topic;
use ottla_protocol::{
    EncodeError, ErrorCode, Records, Str, Uuid,
    messages::produce::{
        PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
    },
};
use ottla_records::TopicId;
use ottla_storage::{AppendError, Appended, Storage, Ticket};

use crate::{
    context::{Call, Context},
    dispatch::RequestError,
    errors,
    reply::{Frame, Reply, frame},
};

/// What has become of a partition's batch so far.
enum Outcome {
    Refused(ErrorCode, String),
    Waiting(Ticket),
}

/// A topic whose batches were started. Nothing of the request's bytes is kept for it.
struct Started {
    name: Str,
    topic_id: Uuid,
    outcomes: Vec<(i32, Outcome)>,
}

pub(crate) fn handle<S: Storage>(
    context: &Context<S>,
    call: Call,
    request: ProduceRequest,
) -> Result<Reply, RequestError> {
    let refusal = if request.transactional_id.is_some() {
        Some((ErrorCode::INVALID_REQUEST, "transactions are not supported by this broker"))
    } else if !(-1..=1).contains(&request.acks) {
        Some((ErrorCode::INVALID_REQUIRED_ACKS, "acks is 0, 1 or -1 (all)"))
    } else {
        None
    };
    let topics = context.broker().topics();
    let mut started = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = if call.version >= 13 {
            topics.with_id(TopicId(data.topic_id.into()))
        } else {
            topics.named(&data.name)
        };
        let unknown = if call.version >= 13 {
            ErrorCode::UNKNOWN_TOPIC_ID
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        let start = |partition: &PartitionProduceData| match (refusal, topic) {
            (Some((code, why)), _) => Outcome::Refused(code, why.into()),
            (None, None) => Outcome::Refused(unknown, "there is no such topic".into()),
            (None, Some(topic)) => append(context, topic, partition),
        };
        let outcomes =
            data.partition_data.iter().map(|partition| (partition.index, start(partition))).collect();
        started.push(Started { name: data.name.detached(), topic_id: data.topic_id, outcomes });
    }
    if request.acks == 0 {
        return Ok(Reply::Nothing);
    }
    Ok(Reply::Appended(Box::pin(answer(call, started))))
}

fn append<S: Storage>(
    context: &Context<S>,
    topic: &Arc<Topic<S>>,
    partition: &PartitionProduceData,
) -> Outcome {
    let Records::Bytes(bytes) = &partition.records else {
        return Outcome::Refused(ErrorCode::INVALID_RECORD, "the partition has no records".into());
    };
    match context.door.append(topic, partition.index, bytes) {
        Ok(ticket) => Outcome::Waiting(ticket),
        Err(error) => Outcome::Refused(errors::produce(&error), error.to_string()),
    }
}

async fn answer(call: Call, started: Vec<Started>) -> Result<Frame, EncodeError> {
    let mut responses = Vec::with_capacity(started.len());
    for Started { name, topic_id, outcomes } in started {
        let mut partition_responses = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            partition_responses.push(match outcome {
                Outcome::Refused(code, why) => refused(index, code, &why),
                Outcome::Waiting(ticket) => appended(index, ticket.await),
            });
        }
        responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses,
            ..TopicProduceResponse::default()
        });
    }
    let response = ProduceResponse { responses, ..ProduceResponse::default() };
    frame(call.correlation_id, call.version, &response)
}

fn appended(index: i32, answer: Result<Appended, AppendError>) -> PartitionProduceResponse {
    match answer {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.append_time.map_or(-1, |time| time.0),
            log_start_offset: appended.log_start.0,
            ..PartitionProduceResponse::default()
        },
        Err(error) => refused(index, errors::append(&error), &error.to_string()),
    }
}

fn refused(index: i32, error_code: ErrorCode, why: &str) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code,
        base_offset: -1,
        error_message: Some(why.into()),
        ..PartitionProduceResponse::default()
    }
}
