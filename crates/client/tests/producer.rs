//! Producing to a cluster whose nodes die, hang, refuse and forget.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ottla_client::{
    Error, ErrorKind, Kafka, KafkaBuilder, Written, block_on,
    config::Acks,
    producer::{Delivery, Producer, ProducerBuilder, Record, partitioner::Partitioning},
};
use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter, KafkaVersion};

const MINUTE: Duration = Duration::from_secs(60);

fn client(cluster: &Cluster) -> KafkaBuilder {
    Kafka::builder(cluster.bootstrap_servers().split(','))
}

fn producer(cluster: &Cluster) -> ProducerBuilder {
    client(cluster).build().unwrap().producer()
}

fn to(partition: i32, value: impl ToString) -> Record {
    Record::new("orders").value(value.to_string()).partition(partition)
}

fn values(cluster: &Cluster, partition: i32) -> Vec<String> {
    let records = cluster.records("orders", partition);
    records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect()
}

fn numbers(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn each_record_is_where_its_delivery_says() {
    let cluster = Cluster::builder().nodes(3).topic("orders", 6).start();
    let producer = producer(&cluster).partitioner(Partitioning::RoundRobin).build().unwrap();
    let send = |number: i32| {
        let record =
            Record::new("orders").key("k").value(number.to_string()).header("h", "1").header("h", "2");
        producer.try_send(record).unwrap()
    };
    let deliveries: Vec<Delivery> = (0..1000).map(send).collect();
    block_on(producer.flush(MINUTE)).unwrap();
    for (number, mut delivery) in deliveries.into_iter().enumerate() {
        let told = delivery.try_get().expect("it was flushed").unwrap();
        let offset = usize::try_from(told.offset.unwrap()).unwrap();
        let record = &cluster.records("orders", told.partition)[offset];
        assert_eq!(record.value.as_deref(), Some(number.to_string().as_bytes()));
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.headers.len(), 2);
    }
    assert_eq!((0..6).map(|partition| cluster.records("orders", partition).len()).sum::<usize>(), 1000);
    let report = block_on(producer.close(MINUTE));
    assert_eq!((report.delivered, report.failed, report.unsent), (0, 0, 0));
    let error = producer.try_send(to(0, "late")).unwrap_err();
    assert_eq!((error.kind(), error.record().value.as_deref()), (ErrorKind::Closed, Some(&b"late"[..])));
}

#[test]
fn every_version_of_brokers_takes_records() {
    for version in
        [KafkaVersion::V2_1, KafkaVersion::V2_4, KafkaVersion::V2_8, KafkaVersion::V3_9, KafkaVersion::V4_3]
    {
        let cluster = Cluster::builder().nodes(2).version(version).topic("orders", 2).start();
        let producer = producer(&cluster).build().unwrap();
        for number in 0..10 {
            let told = block_on(producer.send(to(number % 2, number))).unwrap();
            assert_eq!(told.offset, Some((number / 2).into()), "{version:?}");
        }
        assert_eq!(values(&cluster, 1), ["1", "3", "5", "7", "9"]);
    }
}

#[test]
fn records_for_a_topic_that_is_not_known_yet_keep_their_order() {
    let cluster = Cluster::builder().nodes(1).auto_create_topics(false).start();
    let producer = producer(&cluster).build().unwrap();
    let deliveries: Vec<_> = (0..100).map(|number| producer.try_send(to(0, number)).unwrap()).collect();
    let dropped = producer.try_send(to(7, "nowhere")).unwrap();
    cluster.create_topic("orders", 1);
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(block_on(delivery).unwrap().offset, Some(offset as i64));
    }
    let error = block_on(dropped).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::UnknownTopic, Some(Written::No)));
    assert_eq!(error.into_record().value.unwrap(), "nowhere");
    assert_eq!(values(&cluster, 0), numbers(0..100));
}

