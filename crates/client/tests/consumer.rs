//! Reading partitions of a cluster that is well.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use ottla_client::{Consumer, ErrorKind, Kafka, block_on, config::OffsetReset, consumer::StartAt};
use ottla_records::{BatchBuilder, Compression, Compressor, RecordBatch, TimestampMs};
use ottla_testing::{ApiKey, Broker, Cluster, KafkaVersion, NewHeader, NewRecord};

mod support;

use support::value;

fn kafka(cluster: &Cluster) -> Kafka {
    Kafka::builder(cluster.bootstrap_servers().split(',')).build().unwrap()
}

fn consumer(cluster: &Cluster) -> Consumer {
    kafka(cluster).consumer().build().unwrap()
}

fn append(cluster: &Cluster, partition: i32, values: impl IntoIterator<Item = i64>) {
    for number in values {
        let text = number.to_string();
        let timestamp = TimestampMs(number * 10);
        let record = NewRecord { timestamp, value: Some(text.as_bytes()), ..NewRecord::default() };
        cluster.append("orders", partition, &[record]);
    }
}

/// The values of the next records.
fn next(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    (0..count).map(|_| value(&block_on(consumer.recv()).unwrap())).collect()
}

#[test]
fn a_partition_is_read_from_where_it_is_said() {
    for version in KafkaVersion::ALL {
        let cluster = Cluster::builder().version(version).topic("orders", 1).start();
        append(&cluster, 0, 0..10);
        cluster.set_log_start("orders", 0, 2);
        for (start, first) in [
            (StartAt::Earliest, 2),
            (StartAt::default(), 2),
            (StartAt::Offset(5), 5),
            (StartAt::Timestamp(65), 7),
            (StartAt::Timestamp(i64::MIN), 2),
        ] {
            let mut consumer = consumer(&cluster);
            consumer.assign([("orders", 0, start)]);
            assert_eq!(
                next(&mut consumer, 10 - first),
                (first as i64..10).collect::<Vec<_>>(),
                "{version:?} {start:?}"
            );
            assert_eq!(consumer.position("orders", 0), Some(10));
        }
        for start in [StartAt::Latest, StartAt::Timestamp(1000)] {
            let mut consumer = consumer(&cluster);
            consumer.assign([("orders", 0, start)]);
            // What was there is not read; the end has to be found before more comes.
            let end = cluster.offsets("orders", 0).1;
            while consumer.position("orders", 0) != Some(end) {
                std::thread::yield_now();
            }
            append(&cluster, 0, [end]);
            assert_eq!(next(&mut consumer, 1), [end]);
        }
    }
}

#[test]
fn a_record_has_all_that_it_was_made_of() {
    let broker = Broker::start();
    broker.create_topic("orders", 1);
    let headers = [
        NewHeader { key: "trace", value: Some(b"1") },
        NewHeader { key: "trace", value: None },
        NewHeader { key: "", value: Some(b"") },
    ];
    let full = NewRecord {
        timestamp: TimestampMs(1234),
        key: Some(b"42"),
        value: Some(b"one tea"),
        headers: &headers,
    };
    broker.append(
        "orders",
        0,
        &[NewRecord::default(), full, NewRecord { key: Some(b""), ..NewRecord::default() }],
    );
    let mut consumer = consumer(&broker);
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    let records: Vec<_> = (0..3).map(|_| block_on(consumer.recv()).unwrap()).collect();
    // The same of what is owned, which has left its batch.
    let owned: Vec<_> = records.iter().cloned().map(ottla_client::consumer::Record::into_owned).collect();
    drop(consumer);
    for records in [records, owned] {
        let [empty, full, tombstone] = &records[..] else { panic!("{records:?}") };
        assert_eq!((empty.key(), empty.value(), empty.timestamp(), empty.offset()), (None, None, -1, 0));
        assert_eq!((full.key(), full.value()), (Some(&b"42"[..]), Some(&b"one tea"[..])));
        assert_eq!((full.topic(), full.partition(), full.offset()), (&Arc::from("orders"), 0, 1));
        assert_eq!((full.timestamp(), full.leader_epoch()), (1234, 0));
        let headers: Vec<_> = full.headers().map(|header| (header.name, header.value)).collect();
        let expected = [("trace", Some(&b"1"[..])), ("trace", None), ("", Some(&b""[..]))];
        assert_eq!(headers, expected.map(|(name, value)| (name.into(), value)));
        assert_eq!(
            (tombstone.key(), tombstone.value(), tombstone.headers().len()),
            (Some(&b""[..]), None, 0)
        );
    }
}

