//! A blocking client of one connection, and the requests that several tests send.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use ottla_protocol::{
    Encoder, ErrorCode, Piece, Records, Request, Str, Uuid, decode_response, encode_request,
    messages::{
        fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData},
        metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse},
        produce::{
            PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
        },
    },
};
use ottla_records::{BatchBuilder, ProducerEpoch, ProducerId, Sequence};
use ottla_testing::{Cluster, NewRecord};

/// How long an answer may take: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("somebody listens")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    pub fn to(cluster: &Cluster, node: i32) -> Self {
        Self::connect(cluster.address(node))
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).unwrap_or_else(|error| panic!("{} v{version}: {error}", R::NAME))
    }

    /// Sends a request and receives its answer; fails where the connection ends instead.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        let mut out = Encoder::new();
        encode_request(&mut out, 7, Some(&Str::from("test")), version, request).unwrap();
        let mut frame = Vec::new();
        for piece in out.finish() {
            let Piece::Bytes(bytes) = piece else { unreachable!("requests have their records") };
            frame.extend_from_slice(&bytes);
        }
        self.stream.write_all(&frame)
    }

    pub fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        let (header, response) = decode_response(&frame.into(), version).unwrap();
        assert_eq!(header.correlation_id, 7);
        Ok(response)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn read(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read)?;
        Ok(read)
    }

    /// Whether nothing comes for a while.
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        let read = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// How the connection ends: `None` in order, or by an error.
    pub fn end(&mut self) -> Option<io::ErrorKind> {
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "an answer instead of an end");
        ended.err().map(|error| error.kind())
    }

    pub fn close_write(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// Waits until something holds, and panics if it does not in a long time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not so: {what}");
}

/// A batch of records with these values.
pub fn batch(values: &[&str]) -> Records {
    build(BatchBuilder::new(), values)
}

/// The batch of an idempotent producer.
pub fn produced(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Records {
    build(BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence)), values)
}

fn build(mut batch: BatchBuilder, values: &[&str]) -> Records {
    for value in values {
        batch.push(&NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() }).unwrap();
    }
    batch.build().unwrap().into()
}

pub fn produce(topic: &str, partition: i32, records: Records) -> ProduceRequest {
    produce_all(topic, &[partition], records)
}

pub fn produce_all(topic: &str, partitions: &[i32], records: Records) -> ProduceRequest {
    let data =
        |index: &i32| PartitionProduceData { index: *index, records: records.clone(), ..Default::default() };
    let partition_data = partitions.iter().map(data).collect();
    let data = TopicProduceData { name: topic.into(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![data], ..Default::default() }
}

pub fn produce_by_id(topic: Uuid, partition: i32, records: Records) -> ProduceRequest {
    let mut request = produce("", partition, records);
    request.topic_data[0].topic_id = topic;
    request
}

/// The answers for the partitions of a topic: error and base offset.
pub fn produced_at(response: &ProduceResponse) -> Vec<(ErrorCode, i64)> {
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    answers.map(|answer| (answer.error_code, answer.base_offset)).collect()
}

pub fn only(response: ProduceResponse) -> PartitionProduceResponse {
    let mut answers = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let answer = answers.next().expect("there is an answer");
    assert_eq!(answers.next(), None);
    answer
}

/// A fetch of partition 0 without a session or a wait.
pub fn fetch(topic: &str, offset: i64) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest { min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

pub fn fetch_by_id(topic: Uuid, offset: i64) -> FetchRequest {
    let mut request = fetch("", offset);
    request.topics[0].topic_id = topic;
    request
}

pub fn fetched(response: &FetchResponse) -> &PartitionData {
    let mut all = response.responses.iter().flat_map(|topic| &topic.partitions);
    let data = all.next().expect("there is an answer");
    assert_eq!(all.next(), None);
    data
}

pub fn metadata(cluster: &Cluster, node: i32, topic: &str) -> MetadataResponse {
    Client::to(cluster, node).call(13, &metadata_of(topic))
}

pub fn metadata_of(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

/// The values of a partition.
pub fn values(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let value = |record: ottla_testing::Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    cluster.records(topic, partition).into_iter().map(value).collect()
}
