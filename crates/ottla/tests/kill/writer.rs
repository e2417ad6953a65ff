//! Writers that remember what they sent and what was acknowledged, through any number of the broker's lives.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    net::SocketAddr,
    sync::mpsc::Sender,
};

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_records::{BatchBuilder, NewRecord, ProducerEpoch, ProducerId, RecordBatch, Sequence, TimestampMs};
use ottla_storage::{Random, SeededRandom};

use crate::client::{Client, Partition};

/// Requests under way at a time: no more than the batches that a broker remembers of a producer.
const IN_FLIGHT: usize = 4;
const PARTITIONS: [Partition; 4] = [("plain", 0), ("plain", 1), ("small-segments", 0), ("small-segments", 1)];
/// Where what the CRC covers begins in a batch: everything before belongs to the broker.
const CRC_AT: usize = 17;

/// The topics that the writers write to, with two partitions each, and their `segment.bytes`.
pub const TOPICS: [(&str, &str); 2] = [("plain", "1073741824"), ("small-segments", "1048576")];

/// A batch that was sent.
struct Sent {
    partition: Partition,
    bytes: Bytes,
    /// Whether the broker has acknowledged it.
    acknowledged: bool,
    /// Where it is: told by the broker, or seen there. From then on it must be there.
    offset: Option<i64>,
}

pub struct Writer {
    number: u64,
    random: SeededRandom,
    idempotent: bool,
    producer: Option<(ProducerId, ProducerEpoch)>,
    sequences: HashMap<Partition, i32>,
    sent: Vec<Sent>,
}

/// How a writer's work in one life of the broker ended.
#[derive(Debug)]
pub enum End {
    /// The connection broke.
    Disconnected,
    /// The broker refused a batch.
    Refused(ErrorCode),
}

impl Writer {
    pub fn new(number: u64, idempotent: bool) -> Self {
        Self {
            number,
            random: SeededRandom::new(number),
            idempotent,
            producer: None,
            sequences: HashMap::new(),
            sent: Vec::new(),
        }
    }

    /// Writes until the broker ends. An idempotent writer first sends again what was not acknowledged.
    pub fn write(&mut self, address: SocketAddr, acknowledged: &Sender<()>) -> End {
        match self.try_write(address, acknowledged) {
            Ok(refused) => End::Refused(refused),
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "the broker fell silent");
                End::Disconnected
            }
        }
    }

    fn try_write(&mut self, address: SocketAddr, acknowledged: &Sender<()>) -> io::Result<ErrorCode> {
        let mut client = Client::connect(address)?;
        if self.idempotent && self.producer.is_none() {
            self.producer = Some(client.init_producer()?);
        }
        let again = |sent: &Sent| self.idempotent && !sent.acknowledged;
        let mut again: VecDeque<usize> =
            (0..self.sent.len()).filter(|index| again(&self.sent[*index])).collect();
        let mut under_way: VecDeque<Vec<usize>> = VecDeque::new();
        loop {
            while under_way.len() < IN_FLIGHT {
                let batches = match again.pop_front() {
                    Some(index) => vec![index],
                    None => self.more(),
                };
                under_way.push_back(batches);
                let batches: Vec<_> = under_way[under_way.len() - 1]
                    .iter()
                    .map(|index| (self.sent[*index].partition, self.sent[*index].bytes.clone()))
                    .collect();
                client.send_produce(&batches)?;
            }
            let answers = client.receive_produced()?;
            let batches = under_way.pop_front().unwrap();
            assert_eq!(answers.len(), batches.len());
            for (index, answer) in batches.into_iter().zip(answers) {
                match answer {
                    Ok(offset) => self.sent[index].acknowledge(offset),
                    Err(error) => return Ok(error),
                }
            }
            // The test may have heard enough.
            let _ = acknowledged.send(());
        }
    }

    /// Makes new batches for one or two partitions.
    fn more(&mut self) -> Vec<usize> {
        let first = self.random.next_u64() as usize;
        let count = 1 + self.random.next_u64() as usize % 2;
        (first..first + count).map(|at| self.batch(PARTITIONS[at % PARTITIONS.len()])).collect()
    }

    fn batch(&mut self, partition: Partition) -> usize {
        let index = self.sent.len();
        let sequence = self.sequences.entry(partition).or_default();
        let mut builder = BatchBuilder::new();
        if let Some((id, epoch)) = self.producer {
            builder = builder.producer(id, epoch, Sequence(*sequence));
        }
        let records = 1 + self.random.next_u64() % 3;
        *sequence += records as i32;
        for _ in 0..records {
            let padding = "x".repeat(self.random.next_u64() as usize % 4000);
            let value = format!("{}:{index}:{padding}", self.number);
            builder
                .push(&NewRecord {
                    timestamp: TimestampMs(1_700_000_000_000),
                    key: None,
                    value: Some(value.as_bytes()),
                    headers: &[],
                })
                .unwrap();
        }
        let bytes = builder.build().unwrap();
        self.sent.push(Sent { partition, bytes, acknowledged: false, offset: None });
        index
    }
}

impl Sent {
    fn acknowledge(&mut self, offset: i64) {
        self.acknowledged = true;
        if let Some(known) = self.offset.replace(offset) {
            assert_eq!(offset, known, "a batch sent again got another offset");
        }
    }
}

/// Reads everything back and compares it with what was sent: each batch that is known to be there is there,
/// once, with its bytes, at its offset; nothing else is, but what was under way; offsets are dense.
pub fn verify(client: &mut Client, writers: &mut [Writer]) {
    let mut found = HashSet::new();
    for partition in PARTITIONS {
        let batches = client.read_all(partition).unwrap();
        let (mut next, mut last_epoch) = (0, 0);
        let mut last_of_writer: BTreeMap<usize, usize> = BTreeMap::new();
        for batch in &batches {
            let offset = batch.header().base_offset.0;
            assert_eq!(offset, next, "{partition:?}: offsets are dense");
            next = batch.header().next_offset().0;
            batch.check_crc().unwrap();
            assert!(batch.header().leader_epoch.0 >= last_epoch, "{partition:?}: the epoch went back");
            last_epoch = batch.header().leader_epoch.0;

            let (writer, index) = origin(batch);
            assert!(found.insert((writer, index)), "{partition:?}: {writer}:{index} is there twice");
            let before = last_of_writer.insert(writer, index);
            assert!(
                before.is_none_or(|before| before < index),
                "{partition:?}: {index} came before {before:?}"
            );
            let sent = &mut writers[writer].sent[index];
            assert_eq!(sent.partition, partition);
            assert!(sent.bytes[CRC_AT..] == batch.bytes()[CRC_AT..], "{writer}:{index} has other bytes");
            if let Some(known) = sent.offset.replace(offset) {
                assert_eq!(offset, known, "{partition:?}: {writer}:{index} is somewhere else");
            }
        }
    }
    for (number, writer) in writers.iter().enumerate() {
        for (index, sent) in writer.sent.iter().enumerate() {
            let expected = sent.offset.is_some();
            assert!(!expected || found.contains(&(number, index)), "{number}:{index} is lost");
        }
    }
}

/// Which writer sent it, and the how manieth of its batches it is.
fn origin(batch: &RecordBatch) -> (usize, usize) {
    let record = batch.records().unwrap().next().unwrap().unwrap();
    let value = std::str::from_utf8(record.value.unwrap()).unwrap();
    let mut parts = value.split(':').map(|part| part.parse().unwrap_or(usize::MAX));
    (parts.next().unwrap(), parts.next().unwrap())
}
