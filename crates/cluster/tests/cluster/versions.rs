//! ApiVersions, and nodes that stand for older versions of Kafka.

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::{
        api_versions::{ApiVersionsRequest, ApiVersionsResponse},
        describe_cluster::DescribeClusterRequest,
        metadata::MetadataRequest,
    },
};
use ottla_testing::{Broker, Cluster, KafkaVersion};

use crate::client::Client;

fn max(response: &ApiVersionsResponse, key: ApiKey) -> Option<i16> {
    response.api_keys.iter().find(|api| api.api_key == key).map(|api| api.max_version)
}

#[test]
fn each_kafka_advertises_its_own_versions() {
    for (kafka, produce, fetch, metadata, describe_cluster) in [
        (KafkaVersion::V2_1, 7, 10, 7, None),
        (KafkaVersion::V2_4, 8, 11, 9, None),
        (KafkaVersion::V2_8, 9, 12, 11, Some(0)),
        (KafkaVersion::V3_9, 11, 17, 12, Some(1)),
        (KafkaVersion::V4_3, 13, 18, 13, Some(2)),
    ] {
        let cluster = Cluster::builder().version(kafka).start();
        let response = Client::to(&cluster, 1).call(0, &ApiVersionsRequest::default());
        assert_eq!(response.error_code, ErrorCode::NONE);
        assert_eq!(max(&response, ApiKey::PRODUCE), Some(produce), "{kafka:?}");
        assert_eq!(max(&response, ApiKey::FETCH), Some(fetch), "{kafka:?}");
        assert_eq!(max(&response, ApiKey::METADATA), Some(metadata), "{kafka:?}");
        assert_eq!(max(&response, ApiKey::DESCRIBE_CLUSTER), describe_cluster, "{kafka:?}");
    }
}

#[test]
fn a_version_that_is_not_known_is_answered_in_the_oldest() {
    let cluster = Cluster::builder().version(KafkaVersion::V2_4).start();
    for (kafka, version, hint) in
        [(KafkaVersion::V2_4, 4, Some(3)), (KafkaVersion::V2_8, 4, Some(3)), (KafkaVersion::V2_1, 3, None)]
    {
        cluster.set_version(1, kafka);
        let mut client = Client::to(&cluster, 1);
        client.send(version, &ApiVersionsRequest::default()).unwrap();
        let answer = client.receive::<ApiVersionsRequest>(0).unwrap();
        assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(max(&answer, ApiKey::API_VERSIONS), hint, "{kafka:?}");
        assert!(answer.api_keys.len() <= 1);
    }
    let broker = Broker::start();
    let mut client = Client::to(&broker, 1);
    for version in 0..=4 {
        assert_eq!(client.call(version, &ApiVersionsRequest::default()).error_code, ErrorCode::NONE);
    }
}

#[test]
fn what_is_not_advertised_ends_the_connection() {
    let cluster = Cluster::builder().version(KafkaVersion::V2_1).start();
    let mut client = Client::to(&cluster, 1);
    client.call(7, &MetadataRequest::default());
    client.send(8, &MetadataRequest::default()).unwrap();
    assert_eq!(client.end(), None);
    let mut client = Client::to(&cluster, 1);
    client.send(0, &DescribeClusterRequest::default()).unwrap();
    assert_eq!(client.end(), None);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let cluster = Cluster::builder().request_bytes_max(100).start();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        &101_i32.to_be_bytes(),
        b"\0\0\0\0",
        b"\0\0\0\x04\x7f\x7f\0\0",
        b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\0\x09",
        // A Metadata request with a million topics.
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\x10\0\0",
    ] {
        let mut client = Client::to(&cluster, 1);
        client.write(bytes);
        assert_eq!(client.end(), None, "{bytes:?}");
    }
    assert_eq!(cluster.counts().connections_opened, 6);
}
