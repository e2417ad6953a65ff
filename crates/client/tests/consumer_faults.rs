//! Reading partitions while nodes die, hang and disagree, and logs lose records.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use ottla_client::{
    Consumer, Error, ErrorKind, Kafka, KafkaBuilder, block_on,
    config::OffsetReset,
    consumer::{ConsumerBuilder, StartAt},
};
use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter, KafkaVersion, NewRecord};

mod support;

use support::value;

const NODES: i32 = 3;

fn builder(cluster: &Cluster) -> KafkaBuilder {
    Kafka::builder(cluster.bootstrap_servers().split(',')).request_timeout(Duration::from_secs(2))
}

fn consumer(cluster: &Cluster) -> ConsumerBuilder {
    builder(cluster).build().unwrap().consumer().fetch_max_wait(Duration::from_millis(50))
}

/// One that reads partition 0 of "orders".
fn reading(cluster: &Cluster, rule: OffsetReset, start: StartAt) -> Consumer {
    let mut consumer = consumer(cluster).offset_reset(rule).build().unwrap();
    consumer.assign([("orders", 0, start)]);
    consumer
}

fn append(cluster: &Cluster, partition: i32, values: impl IntoIterator<Item = i64>) {
    for number in values {
        let text = number.to_string();
        let record = NewRecord { value: Some(text.as_bytes()), ..NewRecord::default() };
        cluster.append("orders", partition, &[record]);
    }
}

fn next(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    (0..count).map(|_| value(&block_on(consumer.recv()).unwrap())).collect()
}

fn failure(consumer: &mut Consumer) -> Error {
    block_on(consumer.recv()).unwrap_err()
}

fn move_on(cluster: &Cluster, partition: i32) {
    let (leader, _) = cluster.leader("orders", partition);
    cluster.move_leader("orders", partition, leader.unwrap_or(0) % NODES + 1);
}

#[test]
fn a_consumer_can_go_to_another_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Consumer>();
    is_send::<ottla_client::consumer::Record>();
    is_send::<ottla_client::consumer::Records>();
}

#[test]
fn nothing_is_lost_or_doubled_while_nodes_die_hang_and_leaders_move() {
    const PARTITIONS: i32 = 6;
    const ROUNDS: i64 = 30;
    const EACH: i64 = 20;
    for version in [KafkaVersion::V2_1, KafkaVersion::V2_8, KafkaVersion::V4_3] {
        let cluster =
            Cluster::builder().nodes(NODES as u16).version(version).topic("orders", PARTITIONS).start();
        let kafka = builder(&cluster).request_timeout(Duration::from_millis(300)).build().unwrap();
        let small = kafka.consumer().fetch_max_wait(Duration::from_millis(20)).fetch_max_bytes(2000);
        let mut consumer = small.max_partition_fetch_bytes(500).build().unwrap();
        block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    for partition in 0..PARTITIONS {
                        append(&cluster, partition, round * EACH..(round + 1) * EACH);
                    }
                    let node = (round % i64::from(NODES)) as i32 + 1;
                    match round % 5 {
                        0 => cluster.kill(node),
                        1 => (1..=NODES).for_each(|node| cluster.revive(node)),
                        2 => cluster.freeze(node),
                        3 => (0..PARTITIONS).for_each(|partition| move_on(&cluster, partition)),
                        _ => (1..=NODES).for_each(|node| cluster.thaw(node)),
                    }
                    if round % 7 == 0 {
                        cluster.on_request(Filter::api(ApiKey::FETCH).times(2), Action::LoseAnswer);
                    }
                }
                (1..=NODES).for_each(|node| {
                    cluster.thaw(node);
                    cluster.revive(node);
                });
            });
            let mut expected = [0; PARTITIONS as usize];
            for _ in 0..i64::from(PARTITIONS) * ROUNDS * EACH {
                let record = block_on(consumer.recv()).unwrap();
                let next = &mut expected[record.partition() as usize];
                assert_eq!(
                    (value(&record), record.offset()),
                    (*next, *next),
                    "partition {}",
                    record.partition()
                );
                *next += 1;
            }
            assert_eq!(expected, [ROUNDS * EACH; PARTITIONS as usize]);
        });
        let calls_and_fetches = 2 * NODES as u64;
        assert!(cluster.counts().connections_open <= calls_and_fetches, "{:?}", cluster.counts());
    }
}

