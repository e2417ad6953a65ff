//! Produce (0), versions 3 to 13: appends one record batch for each partition. Topics are named by id from version 13
//! on, batches may be compressed with zstd from version 7 on (KIP-110), and the leader is named in errors from version
//! 10 on (KIP-951). With acks=0 there is no answer, and an error closes the connection. Transactions are not there.

use std::collections::BTreeSet;

use ottla_protocol::{
    ErrorCode, Records,
    messages::produce::{
        BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
        PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
    },
};
use ottla_records::{BatchError, BatchHeader, Compression, RecordFault};

use super::{Call, Done};
use crate::{
    faults::Asked,
    log::AppendError,
    settings,
    state::{Refusal, State, append_time, produce_limits},
};

/// The first version that names topics by id.
const BY_ID_FROM: i16 = 13;
/// The first version whose clients know zstd.
const ZSTD_FROM: i16 = 7;
/// The first version that names the leader in errors.
const LEADER_FROM: i16 = 10;

pub(super) fn asked(request: &ProduceRequest, state: &State) -> Vec<Asked> {
    let topics = request.topic_data.iter().filter_map(|data| Some((name(state, data)?, data)));
    let asked = topics.flat_map(|(topic, data)| {
        data.partition_data
            .iter()
            .map(move |data| Asked { topic: topic.clone(), partition: Some(data.index) })
    });
    asked.collect()
}

pub(super) fn handle(state: &mut State, call: &Call, request: ProduceRequest) -> Done<ProduceResponse> {
    let mut leaders = BTreeSet::new();
    let mut failed = false;
    let transactional = request.transactional_id.is_some();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let name = name(state, &data).filter(|name| state.topics.contains_key(name));
        let mut partition_responses = Vec::with_capacity(data.partition_data.len());
        for partition in &data.partition_data {
            let index = partition.index;
            let appended = match &name {
                _ if transactional => Err(no_transactions().into()),
                None => Err(unknown(call).into()),
                Some(name) => {
                    call.on_partition(name, index, || append(state, call, name, request.acks, partition))
                }
            };
            failed |= appended.is_err();
            let mut response = appended.unwrap_or_else(|failure| failure.response(index));
            let partition = name.as_ref().and_then(|name| state.partition(name, index));
            if let (true, Some(partition)) =
                (call.version >= LEADER_FROM && not_here(response.error_code), partition)
            {
                let (leader_id, leader_epoch) = (partition.leader.unwrap_or(-1), partition.leader_epoch);
                response.current_leader =
                    LeaderIdAndEpoch { leader_id, leader_epoch, ..LeaderIdAndEpoch::default() };
                leaders.extend(partition.leader);
            }
            partition_responses.push(response);
        }
        let (name, topic_id) = (data.name, data.topic_id);
        responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses,
            ..TopicProduceResponse::default()
        });
    }
    match request.acks {
        0 if failed => Done::Close,
        0 => Done::Nothing,
        _ => {
            let endpoint = |id: i32| {
                let node = state.node(id)?;
                let (host, port) = node.endpoint();
                Some(NodeEndpoint { node_id: id, host, port, ..NodeEndpoint::default() })
            };
            let node_endpoints = leaders.into_iter().filter_map(endpoint).collect();
            Done::Answer(ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() })
        }
    }
}

/// Whether an error is one with which the leader is named.
pub(super) fn not_here(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
}

/// The name of the topic that is meant, if it can be known.
fn name(state: &State, data: &TopicProduceData) -> Option<String> {
    // Only the one that the version has is there.
    if data.topic_id.is_zero() { Some(data.name.to_string()) } else { state.name_of(data.topic_id).cloned() }
}

fn unknown(call: &Call) -> Refusal {
    let code = match call.version {
        BY_ID_FROM.. => ErrorCode::UNKNOWN_TOPIC_ID,
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    };
    Refusal::new(code, "there is no such topic")
}

fn no_transactions() -> Refusal {
    Refusal::new(ErrorCode::INVALID_REQUEST, "transactions are not there in a cluster for tests")
}

