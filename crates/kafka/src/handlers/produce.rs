//! Produce (0), versions 3 to 13: appends one record batch for each partition. Topics are named by id from
//! version 13 on, and batches may be compressed with zstd from version 7 on. Answered once all of it is durable;
//! with acks=0 not at all, so that an error closes the connection. Transactions are not there.

use std::sync::Arc;

use bytes::Bytes;
use ottla_engine::{ProduceError, Topic};
use ottla_protocol::{
    EncodeError, ErrorCode, Records, Str, Uuid,
    messages::produce::{
        BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
        ProduceResponse, TopicProduceData, TopicProduceResponse,
    },
};
use ottla_records::{BatchError, BatchHeader, Compression, TopicId};
use ottla_storage::{AppendError, Appended, Storage, Ticket};

use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, RequestError, frame},
};

/// The first version that names topics by id.
const BY_ID_FROM: i16 = 13;
/// The first version whose clients know zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// The first version whose answers say why.
const MESSAGE_FROM: i16 = 8;

/// What has become of a partition's batch so far.
type Outcome = Result<Ticket, Refusal>;

/// Why a batch was not taken.
struct Refusal {
    code: ErrorCode,
    why: String,
    /// The record because of which.
    record: Option<(u32, String)>,
}

impl Refusal {
    fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into(), record: None }
    }
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
    let (acks, transactional) = (request.acks, request.transactional_id.is_some());
    let topics = context.broker().topics();
    let start = |data: TopicProduceData| {
        let topic = match call.version {
            BY_ID_FROM.. => topics.with_id(TopicId(data.topic_id.into())),
            _ => topics.named(&data.name),
        };
        let start = |partition: &PartitionProduceData| {
            if transactional {
                return Err(no_transactions(context, call));
            }
            let topic = topic.ok_or_else(|| Refusal::new(unknown(call), "there is no such topic"))?;
            if !(-1..=1).contains(&acks) {
                let why = format!("acks is {acks}, and must be 0, 1 or -1 (all)");
                return Err(Refusal::new(ErrorCode::INVALID_REQUIRED_ACKS, why));
            }
            append(context, call, topic, partition)
        };
        let outcomes =
            data.partition_data.iter().map(|partition| (partition.index, start(partition))).collect();
        Started { name: data.name.detached(), topic_id: data.topic_id, outcomes }
    };
    let started: Vec<Started> = request.topic_data.into_iter().map(start).collect();
    if acks == 0 {
        return unanswered(&started);
    }
    Ok(Reply::Appended(Box::pin(answer(call, started))))
}

fn no_transactions<S: Storage>(context: &Context<S>, call: Call) -> Refusal {
    if call.version < MESSAGE_FROM {
        context.broker().notices().unsupported("a transactional producer", context.peer);
    }
    Refusal::new(ErrorCode::INVALID_REQUEST, "transactions are not supported by this broker")
}

/// The code for a topic that is not there.
fn unknown(call: Call) -> ErrorCode {
    match call.version {
        BY_ID_FROM.. => ErrorCode::UNKNOWN_TOPIC_ID,
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

fn append<S: Storage>(
    context: &Context<S>,
    call: Call,
    topic: &Arc<Topic<S>>,
    partition: &PartitionProduceData,
) -> Outcome {
    let Records::Bytes(bytes) = &partition.records else {
        return Err(Refusal::new(ErrorCode::INVALID_RECORD, "the partition has no records"));
    };
    check_offered(context, call, bytes)?;
    context.door.append(topic, partition.index, bytes).map_err(|error| {
        let record = match &error {
            ProduceError::Batch(BatchError::Record { index, fault }) => Some((*index, fault.to_string())),
            ProduceError::Batch(_) | ProduceError::UnknownPartition(_) => None,
        };
        Refusal { record, ..Refusal::new(errors::produce(&error), error.to_string()) }
    })
}

/// Refuses what a batch may be in Kafka, but not in this broker or in this version of the request. Whether it
/// is a batch at all is found out later.
fn check_offered<S: Storage>(context: &Context<S>, call: Call, bytes: &Bytes) -> Result<(), Refusal> {
    let Ok(header) = BatchHeader::parse(bytes) else { return Ok(()) };
    if header.is_transactional() {
        return Err(no_transactions(context, call));
    }
    if call.version < ZSTD_FROM && matches!(header.compression(), Ok(Compression::Zstd)) {
        let why = format!("zstd needs version {ZSTD_FROM} of the request: update the client");
        return Err(Refusal::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    Ok(())
}

/// The reply to acks=0: nothing, or the end of the connection.
fn unanswered(started: &[Started]) -> Result<Reply, RequestError> {
    let outcomes = started.iter().flat_map(|topic| &topic.outcomes);
    let mut refused =
        outcomes.filter_map(|(index, outcome)| outcome.as_ref().err().map(|refusal| (index, refusal)));
    match refused.next() {
        Some((index, Refusal { code, why, .. })) => {
            Err(RequestError::Unanswered(format!("partition {index}: {code}: {why}")))
        }
        None => Ok(Reply::Nothing),
    }
}

async fn answer(call: Call, started: Vec<Started>) -> Result<Frame, EncodeError> {
    let mut responses = Vec::with_capacity(started.len());
    for Started { name, topic_id, outcomes } in started {
        let mut partition_responses = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            partition_responses.push(match outcome {
                Err(refusal) => refused(index, refusal),
                Ok(ticket) => appended(call, index, ticket.await),
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

fn appended(call: Call, index: i32, answer: Result<Appended, AppendError>) -> PartitionProduceResponse {
    match answer {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.append_time.map_or(-1, |time| time.0),
            log_start_offset: appended.log_start.0,
            ..PartitionProduceResponse::default()
        },
        Err(error) => {
            let code = match &error {
                AppendError::Deleted => unknown(call),
                error => errors::append(error),
            };
            refused(index, Refusal::new(code, error.to_string()))
        }
    }
}

fn refused(index: i32, Refusal { code, why, record }: Refusal) -> PartitionProduceResponse {
    let record_error = |(index, why): (u32, String)| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(index).unwrap_or(i32::MAX),
        batch_index_error_message: Some(Str::from(why)),
        ..BatchIndexAndErrorMessage::default()
    };
    PartitionProduceResponse {
        index,
        error_code: code,
        base_offset: -1,
        record_errors: record.map(record_error).into_iter().collect(),
        error_message: Some(why.into()),
        ..PartitionProduceResponse::default()
    }
}
