//! Fetch (1), versions 4 to 18: reads partitions, with sessions from version 7 on (KIP-227), leader epochs from 9 on
//! (KIP-320), diverging epochs from 12 on (KIP-595), topic ids from 13 on (KIP-516), and the leader in errors from 16
//! on (KIP-951). Waits for `min_bytes` at most `max_wait_ms`. The last batch of a partition may be cut off, as in Kafka.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Records, RequestFrame, Uuid,
    messages::fetch::{
        EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
        LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    },
};
use tokio::time::Instant;

use super::{Answer, Call, Done, admit, after, finish, produce::not_here, unserved};
use crate::{
    faults::{Asked, Hit},
    sessions::{Fetching, Said, TopicKey, Wanted, key},
    state::{Shared, State},
};

/// The first version that names topics by id.
const BY_ID_FROM: i16 = 13;
/// The first version that names the leader in errors.
const LEADER_FROM: i16 = 16;

/// How many bytes of records an answer has at most, whatever the client allows, as Kafka's `fetch.max.bytes`.
const BYTES_MAX: usize = 55 * 1024 * 1024;

/// What was read of a partition.
struct Got {
    data: PartitionData,
    said: Said,
    bytes: usize,
    /// The leader that the data names.
    leader: Option<i32>,
}

pub(super) async fn serve(shared: &Shared, node: i32, frame: RequestFrame) -> Answer {
    let mut changes = shared.changes();
    let (call, hit, request, begun) = {
        let Ok(request) = frame.request::<FetchRequest>() else { return Answer::Close };
        let mut state = shared.state.lock();
        let (call, hit) =
            admit(&mut state, node, &frame, |state| asked(state, &request, node, by_id(&frame)));
        let begun = begin(&mut state, &call, &hit, &request);
        (call, hit, request, begun)
    };
    if hit.is_some() {
        shared.notify();
    }
    let fetching = match begun {
        Begun::Fetching(fetching) => fetching,
        Begun::Refused(error_code) => {
            let response = FetchResponse { error_code, ..FetchResponse::default() };
            return after(hit, finish(&call, Done::Answer(response))).await;
        }
        Begun::Unserved(answer) => return answer,
    };
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let got = loop {
        changes.mark_unchanged();
        let got = read(&mut shared.state.lock(), &call, &request, &fetching);
        if enough(&got, &request) || Instant::now() >= deadline {
            break got;
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    };
    let answer = respond(&mut shared.state.lock(), &call, &fetching, got);
    after(hit, finish(&call, Done::Answer(answer))).await
}

fn by_id(frame: &RequestFrame) -> bool {
    frame.header.api_version >= BY_ID_FROM
}

enum Begun {
    Fetching(Fetching),
    Refused(ErrorCode),
    Unserved(Answer),
}

fn begin(state: &mut State, call: &Call, hit: &Option<Hit>, request: &FetchRequest) -> Begun {
    if let Some(answer) = unserved(hit) {
        return Begun::Unserved(answer);
    }
    if let Some(code) = call.error().filter(|code| of_session(*code)) {
        return Begun::Refused(code);
    }
    let Some(node) = state.node_mut(call.node) else { return Begun::Unserved(Answer::Close) };
    match node.sessions.begin(request, call.version >= BY_ID_FROM) {
        Ok(fetching) => Begun::Fetching(fetching),
        Err(code) => Begun::Refused(code),
    }
}

/// Whether an error is about the session, and stands for the request as a whole.
fn of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}

fn asked(state: &State, request: &FetchRequest, node: i32, by_id: bool) -> Vec<Asked> {
    let in_request = request.topics.iter().flat_map(|topic| {
        let name = name(state, &key(&topic.topic, topic.topic_id, by_id));
        topic.partitions.iter().map(move |from| (name.clone(), from.partition))
    });
    let session = state.node(node).into_iter().flat_map(|node| node.sessions.partitions(request.session_id));
    let in_session = session.map(|wanted| (name(state, &wanted.topic), wanted.from.partition));
    let all = in_request.chain(in_session);
    all.filter_map(|(name, partition)| Some(Asked { topic: name?, partition: Some(partition) })).collect()
}

/// The name of the topic that is meant, if it is there.
fn name(state: &State, key: &TopicKey) -> Option<String> {
    match key {
        TopicKey::Name(name) => state.topics.get_key_value(&**name).map(|(name, _)| name.clone()),
        TopicKey::Id(id) => state.name_of(*id).cloned(),
    }
}

fn read(state: &mut State, call: &Call, request: &FetchRequest, fetching: &Fetching) -> Vec<Got> {
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0).min(BYTES_MAX);
    let mut first_whole = true;
    let read = |wanted: &Wanted| {
        let got = read_one(state, call, wanted, room, first_whole);
        room = room.saturating_sub(got.bytes);
        first_whole &= got.bytes == 0;
        got
    };
    fetching.partitions.iter().map(read).collect()
}

