//! Fetch, versions 4 to 18: what was produced is read, and each partition has its error.

use ottla_protocol::{
    ErrorCode, Message, Records,
    messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData},
};
use ottla_records::{Batches, Offset};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::{Topic, batch, create, produce};

fn fetch(
    client: &mut TestClient,
    version: i16,
    topic: &Topic,
    partitions: &[(i32, i64)],
) -> Vec<PartitionData> {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let mut asked =
        FetchTopic { partitions: partitions.iter().map(partition).collect(), ..FetchTopic::default() };
    if version >= 13 {
        asked.topic_id = topic.id;
    } else {
        asked.topic = topic.name.into();
    }
    let answer = client.call(version, &FetchRequest { topics: vec![asked], ..FetchRequest::default() });
    assert_eq!((answer.throttle_time_ms, answer.error_code), (0, ErrorCode::NONE));
    let [topic] = &answer.responses[..] else { panic!("{answer:?}") };
    topic.partitions.clone()
}

fn base_offsets(data: &PartitionData) -> Vec<i64> {
    let Records::Bytes(bytes) = &data.records else { return Vec::new() };
    Batches::new(bytes.clone()).map(|batch| batch.unwrap().header().base_offset.0).collect()
}

#[test]
fn every_version_reads_what_was_produced() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 2);
    for values in [&["1", "2"][..], &["3"], &["4", "5"]] {
        produce(&mut client, 13, &topic, 0, &batch(values));
    }
    for version in FetchRequest::VERSIONS {
        let data = fetch(&mut client, version, &topic, &[(0, 1), (1, 0)]);
        assert_eq!(data[0].error_code, ErrorCode::NONE);
        assert_eq!((data[0].high_watermark, data[0].last_stable_offset), (5, 5));
        assert_eq!(data[0].log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(base_offsets(&data[0]), [0, 2, 3], "the batch that holds the offset comes whole");
        assert!(data[0].aborted_transactions.as_deref().unwrap_or_default().is_empty());
        assert_eq!((data[1].error_code, data[1].high_watermark), (ErrorCode::NONE, 0));
        assert!(base_offsets(&data[1]).is_empty());
    }
}

#[test]
fn every_version_has_an_error_for_each_partition() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 2);
    produce(&mut client, 13, &topic, 0, &batch(&["1", "2"]));
    produce(&mut client, 13, &topic, 0, &batch(&["3"]));
    broker.broker().topics().named("a").unwrap().partitions[0].set_log_start(Offset(2));
    for version in FetchRequest::VERSIONS {
        let mut code =
            |partition, offset| fetch(&mut client, version, &topic, &[(partition, offset)])[0].error_code;
        assert_eq!(code(0, 1), ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(code(0, 4), ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(code(0, 3), ErrorCode::NONE);
        assert_eq!(code(2, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let none = Topic { name: "none", id: [3; 16].into() };
        let unknown = fetch(&mut client, version, &none, &[(0, 0)])[0].error_code;
        let expected =
            if version >= 13 { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        assert_eq!(unknown, expected);
    }
}