#[test]
fn what_comes_together_is_read_together() {
    let broker = Broker::start();
    broker.create_topic("orders", 1);
    append(&broker, 0, 0..5);
    let mut consumer = consumer(&broker);
    consumer.assign([("orders", 0, StartAt::Offset(0))]);
    assert_eq!(next(&mut consumer, 2), [0, 1]);
    let records = block_on(consumer.recv_batch()).unwrap();
    assert_eq!((records.len(), records.next_offset(), records.iter().len()), (3, 5, 3));
    let read: Vec<_> = records.iter().map(|record| (record.offset(), value(&record.to_record()))).collect();
    assert_eq!(read, [(2, 2), (3, 3), (4, 4)]);
    assert_eq!((&**records.topic(), records.partition()), ("orders", 0));
    assert_eq!(consumer.position("orders", 0), Some(5));
}

#[test]
fn a_consumer_is_a_stream() {
    let broker = Broker::start();
    broker.create_topic("orders", 1);
    append(&broker, 0, 0..5);
    let mut consumer = consumer(&broker);
    consumer.assign([("orders", 0, StartAt::Offset(1))]);
    let read: Vec<_> = block_on(consumer.by_ref().take(3).map(|record| value(&record.unwrap())).collect());
    assert_eq!(read, [1, 2, 3]);
    assert_eq!(next(&mut consumer, 1), [4]);
}

