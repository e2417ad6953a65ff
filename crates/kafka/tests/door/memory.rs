//! Clients that would take the broker's memory, and those that must not suffer from them.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use bytes::Bytes;
use ottla_kafka::Patience;
use ottla_protocol::{
    ErrorCode, Records,
    messages::{
        api_versions::ApiVersionsRequest,
        fetch::{FetchPartition, FetchRequest, FetchTopic},
    },
};
use ottla_records::{BatchBuilder, NewRecord, TimestampMs};
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::{CREATED, Topic, create_with, produce};

const MIB: usize = 1 << 20;
const SHORT: Patience = Patience { stalled: Duration::from_millis(300), records: Duration::from_millis(30) };

fn large_batch(bytes: usize, fill: u8) -> Bytes {
    let value = vec![fill; bytes];
    let mut builder = BatchBuilder::new();
    let record = NewRecord { timestamp: TimestampMs(CREATED), value: Some(&value), ..NewRecord::default() };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

/// Announces a large frame and sends the beginning of it, as far as the broker takes it.
fn lie(client: &TestClient) {
    let mut stream = client.stream();
    stream.write_all(&i32::try_from(60 * MIB).unwrap().to_be_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut left = 2 * MIB;
    while left > 0 {
        match stream.write(&vec![0; left.min(64 << 10)]) {
            Ok(written) => left -= written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whether a read says that the broker has closed the connection.
fn ended(read: std::io::Result<usize>) -> bool {
    match read {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Whether the broker closes the connection, waiting for it.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    ended(stream.read(&mut [0]))
}

#[test]
fn honest_large_requests_finish_among_liars() {
    // The honest ones must get on too, on a machine that is busy with the other tests.
    let patience = Patience { stalled: Duration::from_millis(1200), ..SHORT };
    let setup = Setup { settings: &["memory.budget=256MiB"], patience, ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    let topic = create_with(&mut client, "large", 1, &[("max.message.bytes", "60000000")]);

    let liars: Vec<TestClient> = (0..20).map(|_| broker.client()).collect();
    liars.iter().for_each(lie);
    let honest: Vec<_> = (0..2)
        .map(|_| {
            let (mut client, topic) = (broker.client(), topic.clone());
            thread::spawn(move || produce(&mut client, 9, &topic, 0, &large_batch(50_000_000, 7)))
        })
        .collect();
    let mut offsets: Vec<i64> = honest
        .into_iter()
        .map(|honest| {
            let answer = honest.join().unwrap();
            assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
            answer.base_offset
        })
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1]);
    // Those that got on with nothing had to go.
    assert!(liars.iter().any(|liar| ended(liar.stream().read(&mut [0]))));
    // Memory is there again, so those that are left may take their time.
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, ErrorCode::NONE);
}

#[test]
fn a_request_of_nothing_but_elements_is_refused() {
    let broker = TestBroker::start(&["memory.budget=32MiB"]);
    let mut client = broker.client();
    // Metadata, version 1: a million names of no bytes each would take 32 MB.
    let count = 1_000_000;
    let names = vec![0; 2 * count];
    let header = [&[0, 3, 0, 1, 0, 0, 0, 1, 255, 255][..], &(count as u32).to_be_bytes()].concat();
    client.send_frame(&[header, names].concat());
    client.expect_close();
}

#[test]
fn a_slow_request_may_take_its_time_while_there_is_memory() {
    let setup = Setup { patience: SHORT, ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    // ApiVersions, version 0, correlation id 5, no client id.
    let frame = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 255, 255];
    for byte in &frame[..3] {
        client.write(&[*byte]);
        thread::park_timeout(SHORT.stalled);
    }
    client.write(&frame[3..]);
    assert_eq!(client.receive_frame().unwrap()[..6], [0, 0, 0, 5, 0, 0]);
}

#[test]
fn a_silent_connection_is_closed_in_the_middle_of_a_request_or_not() {
    let broker = TestBroker::start(&["connections.max.idle.ms=100"]);
    let (silent, unfinished) = (broker.client(), broker.client());
    unfinished.stream().write_all(&[0, 0, 0, 9, 1]).unwrap();
    assert!(is_closed(silent.stream()) && is_closed(unfinished.stream()));
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    let broker = TestBroker::start(&["max.connections=2"]);
    let (mut first, mut second) = (broker.client(), broker.client());
    for client in [&mut first, &mut second] {
        assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, ErrorCode::NONE);
    }
    assert!(is_closed(broker.client().stream()));
    drop(first);
    let again = || {
        let mut client = broker.client();
        let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 255, 255];
        client.stream().write_all(&request).is_ok() && client.receive_frame().is_some()
    };
    assert!((0..1000).any(|_| again()), "a connection that ended makes room for another");
}

/// As many partitions, each with as many batches of about 100 kB.
const PARTITIONS: i32 = 12;
const BATCHES: i64 = 9;

fn fetch_request(topic: &Topic, partitions: std::ops::Range<i32>) -> FetchRequest {
    let from =
        |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let partitions = partitions.map(from).collect();
    let topics = vec![FetchTopic { topic: topic.name.into(), partitions, ..FetchTopic::default() }];
    FetchRequest { max_wait_ms: 10_000, min_bytes: 1, max_bytes: 64 << 20, topics, ..FetchRequest::default() }
}

/// Fills the partitions, and returns the records of each as a reader gets them.
fn fill(client: &mut TestClient, topic: &Topic) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(); PARTITIONS as usize];
    for number in 0..BATCHES {
        for partition in 0..PARTITIONS {
            let batch = large_batch(100_000, (number as u8) * 16 + partition as u8);
            let answer = produce(client, 9, topic, partition, &batch);
            assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, number));
            let records = &mut all[partition as usize];
            records.extend_from_slice(&number.to_be_bytes());
            // The broker has written its leader epoch.
            records.extend_from_slice(&batch[8..12]);
            records.extend_from_slice(&[0; 4]);
            records.extend_from_slice(&batch[16..]);
        }
    }
    all
}