#[test]
fn a_topic_that_never_comes_fails_in_time_and_the_records_come_back() {
    let cluster = Cluster::builder().nodes(1).auto_create_topics(false).start();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let noted = failures.clone();
    let producer = producer(&cluster)
        .max_wait(Duration::from_millis(200))
        .on_failure(move |record, error| noted.lock().unwrap().push((record, error)))
        .build()
        .unwrap();
    let awaited = producer.try_send(to(0, "awaited")).unwrap();
    drop(producer.try_send(to(0, "forgotten")).unwrap());
    let error = block_on(awaited).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::UnknownTopic, Some(Written::No)));
    assert!(error.to_string().contains("max_wait"), "{error}");
    assert_eq!(*error.record(), Record { timestamp: error.record().timestamp, ..to(0, "awaited") });
    block_on(producer.close(MINUTE));
    let failures = failures.lock().unwrap();
    assert_eq!((failures.len(), failures[0].0.value.as_deref()), (1, Some(&b"forgotten"[..])));
}

#[test]
fn what_brokers_say_is_what_becomes_of_a_batch() {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let producer = producer(&cluster).build().unwrap();
    let mut offset = 0;
    for (code, fate) in [
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, Ok(())),
        (ErrorCode::NOT_ENOUGH_REPLICAS, Ok(())),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Ok(())),
        (ErrorCode::UNKNOWN_TOPIC_ID, Ok(())),
        (ErrorCode::CORRUPT_MESSAGE, Ok(())),
        (ErrorCode::REQUEST_TIMED_OUT, Ok(())),
        (ErrorCode::KAFKA_STORAGE_ERROR, Ok(())),
        (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, Ok(())),
        (ErrorCode::UNKNOWN_PRODUCER_ID, Ok(())),
        (ErrorCode::INVALID_RECORD, Err((ErrorKind::InvalidRecord, Written::No))),
        (ErrorCode::MESSAGE_TOO_LARGE, Err((ErrorKind::InvalidRecord, Written::No))),
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, Err((ErrorKind::Auth, Written::No))),
        (ErrorCode::UNKNOWN_SERVER_ERROR, Err((ErrorKind::Broker, Written::Maybe))),
        (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, Ok(())),
    ] {
        let hook = cluster.on_request(Filter::api(ApiKey::PRODUCE).times(1), Action::Fail(code));
        let told = block_on(producer.send(to(0, code)));
        match (told, fate) {
            (Ok(told), Ok(())) if code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                assert_eq!(told.offset, None)
            }
            (Ok(told), Ok(())) => {
                assert_eq!(told.offset, Some(offset), "{code}");
                offset += 1;
            }
            (Err(error), Err((kind, written))) => {
                assert_eq!((error.kind(), error.error().written()), (kind, Some(written)), "{error}");
                assert!(error.to_string().contains(&code.to_string()), "{error}");
            }
            (told, fate) => panic!("{code}: {told:?}, {fate:?} was expected"),
        }
        assert_eq!(hook.hits(), 1);
    }
    assert_eq!(cluster.offsets("orders", 0).1, offset);
}

#[test]
fn an_answer_that_is_lost_writes_nothing_twice() {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let producer = producer(&cluster).linger(Duration::ZERO).build().unwrap();
    let mut number = 0;
    for action in [Action::LoseAnswer, Action::LoseRequest, Action::LoseAnswer, Action::LoseAnswer] {
        cluster.on_request(Filter::api(ApiKey::PRODUCE).times(1), action);
        for _ in 0..5 {
            assert_eq!(block_on(producer.send(to(0, number))).unwrap().offset, Some(number.into()));
            number += 1;
        }
    }
    assert_eq!(values(&cluster, 0), numbers(0..number));
}

#[test]
fn a_batch_that_is_too_large_for_the_broker_is_split() {
    let cluster = Cluster::builder().nodes(1).start();
    cluster.create_topic_with("orders", 1, &[("max.message.bytes", "1000")]);
    let producer = producer(&cluster).linger(Duration::from_millis(50)).build().unwrap();
    let value = |number| format!("{number:0100}");
    let deliveries: Vec<_> = (0..50).map(|number| producer.try_send(to(0, value(number))).unwrap()).collect();
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(block_on(delivery).unwrap().offset, Some(offset as i64));
    }
    assert_eq!(values(&cluster, 0), (0..50).map(value).collect::<Vec<_>>());
    let error = block_on(producer.send(to(0, "x".repeat(1000)))).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::InvalidRecord, Some(Written::No)));
    let error = producer.try_send(to(0, "x".repeat(1 << 20))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRecord);
    assert!(error.to_string().contains("max_request_size"), "{error}");
}