#[test]
fn many_partitions_are_read_beside_each_other_and_each_in_order() {
    let cluster = Cluster::builder().nodes(3).topic("orders", 12).start();
    for partition in 0..12 {
        append(&cluster, partition, 0..50);
    }
    let mut consumer = consumer(&cluster);
    assert_eq!(block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap(), 12);
    assert_eq!(consumer.assignment().len(), 12);
    let mut read = [0; 12];
    for _ in 0..12 * 50 {
        let record = block_on(consumer.recv()).unwrap();
        let next = &mut read[record.partition() as usize];
        assert_eq!(value(&record), *next);
        *next += 1;
    }
    assert_eq!(read, [50; 12]);
    // One connection for fetches and one for calls at each node at most, and a session with each.
    assert!(cluster.counts().connections_open <= 6, "{:?}", cluster.counts());
    let error = block_on(consumer.assign_topic("nothing", StartAt::Earliest)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
}

#[test]
fn where_reading_goes_on_can_be_changed() {
    let cluster = Cluster::builder().topic("orders", 2).start();
    append(&cluster, 0, 0..5);
    append(&cluster, 1, 100..105);
    let mut consumer = consumer(&cluster);
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    assert_eq!(next(&mut consumer, 2), [0, 1]);
    consumer.seek("orders", 0, StartAt::Offset(4)).unwrap();
    assert_eq!(consumer.position("orders", 0), Some(4));
    assert_eq!(next(&mut consumer, 1), [4]);
    consumer.seek("orders", 0, StartAt::Timestamp(30)).unwrap();
    assert_eq!(next(&mut consumer, 1), [3]);

    // What was fetched of a paused partition waits, and the rest of what was being read first of all.
    consumer.seek("orders", 0, StartAt::Earliest).unwrap();
    assert_eq!(next(&mut consumer, 1), [0]);
    consumer.pause("orders", 0).unwrap();
    consumer.assign([("orders", 1, StartAt::Earliest)]);
    assert_eq!(next(&mut consumer, 5), [100, 101, 102, 103, 104]);
    assert_eq!(consumer.position("orders", 0), Some(1));
    consumer.resume("orders", 0).unwrap();
    assert_eq!(next(&mut consumer, 4), [1, 2, 3, 4]);

    consumer.unassign([("orders", 0)]);
    append(&cluster, 0, [5]);
    append(&cluster, 1, [105]);
    assert_eq!(next(&mut consumer, 1), [105]);
    assert_eq!(consumer.assignment(), [("orders".into(), 1)]);
    for error in [
        consumer.seek("orders", 0, StartAt::Latest).unwrap_err(),
        consumer.pause("orders", 0).unwrap_err(),
        consumer.resume("others", 1).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    }
    assert_eq!((consumer.position("orders", 0), consumer.watermarks("orders", 0)), (None, None));
}

#[test]
fn watermarks_are_as_last_told() {
    let broker = Broker::start();
    broker.create_topic("orders", 1);
    append(&broker, 0, 0..5);
    broker.set_log_start("orders", 0, 2);
    let mut consumer = consumer(&broker);
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    assert_eq!(next(&mut consumer, 1), [2]);
    let told = consumer.watermarks("orders", 0).unwrap();
    assert_eq!((told.log_start, told.high, told.last_stable), (Some(2), 5, Some(5)));
}

#[test]
fn compressed_records_are_read() {
    let broker = Broker::start();
    broker.create_topic("orders", 1);
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (number, codec) in codecs.into_iter().enumerate() {
        let mut builder = BatchBuilder::new();
        for number in number * 1000..(number + 1) * 1000 {
            let text = number.to_string();
            builder.push(&NewRecord { value: Some(text.as_bytes()), ..NewRecord::default() }).unwrap();
        }
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        let compressed = Compressor::new(codec).unwrap().compress(batch.header(), batch.payload()).unwrap();
        broker.append_batch("orders", 0, &compressed);
    }
    let mut consumer = consumer(&broker);
    // From the middle of a batch on.
    consumer.assign([("orders", 0, StartAt::Offset(500))]);
    assert_eq!(next(&mut consumer, 1700), (500..2200).collect::<Vec<_>>());
    let mut read = Vec::new();
    while read.len() < 1800 {
        let records = block_on(consumer.recv_batch()).unwrap();
        read.extend(records.iter().map(|record| value(&record.to_record())));
    }
    assert_eq!(read, (2200..4000).collect::<Vec<_>>());
}

#[test]
fn an_idle_consumer_asks_seldom_and_names_nothing_twice() {
    let cluster = Cluster::builder().topic("orders", 100).start();
    append(&cluster, 0, [0]);
    let mut consumer = consumer(&cluster);
    block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap();
    assert_eq!(next(&mut consumer, 1), [0]);
    let before = cluster.counts();
    // Each record is announced by a session, in which nothing is named but its partition.
    for number in 1..=20 {
        append(&cluster, 0, [number]);
        assert_eq!(next(&mut consumer, 1), [number]);
    }
    let after = cluster.counts();
    let requests = after.requests_of(ApiKey::FETCH) - before.requests_of(ApiKey::FETCH);
    let bytes = (after.bytes_received - before.bytes_received) / requests.max(1);
    assert!((19..=45).contains(&requests), "{requests} requests");
    assert!(bytes < 300, "{bytes} bytes a request");
}

#[test]
fn settings_are_checked_together_when_a_consumer_is_built() {
    let kafka = Kafka::builder(["127.0.0.1:1"]).memory_budget(4 << 20).build().unwrap();
    let error = kafka.consumer().fetch_min_bytes(9 << 20).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("fetch_max_bytes (fetch.max.bytes)"), "{error}");
    let error = kafka.consumer().fetch_max_wait(Duration::from_secs(60)).build().unwrap_err();
    assert!(error.to_string().contains("fetch_max_wait"), "{error}");
    let built = kafka.consumer().fetch_max_bytes(1 << 20).max_partition_fetch_bytes(1 << 16);
    built.offset_reset(OffsetReset::Latest).check_crcs(false).build().unwrap();
}
