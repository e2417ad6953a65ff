//! What goes wrong on command.

use std::{net::TcpStream, time::Duration};

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::{
        api_versions::ApiVersionsRequest,
        create_topics::{CreatableTopic, CreateTopicsRequest},
        fetch::FetchRequest,
        init_producer_id::InitProducerIdRequest,
        metadata::MetadataRequest,
        produce::ProduceRequest,
    },
};
use ottla_testing::{Action, Broker, Cluster, Filter, Proxy};

use crate::client::{
    Client, batch, eventually, fetch, fetched, metadata, metadata_of, only, produce, produce_all, produced,
    produced_at, values,
};

fn broker() -> Broker {
    let broker = Broker::start();
    broker.create_topic("t", 3);
    broker
}

#[test]
fn a_killed_node_resets_and_refuses_until_it_is_revived() {
    let cluster = Cluster::builder().nodes(3).topic("t", 3).start();
    let (mut to_dead, mut to_live) = (Client::to(&cluster, 2), Client::to(&cluster, 1));
    to_dead.call(9, &produce("t", 1, batch(&["before"])));
    cluster.kill(2);
    assert_eq!(to_dead.end(), Some(std::io::ErrorKind::ConnectionReset));
    let refused = TcpStream::connect(cluster.address(2)).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(cluster.node_counts(2).connections_open, 0);

    // Nobody has noticed yet.
    assert_eq!(cluster.leader("t", 1), (Some(2), 0));
    assert_eq!(to_live.call(9, &MetadataRequest::default()).brokers.len(), 3);
    cluster.fence(2);
    assert_eq!(cluster.leader("t", 1), (Some(3), 1));
    let told = to_live.call(9, &MetadataRequest::default());
    assert_eq!(told.brokers.iter().map(|node| node.node_id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(told.topics[0].partitions[1].offline_replicas, [2]);
    assert_eq!(told.topics[0].partitions[1].isr_nodes, [3, 1]);

    cluster.revive(2);
    let mut client = Client::to(&cluster, 2);
    let answer = client.call(9, &produce("t", 1, batch(&["v"])));
    assert_eq!(produced_at(&answer), [(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)]);
    assert_eq!(values(&cluster, "t", 1), ["before"]);
    // Both are done as often as one likes.
    cluster.revive(2);
    cluster.kill(2);
    cluster.kill(2);
    cluster.revive(2);
    Client::to(&cluster, 2).call(0, &ApiVersionsRequest::default());
}

#[test]
fn without_a_live_replica_nobody_leads() {
    let cluster = Cluster::builder().nodes(2).replication_factor(1).topic("t", 1).start();
    cluster.kill(1);
    cluster.fence(1);
    let told = metadata(&cluster, 2, "t");
    let partition = &told.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    assert_eq!(partition.leader_epoch, 1);
    cluster.revive(1);
    assert_eq!(cluster.leader("t", 0), (Some(1), 2));
}

#[test]
fn a_frozen_node_is_silent_until_it_is_thawed() {
    let broker = broker();
    let mut old = Client::to(&broker, 1);
    old.call(9, &produce("t", 0, batch(&["before"])));
    broker.freeze(1);
    old.send(9, &produce("t", 0, batch(&["meanwhile"]))).unwrap();
    let mut new = Client::to(&broker, 1);
    new.send(0, &ApiVersionsRequest::default()).unwrap();
    assert!(old.is_silent() && new.is_silent());
    assert_eq!(values(&broker, "t", 0), ["before"], "nothing is read");
    broker.thaw(1);
    assert_eq!(only(old.receive::<ProduceRequest>(9).unwrap()).base_offset, 1);
    new.receive::<ApiVersionsRequest>(0).unwrap();

    // A frozen node can be killed, and comes back as it should be.
    broker.freeze(1);
    broker.kill(1);
    assert_eq!(old.end(), Some(std::io::ErrorKind::ConnectionReset));
    broker.revive(1);
    Client::to(&broker, 1).call(0, &ApiVersionsRequest::default());
}

#[test]
fn errors_are_answered_where_they_are_meant() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let storage = Action::Fail(ErrorCode::KAFKA_STORAGE_ERROR);
    let one =
        broker.on_request(Filter::api(ApiKey::PRODUCE).topic("t").partition(1).times(1), storage.clone());
    let failed = (ErrorCode::KAFKA_STORAGE_ERROR, -1);
    let request = produce_all("t", &[0, 1, 2], batch(&["v"]));
    let done = (ErrorCode::NONE, 0);
    assert_eq!(produced_at(&client.call(9, &request)), [done, failed, done]);
    let (again, first) = ((ErrorCode::NONE, 1), (ErrorCode::NONE, 0));
    assert_eq!(produced_at(&client.call(9, &request)), [again, first, again], "it was for one request");
    assert_eq!(one.hits(), 1);

    let all = broker.on_request(Filter::api(ApiKey::PRODUCE), storage.clone());
    assert_eq!(produced_at(&client.call(9, &request)), [failed; 3]);
    client.send(9, &ProduceRequest { acks: 0, ..request.clone() }).unwrap();
    assert_eq!(client.end(), None);
    assert_eq!(all.hits(), 2);
    all.remove();
    let mut client = Client::to(&broker, 1);
    assert_eq!(only(client.call(9, &produce("t", 0, batch(&["v"])))).base_offset, 2);

    broker.on_request(Filter::any().topic("t"), storage);
    assert_eq!(client.call(9, &metadata_of("t")).topics[0].error_code, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(fetched(&client.call(9, &fetch("t", 0))).error_code, ErrorCode::KAFKA_STORAGE_ERROR);
    broker.create_topic("u", 1);
    assert_eq!(client.call(9, &metadata_of("u")).topics[0].error_code, ErrorCode::NONE);
}

#[test]
fn errors_stand_for_the_whole_where_there_are_no_topics() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let fail = |api, code| broker.on_request(Filter::api(api).times(1), Action::Fail(code));
    fail(ApiKey::INIT_PRODUCER_ID, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    let answer = client.call(4, &InitProducerIdRequest::default());
    assert_eq!((answer.error_code, answer.producer_id), (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, -1));
    fail(ApiKey::API_VERSIONS, ErrorCode::INVALID_REQUEST);
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, ErrorCode::INVALID_REQUEST);
    fail(ApiKey::FETCH, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let answer = client.call(9, &fetch("t", 0));
    assert_eq!((answer.error_code, answer.responses.len()), (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0));
    fail(ApiKey::METADATA, ErrorCode::REBOOTSTRAP_REQUIRED);
    let answer = client.call(13, &metadata_of("t"));
    assert_eq!(
        (answer.error_code, answer.topics[0].error_code),
        (ErrorCode::REBOOTSTRAP_REQUIRED, ErrorCode::NONE)
    );
    fail(ApiKey::CREATE_TOPICS, ErrorCode::POLICY_VIOLATION);
    let topic =
        CreatableTopic { name: "n".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(5, &create).topics[0].error_code, ErrorCode::POLICY_VIOLATION);
    assert_eq!(client.call(5, &create).topics[0].error_code, ErrorCode::NONE);
    broker.on_request(Filter::any().topic("t").partition(2), Action::Fail(ErrorCode::LEADER_NOT_AVAILABLE));
    let told = client.call(9, &MetadataRequest::default());
    assert_eq!(told.topics.len(), 2);
}

#[test]
fn a_session_is_meant_by_what_is_in_it() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let first = client.call(11, &FetchRequest { session_epoch: 0, ..fetch("t", 0) });
    let hook = broker
        .on_request(Filter::any().topic("t").partition(0), Action::Fail(ErrorCode::KAFKA_STORAGE_ERROR));
    let next = FetchRequest { session_id: first.session_id, session_epoch: 1, ..FetchRequest::default() };
    assert_eq!(fetched(&client.call(11, &next)).error_code, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(hook.hits(), 1);
}

#[test]
fn an_answer_is_lost_with_or_without_the_request() {
    let broker = broker();
    for (action, written) in [(Action::LoseAnswer, 1), (Action::LoseRequest, 1)] {
        let hook = broker.on_request(Filter::api(ApiKey::PRODUCE).node(1).times(1), action);
        let mut client = Client::to(&broker, 1);
        client.send(9, &produce("t", 0, batch(&["v"]))).unwrap();
        assert_eq!(client.end(), None);
        assert_eq!((hook.hits(), broker.offsets("t", 0).1), (1, written));
    }
    for action in [Action::LoseAnswer, Action::LoseRequest] {
        broker.on_request(Filter::api(ApiKey::FETCH).times(1), action);
        let mut client = Client::to(&broker, 1);
        client.send(9, &fetch("t", 0)).unwrap();
        assert_eq!(client.end(), None);
    }
}

#[test]
fn what_is_ignored_is_neither_done_nor_answered() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let produced = broker.on_request(Filter::api(ApiKey::PRODUCE).times(1), Action::Ignore);
    let fetched = broker.on_request(Filter::api(ApiKey::FETCH).times(1), Action::Ignore);
    client.send(9, &produce("t", 0, batch(&["ignored"]))).unwrap();
    client.send(9, &fetch("t", 0)).unwrap();
    produced.wait_for_hits(1);
    fetched.wait_for_hits(1);
    assert!(client.is_silent());
    assert_eq!(broker.counts().connections_open, 1);
    // The only answer on the connection is that to what comes after.
    assert_eq!(only(client.call(9, &produce("t", 0, batch(&["v"])))).base_offset, 0);
    assert_eq!(values(&broker, "t", 0), ["v"]);
}

#[test]
fn an_error_after_the_work_leaves_the_work_done() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let after = Action::FailAfter(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
    let hook = broker.on_request(Filter::api(ApiKey::PRODUCE).partition(1).times(2), after.clone());
    let done = (ErrorCode::NONE, 0);
    let failed = (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
    let request = produce_all("t", &[0, 1, 2], produced(7, 0, 0, &["v"]));
    assert_eq!(produced_at(&client.call(9, &request)), [done, failed, done]);
    assert_eq!([0, 1, 2].map(|partition| broker.offsets("t", partition)), [(0, 1); 3]);
    // What cannot be done has its own error, and a batch that is there is found again.
    let gap = only(client.call(9, &produce("t", 1, produced(7, 0, 5, &["v"]))));
    assert_eq!((gap.error_code, hook.hits()), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 2));
    assert_eq!(produced_at(&client.call(9, &request)), [done; 3]);
    assert_eq!(values(&broker, "t", 1), ["v"]);

    broker.on_request(Filter::api(ApiKey::PRODUCE).times(1), after);
    client.send(9, &ProduceRequest { acks: 0, ..produce("t", 2, batch(&["w"])) }).unwrap();
    assert_eq!(client.end(), None, "an error without an answer ends the connection");
    assert_eq!(values(&broker, "t", 2), ["v", "w"]);

    let timed_out = Action::FailAfter(ErrorCode::REQUEST_TIMED_OUT);
    broker.on_request(Filter::api(ApiKey::CREATE_TOPICS).topic("n").times(1), timed_out);
    let topic =
        CreatableTopic { name: "n".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let mut client = Client::to(&broker, 1);
    assert_eq!(client.call(5, &create).topics[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(client.call(5, &create).topics[0].error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
}

#[test]
fn answers_are_held_and_delayed() {
    let broker = broker();
    let mut client = Client::to(&broker, 1);
    let hook = broker.on_request(Filter::api(ApiKey::PRODUCE), Action::Hold);
    for offset in 0..2 {
        client.send(9, &produce("t", 0, batch(&["v"]))).unwrap();
        hook.wait_for_hits(offset + 1);
        assert!(client.is_silent());
        assert_eq!(broker.offsets("t", 0).1, offset as i64 + 1, "it is done meanwhile");
        hook.release();
        assert_eq!(only(client.receive::<ProduceRequest>(9).unwrap()).base_offset, offset as i64);
    }
    client.send(9, &produce("t", 0, batch(&["v"]))).unwrap();
    hook.wait_for_hits(3);
    hook.remove();
    client.receive::<ProduceRequest>(9).unwrap();

    broker.on_request(Filter::api(ApiKey::FETCH).times(1), Action::Delay(Duration::from_millis(150)));
    client.send(9, &fetch("t", 0)).unwrap();
    assert!(client.is_silent());
    client.receive::<FetchRequest>(9).unwrap();
}

#[test]
fn a_client_that_goes_is_noticed_while_its_answer_is_held() {
    let broker = broker();
    let hook = broker.on_request(Filter::any(), Action::Hold);
    let mut client = Client::to(&broker, 1);
    client.send(9, &produce("t", 0, batch(&["v"]))).unwrap();
    hook.wait_for_hits(1);
    assert_eq!(broker.counts().connections_open, 1);
    drop(client);
    eventually("its end is noticed", || broker.counts().connections_open == 0);
}

#[test]
fn what_comes_is_counted() {
    let cluster = Cluster::builder().nodes(2).topic("t", 2).start();
    let mut client = Client::to(&cluster, 2);
    client.call(9, &produce("t", 1, batch(&["v"])));
    client.call(9, &produce("t", 1, batch(&["v"])));
    client.call(9, &fetch("t", 0));
    Client::to(&cluster, 1).call(0, &ApiVersionsRequest::default());
    let (all, second) = (cluster.counts(), cluster.node_counts(2));
    assert_eq!((all.requests_of(ApiKey::PRODUCE), second.requests_of(ApiKey::PRODUCE)), (2, 2));
    assert_eq!((all.requests_of(ApiKey::API_VERSIONS), second.requests_of(ApiKey::API_VERSIONS)), (1, 0));
    assert_eq!((all.connections_opened, second.connections_opened, second.connections_open), (2, 1, 1));
    assert!(second.bytes_received > 100 && second.bytes_sent > 50, "{second:?}");
}

#[test]
fn mistakes_of_the_test_panic_in_the_test() {
    let broker = broker();
    let message = |mistake: &dyn Fn()| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(mistake)).unwrap_err();
        *panicked.downcast::<String>().expect("a message")
    };
    let messages = [
        message(&|| broker.kill(2)),
        message(&|| drop(broker.records("no", 0))),
        message(&|| broker.move_leader("t", 9, 1)),
        message(&|| broker.create_topic("t", 1)),
    ];
    assert_eq!(
        messages,
        [
            "there is no node 2: they are 1 to 1",
            "there is no partition 0 of a topic 'no'",
            "there is no partition 9 of a topic 't'",
            "topic 't' cannot be created: topic 't' already exists",
        ]
    );
    // None of them has broken it.
    Client::to(&broker, 1).call(9, &produce("t", 0, batch(&["v"])));
}

#[test]
fn it_is_used_from_asynchronous_tests() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let broker = broker();
        broker.kill(1);
        broker.revive(1);
        let proxy = Proxy::to(broker.address(1));
        Client::connect(proxy.address()).call(0, &ApiVersionsRequest::default());
        proxy.cut();
    });
}

#[test]
fn what_a_topic_holds_is_there_for_who_waits() {
    let broker = Broker::start();
    let address = broker.address(1);
    let producer = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        client.call(9, &metadata_of("new"));
        client.call(9, &produce("new", 0, batch(&["a"])));
        client.call(9, &produce("new", 0, batch(&["b"])));
    });
    let records = broker.wait_for_records("new", 0, 2);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1]);
    producer.join().unwrap();
}

#[test]
fn a_dropped_cluster_ends() {
    let broker = broker();
    let (address, mut client) = (broker.address(1), Client::to(&broker, 1));
    client.call(0, &ApiVersionsRequest::default());
    drop(broker);
    assert!(client.end().is_none_or(|error| error == std::io::ErrorKind::ConnectionReset));
    assert!(TcpStream::connect(address).is_err());
}
