//! A plain connection to a broker, for what the runner itself asks: topics, and records to be read.
//!
//! One request at a time. No figure is taken here.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ottla_protocol::{
    Encoder, ErrorCode, Piece, Request, Str, decode_response, encode_request,
    messages::{
        create_topics::{CreatableTopic, CreateTopicsRequest},
        delete_topics::DeleteTopicsRequest,
        list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
        metadata::MetadataRequest,
        produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
    },
};

use crate::{
    failure::{Doing, Result},
    load::{PARTITIONS, Readable},
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A broker that a JVM runs needs a while until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A connection to a broker.
pub struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    /// Connects to a broker that may still be starting, and waits until it names a leader.
    pub fn open(addr: SocketAddr, mut alive: impl FnMut() -> Result<()>) -> Result<Connection> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            alive()?;
            let tried = Connection::once(addr).and_then(|mut connection| {
                let answer = connection
                    .call(5, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() })?;
                let ready = answer.brokers.iter().any(|broker| broker.node_id == answer.controller_id);
                if ready { Ok(connection) } else { Err("it has no controller yet".into()) }
            });
            match tried {
                Ok(connection) => return Ok(connection),
                Err(failure) if Instant::now() >= deadline => {
                    return Err(format!("the broker at {addr} does not answer: {failure}").into());
                }
                Err(_) => std::thread::sleep(RETRY_INTERVAL),
            }
        }
    }

    fn once(addr: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(addr).doing("connect")?;
        stream.set_nodelay(true).doing("set TCP_NODELAY")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).doing("set a time-out")?;
        Ok(Connection { stream, correlation_id: 0 })
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation_id += 1;
        let mut out = Encoder::new();
        let client = Str::from_static("ottla-client-bench");
        encode_request(&mut out, self.correlation_id, Some(&client), version, request).doing(R::NAME)?;
        for piece in out.finish() {
            if let Piece::Bytes(bytes) = piece {
                self.stream.write_all(&bytes).doing(R::NAME)?;
            }
        }
        let frame = self.read_frame().doing(R::NAME)?;
        let (header, response) = decode_response::<R::Response>(&frame, version).doing(R::NAME)?;
        if header.correlation_id != self.correlation_id {
            return Err(format!(
                "{}: answer {} to request {}",
                R::NAME,
                header.correlation_id,
                self.correlation_id
            )
            .into());
        }
        Ok(response)
    }

    fn read_frame(&mut self) -> std::io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Creates a topic, and waits until all its partitions are served.
    pub fn create_topic(&mut self, name: &str) -> Result<()> {
        let config =
            |name: &str, value: &str| ottla_protocol::messages::create_topics::CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
                ..Default::default()
            };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            configs: vec![config("segment.bytes", "67108864"), config("retention.ms", "-1")],
            ..Default::default()
        };
        let answer = self.call(5, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let result = answer.topics.first().ok_or("CreateTopics has no topic in its answer")?;
        refuse(result.error_code, format_args!("create topic {name}"))?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while !self.is_led(name)? {
            if Instant::now() >= deadline {
                return Err(format!(
                    "topic {name} is not served {} s after it was created",
                    ANSWER_TIMEOUT.as_secs()
                )
                .into());
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        Ok(())
    }

    /// Whether the broker serves all partitions: it may name itself as their leader before it does.
    fn is_led(&mut self, name: &str) -> Result<bool> {
        let partition =
            |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
        let partitions = (0..PARTITIONS).map(partition).collect();
        let topic = ListOffsetsTopic { name: name.into(), partitions, ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.call(4, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.filter(|partition| partition.error_code.is_none()).count() == PARTITIONS as usize)
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request =
            DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 30_000, ..Default::default() };
        let answer = self.call(4, &request)?;
        let result = answer.responses.first().ok_or("DeleteTopics has no topic in its answer")?;
        refuse(result.error_code, format_args!("delete topic {name}"))
    }

    /// Fills a topic with records to be read.
    pub fn fill(&mut self, name: &str, readable: &Readable) -> Result<()> {
        for batch in 0..readable.batches {
            let expected = (batch * readable.batch_records) as i64;
            let partition_data = |index| PartitionProduceData {
                index,
                records: readable.batch.clone().into(),
                ..Default::default()
            };
            let topic = TopicProduceData {
                name: name.into(),
                partition_data: (0..PARTITIONS).map(partition_data).collect(),
                ..Default::default()
            };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![topic],
                ..Default::default()
            };
            let answer = self.call(8, &request)?;
            let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            for partition in partitions {
                refuse(partition.error_code, format_args!("fill {name}-{}", partition.index))?;
                if partition.base_offset != expected {
                    return Err(format!(
                        "{name}-{}: offset {} instead of {expected}",
                        partition.index, partition.base_offset
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

fn refuse(code: ErrorCode, what: std::fmt::Arguments<'_>) -> Result<()> {
    if code.is_none() { Ok(()) } else { Err(format!("{what}: {code}").into()) }
}
