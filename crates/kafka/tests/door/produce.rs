//! Produce, versions 3 to 13.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message, Records, Uuid,
    messages::{
        fetch::{FetchPartition, FetchRequest, FetchTopic},
        produce::{PartitionProduceResponse, ProduceRequest},
    },
};
use ottla_records::{
    BatchBuilder, LeaderEpoch, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    control::commit_batch,
};
use ottla_storage::{
    AppendError, Clock, ManualClock,
    memory::{Commits, MemoryOptions, MemoryStorage},
};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::{
    CREATED, Log, Topic, batch, builder, create, create_with, partitions, patched, produce, produce_request,
};

/// The version that names topics by id, has messages, and all else.
const LATEST: i16 = 13;

fn check_written(answer: &PartitionProduceResponse, base_offset: i64) {
    assert_eq!((answer.error_code, &answer.error_message), (ErrorCode::NONE, &None), "{answer:?}");
    assert_eq!(answer.base_offset, base_offset);
    assert!(answer.record_errors.is_empty());
}

fn check_refused(version: i16, answer: &PartitionProduceResponse, error: ErrorCode) {
    assert_eq!(answer.error_code, error, "{answer:?}");
    assert_eq!((answer.base_offset, answer.log_append_time_ms, answer.log_start_offset), (-1, -1, -1));
    assert_eq!(answer.error_message.is_some(), version >= 8, "messages came with version 8");
}

/// Produces a batch at every version and expects an error, from which no record is left.
fn check_batch_refused(what: &str, batch: &Bytes, error: ErrorCode) {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for version in ProduceRequest::VERSIONS {
        let answer = produce(&mut client, version, &topic, 0, batch);
        assert_eq!(answer.error_code, error, "{what}, version {version}: {answer:?}");
        check_refused(version, &answer, error);
    }
    check_written(&produce(&mut client, LATEST, &topic, 0, &crate::support::batch(&["good"])), 0);
}

/// A batch of a producer with as many records as values.
fn sequenced(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    builder(values).producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence)).build().unwrap()
}

fn stamped(timestamps: &[i64]) -> Bytes {
    let mut builder = ottla_records::BatchBuilder::new();
    for timestamp in timestamps {
        let timestamp = TimestampMs(*timestamp);
        builder.push(&NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() }).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn every_version_appends() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 2);
    for acks in [1, -1] {
        let before = if acks == 1 { 0 } else { 2 * 11 };
        for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
            let mut request = produce_request(version, &topic, &[(1, batch(&["1", "2"]))]);
            request.acks = acks;
            let answer = client.call(version, &request);
            let [of_topic] = &answer.responses[..] else { panic!("{answer:?}") };
            assert_eq!(&*of_topic.name, if version >= 13 { "" } else { "a" });
            assert_eq!(of_topic.topic_id, if version >= 13 { topic.id } else { Uuid::default() });
            assert!(answer.node_endpoints.is_empty());
            let [answer] = &of_topic.partition_responses[..] else { panic!("{answer:?}") };
            check_written(answer, before + 2 * turn);
            assert_eq!((answer.index, answer.log_append_time_ms), (1, -1));
            assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
        }
    }
}

#[test]
fn more_replicas_in_sync_than_there_are_count_as_those_there_are() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create_with(&mut client, "a", 1, &[("min.insync.replicas", "3")]);
    check_written(&produce(&mut client, LATEST, &topic, 0, &batch(&["1"])), 0);
}

#[test]
fn acks_0_gets_no_answer() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
        let mut silent = produce_request(version, &topic, &[(0, batch(&["1"]))]);
        silent.acks = 0;
        // Nothing is to be received: the next answer is the next request's.
        let _ = client.send(version, &silent);
        check_written(&produce(&mut client, version, &topic, 0, &batch(&["2"])), 2 * turn + 1);
    }
}

