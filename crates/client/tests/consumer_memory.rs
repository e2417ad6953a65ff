//! Reading within a memory budget: what is large, what is compressed, what is kept, and what nobody takes.

use std::{collections::VecDeque, thread, time::Duration};

use ottla_client::{
    Consumer, ErrorKind, Kafka, block_on,
    consumer::{ConsumerBuilder, Record, StartAt},
};
use ottla_records::{BatchBuilder, Compression, Compressor, RecordBatch};
use ottla_testing::{ApiKey, Cluster, NewRecord};

const MIB: usize = 1 << 20;

fn cluster(partitions: i32) -> Cluster {
    let cluster = Cluster::builder().start();
    cluster.create_topic_with("orders", partitions, &[("max.message.bytes", "16777216")]);
    cluster
}

/// Consumers of a client with the least budget that there is.
fn small(cluster: &Cluster) -> ConsumerBuilder {
    let kafka = Kafka::builder(cluster.bootstrap_servers().split(',')).memory_budget(MIB).build().unwrap();
    let consumer = kafka.consumer().fetch_max_wait(Duration::from_millis(50));
    consumer.fetch_max_bytes(128 << 10).max_partition_fetch_bytes(32 << 10)
}

/// A batch with records of so many bytes.
fn batch(sizes: &[usize]) -> bytes::Bytes {
    let mut builder = BatchBuilder::new();
    for size in sizes {
        builder.push(&NewRecord { value: Some(&vec![7; *size]), ..NewRecord::default() }).unwrap();
    }
    builder.build().unwrap()
}

fn compressed(codec: Compression, sizes: &[usize]) -> bytes::Bytes {
    let batch = RecordBatch::parse(batch(sizes)).unwrap();
    Compressor::new(codec).unwrap().compress(batch.header(), batch.payload()).unwrap()
}

fn size(record: &Record) -> usize {
    record.value().map_or(0, <[u8]>::len)
}

fn sizes(consumer: &mut Consumer, count: usize) -> Vec<usize> {
    (0..count).map(|_| size(&block_on(consumer.recv()).unwrap())).collect()
}

#[test]
fn a_batch_that_is_larger_than_a_fetch_is_taken_alone() {
    let cluster = cluster(3);
    for partition in 0..3 {
        for size in [10, 700_000, 20, 300_000, 30] {
            cluster.append_batch("orders", partition, &batch(&[size]));
        }
    }
    let mut consumer = small(&cluster).build().unwrap();
    block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap();
    let mut read = [(); 3].map(|()| Vec::new());
    for _ in 0..15 {
        let record = block_on(consumer.recv()).unwrap();
        read[record.partition() as usize].push(size(&record));
    }
    assert_eq!(read, [(); 3].map(|()| vec![10, 700_000, 20, 300_000, 30]));
}

#[test]
fn a_batch_that_never_has_room_is_an_error_that_names_the_setting() {
    let cluster = cluster(2);
    for size in [10, 2 * MIB, 20] {
        cluster.append_batch("orders", 0, &batch(&[size]));
    }
    for size in [100, 200, 300] {
        cluster.append_batch("orders", 1, &batch(&[size]));
    }
    let mut consumer = small(&cluster).build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest), ("orders", 1, StartAt::Earliest)]);
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    while read.len() < 4 || errors.is_empty() {
        match block_on(consumer.recv()) {
            Ok(record) => read.push(size(&record)),
            Err(error) => errors.push(error),
        }
    }
    read.sort_unstable();
    assert_eq!((read, errors.len()), (vec![10, 100, 200, 300], 1));
    assert_eq!(errors[0].kind(), ErrorKind::Config);
    let text = errors[0].to_string();
    assert!(text.starts_with("a batch of partition 0 of topic orders at offset 1 has 2097"), "{text}");
    assert!(text.contains("memory_budget (buffer.memory)"), "{text}");
    consumer.seek("orders", 0, StartAt::Offset(2)).unwrap();
    assert_eq!(sizes(&mut consumer, 1), [20]);
}

