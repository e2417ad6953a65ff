//! ListOffsets, versions 1 to 11.

use ottla_protocol::{
    ErrorCode, Message,
    messages::list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
    },
};
use ottla_records::Offset;
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::{Log, batch, create, produce};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

fn ask(partition_index: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition { partition_index, timestamp, ..ListOffsetsPartition::default() }
}

fn list(
    client: &mut TestClient,
    version: i16,
    topic: &str,
    partitions: Vec<ListOffsetsPartition>,
) -> Vec<ListOffsetsPartitionResponse> {
    let topic = ListOffsetsTopic { name: topic.into(), partitions, ..ListOffsetsTopic::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let answer = client.call(version, &request);
    assert_eq!((answer.throttle_time_ms, answer.topics.len()), (0, 1));
    answer.topics[0].partitions.clone()
}

/// Code, offset and leader epoch of the only partition.
fn list_one(client: &mut TestClient, version: i16, asked: ListOffsetsPartition) -> (ErrorCode, i64, i32) {
    let answers = list(client, version, "a", vec![asked]);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer.timestamp, -1);
    (answer.error_code, answer.offset, answer.leader_epoch)
}

#[test]
fn every_version_tells_both_ends() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "a", 2);
    produce(&mut client, 13, &topic, 1, &batch(&["1", "2", "3"]));
    produce(&mut client, 13, &topic, 1, &batch(&["4", "5"]));
    broker.broker().topics().named("a").unwrap().partitions[1].set_log_start(Offset(3));
    for version in ListOffsetsRequest::VERSIONS {
        let epoch = if version >= 4 { 0 } else { -1 };
        let none = ErrorCode::NONE;
        assert_eq!(list_one(&mut client, version, ask(1, EARLIEST)), (none, 3, epoch), "version {version}");
        assert_eq!(list_one(&mut client, version, ask(1, LATEST)), (none, 5, epoch), "version {version}");
        assert_eq!(list_one(&mut client, version, ask(0, EARLIEST)), (none, 0, epoch), "version {version}");
        assert_eq!(list_one(&mut client, version, ask(0, LATEST)), (none, 0, epoch), "version {version}");
    }
}

#[test]
fn an_offset_has_the_epoch_of_its_record() {
    let setup = Setup::default();
    let mut broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let topic = create(&mut broker.client(), "a", 1);
    // The epochs 0 and 2 have two records each, and 1 and 3 have none.
    for epoch in 0..=3 {
        let mut client = broker.client();
        if epoch % 2 == 0 {
            assert_eq!(produce(&mut client, 13, &topic, 0, &batch(&["1", "2"])).error_code, ErrorCode::NONE);
        }
        if epoch < 3 {
            let next = broker.storage().restart();
            drop(client);
            drop(broker);
            broker = TestBroker::over(next, &setup);
        }
    }
    let mut client = broker.client();
    let log = broker.broker().topics().named("a").unwrap().partitions[0].clone();
    for (log_start, epoch) in [(0, 0), (1, 0), (2, 2), (3, 2), (4, 3)] {
        log.set_log_start(Offset(log_start));
        let earliest = list_one(&mut client, 11, ask(0, EARLIEST));
        assert_eq!(earliest, (ErrorCode::NONE, log_start, epoch));
        assert_eq!(list_one(&mut client, 11, ask(0, LATEST)), (ErrorCode::NONE, 4, 3));
    }
}

#[test]
fn each_partition_has_its_error() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create(&mut client, "a", 4);
    for version in ListOffsetsRequest::VERSIONS {
        let asked = vec![ask(0, LATEST), ask(9, LATEST), ask(-1, LATEST), ask(2, LATEST), ask(2, EARLIEST)];
        let outcomes: Vec<_> = list(&mut client, version, "a", asked)
            .iter()
            .map(|it| (it.partition_index, it.error_code, it.offset))
            .collect();
        assert_eq!(
            outcomes,
            [
                (0, ErrorCode::NONE, 0),
                (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                (-1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                (2, ErrorCode::INVALID_REQUEST, -1),
                (2, ErrorCode::INVALID_REQUEST, -1),
            ],
            "a partition that is named twice is refused",
        );
        let answers = list(&mut client, version, "none", vec![ask(0, LATEST)]);
        assert_eq!(answers[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[test]
fn leader_epochs_are_compared_from_version_4_on() {
    let storage = MemoryStorage::new(MemoryOptions::default()).restart().restart();
    let broker = TestBroker::over(storage, &Setup::default());
    let mut client = broker.client();
    create(&mut client, "a", 1);
    for version in ListOffsetsRequest::VERSIONS {
        for (current_leader_epoch, error) in [
            (-1, ErrorCode::NONE),
            (2, ErrorCode::NONE),
            (1, ErrorCode::FENCED_LEADER_EPOCH),
            (3, ErrorCode::UNKNOWN_LEADER_EPOCH),
        ] {
            let asked = ListOffsetsPartition { current_leader_epoch, ..ask(0, LATEST) };
            let error = if version >= 4 { error } else { ErrorCode::NONE };
            assert_eq!(list_one(&mut client, version, asked).0, error, "version {version}");
        }
    }
}

#[test]
fn offsets_by_time_are_refused_and_logged_once() {
    let log = Log::from_now_on();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create(&mut client, "a", 1);
    for version in ListOffsetsRequest::VERSIONS {
        for timestamp in [0, 1_600_000_000_000, -3, -4, -5, -6, -7, i64::MIN] {
            let refused = list_one(&mut client, version, ask(0, timestamp));
            assert_eq!(refused, (ErrorCode::INVALID_REQUEST, -1, -1), "{timestamp}");
        }
    }
    let lines = log.lines(&[&client.local_address().to_string(), "offsets by time"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}