#[test]
fn an_error_with_acks_0_closes_the_connection() {
    let broker = TestBroker::start(&[]);
    let topic = create(&mut broker.client(), "a", 1);
    for version in ProduceRequest::VERSIONS {
        let log = Log::from_now_on();
        let mut client = broker.client();
        let mut silent = produce_request(version, &topic, &[(0, batch(&["1"])), (7, batch(&["2"]))]);
        silent.acks = 0;
        let _ = client.send(version, &silent);
        client.expect_close();
        let lines = log.lines(&[&client.local_address().to_string()]);
        assert!(lines.len() == 1 && lines[0].contains("UNKNOWN_TOPIC_OR_PARTITION"), "{lines:?}");
    }
    // Its neighbour was appended all the same.
    check_written(&produce(&mut broker.client(), LATEST, &topic, 0, &batch(&["3"])), 11);
}

#[test]
fn other_acks_are_refused() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    let none = Topic { name: "none", id: [1; 16].into() };
    for version in ProduceRequest::VERSIONS {
        for acks in [2, -2, i16::MAX] {
            let ask =
                |topic| ProduceRequest { acks, ..produce_request(version, topic, &[(0, batch(&["1"]))]) };
            let answers = partitions(client.call(version, &ask(&topic)));
            check_refused(version, &answers[0], ErrorCode::INVALID_REQUIRED_ACKS);
            let answers = partitions(client.call(version, &ask(&none)));
            check_refused(version, &answers[0], unknown(version));
        }
    }
    check_written(&produce(&mut client, LATEST, &topic, 0, &batch(&["1"])), 0);
}

fn unknown(version: i16) -> ErrorCode {
    if version >= 13 { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION }
}

#[test]
fn what_is_not_there_is_unknown() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 2);
    for version in ProduceRequest::VERSIONS {
        for name in ["none", "a b", ""] {
            let none = Topic { name, id: [1; 16].into() };
            check_refused(
                version,
                &produce(&mut client, version, &none, 0, &batch(&["1"])),
                unknown(version),
            );
        }
        for index in [2, -1, i32::MAX, i32::MIN] {
            let answer = produce(&mut client, version, &topic, index, &batch(&["1"]));
            check_refused(version, &answer, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
    }
    assert!(broker.broker().topics().named("none").is_none(), "producing creates no topic");
}

#[test]
fn one_bad_partition_does_not_spoil_its_neighbours() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 3);
    let damaged = {
        let mut bytes = batch(&["damaged"]).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Bytes::from(bytes)
    };
    for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
        let asked = [(0, batch(&["1"])), (1, damaged.clone()), (9, batch(&["2"])), (2, batch(&["3"]))];
        let answers = partitions(client.call(version, &produce_request(version, &topic, &asked)));
        let outcomes: Vec<_> = answers.iter().map(|it| (it.index, it.error_code, it.base_offset)).collect();
        assert_eq!(
            outcomes,
            [
                (0, ErrorCode::NONE, turn),
                (1, ErrorCode::CORRUPT_MESSAGE, -1),
                (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                (2, ErrorCode::NONE, turn),
            ],
        );
    }
}

#[test]
fn exactly_one_whole_batch_is_taken() {
    let good = batch(&["1", "2"]);
    let twice = [&good[..], &good[..]].concat().into();
    check_batch_refused("no batch", &Bytes::new(), ErrorCode::INVALID_RECORD);
    check_batch_refused("two batches", &twice, ErrorCode::INVALID_RECORD);
    check_batch_refused("a batch that is cut off", &good.slice(..good.len() - 1), ErrorCode::INVALID_RECORD);
    check_batch_refused("a header that is cut off", &good.slice(..30), ErrorCode::INVALID_RECORD);
    for magic in [0, 1, 3, -1_i8] {
        let mut bytes = good.to_vec();
        bytes[16] = magic as u8;
        check_batch_refused(&format!("magic {magic}"), &bytes.into(), ErrorCode::INVALID_RECORD);
    }

    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for version in ProduceRequest::VERSIONS {
        let mut request = produce_request(version, &topic, &[(0, Bytes::new())]);
        request.topic_data[0].partition_data[0].records = Records::Null;
        check_refused(version, &partitions(client.call(version, &request))[0], ErrorCode::INVALID_RECORD);
    }
}

