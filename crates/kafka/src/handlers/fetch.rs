//! Fetch (1), versions 4 to 18: reads record batches. Topics are named by id from version 13 on. Waits until
//! `min_bytes` are there or `max_wait_ms` is over, woken by the partitions it reads. From version 7 on in
//! sessions (KIP-227), see [`fetch_session`](crate::fetch_session). There are no followers and no transactions:
//! what is readable is committed.

use std::{collections::HashSet, rc::Rc, sync::Arc, time::Duration};

use ottla_engine::{Topic, Topics};
use ottla_protocol::{
    EncodeError, ErrorCode, Records,
    messages::fetch::{
        EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
    },
};
use ottla_records::{LeaderEpoch, LogId, Offset, TopicId};
use ottla_storage::{Log, LogBounds, Read, ReadError, ReadPiece, ReadRequest, Storage};
use tokio::time::{Instant, timeout_at};

use super::{check_epoch, end_of_epoch};
use crate::{
    context::{Call, Context},
    errors,
    fetch_session::{Fetching, Said, TopicKey, Wanted},
    reply::{Frame, Part, Reply, frame, frame_with, origin},
};

/// A fetch waits no longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// A partition that is asked for, and what is there.
struct Slot<S: Storage> {
    log: Result<Arc<S::Log>, ErrorCode>,
    got: Got,
    /// What was read has been let go, or is out of date.
    stale: bool,
}

#[derive(Default)]
struct Got {
    error: ErrorCode,
    bounds: Option<LogBounds>,
    parts: Vec<Part>,
    bytes: usize,
    /// There is more at once than was read.
    more: bool,
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
    let clock = context.broker().clock().clone();
    let fetching = match context.sessions.begin(&request, call.version >= 13, clock.monotonic()) {
        Ok(fetching) => fetching,
        Err(error_code) => {
            let response = FetchResponse { error_code, ..FetchResponse::default() };
            return frame(call.correlation_id, call.version, &response);
        }
    };
    let mut slots = resolve(&context, &fetching);
    read_when_ready(&context, &request, &fetching, &mut slots).await;
    let said: Vec<Said> = slots.iter().map(|slot| slot.got.said()).collect();
    let (session_id, new) = context.sessions.finish(&fetching, &said, clock.monotonic());
    let new = fetching.partitions.iter().zip(slots).zip(new).filter_map(|(slot, new)| new.then_some(slot));
    encode(call, session_id, new.map(|(wanted, slot)| (wanted, slot.got)))
}

/// Reads, and waits where too little is there.
async fn read_when_ready<S: Storage>(
    context: &Context<S>,
    request: &FetchRequest,
    fetching: &Fetching,
    slots: &mut [Slot<S>],
) {
    // A client's negative values mean none.
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    read(context, request, fetching, slots).await;
    if wait.is_zero() || slots.is_empty() || enough(slots, min_bytes) {
        return;
    }
    let watch = context.door.watch(slots.iter().filter_map(|slot| slot.log.as_ref().ok()));
    // From here on every advance is told; those before are seen now.
    slots.iter_mut().for_each(Slot::mark_if_advanced);
    let mut stopping = context.stopping.clone();
    loop {
        read(context, request, fetching, slots).await;
        if enough(slots, min_bytes) {
            return;
        }
        // What waits for more holds no records meanwhile.
        slots.iter_mut().filter(|slot| !slot.got.parts.is_empty()).for_each(Slot::let_go);
        let advanced = tokio::select! {
            advanced = timeout_at(deadline, watch.advanced()) => advanced,
            _ = stopping.wait_for(|stop| *stop) => Ok(Vec::new()),
        };
        match advanced {
            Ok(advanced) if !advanced.is_empty() => mark(slots, &advanced),
            // The time is over, or the broker stops.
            _ => return read(context, request, fetching, slots).await,
        }
    }
}

/// Marks what has advanced. What was let go is read again anyway.
fn mark<S: Storage>(slots: &mut [Slot<S>], advanced: &[LogId]) {
    let advanced: HashSet<LogId> = advanced.iter().copied().collect();
    for slot in slots {
        slot.stale |= slot.log.as_ref().is_ok_and(|log| advanced.contains(&log.id()));
    }
}