#[test]
fn an_offset_that_is_gone_is_an_error_that_names_what_there_is() {
    for version in [KafkaVersion::V2_1, KafkaVersion::V4_3] {
        let cluster = Cluster::builder().version(version).topic("orders", 2).start();
        append(&cluster, 0, 0..10);
        append(&cluster, 1, 0..1);
        cluster.set_log_start("orders", 0, 4);
        for offset in [2, 11, i64::MAX] {
            let mut consumer = reading(&cluster, OffsetReset::None, StartAt::Offset(offset));
            let error = failure(&mut consumer);
            assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
            let expected = format!(
                "offset {offset} of partition 0 of topic orders is out of range: there are offsets 4 to 10; seek to one to go on"
            );
            assert_eq!(error.to_string(), expected);
            // Others go on, and this one from where the caller says.
            consumer.assign([("orders", 1, StartAt::Earliest)]);
            assert_eq!(next(&mut consumer, 1), [0]);
            consumer.seek("orders", 0, StartAt::Earliest).unwrap();
            assert_eq!(next(&mut consumer, 6), [4, 5, 6, 7, 8, 9]);
        }
    }
}

#[test]
fn the_rule_tells_where_to_go_on() {
    let cluster = Cluster::builder().topic("orders", 1).start();
    append(&cluster, 0, 0..10);
    cluster.set_log_start("orders", 0, 4);
    let mut earliest = reading(&cluster, OffsetReset::Earliest, StartAt::Offset(2));
    assert_eq!(next(&mut earliest, 1), [4]);
    let mut latest = reading(&cluster, OffsetReset::Latest, StartAt::Offset(2));
    while latest.position("orders", 0) != Some(10) {
        thread::yield_now();
    }
    append(&cluster, 0, [10]);
    assert_eq!(next(&mut latest, 1), [10]);
}

#[test]
fn records_that_a_new_leader_has_lost_are_told() {
    // Before the leader moves, a fetch that waits may have found its offset to be out of range.
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        check_that_lost_records_are_told(pause);
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells that a fetch that waits has looked again")]
fn check_that_lost_records_are_told(pause: Duration) {
    for version in [KafkaVersion::V2_4, KafkaVersion::V2_8, KafkaVersion::V4_3] {
        for rule in [OffsetReset::None, OffsetReset::Latest] {
            let cluster = Cluster::builder().nodes(2).version(version).topic("orders", 1).start();
            append(&cluster, 0, 0..10);
            let mut consumer = reading(&cluster, rule, StartAt::Earliest);
            assert_eq!(next(&mut consumer, 10), (0..10).collect::<Vec<_>>());
            // It was behind, and writes others in the place of what it has lost.
            let before = cluster.leader("orders", 0).0.unwrap();
            cluster.freeze(before);
            cluster.truncate("orders", 0, 7);
            thread::sleep(pause);
            cluster.move_leader("orders", 0, before % 2 + 1);
            append(&cluster, 0, 107..120);
            cluster.thaw(before);
            if rule == OffsetReset::None {
                let error = failure(&mut consumer);
                assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
                let text = error.to_string();
                assert!(text.contains("partition 0 of topic orders was truncated"), "{text}");
                assert!(
                    text.contains("offset 10 (leader epoch 0)") && text.contains("up to offset 7"),
                    "{text}"
                );
                assert_eq!(consumer.position("orders", 0), Some(10));
                consumer.seek("orders", 0, StartAt::Offset(7)).unwrap();
            }
            assert_eq!(next(&mut consumer, 13), (107..120).collect::<Vec<_>>(), "{version:?} {rule:?}");
        }
    }
}

#[test]
fn a_leader_that_moves_loses_nothing() {
    let cluster = Cluster::builder().nodes(NODES as u16).topic("orders", 1).start();
    let mut consumer = reading(&cluster, OffsetReset::None, StartAt::Earliest);
    for round in 0..10 {
        append(&cluster, 0, round * 10..round * 10 + 10);
        assert_eq!(next(&mut consumer, 10), (round * 10..round * 10 + 10).collect::<Vec<_>>());
        match round % 3 {
            0 => move_on(&cluster, 0),
            1 => {
                cluster.remove_leader("orders", 0);
                move_on(&cluster, 0);
            }
            _ => {
                let leader = cluster.leader("orders", 0).0.unwrap();
                cluster.kill(leader);
                cluster.fence(leader);
                cluster.revive(leader);
            }
        }
    }
    // What was read was checked under each new leader.
    assert!(cluster.counts().requests_of(ApiKey::OFFSET_FOR_LEADER_EPOCH) >= 5, "{:?}", cluster.counts());
}

#[test]
fn a_leader_that_hangs_is_not_waited_for_when_another_leads() {
    let hour = Duration::from_secs(3600);
    for start in [StartAt::Offset(0), StartAt::Earliest] {
        let cluster = Cluster::builder().nodes(NODES as u16).topic("orders", 1).start();
        append(&cluster, 0, 0..3);
        let kafka = builder(&cluster).request_timeout(hour).connect_timeout(hour).build().unwrap();
        let mut consumer = kafka.consumer().fetch_max_wait(Duration::from_millis(50)).build().unwrap();
        if start == StartAt::Offset(0) {
            consumer.assign([("orders", 0, start)]);
            assert_eq!(next(&mut consumer, 3), [0, 1, 2]);
        }
        block_on(kafka.admin().describe_topics(["orders"])).unwrap();
        let leader = cluster.leader("orders", 0).0.unwrap();
        cluster.freeze(leader);
        consumer.assign([("orders", 0, start)]);
        // Fetch or lookup are on their way to the one that hangs.
        assert!(pin!(consumer.recv()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        move_on(&cluster, 0);
        assert_eq!(next(&mut consumer, 3), [0, 1, 2], "{start:?}");
    }
}

#[test]
fn a_topic_that_is_created_anew_is_another_one() {
    for version in [KafkaVersion::V3_9, KafkaVersion::V4_3] {
        for rule in [OffsetReset::None, OffsetReset::Earliest] {
            let cluster = Cluster::builder().version(version).topic("orders", 1).start();
            append(&cluster, 0, 0..5);
            let mut consumer = consumer(&cluster).offset_reset(rule).build().unwrap();
            consumer.assign([("orders", 0, StartAt::Earliest)]);
            assert_eq!(next(&mut consumer, 5), [0, 1, 2, 3, 4]);
            cluster.recreate_topic("orders");
            append(&cluster, 0, 100..110);
            if rule == OffsetReset::None {
                let error = failure(&mut consumer);
                assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
                let text = error.to_string();
                assert!(
                    text.starts_with(
                        "topic orders was deleted and created anew: offset 5 of its partition 0"
                    ),
                    "{text}"
                );
                consumer.seek("orders", 0, StartAt::Earliest).unwrap();
            }
            assert_eq!(next(&mut consumer, 10), (100..110).collect::<Vec<_>>(), "{rule:?}");
        }
    }
}

#[test]
fn a_topic_that_nobody_knows_is_told_once_and_read_when_it_comes() {
    let cluster = Cluster::builder().auto_create_topics(false).topic("others", 1).start();
    let kafka = builder(&cluster).call_timeout(Duration::from_millis(200)).build().unwrap();
    let mut consumer = kafka.consumer().build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest), ("others", 7, StartAt::Offset(3))]);
    let mut told: Vec<String> =
        (0..2).map(|_| failure(&mut consumer)).map(|error| error.to_string()).collect();
    told.sort();
    assert!(told[0].contains("orders") && told[0].contains("UNKNOWN_TOPIC_OR_PARTITION"), "{told:?}");
    assert!(told[1].contains("others has 1 partitions, and no partition 7"), "{told:?}");
    cluster.create_topic("orders", 1);
    append(&cluster, 0, 0..3);
    assert_eq!(next(&mut consumer, 3), [0, 1, 2]);
}

