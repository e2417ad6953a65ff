//! A Kafka cluster in the process that fails on command, and a faulty TCP proxy: for tests of whatever speaks to Kafka,
//! without Java, containers or a network.
//!
//! # A test of a service that produces
//!
//! Start a [`Broker`], give its address to the service, and look at what came:
//!
//! ```
//! use ottla_testing::Broker;
//!
//! let broker = Broker::start();
//! broker.create_topic("orders", 1);
//!
//! let bootstrap = broker.bootstrap_servers();
//! // let service = Service::start(Config { kafka: bootstrap, … });
//! // service.order("42");
//! # use ottla_testing::NewRecord;
//! # assert!(bootstrap.starts_with("127.0.0.1:"));
//! # let record = NewRecord { key: Some(b"42"), value: Some(b"one tea"), ..NewRecord::default() };
//! # broker.append("orders", 0, &[record]);
//!
//! let records = broker.wait_for_records("orders", 0, 1);
//! assert_eq!(records[0].key.as_deref(), Some(&b"42"[..]));
//! ```
//!
//! Any client of Kafka's works: topics are created as they are asked for, unless
//! [`Builder::auto_create_topics`] says otherwise. [`Cluster::append`] is for services that read.
//!
//! # What happens if …
//!
//! ```
//! use std::time::Duration;
//! use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter};
//!
//! let cluster = Cluster::builder().nodes(3).topic("orders", 6).start();
//!
//! // … a node dies, and then comes back
//! cluster.kill(2);
//! cluster.fence(2); // and now the others have noticed, and lead what it led
//! cluster.revive(2);
//!
//! // … a node hangs
//! cluster.freeze(1);
//! cluster.thaw(1);
//!
//! // … another node leads the partition
//! cluster.move_leader("orders", 0, 3);
//!
//! // … the records were written, but the answer never came
//! let lost = cluster.on_request(Filter::api(ApiKey::PRODUCE).times(1), Action::LoseAnswer);
//!
//! // … the request is never answered, and nothing is written
//! cluster.on_request(Filter::api(ApiKey::PRODUCE).times(1), Action::Ignore);
//!
//! // … the records are written, and the answer is an error all the same
//! let after = Action::FailAfter(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
//! cluster.on_request(Filter::api(ApiKey::PRODUCE).times(1), after);
//!
//! // … a replica is missing for three requests, and after that the broker is slow
//! cluster.on_request(Filter::api(ApiKey::PRODUCE).times(3), Action::Fail(ErrorCode::NOT_ENOUGH_REPLICAS));
//! cluster.on_request(Filter::any(), Action::Delay(Duration::from_millis(300)));
//! # assert_eq!(lost.hits(), 0);
//! ```
//!
//! [`Builder::version`] makes it an older Kafka. [`Cluster::counts`] tells how many connections and requests there were.
//! [`Proxy`] cuts, delays, limits, corrupts and swallows what any TCP server is sent.
//!
//! # What it is, and what it is not
//!
//! It answers ApiVersions, Metadata, Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, InitProducerId, CreateTopics,
//! CreatePartitions, DeleteTopics, DeleteRecords, DescribeCluster, DescribeConfigs, AlterConfigs and
//! IncrementalAlterConfigs as Kafka does, in every version from Kafka 2.1 to 4.3 and with the errors that Kafka answers:
//! idempotent producers, leader epochs and fetch sessions work. Records live in memory. There are no groups, no
//! transactions, no authentication and no replication: each replica has at once what the leader has.
//!
//! # Architecture invariants
//!
//! * One lock holds the state of all nodes, and nobody waits while holding it.
//! * No bytes of a client's make it panic, or reserve memory that they do not fill. What clients can create is bounded.
//! * Only a mistake of the test's panics, in the test's thread.

mod cluster;
mod door;
mod faults;
mod handlers;
mod log;
mod node;
mod proxy;
mod sessions;
mod settings;
mod state;
mod thread;
mod versions;

pub use ottla_protocol::{ApiKey, ErrorCode, Uuid};
pub use ottla_records::{NewHeader, NewRecord, RecordBatch};

pub use crate::{
    cluster::{Broker, Builder, Cluster, Record},
    faults::{Action, Filter, Hook},
    proxy::{Direction, Proxy, ProxyCounts},
    state::Counts,
    versions::KafkaVersion,
};
