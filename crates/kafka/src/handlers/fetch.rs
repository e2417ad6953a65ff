//! Fetch (1), versions 4 to 18: reads record batches. Topics are named by id from version 13 on. Waits until
//! `min_bytes` are there or `max_wait_ms` is over, woken by the partitions it reads. Fetch sessions (KIP-227)
//! are not kept: every answer is a full one with session id 0, which a client takes as "no session".

use std::{sync::Arc, time::Duration};

use ottla_engine::Topic;
use ottla_protocol::{
    EncodeError, ErrorCode, Records, Str, Uuid,
    messages::fetch::{
        EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
    },
};
use ottla_records::{LeaderEpoch, Offset, TopicId};
use ottla_storage::{Log, LogBounds, Read, ReadError, ReadPiece, ReadRequest, Storage};
use tokio::time::{Instant, timeout_at};

use super::check_epoch;
use crate::{
    context::{Call, Context},
    errors,
    reply::{Frame, Reply, frame, frame_with},
};

/// No answer holds more records, whatever the client allows (`fetch.max.bytes`' default).
const RESPONSE_BYTES_MAX: usize = 55 << 20;

/// A partition that is asked for.
struct Wanted<S: Storage> {
    topic_index: usize,
    request: FetchPartition,
    log: Result<Arc<S::Log>, ErrorCode>,
}

struct Got {
    error: ErrorCode,
    bounds: Option<LogBounds>,
    pieces: Vec<ReadPiece>,
    diverging: Option<EpochEndOffset>,
}

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: FetchRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: FetchRequest,
) -> Result<Frame, EncodeError> {
    if request.session_id != 0 && request.session_epoch > 0 {
        let response =
            FetchResponse { error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND, ..FetchResponse::default() };
        return frame(call.correlation_id, call.version, &response);
    }
    // Version 3 says nothing of a deadline beyond this; a client's negative values mean none.
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(Duration::from_secs(3600));
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let wanted = resolve(&context, call, &request);
    let logs: Vec<_> = wanted.iter().filter_map(|wanted| wanted.log.as_ref().ok().cloned()).collect();
    let mut got = read_all(&request, &wanted).await;
    if !enough(&got, min_bytes) && !wait.is_zero() {
        let watch = context.door.watch(&logs);
        loop {
            got = read_all(&request, &wanted).await;
            if enough(&got, min_bytes) || timeout_at(deadline, watch.advanced()).await.is_err() {
                break;
            }
        }
    }
    encode(call, request, wanted, got)
}