/// Fetches everything on slow connections, which begin to read after others are done.
fn check_slow_readers(broker: &TestBroker<impl ottla_storage::Storage>, topic: &Topic, all: &[Vec<u8>]) {
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let mut client = broker.client();
            rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 64 << 10).unwrap();
            let sent = client.send(4, &fetch_request(topic, 0..PARTITIONS));
            (client, sent)
        })
        .collect();
    // Whatever these hold, others are served.
    let mut quick = broker.client();
    for partition in 0..PARTITIONS {
        let got = quick.call(4, &fetch_request(topic, partition..partition + 1));
        assert!(got.responses[0].partitions[0].records.len() > 100_000);
    }
    thread::park_timeout(SHORT.records * 4);
    for (mut client, sent) in slow {
        let got = client.receive(sent);
        for (partition, expected) in got.responses[0].partitions.iter().zip(all) {
            let Records::Bytes(records) = &partition.records else { panic!("no records") };
            let index = partition.partition_index;
            // What is in a segment already is given without the rest.
            assert!(records.len() > 100_000 && expected.starts_with(records), "partition {index}");
        }
    }
}

#[test]
fn slow_readers_of_a_memory_store_get_every_byte() {
    let setup = Setup { settings: &["memory.budget=64MiB"], patience: SHORT, ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    let topic = create_with(&mut client, "slow", PARTITIONS, &[]);
    let all = fill(&mut client, &topic);
    check_slow_readers(&broker, &topic, &all);
}

#[test]
fn slow_readers_of_a_data_directory_get_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { settings: &["memory.budget=64MiB"], patience: SHORT, ..Setup::default() };
    let broker = TestBroker::in_directory_with(dir.path(), &setup);
    let mut client = broker.client();
    let topic = create_with(&mut client, "slow", PARTITIONS, &[]);
    let all = fill(&mut client, &topic);
    check_slow_readers(&broker, &topic, &all);
}