#[test]
fn damage_is_found() {
    let good = batch(&["1", "2"]);
    for at in [17, 21, 30, good.len() - 1] {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        check_batch_refused(&format!("byte {at}"), &bytes.into(), ErrorCode::CORRUPT_MESSAGE);
    }
    let short = patched(&good, 8, 5_i32.to_be_bytes());
    check_batch_refused("a length that has no room for a header", &short, ErrorCode::CORRUPT_MESSAGE);
}

#[test]
fn what_only_brokers_write_is_refused() {
    let marker =
        commit_batch(Offset(0), LeaderEpoch(0), TimestampMs(CREATED), (ProducerId(1), ProducerEpoch(0)), 0);
    let good = batch(&["1", "2"]);
    check_batch_refused("a control batch", &patched(&good, 21, [0, 0x20]), ErrorCode::INVALID_RECORD);
    check_batch_refused("a delete horizon", &patched(&good, 21, [0, 0x40]), ErrorCode::INVALID_RECORD);
    check_batch_refused("append time", &patched(&good, 21, [0, 0x08]), ErrorCode::INVALID_TIMESTAMP);
    // It belongs to a transaction, which comes first.
    check_batch_refused("a marker", &marker, ErrorCode::INVALID_REQUEST);
}

#[test]
fn headers_have_to_fit() {
    let good = batch(&["1", "2"]);
    let with_producer = sequenced(5, 0, 0, &["1"]);
    for (what, batch) in [
        ("no records", patched(&good, 57, 0_i32.to_be_bytes())),
        ("fewer records than there are", patched(&good, 57, 1_i32.to_be_bytes())),
        ("more records than there are", patched(&good, 57, 3_i32.to_be_bytes())),
        ("another last offset", patched(&good, 23, 7_i32.to_be_bytes())),
        ("an unknown codec", patched(&good, 21, [0, 7])),
        ("a producer without an epoch", patched(&with_producer, 51, (-1_i16).to_be_bytes())),
        ("a producer without a sequence", patched(&with_producer, 53, (-1_i32).to_be_bytes())),
        ("a producer id below -1", patched(&with_producer, 43, (-2_i64).to_be_bytes())),
    ] {
        check_batch_refused(what, &batch, ErrorCode::INVALID_RECORD);
    }
}

#[test]
fn zstd_needs_version_7() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    let codec = |id| patched(&batch(&["1"]), 21, [0, id]);
    let mut next = 0;
    for version in ProduceRequest::VERSIONS {
        for id in 1..=3 {
            check_written(&produce(&mut client, version, &topic, 0, &codec(id)), next);
            next += 1;
        }
        let answer = produce(&mut client, version, &topic, 0, &codec(4));
        if version >= 7 {
            check_written(&answer, next);
            next += 1;
        } else {
            check_refused(version, &answer, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
        }
    }
}

#[test]
fn transactions_are_refused() {
    let log = Log::from_now_on();
    let transactional = builder(&["1"])
        .producer(ProducerId(1), ProducerEpoch(0), Sequence(0))
        .transactional()
        .build()
        .unwrap();
    check_batch_refused("a batch of a transaction", &transactional, ErrorCode::INVALID_REQUEST);
    assert!(!ErrorCode::INVALID_REQUEST.is_retriable());

    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for version in ProduceRequest::VERSIONS {
        for id in ["", "shop"] {
            let mut request = produce_request(version, &topic, &[(0, batch(&["1"]))]);
            request.transactional_id = Some(id.into());
            let answers = partitions(client.call(version, &request));
            check_refused(version, &answers[0], ErrorCode::INVALID_REQUEST);
            if let Some(message) = &answers[0].error_message {
                assert!(message.contains("transactions"), "{message}");
            }
        }
    }
    // Versions without messages leave the reason in the log.
    let lines = log.lines(&[&client.local_address().to_string(), "transactional"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    check_written(&produce(&mut client, LATEST, &topic, 0, &batch(&["1"])), 0);
}

#[test]
fn batches_have_a_greatest_size() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let (fits, too_large) = (batch(&[&"x".repeat(100)]), batch(&[&"x".repeat(101)]));
    let limit = fits.len().to_string();
    let topic = create_with(&mut client, "a", 1, &[("max.message.bytes", &limit)]);
    for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
        check_written(&produce(&mut client, version, &topic, 0, &fits), turn);
        let answer = produce(&mut client, version, &topic, 0, &too_large);
        check_refused(version, &answer, ErrorCode::MESSAGE_TOO_LARGE);
        if let Some(message) = &answer.error_message {
            assert!(message.contains(&limit), "{message}");
        }
    }
}

