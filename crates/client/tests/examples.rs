//! The examples, against a broker.

use std::ops::ControlFlow;

use ottla_client::{Kafka, admin::NewTopic, block_on};
use ottla_testing_internal::TestBroker;

#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/async_producer.rs"]
mod async_producer;
#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/sync_producer.rs"]
mod sync_producer;
#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/topic_consumer.rs"]
mod topic_consumer;

#[test]
fn what_the_producers_send_is_what_the_consumer_reads() {
    let broker = TestBroker::start(&[]);
    let brokers = broker.address().to_string();
    let admin = Kafka::builder([&*brokers]).build().unwrap().admin();
    block_on(admin.create_topics([NewTopic::new("orders").partitions(3)])).unwrap()[0].1.as_ref().unwrap();

    let mut said = Vec::new();
    let lines = ["one", "two", "three"].map(|line| Ok(line.to_owned()));
    sync_producer::send(&brokers, "orders", lines, |line| said.push(line)).unwrap();
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(|line| line.starts_with("partition ") && !line.ends_with("-1")), "{said:?}");

    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let seen = runtime.block_on(async_producer::send_all(&brokers, "orders", 10_000)).unwrap();
    assert_eq!((seen.successes, seen.errors), (10_000, 0));

    let mut read = Vec::new();
    let look = |record: ottla_client::consumer::RecordRef<'_>| {
        read.push(String::from_utf8(record.value().unwrap().to_vec()).unwrap());
        if read.len() == 10_003 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    block_on(topic_consumer::read(&brokers, "orders", look)).unwrap();
    read.sort_unstable();
    let mut sent: Vec<String> = (0..10_000).map(|number| format!("value {number}")).collect();
    sent.extend(["one", "two", "three"].map(str::to_owned));
    sent.sort_unstable();
    assert_eq!(read, sent);
}