#[test]
fn a_session_that_is_lost_begins_anew() {
    let cluster = Cluster::builder().topic("orders", 1).start();
    let mut consumer = reading(&cluster, OffsetReset::None, StartAt::Earliest);
    let mut count = 0;
    for action in [
        Action::Fail(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
        Action::Fail(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
        Action::Fail(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
        Action::LoseAnswer,
        Action::LoseRequest,
    ] {
        let hook = cluster.on_request(Filter::api(ApiKey::FETCH).times(2), action);
        hook.wait_for_hits(2);
        append(&cluster, 0, count..count + 3);
        assert_eq!(next(&mut consumer, 3), [count, count + 1, count + 2]);
        count += 3;
    }
}

#[test]
fn an_error_of_a_partition_is_waited_out_or_told() {
    let cluster = Cluster::builder().topic("orders", 1).start();
    append(&cluster, 0, 0..4);
    let mut consumer = reading(&cluster, OffsetReset::None, StartAt::Offset(0));
    assert_eq!(next(&mut consumer, 4), [0, 1, 2, 3]);
    let faults = [
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, None),
        (ErrorCode::UNKNOWN_LEADER_EPOCH, None),
        (ErrorCode::FENCED_LEADER_EPOCH, None),
        (ErrorCode::OFFSET_NOT_AVAILABLE, None),
        (ErrorCode::UNKNOWN_TOPIC_ID, None),
        (ErrorCode::INCONSISTENT_TOPIC_ID, None),
        (ErrorCode::KAFKA_STORAGE_ERROR, None),
        // The log has the offset all the same.
        (ErrorCode::OFFSET_OUT_OF_RANGE, None),
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, Some(ErrorKind::Auth)),
        (ErrorCode::UNKNOWN_SERVER_ERROR, Some(ErrorKind::Broker)),
        (ErrorCode::CORRUPT_MESSAGE, Some(ErrorKind::DataCorruption)),
    ];
    for (count, (code, kind)) in (4..).zip(faults) {
        let hook =
            cluster.on_request(Filter::api(ApiKey::FETCH).topic("orders").times(2), Action::Fail(code));
        if let Some(kind) = kind {
            let error = failure(&mut consumer);
            assert_eq!(error.kind(), kind, "{code}: {error}");
            assert!(error.to_string().contains("partition 0 of topic orders"), "{error}");
        }
        if code == ErrorCode::CORRUPT_MESSAGE {
            consumer.seek("orders", 0, StartAt::Offset(count)).unwrap();
            assert_eq!(failure(&mut consumer).kind(), ErrorKind::DataCorruption, "it stays there");
            consumer.seek("orders", 0, StartAt::Offset(count)).unwrap();
        }
        hook.wait_for_hits(2);
        append(&cluster, 0, [count]);
        assert_eq!(next(&mut consumer, 1), [count], "{code}");
    }
}

#[test]
fn dropping_the_future_of_a_call_loses_no_record() {
    let cluster = Cluster::builder().topic("orders", 2).start();
    let mut consumer = consumer(&cluster).build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest), ("orders", 1, StartAt::Earliest)]);
    let mut read = [0, 0];
    let mut context = Context::from_waker(Waker::noop());
    for round in 0..200 {
        append(&cluster, round % 2, [i64::from(round / 2)]);
        for _ in 0..3 {
            // Polled once, and dropped.
            let one = pin!(consumer.recv()).poll(&mut context);
            let records = match one {
                Poll::Ready(record) => vec![record.unwrap()],
                Poll::Pending => match pin!(consumer.recv_batch()).poll(&mut context) {
                    Poll::Ready(records) => records.unwrap().iter().map(|it| it.to_record()).collect(),
                    Poll::Pending => Vec::new(),
                },
            };
            for record in records {
                assert_eq!(value(&record), read[record.partition() as usize]);
                read[record.partition() as usize] += 1;
            }
        }
    }
    for _ in read.iter().sum::<i64>()..200 {
        let record = block_on(consumer.recv()).unwrap();
        assert_eq!(value(&record), read[record.partition() as usize]);
        read[record.partition() as usize] += 1;
    }
    assert_eq!(read, [100, 100]);
}