/// Why a batch was not taken, and the record because of which.
struct Failure {
    refusal: Refusal,
    record: Option<(u32, String)>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, record: None }
    }
}

impl Failure {
    fn response(self, index: i32) -> PartitionProduceResponse {
        let record_error = |(index, why): (u32, String)| BatchIndexAndErrorMessage {
            batch_index: i32::try_from(index).unwrap_or(i32::MAX),
            batch_index_error_message: Some(why.into()),
            ..BatchIndexAndErrorMessage::default()
        };
        PartitionProduceResponse {
            index,
            error_code: self.refusal.code,
            base_offset: -1,
            record_errors: self.record.map(record_error).into_iter().collect(),
            error_message: Some(self.refusal.why.into()),
            ..PartitionProduceResponse::default()
        }
    }
}

fn append(
    state: &mut State,
    call: &Call,
    topic: &str,
    acks: i16,
    data: &PartitionProduceData,
) -> Result<PartitionProduceResponse, Failure> {
    if !(-1..=1).contains(&acks) {
        let why = format!("acks is {acks}, and must be 0, 1 or -1 (all)");
        return Err(Refusal::new(ErrorCode::INVALID_REQUIRED_ACKS, why).into());
    }
    let live: Vec<i32> = state.live_nodes().map(|node| node.id).collect();
    let led = state.led(call.node, topic, data.index, -1);
    let (partition, configs) = led.map_err(|code| {
        let why = match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "there is no such partition",
            _ => "another broker leads the partition, or none does",
        };
        Refusal::new(code, why)
    })?;
    let in_sync = partition.replicas.iter().filter(|id| live.contains(id)).count();
    let wanted: usize = settings::value(configs, settings::MIN_INSYNC_REPLICAS).parse().unwrap_or(1);
    if acks == -1 && in_sync < wanted {
        let why = format!("{in_sync} replicas are in sync, and min.insync.replicas is {wanted}");
        return Err(Refusal::new(ErrorCode::NOT_ENOUGH_REPLICAS, why).into());
    }
    let Records::Bytes(bytes) = &data.records else {
        return Err(Refusal::new(ErrorCode::INVALID_RECORD, "the partition has no records").into());
    };
    check_offered(call, bytes)?;
    let appended = partition.log.append(
        bytes,
        partition.leader_epoch,
        &produce_limits(configs),
        append_time(configs),
    )?;
    Ok(PartitionProduceResponse {
        index: data.index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.append_time.map_or(-1, |time| time.0),
        log_start_offset: partition.log.start(),
        ..PartitionProduceResponse::default()
    })
}

/// Refuses what a batch may be in Kafka, but not here or in this version of the request. Whether it is a batch at all
/// is found out later.
fn check_offered(call: &Call, bytes: &[u8]) -> Result<(), Refusal> {
    let Ok(header) = BatchHeader::parse(bytes) else { return Ok(()) };
    if header.is_transactional() {
        return Err(no_transactions());
    }
    if call.version < ZSTD_FROM && header.compression() == Ok(Compression::Zstd) {
        let why = format!("zstd needs version {ZSTD_FROM} of the request: update the client");
        return Err(Refusal::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    Ok(())
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::Batch(error) => batch_error(error),
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            AppendError::StaleProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            AppendError::Full(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        };
        let record = match &error {
            AppendError::Batch(BatchError::Record { index, fault }) => Some((*index, fault.to_string())),
            _ => None,
        };
        Self { refusal: Refusal::new(code, error.to_string()), record }
    }
}

fn batch_error(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::BadLength { .. } | BatchError::Crc { .. } => ErrorCode::CORRUPT_MESSAGE,
        BatchError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        BatchError::AppendTime
        | BatchError::Timestamp { .. }
        | BatchError::Record { fault: RecordFault::Timestamp { .. }, .. } => ErrorCode::INVALID_TIMESTAMP,
        _ => ErrorCode::INVALID_RECORD,
    }
}
