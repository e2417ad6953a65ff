//! A client and a broker in one process: connecting, and topics.

use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use ottla_client::{ErrorKind, Kafka, admin::NewTopic, block_on};
use ottla_testing_internal::TestBroker;

fn client(addresses: &[SocketAddr]) -> Kafka {
    Kafka::builder(addresses.iter().map(SocketAddr::to_string)).build().unwrap()
}

/// An address that nobody listens on.
fn refused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_cluster_is_described() {
    let broker = TestBroker::start(&[]);
    let kafka = client(&[broker.address()]);
    block_on(kafka.connect()).unwrap();
    let cluster = block_on(kafka.admin().describe_cluster()).unwrap();
    assert!(cluster.cluster_id.is_some());
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!(cluster.controller, Some(cluster.brokers[0].id));
    assert_eq!(cluster.brokers[0].address, broker.address().to_string());
}

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let broker = TestBroker::start(&[]);
    let admin = client(&[broker.address()]).admin();
    let orders = NewTopic::new("orders").partitions(3).replication_factor(1).setting("retention.ms", "1000");
    let wrong = NewTopic::new("wrong").setting("retention.ms", "long");
    let created = block_on(admin.create_topics([orders.clone(), NewTopic::new("events"), wrong])).unwrap();
    let [(first, Ok(())), (second, Ok(())), (third, Err(error))] = &created[..] else {
        panic!("{created:?}")
    };
    assert_eq!([first, second, third], ["orders", "events", "wrong"]);
    assert_eq!(error.kind(), ErrorKind::Broker);
    assert!(error.to_string().contains("retention.ms"), "{error}");

    let again = block_on(admin.create_topics([orders])).unwrap();
    assert!(again[0].1.as_ref().unwrap_err().to_string().contains("TOPIC_ALREADY_EXISTS"), "{again:?}");
    let listed = block_on(admin.list_topics()).unwrap();
    assert_eq!(listed.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["events", "orders"]);

    let described = block_on(admin.describe_topics(["nothing", "orders"])).unwrap();
    assert_eq!(described[0].1.as_ref().unwrap_err().kind(), ErrorKind::UnknownTopic);
    let orders = described[1].1.as_ref().unwrap();
    assert!(orders.id.is_some() && !orders.is_internal);
    assert_eq!(orders.partitions.iter().map(|partition| partition.partition).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(orders.partitions.iter().all(|partition| partition.leader.is_some()));

    let deleted = block_on(admin.delete_topics(["orders", "nothing"])).unwrap();
    assert!(deleted[0].1.is_ok());
    assert_eq!(deleted[1].1.as_ref().unwrap_err().kind(), ErrorKind::UnknownTopic);
    assert_eq!(block_on(admin.list_topics()).unwrap().len(), 1);
}

#[test]
fn one_address_that_answers_is_enough() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = TestBroker::start(&[]);
    for _ in 0..5 {
        let seeds = [silent.local_addr().unwrap(), refused(), broker.address()];
        block_on(client(&seeds).admin().describe_cluster()).unwrap();
    }
}

#[test]
fn nobody_answers_in_time() {
    let kafka =
        Kafka::builder([refused().to_string()]).call_timeout(Duration::from_millis(300)).build().unwrap();
    let error = block_on(kafka.connect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("cannot connect to 127.0.0.1:"), "{cause}");
    // And again, which finds the connection in its backoff.
    assert_eq!(block_on(kafka.admin().list_topics()).unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn properties_make_a_client() {
    let broker = TestBroker::start(&[]);
    let address = broker.address().to_string();
    let kafka = Kafka::from_properties([("bootstrap.servers", &*address), ("client.id", "shop")]).unwrap();
    block_on(kafka.connect()).unwrap();
    let error = Kafka::from_properties([("boostrap.servers", &*address)]).unwrap_err();
    assert!(error.to_string().contains("did you mean bootstrap.servers?"), "{error}");
}

#[test]
fn a_wrong_address_is_a_wrong_setting() {
    for seeds in [vec![], vec!["kafka"]] {
        assert_eq!(Kafka::builder(seeds).build().unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn a_broker_that_comes_back_elsewhere_is_found_by_the_addresses_that_were_given() {
    let dir = tempfile::tempdir().unwrap();
    let first = TestBroker::in_directory(dir.path(), &[]);
    let address = first.address();
    let later = TcpListener::bind("127.0.0.1:0").unwrap();
    let kafka = client(&[address, later.local_addr().unwrap()]);
    let admin = kafka.admin();
    block_on(admin.create_topics([NewTopic::new("orders")])).unwrap();
    drop(first);
    // Nobody is there: a call waits, and is answered by the broker that has taken the other address.
    let listing = thread::spawn(move || block_on(admin.list_topics()));
    let second = TestBroker::in_directory(dir.path(), &[]);
    let to = second.address();
    drop(thread::spawn(move || forward(&later, to)));
    assert_eq!(listing.join().unwrap().unwrap().len(), 1);
}

/// Passes connections on to another address, for as long as the test runs.
fn forward(listener: &TcpListener, to: SocketAddr) {
    while let Ok((mut here, _)) = listener.accept() {
        let Ok(mut there) = std::net::TcpStream::connect(to) else { return };
        let (Ok(mut back_here), Ok(mut back_there)) = (here.try_clone(), there.try_clone()) else { return };
        drop(thread::spawn(move || std::io::copy(&mut here, &mut there)));
        drop(thread::spawn(move || std::io::copy(&mut back_there, &mut back_here)));
    }
}

#[test]
fn a_client_works_without_a_runtime_and_ends_its_thread() {
    let broker = TestBroker::start(&[]);
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("comm"))
        };
        tasks.filter_map(|task| name(task).ok()).filter(|name| name.trim() == "ottla-client").count()
    };
    let kafka = client(&[broker.address()]);
    block_on(kafka.connect()).unwrap();
    assert!(threads() >= 1);
    drop(kafka);
    while threads() > 0 {
        thread::yield_now();
    }
}
