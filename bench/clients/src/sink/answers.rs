//! What the sink answers: ApiVersions 0 to 4, Metadata 0 to 13, InitProducerId 0 to 5, Produce 3 to 13, Fetch 4 to 18
//! without sessions, ListOffsets 1 to 11, OffsetForLeaderEpoch 2 to 4. All partitions are its own, in leader epoch 0.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use ottla_protocol::{
    ApiKey, DecodeError, ErrorCode, Request, RequestFrame, Uuid,
    messages::{
        api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
        fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData},
        init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
        list_offsets::{
            ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
        },
        metadata::{
            MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
            MetadataResponseTopic,
        },
        offset_for_leader_epoch::{
            EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
            OffsetForLeaderTopicResult,
        },
        produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse},
    },
};

use super::topics::{Topic, Topics};
use crate::load::PARTITIONS;

/// The only node.
const NODE: i32 = 1;
/// A fetch that finds nothing waits as long as it asks for, and at most this.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);

static PRODUCER_IDS: AtomicI64 = AtomicI64::new(1000);

/// Which APIs there are.
pub fn api_versions() -> ApiVersionsResponse {
    fn entry<R: Request>() -> ApiVersion {
        // librdkafka takes a broker without Produce 0 for one of before 0.10 (Kafka names it too, and does not serve it).
        let min_version = if R::API_KEY == ApiKey::PRODUCE { 0 } else { *R::VERSIONS.start() };
        ApiVersion { api_key: R::API_KEY, min_version, max_version: *R::VERSIONS.end(), ..Default::default() }
    }
    let api_keys = vec![
        entry::<ProduceRequest>(),
        entry::<FetchRequest>(),
        entry::<ListOffsetsRequest>(),
        entry::<MetadataRequest>(),
        entry::<ApiVersionsRequest>(),
        entry::<InitProducerIdRequest>(),
        entry::<OffsetForLeaderEpochRequest>(),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// The node, and the topics that are asked for.
pub fn metadata(topics: &Topics, addr: SocketAddr, request: MetadataRequest) -> MetadataResponse {
    let found = match request.topics {
        None => topics.all().iter().map(|topic| describe(topic)).collect(),
        Some(asked) => asked
            .into_iter()
            .map(|asked| match topics.find(asked.name.as_deref().unwrap_or_default(), asked.topic_id) {
                Some(topic) => describe(&topic),
                None => MetadataResponseTopic {
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    name: asked.name,
                    topic_id: asked.topic_id,
                    ..Default::default()
                },
            })
            .collect(),
    };
    let broker = MetadataResponseBroker {
        node_id: NODE,
        host: addr.ip().to_string().into(),
        port: i32::from(addr.port()),
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some("sink".into()),
        controller_id: NODE,
        topics: found,
        ..Default::default()
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: NODE,
        leader_epoch: 0,
        replica_nodes: vec![NODE],
        isr_nodes: vec![NODE],
        ..Default::default()
    };
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    }
}

/// A new producer id.
pub fn init_producer_id() -> InitProducerIdResponse {
    let producer_id = PRODUCER_IDS.fetch_add(1, Ordering::Relaxed);
    InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
}

/// Acknowledges batches; `None` where no answer is wanted.
pub fn produce(topics: &Topics, frame: &RequestFrame) -> Result<Option<ProduceResponse>, DecodeError> {
    let request = frame.request::<ProduceRequest>()?;
    topics.requests.fetch_add(1, Ordering::Relaxed);
    let mut responses = Vec::new();
    for asked in request.topic_data {
        let topic = topics.find(&asked.name, asked.topic_id);
        let append = |partition: ottla_protocol::messages::produce::PartitionProduceData| {
            let ottla_protocol::Records::Bytes(records) = partition.records else {
                return failed(partition.index, ErrorCode::INVALID_RECORD);
            };
            let Some(topic) = &topic else {
                return failed(partition.index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            };
            match topics.append(topic, partition.index, &records) {
                Some(base_offset) => PartitionProduceResponse {
                    index: partition.index,
                    base_offset,
                    log_start_offset: 0,
                    ..Default::default()
                },
                None => failed(partition.index, ErrorCode::INVALID_RECORD),
            }
        };
        let partition_responses = asked.partition_data.into_iter().map(append).collect();
        let (name, topic_id) = (asked.name, asked.topic_id);
        responses.push(TopicProduceResponse { name, topic_id, partition_responses, ..Default::default() });
    }
    Ok((request.acks != 0).then(|| ProduceResponse { responses, ..Default::default() }))
}

fn failed(index: i32, error_code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code, base_offset: -1, ..Default::default() }
}

/// Gives batches that are there to be read. Where there are none for any partition, it takes the time that the client
/// allows.
pub fn fetch(topics: &Topics, request: FetchRequest) -> FetchResponse {
    let mut room = usize::try_from(request.max_bytes).unwrap_or_default();
    let mut empty = true;
    let mut responses = Vec::new();
    for asked in request.topics {
        let topic = topics.find(&asked.topic, asked.topic_id);
        let mut partitions = Vec::new();
        for partition in asked.partitions {
            let index = partition.partition;
            let Some((topic, end)) = topic.as_ref().and_then(|topic| Some((topic, topic.end(index)?))) else {
                let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                partitions.push(PartitionData { partition_index: index, error_code, ..Default::default() });
                empty = false;
                continue;
            };
            let bytes_max = room.min(usize::try_from(partition.partition_max_bytes).unwrap_or_default());
            let records = if empty || bytes_max > 0 {
                topic.read(partition.fetch_offset, bytes_max)
            } else {
                bytes::Bytes::new()
            };
            room = room.saturating_sub(records.len());
            empty &= records.is_empty();
            partitions.push(PartitionData {
                partition_index: index,
                high_watermark: end,
                last_stable_offset: end,
                log_start_offset: 0,
                records: records.into(),
                ..Default::default()
            });
        }
        let (topic, topic_id) = (asked.topic, asked.topic_id);
        responses.push(FetchableTopicResponse { topic, topic_id, partitions, ..Default::default() });
    }
    if empty {
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
        std::thread::sleep(wait.min(FETCH_WAIT_MAX));
    }
    FetchResponse { responses, ..Default::default() }
}

/// Ends of partitions.
pub fn list_offsets(topics: &Topics, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let response = |asked: ottla_protocol::messages::list_offsets::ListOffsetsTopic| {
        let topic = topics.find(&asked.name, Uuid::default());
        let partitions = asked.partitions.iter().map(|partition| {
            let end = topic.as_ref().and_then(|topic| topic.end(partition.partition_index));
            let (error_code, offset) = match (end, partition.timestamp) {
                (None, _) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                (Some(end), -1) => (ErrorCode::NONE, end),
                (Some(_), _) => (ErrorCode::NONE, 0),
            };
            let partition_index = partition.partition_index;
            ListOffsetsPartitionResponse {
                partition_index,
                error_code,
                offset,
                leader_epoch: 0,
                ..Default::default()
            }
        });
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: asked.name, ..Default::default() }
    };
    ListOffsetsResponse { topics: request.topics.into_iter().map(response).collect(), ..Default::default() }
}

/// The one leader epoch ends where the log ends.
pub fn offset_for_leader_epoch(
    topics: &Topics,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut answers = Vec::new();
    for asked in request.topics {
        let topic = topics.find(&asked.topic, Uuid::default());
        let partitions = asked.partitions.iter().map(|partition| EpochEndOffset {
            partition: partition.partition,
            leader_epoch: 0,
            end_offset: topic.as_ref().and_then(|topic| topic.end(partition.partition)).unwrap_or(-1),
            ..Default::default()
        });
        let partitions = partitions.collect();
        answers.push(OffsetForLeaderTopicResult { topic: asked.topic, partitions, ..Default::default() });
    }
    OffsetForLeaderEpochResponse { topics: answers, ..Default::default() }
}
