//! How fast a Produce is decoded, beside the `kafka-protocol` crate: `cargo bench -p ottla-protocol`.
//!
//! Rounds of both take turns, and the best of each counts: the one that nothing disturbed. The ratio is ours to
//! theirs, so that below 1 means faster. That neither copies the records is checked before anything is measured.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::{messages::ProduceRequest as TheirProduceRequest, protocol::Decodable};
use ottla_protocol::{
    Encoder, Message, Piece, Records,
    messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
};

/// How often each decoder is measured.
const ROUNDS: u32 = 25;
/// How long a round takes at least.
const ROUND: Duration = Duration::from_millis(10);

fn main() {
    println!(
        "{:<36} {:>7} {:>10} {:>14} {:>6}",
        "decode a Produce of", "version", "ottla", "kafka-protocol", "ratio"
    );
    for (shape, topics, partitions, records_size) in [
        ("1 partition of 100 B", 1, 1, 100),
        ("1 partition of 16 KiB", 1, 1, 16 << 10),
        ("1 partition of 1 MiB", 1, 1, 1 << 20),
        ("10 topics of 10 partitions of 1 KiB", 10, 10, 1 << 10),
    ] {
        // The last one without flexible encodings, and the last ones with names and with ids.
        for version in [8, 12, 13] {
            let bytes = encoded(&produce(topics, partitions, records_size), version);
            check_records_are_views(&bytes, version);
            let (ours, theirs) = measure(
                || ProduceRequest::from_bytes(&bytes, version).unwrap(),
                || TheirProduceRequest::decode(&mut bytes.clone(), version).unwrap(),
            );
            println!("{shape:<36} {version:>7} {ours:>7.0} ns {theirs:>11.0} ns {:>6.2}", ours / theirs);
        }
    }
}

fn produce(topics: u8, partitions: i32, records_size: usize) -> ProduceRequest {
    let records = Bytes::from(vec![7; records_size]);
    let partition =
        |index| PartitionProduceData { index, records: records.clone().into(), ..Default::default() };
    let topic = |number: u8| TopicProduceData {
        name: format!("orders-{number}").into(),
        topic_id: [number; 16].into(),
        partition_data: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (0..topics).map(topic).collect(),
        ..Default::default()
    }
}

fn encoded(request: &ProduceRequest, version: i16) -> Bytes {
    let mut out = Encoder::new();
    request.encode(&mut out, version).unwrap();
    let pieces = out.finish().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::External { .. } => unreachable!("the records are here"),
    });
    Bytes::from(pieces.collect::<Vec<_>>().concat())
}

/// The records that each decoder gives out lie in the bytes that it was given.
fn check_records_are_views(bytes: &Bytes, version: i16) {
    let frame = bytes.as_ptr_range();
    let within = |records: &Bytes| {
        let records = records.as_ptr_range();
        frame.start <= records.start && records.end <= frame.end
    };
    let ours = ProduceRequest::from_bytes(bytes, version).unwrap();
    for partition in ours.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        assert!(matches!(&partition.records, Records::Bytes(records) if within(records)), "we copy records");
    }
    let theirs = TheirProduceRequest::decode(&mut bytes.clone(), version).unwrap();
    for partition in theirs.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        assert!(
            partition.records.as_ref().is_some_and(within),
            "they copy records: compare with something else"
        );
    }
}

/// How many nanoseconds each takes at best.
fn measure<A, B>(mut ours: impl FnMut() -> A, mut theirs: impl FnMut() -> B) -> (f64, f64) {
    (0..ROUNDS)
        .map(|_| (round(&mut ours), round(&mut theirs)))
        .fold((f64::INFINITY, f64::INFINITY), |(ours_best, theirs_best), (ours, theirs)| {
            (ours_best.min(ours), theirs_best.min(theirs))
        })
}

/// Runs `step` for one round and gives back how many nanoseconds it takes once.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that really passes")]
fn round<T>(step: &mut impl FnMut() -> T) -> f64 {
    let mut times = 0_u32;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        for _ in 0..64 {
            black_box(step());
        }
        times += 64;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}