#[test]
fn a_consumer_that_is_dropped_leaves_no_connection_and_no_task() {
    let cluster = Cluster::builder().nodes(NODES as u16).topic("orders", 6).start();
    let kafka = builder(&cluster).build().unwrap();
    block_on(kafka.connect()).unwrap();
    let calls = |cluster: &Cluster| cluster.counts().connections_open <= NODES as u64;
    for _ in 0..20 {
        let mut consumer = kafka.consumer().build().unwrap();
        block_on(consumer.assign_topic("orders", StartAt::Earliest)).unwrap();
        append(&cluster, 0, [1]);
        next(&mut consumer, 1);
    }
    let mut patience = 1000;
    while !calls(&cluster) && patience > 0 {
        patience -= 1;
        thread::park_timeout(Duration::from_millis(10));
    }
    assert!(calls(&cluster), "{:?}", cluster.counts());
    // Nothing is fetched any more.
    let fetches = cluster.counts().requests_of(ApiKey::FETCH);
    block_on(kafka.admin().list_topics()).unwrap();
    assert_eq!(cluster.counts().requests_of(ApiKey::FETCH), fetches);
}

#[test]
fn when_the_runtime_ends_the_reader_is_told() {
    let cluster = Cluster::builder().topic("orders", 1).start();
    append(&cluster, 0, [7]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kafka = {
        let _inside = runtime.enter();
        builder(&cluster).on_current_runtime().build().unwrap()
    };
    let mut consumer = kafka.consumer().build().unwrap();
    consumer.assign([("orders", 0, StartAt::Earliest)]);
    assert_eq!(next(&mut consumer, 1), [7]);
    let waiting = thread::spawn(move || {
        let error = failure(&mut consumer);
        (error.kind(), failure(&mut consumer).kind())
    });
    runtime.shutdown_background();
    assert_eq!(waiting.join().unwrap(), (ErrorKind::Closed, ErrorKind::Closed));
    // What drives consumers may be about to end: then it is told by the first call.
    let next = kafka.consumer().build().map(|mut consumer| failure(&mut consumer));
    assert_eq!(next.unwrap_or_else(|error| error).kind(), ErrorKind::Closed);
}