fn resolve<S: Storage>(context: &Context<S>, fetching: &Fetching) -> Vec<Slot<S>> {
    let topics = context.broker().topics();
    let resolve = |wanted: &Wanted| {
        let log = find(&topics, &wanted.topic, wanted.from.partition)
            .and_then(|log| check_epoch(context, wanted.from.current_leader_epoch).map(|()| log));
        let error = log.as_ref().err().copied().unwrap_or_default();
        Slot { stale: log.is_ok(), log, got: Got { error, ..Got::default() } }
    };
    fetching.partitions.iter().map(resolve).collect()
}

fn find<S: Storage>(topics: &Topics<S>, key: &TopicKey, partition: i32) -> Result<Arc<S::Log>, ErrorCode> {
    let topic: &Topic<S> = match key {
        TopicKey::Name(name) => topics.named(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
        TopicKey::Id(id) => topics.with_id(TopicId((*id).into())).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
    };
    topic.partition(partition).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Reads what is not up to date until the answer is full. The first partition that has data gives at least one
/// batch.
async fn read<S: Storage>(
    context: &Context<S>,
    request: &FetchRequest,
    fetching: &Fetching,
    slots: &mut [Slot<S>],
) {
    let most = context.broker().settings().fetch_max_bytes as usize;
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0).min(most);
    let mut at_least_one = true;
    for (slot, wanted) in slots.iter_mut().zip(&fetching.partitions) {
        if let (true, Ok(log)) = (slot.stale, &slot.log) {
            slot.got = read_one(context, log, &wanted.from, room, at_least_one).await;
            slot.stale = false;
        }
        room = room.saturating_sub(slot.got.bytes);
        at_least_one &= slot.got.bytes == 0;
    }
}

async fn read_one<S: Storage>(
    context: &Context<S>,
    log: &Arc<S::Log>,
    from: &FetchPartition,
    room: usize,
    at_least_one: bool,
) -> Got {
    match diverging(context, log, from) {
        Ok(None) => {}
        Ok(diverging) => return Got { bounds: Some(log.bounds()), diverging, ..Got::default() },
        Err(error) => return Got { error, bounds: Some(log.bounds()), ..Got::default() },
    }
    let max_bytes = usize::try_from(from.partition_max_bytes).unwrap_or(0).min(room);
    let request = ReadRequest { offset: Offset(from.fetch_offset), max_bytes, at_least_one };
    let read = match log.read_now(request) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => log.read(request).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(read) => {
            let (bytes, more) = (read.bytes(), read.more);
            let bounds = Some(read.bounds);
            Got { bounds, bytes, more, parts: parts(context, log, request.offset, read), ..Got::default() }
        }
        Err(error) => failed(context, log, &error),
    }
}

/// Makes parts of what was read. What is in memory counts there; where that is full, only its place is kept.
fn parts<S: Storage>(context: &Context<S>, log: &Arc<S::Log>, offset: Offset, read: Read) -> Vec<Part> {
    let in_memory = read.pieces.iter().map(|piece| match piece {
        ReadPiece::Memory(bytes) => bytes.len(),
        ReadPiece::File(_) => 0,
    });
    let in_memory: usize = in_memory.sum();
    if in_memory == 0 {
        let files = read.pieces.into_iter().filter_map(|piece| match piece {
            ReadPiece::File(range) => Some(Part::File(range)),
            ReadPiece::Memory(_) => None,
        });
        return files.collect();
    }
    let reservation = context.memory.responses.try_reserve(in_memory).map(Rc::new);
    let origin = origin(log, offset);
    let mut skip = 0;
    let part = |piece: ReadPiece| {
        let origin = origin.behind(skip);
        skip += piece.len();
        match (piece, &reservation) {
            (ReadPiece::File(range), _) => Part::File(range),
            (ReadPiece::Memory(bytes), Some(reservation)) => {
                Part::Records { bytes, origin, _reservation: reservation.clone() }
            }
            (ReadPiece::Memory(bytes), None) => Part::Reread { origin, len: bytes.len() },
        }
    };
    read.pieces.into_iter().map(part).collect()
}

