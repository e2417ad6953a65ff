//! What the tests of all APIs share: topics, batches, and what the broker logged.

use std::{
    io,
    sync::{Condvar, Mutex, Once},
    time::Duration,
};

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Uuid,
    messages::{
        create_topics::{CreatableTopic, CreateTopicsRequest},
        produce::{
            PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
        },
    },
};
use ottla_records::{BatchBuilder, NewRecord, TimestampMs, crc::crc32c};
use ottla_testing_internal::TestClient;

/// When the records of [`batch`] were created: in the past, which topics allow by default.
pub const CREATED: i64 = 1_600_000_000_000;

/// A topic as requests name it: by name or by id, which their version decides.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: &'static str,
    pub id: Uuid,
}

/// A topic to create, with `num.partitions` and without settings.
pub fn new_topic(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

/// Creates a topic with these settings.
pub fn create_with(
    client: &mut TestClient,
    name: &'static str,
    num_partitions: i32,
    settings: &[(&str, &str)],
) -> Topic {
    let configs = settings.iter().map(|(name, value)| setting(name, Some(value))).collect();
    let topics = vec![CreatableTopic { num_partitions, configs, ..new_topic(name) }];
    let created = client.call(7, &CreateTopicsRequest { topics, ..CreateTopicsRequest::default() });
    let [created] = &created.topics[..] else { panic!("{created:?}") };
    assert_eq!(created.error_code, ErrorCode::NONE, "{created:?}");
    Topic { name, id: created.topic_id }
}

/// Creates a topic.
pub fn create(client: &mut TestClient, name: &'static str, num_partitions: i32) -> Topic {
    create_with(client, name, num_partitions, &[])
}

/// A setting of a topic to create.
pub fn setting(
    name: &str,
    value: Option<&str>,
) -> ottla_protocol::messages::create_topics::CreatableTopicConfig {
    ottla_protocol::messages::create_topics::CreatableTopicConfig {
        name: name.into(),
        value: value.map(Into::into),
        ..Default::default()
    }
}

/// A builder with a record for each value.
pub fn builder(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: TimestampMs(CREATED), value, ..NewRecord::default() }).unwrap();
    }
    builder
}

/// A batch with a record for each value.
pub fn batch(values: &[&str]) -> Bytes {
    builder(values).build().unwrap()
}

/// A batch in which a field of the header is another one, and the CRC fits.
pub fn patched<const N: usize>(batch: &Bytes, at: usize, field: [u8; N]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + N].copy_from_slice(&field);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A request for one topic, with what to produce to its partitions.
pub fn produce_request(version: i16, topic: &Topic, partitions: &[(i32, Bytes)]) -> ProduceRequest {
    let partition = |(index, records): &(i32, Bytes)| PartitionProduceData {
        index: *index,
        records: records.clone().into(),
        ..PartitionProduceData::default()
    };
    let mut data = TopicProduceData {
        partition_data: partitions.iter().map(partition).collect(),
        ..TopicProduceData::default()
    };
    if version >= 13 {
        data.topic_id = topic.id;
    } else {
        data.name = topic.name.into();
    }
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![data], ..ProduceRequest::default() }
}

/// The answers for the partitions of a request for one topic.
pub fn partitions(response: ProduceResponse) -> Vec<PartitionProduceResponse> {
    assert_eq!(response.throttle_time_ms, 0);
    let [topic] = &response.responses[..] else { panic!("{response:?}") };
    topic.partition_responses.clone()
}

/// Produces a batch to a partition.
pub fn produce(
    client: &mut TestClient,
    version: i16,
    topic: &Topic,
    index: i32,
    batch: &Bytes,
) -> PartitionProduceResponse {
    let request = produce_request(version, topic, &[(index, batch.clone())]);
    let answers = partitions(client.call(version, &request));
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer.index, index);
    answer.clone()
}

static LINES: Mutex<String> = Mutex::new(String::new());
static WRITTEN: Condvar = Condvar::new();

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        WRITTEN.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged from its making on, by all tests of this process.
pub struct Log {
    from: usize,
}

impl Log {
    pub fn from_now_on() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).init());
        Self { from: LINES.lock().unwrap().len() }
    }

    /// Waits for a line with all of these words, and returns all there are by then. The address of the test's
    /// own connection tells its lines from those of others.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let found = |lines: &str| -> Vec<String> {
            // An address may be the beginning of another one.
            let has = |line: &str, word: &str| {
                line.match_indices(word)
                    .any(|(at, _)| !line[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
            };
            let has_all = |line: &&str| words.iter().all(|word| has(line, word));
            lines[self.from..].lines().filter(has_all).map(String::from).collect()
        };
        let lines = LINES.lock().unwrap();
        let (lines, _) = WRITTEN
            .wait_timeout_while(lines, Duration::from_secs(60), |lines| found(lines).is_empty())
            .unwrap();
        let found = found(&lines);
        // A panic must not poison the log of the other tests.
        drop(lines);
        assert!(!found.is_empty(), "no line of the log has {words:?}");
        found
    }
}