#[test]
fn what_is_decompressed_has_room_or_is_an_error() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let cluster = cluster(2);
        // More than a guess and than what others leave, and then more than there is.
        cluster.append_batch("orders", 0, &compressed(codec, &[100_000, 800_000]));
        cluster.append_batch("orders", 0, &compressed(codec, &[3, 2 * MIB]));
        cluster.append_batch("orders", 0, &compressed(codec, &[5, 6]));
        for _ in 0..40 {
            cluster.append_batch("orders", 1, &batch(&[10_000]));
        }
        let mut consumer = small(&cluster).build().unwrap();
        consumer.assign([("orders", 0, StartAt::Earliest), ("orders", 1, StartAt::Earliest)]);
        let (mut read, mut others, mut errors) = (Vec::new(), 0, Vec::new());
        while others < 40 || errors.is_empty() {
            match block_on(consumer.recv()) {
                Ok(record) if record.partition() == 0 => read.push(size(&record)),
                Ok(_) => others += 1,
                Err(error) => errors.push(error),
            }
        }
        assert_eq!((read, errors.len()), (vec![100_000, 800_000], 1), "{codec}");
        let text = errors[0].to_string();
        assert!(
            text.starts_with("a batch of partition 0 of topic orders at offset 2 becomes more than"),
            "{text}"
        );
        assert_eq!(errors[0].kind(), ErrorKind::Config, "{text}");
        consumer.seek("orders", 0, StartAt::Offset(4)).unwrap();
        assert_eq!(sizes(&mut consumer, 2), [5, 6]);
    }
}

#[test]
fn records_that_are_kept_stop_fetching_and_owned_ones_do_not() {
    const COUNT: usize = 400;
    let cluster = cluster(1);
    for _ in 0..COUNT {
        cluster.append_batch("orders", 0, &batch(&[10_000]));
    }
    let mut consumer = small(&cluster).build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    let (kept, all_kept) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        for _ in 0..COUNT {
            kept.send(block_on(consumer.recv()).unwrap()).unwrap();
        }
        consumer
    });
    // What is in the channel is kept.
    let mut records = VecDeque::new();
    while let Ok(record) = all_kept.recv_timeout(Duration::from_millis(300)) {
        records.push_back(record);
    }
    let (held, fetches) = (records.len(), cluster.counts().requests_of(ApiKey::FETCH));
    assert!((20..110).contains(&held), "{held} records of 10 kB in a budget of 1 MiB");
    // Copies take no room of the budget.
    let mut owned: Vec<Record> = records.into_iter().map(Record::into_owned).collect();
    owned.extend(all_kept.iter().map(Record::into_owned));
    assert_eq!(owned.iter().map(Record::offset).collect::<Vec<_>>(), (0..COUNT as i64).collect::<Vec<_>>());
    assert!(owned.iter().all(|record| size(record) == 10_000));
    assert!(cluster.counts().requests_of(ApiKey::FETCH) > fetches);
    drop(reader.join().unwrap());
}

#[test]
fn a_partition_that_nobody_takes_does_not_stop_the_others() {
    let cluster = cluster(20);
    for partition in 0..20 {
        for _ in 0..30 {
            cluster.append_batch("orders", partition, &batch(&[10_000]));
        }
    }
    let mut consumer = small(&cluster).build().unwrap();
    block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap();
    sizes(&mut consumer, 10);
    for partition in 1..20 {
        consumer.pause("orders", partition).unwrap();
    }
    // More than fits beside what was fetched of the others.
    for _ in 0..300 {
        cluster.append_batch("orders", 0, &batch(&[10_000]));
    }
    let first = consumer.position("orders", 0).unwrap();
    for offset in first..330 {
        let record = block_on(consumer.recv()).unwrap();
        assert_eq!((record.partition(), record.offset()), (0, offset));
    }
    // And nothing of them was lost.
    let mut next: Vec<i64> =
        (0..20).map(|partition| consumer.position("orders", partition).unwrap()).collect();
    for partition in 1..20 {
        consumer.resume("orders", partition).unwrap();
    }
    while next[1..].iter().any(|offset| *offset < 30) {
        let record = block_on(consumer.recv()).unwrap();
        let expected = &mut next[record.partition() as usize];
        assert_eq!(record.offset(), *expected);
        *expected += 1;
    }
}

#[test]
fn many_consumers_share_what_there_is() {
    const CONSUMERS: i32 = 8;
    let cluster = cluster(CONSUMERS);
    for partition in 0..CONSUMERS {
        for _ in 0..50 {
            cluster.append_batch("orders", partition, &compressed(Compression::Lz4, &[50_000, 50_000]));
        }
    }
    let kafka = Kafka::builder(cluster.bootstrap_servers().split(',')).memory_budget(MIB).build().unwrap();
    thread::scope(|scope| {
        for partition in 0..CONSUMERS {
            let mut consumer = kafka.consumer().fetch_max_bytes(512 << 10).build().unwrap();
            scope.spawn(move || {
                consumer.assign([("orders", partition, StartAt::Earliest)]);
                let mut read = 0;
                while read < 100 {
                    let records = block_on(consumer.recv_batch()).unwrap();
                    assert_eq!(records.iter().next().unwrap().offset(), read);
                    read += records.len() as i64;
                }
            });
        }
    });
}
