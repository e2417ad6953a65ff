//! A Kafka client as small as can be: one connection that blocks, and the few calls that these tests make.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use ottla_protocol::{
    Encoder, ErrorCode, Piece, Records, Request, Response, Str, decode_response, encode_request,
    messages::{
        create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
        delete_topics::{DeleteTopicState, DeleteTopicsRequest},
        fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData},
        init_producer_id::InitProducerIdRequest,
        metadata::MetadataRequest,
        produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData},
    },
};
use ottla_records::{Batches, ProducerEpoch, ProducerId, RecordBatch};

/// A broker that says nothing for so long has failed the test.
const PATIENCE: Duration = Duration::from_secs(60);
/// The last versions in which topics are told by name.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;

pub struct Client {
    stream: TcpStream,
    sent: i32,
}

/// A partition by its topic's name and its index.
pub type Partition = (&'static str, i32);

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, sent: 0 })
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        let mut out = Encoder::new();
        encode_request(&mut out, self.sent, Some(&"kill".into()), version, request).unwrap();
        self.sent += 1;
        let mut frame = Vec::new();
        for piece in out.finish() {
            match piece {
                Piece::Bytes(bytes) => frame.extend_from_slice(&bytes),
                Piece::External { .. } => unreachable!("requests hold their records"),
            }
        }
        self.stream.write_all(&frame)
    }

    fn receive<R: Response>(&mut self, version: i16) -> io::Result<R> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).unwrap()];
        self.stream.read_exact(&mut frame)?;
        Ok(decode_response(&frame.into(), version).expect("a well-formed response").1)
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive(version)
    }

    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> io::Result<ErrorCode> {
        let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let response = self.call(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        Ok(response.topics[0].error_code)
    }

    pub fn delete_topic(&mut self, name: &str) -> io::Result<ErrorCode> {
        let topic = DeleteTopicState { name: Some(name.into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        Ok(self.call(6, &request)?.responses[0].error_code)
    }

    /// The names of all topics.
    pub fn topics(&mut self) -> io::Result<Vec<String>> {
        let response = self.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
        Ok(response.topics.into_iter().filter_map(|topic| Some(topic.name?.as_str().to_owned())).collect())
    }

    pub fn init_producer(&mut self) -> io::Result<(ProducerId, ProducerEpoch)> {
        let response = self.call(4, &InitProducerIdRequest::default())?;
        assert_eq!(response.error_code, ErrorCode::NONE);
        Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
    }

    /// Sends one batch for each of these partitions, in one request with acks=all.
    pub fn send_produce(&mut self, batches: &[(Partition, Bytes)]) -> io::Result<()> {
        let topic = |((name, index), bytes): &(Partition, Bytes)| TopicProduceData {
            name: (*name).into(),
            partition_data: vec![PartitionProduceData {
                index: *index,
                records: Records::Bytes(bytes.clone()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let topic_data = batches.iter().map(topic).collect();
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
        self.send(PRODUCE, &request)
    }

    /// The answer to the oldest request that has none: what became of each batch, in their order.
    pub fn receive_produced(&mut self) -> io::Result<Vec<Result<i64, ErrorCode>>> {
        let response: ProduceResponse = self.receive(PRODUCE)?;
        let partitions = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
        Ok(partitions
            .map(|partition| match partition.error_code {
                ErrorCode::NONE => Ok(partition.base_offset),
                error => Err(error),
            })
            .collect())
    }

    /// Every batch of a partition from its beginning.
    pub fn read_all(&mut self, partition: Partition) -> io::Result<Vec<RecordBatch>> {
        let mut found: Vec<RecordBatch> = Vec::new();
        loop {
            let offset = found.last().map_or(0, |batch| batch.header().next_offset().0);
            let data = self.fetch(partition, offset)?;
            assert_eq!(data.error_code, ErrorCode::NONE, "{partition:?} at {offset}");
            let Records::Bytes(bytes) = data.records else { panic!("{partition:?} has no records field") };
            // The last one may be cut off.
            let whole = Batches::new(bytes).map_while(Result::ok);
            let before = found.len();
            found.extend(whole.filter(|batch| batch.header().base_offset.0 >= offset));
            let end = found.last().map_or(0, |batch| batch.header().next_offset().0);
            if end == data.high_watermark {
                return Ok(found);
            }
            assert!(found.len() > before, "{partition:?}: nothing at {end} of {}", data.high_watermark);
        }
    }

    fn fetch(&mut self, (topic, index): Partition, offset: i64) -> io::Result<PartitionData> {
        let partition = FetchPartition {
            partition: index,
            fetch_offset: offset,
            partition_max_bytes: 4 << 20,
            ..Default::default()
        };
        let topic = FetchTopic { topic: Str::from(topic), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { max_wait_ms: 100, topics: vec![topic], ..Default::default() };
        let mut response = self.call(FETCH, &request)?;
        assert_eq!(response.error_code, ErrorCode::NONE);
        Ok(response.responses.remove(0).partitions.remove(0))
    }
}