#[test]
fn the_dead_starve_nobody() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    for partition in 0..2 {
        cluster.move_leader("orders", partition, partition + 1);
    }
    let kafka = client(&cluster).memory_budget(4 << 20).build().unwrap();
    let producer = kafka.producer().build().unwrap();
    (0..2).for_each(|partition| drop(block_on(producer.send(to(partition, "first"))).unwrap()));
    cluster.freeze(1);
    let value = "x".repeat(10_000);
    let mut stuck = Vec::new();
    let refused = loop {
        match producer.try_send(to(0, &value)) {
            Ok(delivery) => stuck.push(delivery),
            Err(rejected) => break rejected,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Backpressure);
    assert!(stuck.len() > 100, "{}", stuck.len());
    for number in 0..100 {
        block_on(producer.send(to(1, number))).unwrap();
    }
    // Who waits for room behind the one that is dead waits alone, and goes on when it is back.
    let waiting = {
        let (producer, value) = (producer.clone(), value.clone());
        thread::spawn(move || block_on(producer.send(to(0, value))))
    };
    cluster.thaw(1);
    assert_eq!(waiting.join().unwrap().unwrap().offset, Some(stuck.len() as i64 + 1));
    for (offset, delivery) in (1..).zip(stuck) {
        assert_eq!(block_on(delivery).unwrap().offset, Some(offset));
    }
}

#[test]
fn records_without_a_key_avoid_who_cannot_be_reached() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    (0..2).for_each(|partition| cluster.move_leader("orders", partition, partition + 1));
    let producer = producer(&cluster).partitioner(Partitioning::Random).build().unwrap();
    block_on(producer.send(to(0, "1"))).unwrap();
    cluster.kill(1);
    let lost = producer.try_send(to(0, "waits")).unwrap();
    let send = |_| block_on(producer.send(Record::new("orders").value("2"))).unwrap().partition;
    // When it is known that nobody is there, it is asked whether the cluster knows more.
    cluster
        .on_request(Filter::api(ApiKey::METADATA).times(1), Action::Delay(Duration::ZERO))
        .wait_for_hits(1);
    let partitions: Vec<i32> = (0..20).map(send).collect();
    assert!(partitions.iter().all(|partition| *partition == 1), "{partitions:?}");
    cluster.revive(1);
    assert_eq!(block_on(lost).unwrap().offset, Some(1));
}

#[test]
fn old_sequences_are_never_given_to_other_records() {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let kafka = client(&cluster).request_timeout(Duration::from_millis(300));
    let kafka = kafka.retry_backoff(Duration::from_millis(5), Duration::from_millis(50)).build().unwrap();
    let timeout = Duration::from_millis(400);
    let producer = kafka.producer().linger(Duration::ZERO).delivery_timeout(timeout).build().unwrap();
    block_on(producer.send(to(0, "0"))).unwrap();
    // It is written, and nobody hears of it until its deadline.
    let hook = cluster.on_request(Filter::api(ApiKey::PRODUCE), Action::LoseAnswer);
    let error = block_on(producer.send(to(0, "1"))).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::Maybe)));
    hook.remove();
    for offset in 2..10 {
        assert_eq!(block_on(producer.send(to(0, offset))).unwrap().offset, Some(offset.into()));
    }
    assert_eq!(values(&cluster, 0), numbers(0..10));
}