fn failed<S: Storage>(context: &Context<S>, log: &S::Log, error: &ReadError) -> Got {
    if let ReadError::Damaged { offset, detail } = error {
        let why = format!("log {} is damaged at offset {offset}: {detail}", log.id());
        context.broker().notices().failed("reading what a client asked for", &why);
    }
    let bounds = match error {
        ReadError::OutOfRange { bounds, .. } => Some(*bounds),
        _ => None,
    };
    Got { error: errors::read(error), bounds, ..Got::default() }
}

/// Whether the client's log has records that ours has not (KIP-595): the last epoch it fetched ended earlier
/// here. Of an epoch that is not known nothing can be said, and the client has to find a new place.
fn diverging<S: Storage>(
    context: &Context<S>,
    log: &S::Log,
    from: &FetchPartition,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if from.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let end = end_of_epoch(context, log, LeaderEpoch(from.last_fetched_epoch))
        .ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let behind = end.epoch.0 < from.last_fetched_epoch || end.end_offset.0 < from.fetch_offset;
    Ok(behind.then(|| EpochEndOffset {
        epoch: end.epoch.0,
        end_offset: end.end_offset.0,
        ..EpochEndOffset::default()
    }))
}

fn enough<S: Storage>(slots: &[Slot<S>], min_bytes: usize) -> bool {
    let bytes: usize = slots.iter().map(|slot| slot.got.bytes).sum();
    bytes >= min_bytes || slots.iter().any(|slot| slot.got.more || slot.got.said().exception)
}

impl<S: Storage> Slot<S> {
    fn mark_if_advanced(&mut self) {
        let Ok(log) = &self.log else { return };
        self.stale |= self.got.bounds.is_none_or(|seen| log.bounds().high_watermark > seen.high_watermark);
    }

    /// Forgets the records, but not how many there were.
    fn let_go(&mut self) {
        self.got.parts = Vec::new();
        self.stale = true;
    }
}

impl Got {
    /// What a fetch session wants to know.
    fn said(&self) -> Said {
        Said {
            high_watermark: self.bounds.map_or(-1, |bounds| bounds.high_watermark.0),
            log_start: self.bounds.map_or(-1, |bounds| bounds.log_start.0),
            records: self.bytes > 0,
            exception: self.error != ErrorCode::NONE || self.diverging.is_some(),
        }
    }

    fn data(self, index: i32, externals: &mut Vec<Vec<Part>>) -> PartitionData {
        let said = self.said();
        let id = u32::try_from(externals.len()).unwrap_or(u32::MAX);
        let records = Records::External { id, len: u32::try_from(self.bytes).unwrap_or(u32::MAX) };
        externals.push(self.parts);
        PartitionData {
            partition_index: index,
            error_code: self.error,
            high_watermark: said.high_watermark,
            last_stable_offset: said.high_watermark,
            log_start_offset: said.log_start,
            diverging_epoch: self.diverging.unwrap_or_default(),
            records,
            ..PartitionData::default()
        }
    }
}

fn encode<'a>(
    call: Call,
    session_id: i32,
    got: impl Iterator<Item = (&'a Wanted, Got)>,
) -> Result<Frame, EncodeError> {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut externals = Vec::new();
    let mut last: Option<&TopicKey> = None;
    for (wanted, got) in got {
        if last != Some(&wanted.topic) {
            responses.push(topic_response(&wanted.topic));
            last = Some(&wanted.topic);
        }
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(got.data(wanted.from.partition, &mut externals));
        }
    }
    let response = FetchResponse { session_id, responses, ..FetchResponse::default() };
    frame_with(call.correlation_id, call.version, &response, externals)
}

fn topic_response(key: &TopicKey) -> FetchableTopicResponse {
    match key {
        TopicKey::Name(topic) => {
            FetchableTopicResponse { topic: topic.clone(), ..FetchableTopicResponse::default() }
        }
        TopicKey::Id(topic_id) => {
            FetchableTopicResponse { topic_id: *topic_id, ..FetchableTopicResponse::default() }
        }
    }
}