fn read_one(state: &mut State, call: &Call, wanted: &Wanted, room: usize, first_whole: bool) -> Got {
    let from = &wanted.from;
    let Some(name) = name(state, &wanted.topic) else {
        return failed(
            from,
            match wanted.topic {
                TopicKey::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                TopicKey::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
            },
        );
    };
    if let Some(code) = call.partition_error(&name, from.partition) {
        return named_leader(state, call, &name, failed(from, code));
    }
    let led = state.led(call.node, &name, from.partition, from.current_leader_epoch);
    let (partition, _) = match led {
        Ok(led) => led,
        Err(code) => return named_leader(state, call, &name, failed(from, code)),
    };
    let (start, end) = (partition.log.start(), partition.log.end());
    let mut data = PartitionData {
        partition_index: from.partition,
        high_watermark: end,
        last_stable_offset: end,
        log_start_offset: start,
        records: Records::Bytes(Bytes::new()),
        ..PartitionData::default()
    };
    let said = Said { high_watermark: end, log_start: start, records: false, exception: false };
    if from.last_fetched_epoch >= 0 {
        // The client's last epoch ended earlier here: what it has after that was lost.
        let Some(end) = partition.log.end_of_epoch(from.last_fetched_epoch, partition.leader_epoch) else {
            return failed(from, ErrorCode::OFFSET_OUT_OF_RANGE);
        };
        if end.epoch < from.last_fetched_epoch || end.end_offset < from.fetch_offset {
            let (epoch, end_offset) = (end.epoch, end.end_offset);
            data.diverging_epoch = EpochEndOffset { epoch, end_offset, ..EpochEndOffset::default() };
            return Got { data, said: Said { exception: true, ..said }, bytes: 0, leader: None };
        }
    }
    let max_bytes = usize::try_from(from.partition_max_bytes).unwrap_or(0).min(room);
    let Ok(records) = partition.log.read(from.fetch_offset, max_bytes, first_whole) else {
        return failed(from, ErrorCode::OFFSET_OUT_OF_RANGE);
    };
    let bytes = records.len();
    data.records = Records::Bytes(records);
    Got { data, said: Said { records: bytes > 0, ..said }, bytes, leader: None }
}

fn failed(from: &FetchPartition, error_code: ErrorCode) -> Got {
    let data = PartitionData {
        partition_index: from.partition,
        error_code,
        high_watermark: -1,
        records: Records::Bytes(Bytes::new()),
        ..PartitionData::default()
    };
    let said = Said { high_watermark: -1, log_start: -1, records: false, exception: true };
    Got { data, said, bytes: 0, leader: None }
}

/// Names the leader where the version does and the error is one of not being it.
fn named_leader(state: &State, call: &Call, topic: &str, mut got: Got) -> Got {
    let partition = state.partition(topic, got.data.partition_index);
    let named = partition.filter(|_| call.version >= LEADER_FROM && not_here(got.data.error_code));
    if let Some(partition) = named {
        let (leader_id, leader_epoch) = (partition.leader.unwrap_or(-1), partition.leader_epoch);
        got.data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch, ..LeaderIdAndEpoch::default() };
        got.leader = partition.leader;
    }
    got
}

fn enough(got: &[Got], request: &FetchRequest) -> bool {
    let bytes: usize = got.iter().map(|got| got.bytes).sum();
    got.is_empty()
        || bytes >= usize::try_from(request.min_bytes).unwrap_or(0)
        || got.iter().any(|got| got.said.exception)
}

fn respond(state: &mut State, call: &Call, fetching: &Fetching, got: Vec<Got>) -> FetchResponse {
    let said: Vec<Said> = got.iter().map(|got| got.said).collect();
    let (session_id, new) = match state.node_mut(call.node) {
        Some(node) => node.sessions.finish(fetching, &said),
        None => (0, vec![true; said.len()]),
    };
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut leaders = BTreeSet::new();
    let mut last: Option<&TopicKey> = None;
    let answered = fetching.partitions.iter().zip(got).zip(new).filter(|(_, new)| *new);
    for ((wanted, got), _) in answered {
        if last != Some(&wanted.topic) {
            let (topic, topic_id) = match &wanted.topic {
                TopicKey::Name(name) => (name.clone(), Uuid::ZERO),
                TopicKey::Id(id) => (Default::default(), *id),
            };
            responses.push(FetchableTopicResponse { topic, topic_id, ..FetchableTopicResponse::default() });
            last = Some(&wanted.topic);
        }
        leaders.extend(got.leader);
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(got.data);
        }
    }
    let endpoint = |id: i32| {
        let node = state.node(id)?;
        let (host, port) = node.endpoint();
        Some(NodeEndpoint { node_id: id, host, port, ..NodeEndpoint::default() })
    };
    let node_endpoints = leaders.into_iter().filter_map(endpoint).collect();
    FetchResponse { session_id, responses, node_endpoints, ..FetchResponse::default() }
}
