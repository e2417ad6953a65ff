//! Produce requests, and what their answers mean for each batch.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message, Records, Str, Uuid,
    messages::produce::{
        PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    },
};
use ottla_records::{Compression, Compressor, batch::HEADER_SIZE};

use super::{
    accumulator::{Ended, Shipment},
    sequencer::{Attempt, BatchNumber},
};
use crate::{
    config::Acks,
    error::{Error, ErrorKind, Written},
    net::{
        connection::{Failure, Sent},
        versions::Versions,
    },
};

/// The first version that names topics by id.
const BY_ID_FROM: i16 = 13;
/// The first version whose brokers know zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// A request that is ready to be sent.
pub(super) struct Outgoing {
    pub(super) version: i16,
    pub(super) request: ProduceRequest,
    /// Header and records of each batch.
    pub(super) records: Vec<[Bytes; 2]>,
    pub(super) batches: Vec<Batch>,
}

/// A batch of a request.
pub(super) struct Batch {
    pub(super) slot: usize,
    pub(super) number: BatchNumber,
    topic: Str,
    topic_id: Uuid,
    partition: i32,
}

/// Makes a request of batches, for a broker that has these versions.
///
/// # Errors
/// The broker is too old, or the batches cannot be compressed: this goes for all of them.
pub(super) fn outgoing(
    shipments: &[Shipment],
    versions: &Versions,
    acks: Acks,
    timeout: Duration,
    compressor: Option<&mut Compressor>,
) -> Result<Outgoing, Error> {
    let is_zstd = compressor.as_ref().is_some_and(|it| it.level().compression() == Compression::Zstd);
    let first = *ProduceRequest::VERSIONS.start();
    let newest = versions.from::<ProduceRequest>(if is_zstd { ZSTD_FROM } else { first })?;
    let are_ids_known = shipments.iter().all(|shipment| shipment.topic_id != [0; 16]);
    let version = if are_ids_known { newest } else { newest.min(BY_ID_FROM - 1) };
    let mut batches = Vec::with_capacity(shipments.len());
    let mut topics: BTreeMap<&str, TopicProduceData> = BTreeMap::new();
    let records = encode(shipments, compressor)?;
    for ((id, shipment), [header, body]) in (0..).zip(shipments).zip(&records) {
        let (topic, topic_id) = (Str::from(&*shipment.topic), Uuid::from(shipment.topic_id));
        let data = topics.entry(&shipment.topic).or_insert_with(|| TopicProduceData {
            name: topic.clone(),
            topic_id,
            ..TopicProduceData::default()
        });
        // A batch is shorter than a frame, whose length has 31 bits.
        let len = u32::try_from(header.len() + body.len()).unwrap_or(u32::MAX);
        data.partition_data.push(PartitionProduceData {
            index: shipment.partition,
            records: Records::External { id, len },
            ..PartitionProduceData::default()
        });
        let (slot, number, partition) = (shipment.slot, shipment.batch, shipment.partition);
        batches.push(Batch { slot, number, topic, topic_id, partition });
    }
    let request = ProduceRequest {
        acks: match acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        },
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics.into_values().collect(),
        ..ProduceRequest::default()
    };
    Ok(Outgoing { version, request, records, batches })
}

/// Each batch as it is sent.
fn encode(shipments: &[Shipment], compressor: Option<&mut Compressor>) -> Result<Vec<[Bytes; 2]>, Error> {
    let Some(compressor) = compressor else {
        let plain = |shipment: &Shipment| {
            [Bytes::copy_from_slice(&shipment.header.to_bytes()), shipment.records.clone()]
        };
        return Ok(shipments.iter().map(plain).collect());
    };
    let compressed = shipments.iter().map(|shipment| {
        let mut batch = compressor.compress(&shipment.header, &shipment.records)?;
        let records = batch.split_off(HEADER_SIZE);
        Ok([batch, records])
    });
    compressed.collect::<Result<_, ottla_records::CompressError>>().map_err(|error| {
        Error::because(ErrorKind::Config, format!("a batch cannot be compressed: {error}"), error)
    })
}

/// What an answer says of each batch.
pub(super) fn ends(batches: Vec<Batch>, answer: &ProduceResponse) -> Vec<(Batch, Ended)> {
    let told = |batch: &Batch| {
        let topics = answer.responses.iter().filter(|told| {
            if told.topic_id.is_zero() { told.name == batch.topic } else { told.topic_id == batch.topic_id }
        });
        topics.flat_map(|told| &told.partition_responses).find(|told| told.index == batch.partition)
    };
    let end = |batch: Batch| {
        let ended = match told(&batch) {
            Some(told) => end(&batch, told),
            None => {
                let (topic, partition) = (&batch.topic, batch.partition);
                let what =
                    format!("the broker's answer says nothing of partition {partition} of topic {topic}");
                Ended::Again(Attempt::Unknown, Error::new(ErrorKind::DataCorruption, what))
            }
        };
        (batch, ended)
    };
    batches.into_iter().map(end).collect()
}

/// What a broker's error code means for a batch.
///
/// A leader that has written a batch and then loses the partition while it waits for others to have it answers as one that
/// never led it. So nobody knows whether such an answer stands for a batch that is written.
fn end(batch: &Batch, told: &PartitionProduceResponse) -> Ended {
    let code = told.error_code;
    let doing = || format!("producing to partition {} of topic {}", batch.partition, batch.topic);
    let reason = told.record_errors.first().and_then(|first| first.batch_index_error_message.as_deref());
    let error = |kind| {
        let refused = Error::refused(code, &doing(), told.error_message.as_deref().or(reason));
        Error::new(kind, refused.to_string())
    };
    match code {
        ErrorCode::NONE => Ended::Written(Some(told.base_offset).filter(|offset| *offset >= 0)),
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Ended::Written(None),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
            Ended::Again(Attempt::OutOfOrder, error(ErrorKind::Broker))
        }
        ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => {
            Ended::Again(Attempt::Fenced, error(ErrorKind::Fenced))
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            Ended::TooLarge(error(ErrorKind::InvalidRecord))
        }
        ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => Ended::Again(Attempt::Refused, error(ErrorKind::Retriable)),
        ErrorCode::UNKNOWN_SERVER_ERROR => Ended::Failed(Written::Maybe, error(ErrorKind::Broker)),
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            Ended::Failed(Written::No, error(ErrorKind::Auth))
        }
        ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::POLICY_VIOLATION => Ended::Failed(Written::No, error(ErrorKind::InvalidRecord)),
        code if code.is_retriable() => Ended::Again(Attempt::Unknown, error(ErrorKind::Retriable)),
        _ => Ended::Failed(Written::No, error(ErrorKind::Broker)),
    }
}

/// What it means for each batch of a request that it has no answer.
pub(super) fn unanswered(batches: Vec<Batch>, failure: &Failure) -> Vec<(Batch, Ended)> {
    let attempt = match failure.sent {
        Sent::No => Attempt::Refused,
        Sent::Maybe => Attempt::Unknown,
    };
    batches.into_iter().map(|batch| (batch, Ended::Again(attempt, failure.error.clone()))).collect()
}

/// What it means for each batch that the broker will never take a request of it.
pub(super) fn refused_all(shipments: Vec<Shipment>, error: &Error) -> Vec<(usize, BatchNumber, Ended)> {
    let refused =
        |shipment: Shipment| (shipment.slot, shipment.batch, Ended::Failed(Written::No, error.clone()));
    shipments.into_iter().map(refused).collect()
}