#[test]
fn a_producer_without_idempotence_asks_for_no_id() {
    for (acks, offset) in [(Acks::All, Some(0)), (Acks::Leader, Some(0)), (Acks::None, None)] {
        let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
        let hook = cluster.on_request(Filter::api(ApiKey::INIT_PRODUCER_ID), Action::Delay(Duration::ZERO));
        let producer = producer(&cluster).idempotence(false).acks(acks).build().unwrap();
        assert_eq!(block_on(producer.send(to(0, "0"))).unwrap().offset, offset, "{acks:?}");
        for number in 1..100 {
            drop(producer.try_send(to(0, number)).unwrap());
        }
        let report = block_on(producer.close(MINUTE));
        assert_eq!((report.failed, report.unsent), (0, 0));
        cluster.wait_for_records("orders", 0, 100);
        assert_eq!(values(&cluster, 0), numbers(0..100));
        assert_eq!(hook.hits(), 0);
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let cluster = Cluster::builder().nodes(1).start();
    let error = producer(&cluster).acks(Acks::Leader).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("enable.idempotence"), "{error}");
    let properties = [("bootstrap.servers", "localhost:1"), ("acks", "0"), ("enable.idempotence", "false")];
    Kafka::from_properties(properties).unwrap().build().unwrap().producer().build().unwrap();
}

#[test]
fn who_may_not_be_idempotent_is_told_how_to_go_on() {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let refused = Action::Fail(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    let hook = cluster.on_request(Filter::api(ApiKey::INIT_PRODUCER_ID), refused);
    let producer = producer(&cluster).build().unwrap();
    let error = block_on(producer.send(to(0, "0"))).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::Auth, Some(Written::No)));
    assert!(
        error.to_string().contains("IdempotentWrite") && error.to_string().contains("enable.idempotence")
    );
    hook.remove();
    assert_eq!(block_on(producer.send(to(0, "1"))).unwrap().offset, Some(0));
}