fn resolve<S: Storage>(context: &Context<S>, call: Call, request: &FetchRequest) -> Vec<Wanted<S>> {
    let topics = context.broker().topics();
    let mut wanted = Vec::new();
    for (topic_index, asked) in request.topics.iter().enumerate() {
        let (topic, unknown) = if call.version >= 13 {
            (topics.with_id(TopicId(asked.topic_id.into())), ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            (topics.named(&asked.topic), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        for partition in &asked.partitions {
            let log = find(topic, partition.partition, unknown)
                .and_then(|log| check_epoch(context, partition.current_leader_epoch).map(|()| log));
            wanted.push(Wanted { topic_index, request: partition.clone(), log });
        }
    }
    wanted
}

fn find<S: Storage>(
    topic: Option<&Arc<Topic<S>>>,
    partition: i32,
    unknown: ErrorCode,
) -> Result<Arc<S::Log>, ErrorCode> {
    let topic = topic.ok_or(unknown)?;
    topic.partition(partition).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Reads every partition until the answer is full. The first that has data gives at least one batch.
async fn read_all<S: Storage>(request: &FetchRequest, wanted: &[Wanted<S>]) -> Vec<Got> {
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0).min(RESPONSE_BYTES_MAX);
    let mut at_least_one = true;
    let mut got = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let read = match &wanted.log {
            Err(code) => Got { error: *code, bounds: None, pieces: Vec::new(), diverging: None },
            Ok(log) => read_one(log, &wanted.request, room, at_least_one).await,
        };
        let bytes: usize = read.pieces.iter().map(ReadPiece::len).sum();
        room = room.saturating_sub(bytes);
        at_least_one &= bytes == 0;
        got.push(read);
    }
    got
}

async fn read_one<L: Log>(log: &Arc<L>, request: &FetchPartition, room: usize, at_least_one: bool) -> Got {
    if let Some(diverging) = diverging(log, request) {
        let bounds = Some(log.bounds());
        return Got { error: ErrorCode::NONE, bounds, pieces: Vec::new(), diverging: Some(diverging) };
    }
    let max_bytes = usize::try_from(request.partition_max_bytes).unwrap_or(0).min(room);
    let read_request = ReadRequest { offset: Offset(request.fetch_offset), max_bytes, at_least_one };
    let read = match log.read_now(read_request) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => log.read(read_request).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(Read { bounds, pieces }) => {
            Got { error: ErrorCode::NONE, bounds: Some(bounds), pieces, diverging: None }
        }
        Err(error) => {
            if let ReadError::Damaged { offset, detail } = &error {
                tracing::error!(
                    log = log.id().0,
                    offset = offset.0,
                    "{detail}; a consumer gets past it by seeking to a later offset"
                );
            }
            let bounds = match &error {
                ReadError::OutOfRange { bounds, .. } => Some(*bounds),
                _ => None,
            };
            Got { error: errors::read(&error), bounds, pieces: Vec::new(), diverging: None }
        }
    }
}

/// Whether the client's log has records that ours has not (KIP-595): the last epoch it fetched ended earlier
/// here.
fn diverging<L: Log>(log: &Arc<L>, request: &FetchPartition) -> Option<EpochEndOffset> {
    if request.last_fetched_epoch < 0 {
        return None;
    }
    let end = log.end_of_epoch(LeaderEpoch(request.last_fetched_epoch))?;
    let behind = end.epoch.0 < request.last_fetched_epoch || end.end_offset.0 < request.fetch_offset;
    behind.then(|| EpochEndOffset {
        epoch: end.epoch.0,
        end_offset: end.end_offset.0,
        ..EpochEndOffset::default()
    })
}

fn enough(got: &[Got], min_bytes: usize) -> bool {
    let bytes: usize = got.iter().flat_map(|got| &got.pieces).map(ReadPiece::len).sum();
    bytes >= min_bytes || got.iter().any(|got| got.error != ErrorCode::NONE || got.diverging.is_some())
}

fn encode<S: Storage>(
    call: Call,
    request: FetchRequest,
    wanted: Vec<Wanted<S>>,
    got: Vec<Got>,
) -> Result<Frame, EncodeError> {
    let topic = |topic: ottla_protocol::messages::fetch::FetchTopic| FetchableTopicResponse {
        topic: if call.version >= 13 { Str::default() } else { topic.topic },
        topic_id: if call.version >= 13 { topic.topic_id } else { Uuid::default() },
        ..FetchableTopicResponse::default()
    };
    let mut responses: Vec<FetchableTopicResponse> = request.topics.into_iter().map(topic).collect();
    let mut externals = Vec::with_capacity(got.len());
    for (wanted, got) in wanted.into_iter().zip(got) {
        let len: usize = got.pieces.iter().map(ReadPiece::len).sum();
        let id = externals.len() as u32;
        let records = Records::External { id, len: u32::try_from(len).unwrap_or(u32::MAX) };
        externals.push(got.pieces);
        let high_watermark = got.bounds.map_or(-1, |bounds| bounds.high_watermark.0);
        responses[wanted.topic_index].partitions.push(PartitionData {
            partition_index: wanted.request.partition,
            error_code: got.error,
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset: got.bounds.map_or(-1, |bounds| bounds.log_start.0),
            diverging_epoch: got.diverging.unwrap_or_default(),
            records,
            ..PartitionData::default()
        });
    }
    let response = FetchResponse { responses, ..FetchResponse::default() };
    frame_with(call.correlation_id, call.version, &response, externals)
}
