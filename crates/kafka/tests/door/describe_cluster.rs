//! DescribeCluster, versions 0 to 2.

use ottla_protocol::{ErrorCode, Message, messages::describe_cluster::DescribeClusterRequest};
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker};

#[test]
fn every_version_tells_the_broker_and_the_cluster() {
    let broker = TestBroker::start(&["node.id=3"]);
    let mut client = broker.client();
    for version in DescribeClusterRequest::VERSIONS {
        let answer = client.call(version, &DescribeClusterRequest::default());
        assert_eq!((answer.error_code, answer.throttle_time_ms), (ErrorCode::NONE, 0));
        assert_eq!(answer.error_message, None);
        assert_eq!(&*answer.cluster_id, broker.broker().cluster_id());
        assert_eq!((answer.controller_id, answer.endpoint_type), (3, 1));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN, "nobody asked for them");
        let [it] = &answer.brokers[..] else { panic!("{answer:?}") };
        assert_eq!((it.broker_id, &*it.host), (3, "127.0.0.1"));
        assert_eq!(it.port, i32::from(broker.address().port()));
        assert!(it.rack.is_none() && !it.is_fenced);
    }
}

#[test]
fn the_operations_are_told_when_asked_for() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in DescribeClusterRequest::VERSIONS {
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            ..DescribeClusterRequest::default()
        };
        let operations = client.call(version, &request).cluster_authorized_operations;
        // By Kafka's numbers: create, alter, describe, cluster action, both of configurations, idempotent write.
        let all = [5, 7, 8, 9, 10, 11, 12].iter().fold(0, |bits, operation| bits | 1 << operation);
        assert_eq!(operations, all);
    }
}

#[test]
fn other_endpoints_are_refused() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in [1, 2] {
        for (endpoint_type, error) in [
            (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
            (0, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
            (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
            (-1, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
        ] {
            let request = DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() };
            let answer = client.call(version, &request);
            assert_eq!(answer.error_code, error, "{endpoint_type}");
            assert!(answer.error_message.is_some() && answer.brokers.is_empty());
        }
    }
}

#[test]
fn what_is_advertised_is_told() {
    let setup = Setup { advertise: Some(("kafka.example", 19092)), ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    let answer = broker.client().call(2, &DescribeClusterRequest::default());
    assert_eq!((&*answer.brokers[0].host, answer.brokers[0].port), ("kafka.example", 19092));
}
