//! A consumer and a broker of ours in one process.

use std::thread;

use bytes::Bytes;
use ottla_client::{
    ErrorKind, Kafka,
    admin::{NewTopic, OffsetSpec},
    block_on,
    config::IsolationLevel,
    consumer::StartAt,
};
use ottla_protocol::{
    Records,
    messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
};
use ottla_records::{BatchBuilder, Compression, Compressor, NewRecord, RecordBatch};
use ottla_testing_internal::{TestBroker, TestClient};

mod support;

use support::value;

/// The last version of Produce that names topics.
const BY_NAME: i16 = 12;

fn produce(
    client: &mut TestClient,
    partition: i32,
    codec: Compression,
    numbers: impl IntoIterator<Item = i64>,
) {
    let mut builder = BatchBuilder::new();
    for number in numbers {
        let text = number.to_string();
        builder.push(&NewRecord { value: Some(text.as_bytes()), ..NewRecord::default() }).unwrap();
    }
    let plain = RecordBatch::parse(builder.build().unwrap()).unwrap();
    let batch: Bytes = match codec {
        Compression::None => plain.into_bytes(),
        codec => Compressor::new(codec).unwrap().compress(plain.header(), plain.payload()).unwrap(),
    };
    let data = PartitionProduceData {
        index: partition,
        records: Records::Bytes(batch),
        ..PartitionProduceData::default()
    };
    let topic =
        TopicProduceData { name: "orders".into(), partition_data: vec![data], ..TopicProduceData::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..ProduceRequest::default() };
    let answer = client.call(BY_NAME, &request);
    assert!(answer.responses[0].partition_responses[0].error_code.is_none(), "{answer:?}");
}

#[test]
fn partitions_of_our_broker_are_read() {
    const BATCHES: i64 = 50;
    let broker = TestBroker::start(&[]);
    let kafka = Kafka::builder([broker.address().to_string()]).build().unwrap();
    let topic = NewTopic::new("orders").partitions(4).replication_factor(1);
    block_on(kafka.admin().create_topics([topic])).unwrap()[0].1.as_ref().unwrap();
    for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        let mut consumer = kafka.consumer().isolation_level(level).build().unwrap();
        let mut first = [0; 4];
        let ends = block_on(kafka.admin().list_offsets((0..4).map(|it| ("orders", it, OffsetSpec::Latest))));
        for (_, partition, end) in ends.unwrap() {
            first[partition as usize] = end.unwrap().offset.unwrap();
        }
        let places: Vec<_> = (0..4).map(|it| ("orders", it, StartAt::Offset(first[it as usize]))).collect();
        consumer.assign(places);
        let address = broker.address();
        let writing = thread::spawn(move || {
            let mut client = TestClient::connect(address);
            let codecs = [Compression::None, Compression::Zstd, Compression::Lz4, Compression::Gzip];
            for batch in 0..BATCHES {
                for partition in 0..4 {
                    let codec = codecs[(batch as usize + partition as usize) % codecs.len()];
                    produce(&mut client, partition, codec, batch * 100..batch * 100 + 100);
                }
            }
        });
        let mut read = [0; 4];
        while read.iter().sum::<i64>() < 4 * BATCHES * 100 {
            let records = block_on(consumer.recv_batch()).unwrap();
            let next = &mut read[records.partition() as usize];
            for record in &records {
                assert_eq!(value(&record.to_record()), *next);
                assert_eq!(record.offset(), first[record.partition() as usize] + *next);
                *next += 1;
            }
        }
        assert_eq!(read, [BATCHES * 100; 4]);
        writing.join().unwrap();
        let told = consumer.watermarks("orders", 0).unwrap();
        assert_eq!(told.log_start, Some(0));
        assert!(told.high <= first[0] + BATCHES * 100 && told.last_stable.is_some_and(|it| it <= told.high));

        consumer.seek("orders", 2, StartAt::Offset(i64::MAX)).unwrap();
        let error = block_on(consumer.recv()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
        let range = format!("there are offsets 0 to {}", first[2] + BATCHES * 100);
        assert!(error.to_string().contains(&range), "{error}");
    }
}

#[test]
fn a_topic_of_our_broker_that_is_created_anew_is_another_one() {
    let broker = TestBroker::start(&[]);
    let kafka = Kafka::builder([broker.address().to_string()]).build().unwrap();
    let admin = kafka.admin();
    let create = || {
        let topic = NewTopic::new("orders").partitions(1).replication_factor(1);
        block_on(admin.create_topics([topic])).unwrap()[0].1.as_ref().unwrap();
    };
    create();
    let mut client = TestClient::connect(broker.address());
    produce(&mut client, 0, Compression::None, 0..5);
    let mut consumer = kafka.consumer().build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    assert_eq!(block_on(consumer.recv_batch()).unwrap().len(), 5);
    block_on(admin.delete_topics(["orders"])).unwrap()[0].1.as_ref().unwrap();
    create();
    produce(&mut client, 0, Compression::None, 100..110);
    let error = block_on(consumer.recv()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange, "{error}");
    consumer.seek("orders", 0, StartAt::Earliest).unwrap();
    assert_eq!(value(&block_on(consumer.recv()).unwrap()), 100);
}