#[test]
fn closing_tells_of_all_that_was_left() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    (0..2).for_each(|partition| cluster.move_leader("orders", partition, partition + 1));
    let producer = producer(&cluster).build().unwrap();
    (0..2).for_each(|partition| drop(block_on(producer.send(to(partition, "first"))).unwrap()));
    cluster.kill(1);
    let good = producer.try_send(to(1, "good")).unwrap();
    let bad = producer.try_send(to(0, "bad")).unwrap();
    let report = block_on(producer.close(Duration::from_secs(1)));
    assert_eq!((report.delivered, report.failed + report.unsent), (1, 1), "{report:?}");
    assert_eq!(block_on(good).unwrap().offset, Some(1));
    assert_eq!(block_on(bad).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_producer_that_is_dropped_goes_on_for_a_while() {
    let cluster = Cluster::builder().nodes(2).topic("orders", 2).start();
    (0..2).for_each(|partition| cluster.move_leader("orders", partition, partition + 1));
    let producer = producer(&cluster).drop_grace(Duration::from_millis(500)).build().unwrap();
    (0..2).for_each(|partition| drop(block_on(producer.send(to(partition, "first"))).unwrap()));
    cluster.kill(1);
    let good = producer.try_send(to(1, "good")).unwrap();
    let bad = producer.try_send(to(0, "bad")).unwrap();
    drop(producer);
    assert_eq!(block_on(good).unwrap().offset, Some(1));
    let error = block_on(bad).unwrap_err();
    assert_eq!((error.kind(), error.into_record().value.unwrap()), (ErrorKind::Closed, "bad".into()));
}

#[test]
fn when_the_runtime_dies_every_record_has_an_end() {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let (producer, sent) = {
        let _inside = runtime.enter();
        let producer = client(&cluster).on_current_runtime().build().unwrap().producer().build().unwrap();
        block_on(producer.send(to(0, "0"))).unwrap();
        cluster.freeze(1);
        let sent = producer.try_send(to(0, "1")).unwrap();
        (producer, sent)
    };
    runtime.shutdown_background();
    assert_eq!(block_on(sent).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(producer.try_send(to(0, "2")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(block_on(producer.enqueue(to(0, "2"))).unwrap_err().kind(), ErrorKind::Closed);
    block_on(producer.flush(MINUTE)).unwrap();
    block_on(producer.close(MINUTE));
}

/// Whatever happens to nodes, each record is in the log as its fate says, and once; and those of a partition in order.
#[test]
fn fates_are_true_whatever_happens() {
    const PARTITIONS: i32 = 6;
    const RECORDS: i32 = 1000;
    let cluster = Arc::new(Cluster::builder().nodes(3).topic("orders", PARTITIONS).start());
    let kafka = client(&cluster).request_timeout(Duration::from_millis(250));
    let kafka = kafka.retry_backoff(Duration::from_millis(5), Duration::from_millis(50)).build().unwrap();
    let producer =
        kafka.producer().linger(Duration::from_millis(1)).delivery_timeout(Duration::from_millis(400));
    let producer = producer.batch_size(300).build().unwrap();
    type Fates = BTreeMap<String, Result<Option<i64>, Error>>;
    let send_all = |producer: Producer, partition: i32| {
        let mut deliveries = Vec::new();
        for number in 0..RECORDS {
            let value = format!("{partition}-{number:04}");
            deliveries.push((value.clone(), block_on(producer.enqueue(to(partition, value))).unwrap()));
            thread::park_timeout(Duration::from_millis(2));
        }
        let fate = |(value, delivery)| match block_on::<Delivery>(delivery) {
            Ok(told) => (value, Ok(told.offset)),
            Err(error) => (value, Err(error.error().clone())),
        };
        deliveries.into_iter().map(fate).collect::<Fates>()
    };
    let senders: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let producer = producer.clone();
            thread::spawn(move || send_all(producer, partition))
        })
        .collect();
    let mut round = 0;
    while !senders.iter().all(|sender| sender.is_finished()) {
        let node = round % 3 + 1;
        match round % 5 {
            0 => {
                cluster.kill(node);
                cluster.fence(node);
                thread::park_timeout(Duration::from_millis(60));
                cluster.revive(node);
            }
            1 => {
                cluster.freeze(node);
                thread::park_timeout(Duration::from_millis(500));
                cluster.thaw(node);
            }
            2 => cluster.move_leader("orders", round % PARTITIONS, node),
            3 => drop(cluster.on_request(Filter::api(ApiKey::PRODUCE).times(2), Action::LoseAnswer)),
            _ => drop(cluster.on_request(
                Filter::api(ApiKey::PRODUCE).times(1),
                Action::Fail(ErrorCode::NOT_ENOUGH_REPLICAS),
            )),
        }
        round += 1;
        thread::park_timeout(Duration::from_millis(10));
    }
    let fates: Vec<Fates> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let mut counts = [0; 3];
    for (partition, fates) in (0..).zip(&fates) {
        let written = values(&cluster, partition);
        for (value, fate) in fates {
            let places: Vec<usize> = (0..written.len()).filter(|at| written[*at] == *value).collect();
            match fate {
                Ok(offset) => {
                    counts[0] += 1;
                    assert_eq!(places.len(), 1, "{value} was delivered, and is at {places:?}");
                    assert!(
                        offset.is_none_or(|offset| offset == places[0] as i64),
                        "{value}: {offset:?} {places:?}"
                    );
                }
                Err(error) if error.written() == Some(Written::No) => {
                    counts[1] += 1;
                    assert!(places.is_empty(), "{value} is at {places:?}: {error}");
                }
                Err(error) => {
                    counts[2] += 1;
                    assert!(places.len() <= 1, "{value} is at {places:?}: {error}");
                }
            }
        }
        let delivered: Vec<&String> = written.iter().filter(|value| fates[*value].is_ok()).collect();
        assert!(delivered.is_sorted(), "partition {partition} is out of order");
    }
    println!("{} delivered, {} not, {} perhaps, in {round} rounds", counts[0], counts[1], counts[2]);
    assert!(counts[0] > RECORDS, "{counts:?}");
    let told = kafka.metrics().producer;
    assert_eq!((told.records_queued, told.batches_in_flight), (0, told.batches_in_flight));
    assert_eq!(told.records_accepted, told.records_delivered + told.records_failed);
}

#[test]
fn where_nobody_answers_the_error_says_so() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kafka = Kafka::builder([refused.to_string()]).build().unwrap();
    let producer = kafka.producer().max_wait(Duration::from_millis(2500)).build().unwrap();
    let error = block_on(producer.send(to(0, "lost"))).unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::No)));
    assert!(error.to_string().contains("no broker of the cluster answered"), "{error}");
}
