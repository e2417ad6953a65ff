//! Fetch sessions and waiting fetches over a socket.

use std::{thread, time::Duration};

use ottla_protocol::{
    ErrorCode,
    messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic},
};
use ottla_testing_internal::TestBroker;

use crate::support::{Topic, batch, create, produce};

/// A request in a session for partitions from these offsets on, by name before version 13 and by id from it on.
fn request(
    version: i16,
    topic: &Topic,
    session: (i32, i32),
    from: &[(i32, i64)],
    wait: Duration,
) -> FetchRequest {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let mut asked = FetchTopic { partitions: from.iter().map(partition).collect(), ..FetchTopic::default() };
    if version >= 13 {
        asked.topic_id = topic.id;
    } else {
        asked.topic = topic.name.into();
    }
    FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap(),
        min_bytes: 1,
        session_id: session.0,
        session_epoch: session.1,
        topics: if from.is_empty() { Vec::new() } else { vec![asked] },
        ..FetchRequest::default()
    }
}

/// Which partitions are in an answer, and the length of their records.
fn partitions(response: &FetchResponse) -> Vec<(i32, usize)> {
    let all = response.responses.iter().flat_map(|topic| &topic.partitions);
    all.map(|partition| (partition.partition_index, partition.records.len())).collect()
}

#[test]
fn a_session_tells_only_what_is_new() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "t", 3);
    let batch = batch(&["a"]);
    let len = batch.len();
    produce(&mut client, 9, &topic, 1, &batch);
    for version in [7, 11, 12, 13, 16, 18] {
        let from = [(0, 0), (1, 0), (2, 0)];
        let first = client.call(version, &request(version, &topic, (0, 0), &from, Duration::ZERO));
        assert_eq!((first.error_code, partitions(&first)), (ErrorCode::NONE, vec![(0, 0), (1, len), (2, 0)]));
        let id = first.session_id;
        assert!(id > 0);
        let second = client.call(version, &request(version, &topic, (id, 1), &[(1, 1)], Duration::ZERO));
        assert_eq!((second.session_id, partitions(&second)), (id, vec![]));
        let again = client.call(version, &request(version, &topic, (id, 1), &[], Duration::ZERO));
        assert_eq!(again.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        let closed = client.call(version, &request(version, &topic, (id, -1), &from, Duration::ZERO));
        assert_eq!((closed.session_id, partitions(&closed).len()), (0, 3));
        let gone = client.call(version, &request(version, &topic, (id, 2), &[], Duration::ZERO));
        assert_eq!(gone.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }
}

#[test]
fn a_waiting_fetch_is_woken_by_its_partitions_alone() {
    let broker = TestBroker::start(&[]);
    let (mut client, mut producer) = (broker.client(), broker.client());
    let topic = create(&mut client, "t", 3);
    let batch = batch(&["a"]);
    let from = [(0, 0), (1, 0)];
    let first = client.call(11, &request(11, &topic, (0, 0), &from, Duration::ZERO));
    let long = Duration::from_secs(3000);
    let sent = client.send(11, &request(11, &topic, (first.session_id, 1), &[], long));
    // It does not watch this one.
    produce(&mut producer, 9, &topic, 2, &batch);
    produce(&mut producer, 9, &topic, 1, &batch);
    let woken = client.receive(sent);
    assert_eq!(partitions(&woken), [(1, batch.len())]);
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_wants() {
    let broker = TestBroker::start(&[]);
    let (mut client, mut producer) = (broker.client(), broker.client());
    let topic = create(&mut client, "t", 2);
    let batch = batch(&["a"]);
    let mut wanted = request(11, &topic, (0, -1), &[(0, 0), (1, 0)], Duration::from_secs(3000));
    wanted.min_bytes = i32::try_from(3 * batch.len()).unwrap();
    let sent = client.send(11, &wanted);
    for partition in [0, 1, 0] {
        produce(&mut producer, 9, &topic, partition, &batch);
    }
    assert_eq!(partitions(&client.receive(sent)), [(0, 2 * batch.len()), (1, batch.len())]);

    // When the time is over, there is what there is.
    wanted.min_bytes = 1 << 20;
    wanted.max_wait_ms = 20;
    assert_eq!(partitions(&client.call(11, &wanted)), [(0, 2 * batch.len()), (1, batch.len())]);
}

#[test]
fn a_stop_answers_who_waits() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topic = create(&mut client, "t", 1);
    let sent = client.send(11, &request(11, &topic, (0, -1), &[(0, 0)], Duration::from_secs(3000)));
    // The answer to this one comes behind that of the fetch: when it was read, the fetch was too.
    let next = client.send(11, &request(11, &topic, (0, -1), &[(0, 0)], Duration::ZERO));
    let waiting = thread::spawn(move || {
        let answer = client.receive(sent);
        let _ = client.receive(next);
        answer
    });
    thread::park_timeout(Duration::from_millis(50));
    drop(broker);
    assert_eq!(partitions(&waiting.join().unwrap()), [(0, 0)]);
}