#[test]
fn timestamps_have_bounds() {
    let clock = Arc::new(ManualClock::at(CREATED));
    let setup = Setup { clock, ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    let bounds = [("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "500")];
    let topic = create_with(&mut client, "a", 1, &bounds);
    for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
        let good = stamped(&[CREATED - 1000, CREATED + 500, -1]);
        check_written(&produce(&mut client, version, &topic, 0, &good), 3 * turn);
        for wrong in [CREATED - 1001, CREATED + 501] {
            let answer = produce(&mut client, version, &topic, 0, &stamped(&[CREATED, wrong, CREATED]));
            check_refused(version, &answer, ErrorCode::INVALID_TIMESTAMP);
            let records: Vec<_> = answer.record_errors.iter().map(|it| it.batch_index).collect();
            assert_eq!(records, if version >= 8 { &[1][..] } else { &[] }, "the record is named");
            for record in &answer.record_errors {
                let message = record.batch_index_error_message.as_deref().unwrap();
                assert!(message.contains(&wrong.to_string()), "{message}");
            }
        }
    }
}

#[test]
fn the_time_of_the_append_is_told() {
    let clock = Arc::new(ManualClock::at(CREATED + 42));
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let mut client = broker.client();
    let topic = create_with(&mut client, "a", 1, &[("message.timestamp.type", "LogAppendTime")]);
    for (turn, version) in (0..).zip(ProduceRequest::VERSIONS) {
        // What the client claims does not matter.
        let answer = produce(&mut client, version, &topic, 0, &stamped(&[1, i64::MAX]));
        check_written(&answer, 2 * turn);
        assert_eq!(answer.log_append_time_ms, clock.wall().0);
        clock.advance(std::time::Duration::from_secs(1));
    }
    // A duplicate has the time of its original.
    let first = produce(&mut client, LATEST, &topic, 0, &sequenced(1, 0, 0, &["1"]));
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(produce(&mut client, LATEST, &topic, 0, &sequenced(1, 0, 0, &["1"])), first);
}

#[test]
fn an_idempotent_producer_is_kept_in_order() {
    for version in ProduceRequest::VERSIONS {
        let broker = TestBroker::start(&[]);
        let mut client = broker.client();
        let topic = create(&mut client, "a", 1);
        let mut send = |epoch, sequence, values: &[&str]| {
            produce(&mut client, version, &topic, 0, &sequenced(7, epoch, sequence, values))
        };
        // Of a producer that is not known, any sequence is the first.
        check_written(&send(3, 10, &["10", "11"]), 0);
        check_written(&send(3, 12, &["12"]), 2);
        check_written(&send(3, 13, &["13", "14"]), 3);
        // What was sent again is answered as its original was.
        check_written(&send(3, 10, &["10", "11"]), 0);
        check_written(&send(3, 13, &["13", "14"]), 3);
        let out_of_order = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
        check_refused(version, &send(3, 16, &["16"]), out_of_order);
        check_refused(version, &send(3, 9, &["9"]), out_of_order);
        check_refused(version, &send(3, 13, &["13"]), out_of_order);
        check_refused(version, &send(2, 15, &["15"]), ErrorCode::INVALID_PRODUCER_EPOCH);
        check_written(&send(3, 15, &["15"]), 5);
        // A new epoch begins at 0, and ends the old one.
        check_refused(version, &send(4, 16, &["16"]), out_of_order);
        check_written(&send(4, 0, &["0"]), 6);
        check_refused(version, &send(3, 16, &["16"]), ErrorCode::INVALID_PRODUCER_EPOCH);
    }
}

#[test]
fn duplicates_are_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = TestBroker::in_directory(dir.path(), &[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for sequence in 0..6 {
        check_written(
            &produce(&mut client, LATEST, &topic, 0, &sequenced(7, 0, sequence, &["v"])),
            sequence.into(),
        );
    }
    drop(client);
    drop(broker);
    let broker = TestBroker::in_directory(dir.path(), &[]);
    let mut client = broker.client();
    check_written(&produce(&mut client, LATEST, &topic, 0, &sequenced(7, 0, 1, &["v"])), 1);
    let gap = produce(&mut client, LATEST, &topic, 0, &sequenced(7, 0, 7, &["v"]));
    check_refused(LATEST, &gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    check_written(&produce(&mut client, LATEST, &topic, 0, &sequenced(7, 0, 6, &["v"])), 6);
}

/// The high watermark of the first partition of a topic.
fn high_watermark(client: &mut TestClient, topic: &Topic) -> i64 {
    let partitions = vec![FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() }];
    let topics = vec![FetchTopic { topic_id: topic.id, partitions, ..FetchTopic::default() }];
    let answer = client.call(18, &FetchRequest { topics, ..FetchRequest::default() });
    answer.responses[0].partitions[0].high_watermark
}

#[test]
fn answers_come_after_the_commit_and_in_order() {
    let options = MemoryOptions { commits: Commits::Manual, ..MemoryOptions::default() };
    let broker = TestBroker::over(MemoryStorage::new(options), &Setup::default());
    let (mut writer, mut reader) = (broker.client(), broker.client());
    let topic = create(&mut reader, "a", 1);
    for acks in [1, -1] {
        let before = high_watermark(&mut reader, &topic);
        let request = |values: &[&str]| ProduceRequest {
            acks,
            ..produce_request(LATEST, &topic, &[(0, batch(values))])
        };
        let first = writer.send(LATEST, &request(&["1"]));
        let second = writer.send(LATEST, &request(&["2", "3"]));
        while broker.storage().waiting() < 2 {
            std::thread::yield_now();
        }
        assert!(!writer.has_answer(), "nothing is durable yet");
        assert_eq!(high_watermark(&mut reader, &topic), before, "nor to be read");
        broker.storage().commit();
        check_written(&partitions(writer.receive(first))[0], before);
        check_written(&partitions(writer.receive(second))[0], before + 1);
        assert_eq!(high_watermark(&mut reader, &topic), before + 3);
    }
}

#[test]
fn a_commit_that_fails_is_told() {
    let options = MemoryOptions { commits: Commits::Manual, ..MemoryOptions::default() };
    let broker = TestBroker::over(MemoryStorage::new(options), &Setup::default());
    let mut client = broker.client();
    let topic = create(&mut client, "a", 1);
    for version in ProduceRequest::VERSIONS {
        for (error, code) in [
            (AppendError::DiskFull, ErrorCode::KAFKA_STORAGE_ERROR),
            (AppendError::Failed("the disk broke".into()), ErrorCode::KAFKA_STORAGE_ERROR),
            (AppendError::Deleted, unknown(version)),
            (AppendError::TooLarge { bytes: 2, limit: 1 }, ErrorCode::MESSAGE_TOO_LARGE),
        ] {
            let request = produce_request(version, &topic, &[(0, batch(&["1"]))]);
            let sent = client.send(version, &request);
            while broker.storage().waiting() < 1 {
                std::thread::yield_now();
            }
            broker.storage().fail(&error);
            check_refused(version, &partitions(client.receive(sent))[0], code);
        }
    }
}

#[test]
fn records_of_a_compacted_topic_need_keys() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create_with(&mut client, "compacted", 1, &[("cleanup.policy", "compact")]);
    let answer = produce(&mut client, 9, &topic, 0, &batch(&["a"]));
    assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD);
    let mut keyed = BatchBuilder::new();
    let key = Some(&b"k"[..]);
    keyed.push(&NewRecord { timestamp: TimestampMs(CREATED), key, ..NewRecord::default() }).unwrap();
    let answer = produce(&mut client, 9, &topic, 0, &keyed.build().unwrap());
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
}
