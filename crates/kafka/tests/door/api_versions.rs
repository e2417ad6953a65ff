//! ApiVersions, versions 0 to 4.

use bytes::Bytes;
use ottla_protocol::{
    ApiKey, ErrorCode, Message, decode_response,
    messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
};
use ottla_testing_internal::TestBroker;

/// What Apache Kafka 4.3 answers, of the APIs that are here.
const KAFKA: [(ApiKey, i16, i16); 24] = [
    (ApiKey::PRODUCE, 0, 13),
    (ApiKey::FETCH, 4, 18),
    (ApiKey::LIST_OFFSETS, 1, 11),
    (ApiKey::METADATA, 0, 13),
    (ApiKey::OFFSET_COMMIT, 2, 10),
    (ApiKey::OFFSET_FETCH, 1, 10),
    (ApiKey::FIND_COORDINATOR, 0, 6),
    (ApiKey::JOIN_GROUP, 0, 9),
    (ApiKey::HEARTBEAT, 0, 4),
    (ApiKey::LEAVE_GROUP, 0, 5),
    (ApiKey::SYNC_GROUP, 0, 5),
    (ApiKey::DESCRIBE_GROUPS, 0, 6),
    (ApiKey::LIST_GROUPS, 0, 5),
    (ApiKey::API_VERSIONS, 0, 4),
    (ApiKey::CREATE_TOPICS, 2, 7),
    (ApiKey::DELETE_TOPICS, 1, 6),
    (ApiKey::INIT_PRODUCER_ID, 0, 5),
    (ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, 4),
    (ApiKey::DESCRIBE_CONFIGS, 1, 4),
    (ApiKey::DELETE_GROUPS, 0, 2),
    (ApiKey::OFFSET_DELETE, 0, 0),
    (ApiKey::DESCRIBE_CLUSTER, 0, 2),
    (ApiKey::CONSUMER_GROUP_HEARTBEAT, 0, 1),
    (ApiKey::CONSUMER_GROUP_DESCRIBE, 0, 1),
];

fn named(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..ApiVersionsRequest::default()
    }
}

fn entries(response: &ApiVersionsResponse) -> Vec<(ApiKey, i16, i16)> {
    let entry = |api: &ApiVersion| (api.api_key, api.min_version, api.max_version);
    response.api_keys.iter().map(entry).collect()
}

#[test]
fn every_version_tells_what_kafka_tells() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in ApiVersionsRequest::VERSIONS {
        let answer = client.call(version, &named("test-client.rs", "1.0-2"));
        assert_eq!((answer.error_code, answer.throttle_time_ms), (ErrorCode::NONE, 0), "version {version}");
        assert_eq!(entries(&answer), KAFKA, "version {version}");
    }
}

#[test]
fn clients_hear_of_the_new_groups_as_far_as_they_can_read_it() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in ApiVersionsRequest::VERSIONS {
        let answer = client.call(version, &named("a", "1"));
        let supported: Vec<_> =
            answer.supported_features.iter().map(|it| (&*it.name, it.min_version, it.max_version)).collect();
        let finalized: Vec<_> = answer
            .finalized_features
            .iter()
            .map(|it| (&*it.name, it.min_version_level, it.max_version_level))
            .collect();
        // A feature that begins at 0 breaks clients before version 4 (KAFKA-17492).
        assert_eq!(supported, if version >= 4 { vec![("group.version", 0, 1)] } else { vec![] });
        assert_eq!(finalized, if version >= 3 { vec![("group.version", 1, 1)] } else { vec![] });
        assert_eq!(answer.finalized_features_epoch, if version >= 3 { 0 } else { -1 });
    }
}

#[test]
fn a_version_that_is_not_there_is_answered_in_version_0() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in [5_i16, 99, i16::MAX] {
        // Key, version, correlation id, no client id; then what no broker of today can read.
        let header = [&18_i16.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[255, 255]];
        client.send_frame(&[&header.concat()[..], &[0, 1, 2, 3]].concat());
        let frame: Bytes = client.receive_frame().unwrap();
        let (header, answer) = decode_response::<ApiVersionsResponse>(&frame, 0).unwrap();
        assert_eq!(header.correlation_id, 7);
        assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(entries(&answer), [(ApiKey::API_VERSIONS, 0, 4)]);
    }
    // The client asks again on the same connection.
    assert_eq!(client.call(4, &named("a", "1")).error_code, ErrorCode::NONE);
}

#[test]
fn software_without_a_proper_name_is_refused() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for (name, version) in
        [("", "1"), ("a", ""), ("-a", "1"), ("a", "1."), ("a b", "1"), ("a\n", "1"), ("ä", "1"), ("a", "1_2")]
    {
        for api_version in [3, 4] {
            let answer = client.call(api_version, &named(name, version));
            assert_eq!(answer.error_code, ErrorCode::INVALID_REQUEST, "{name:?} {version:?}");
            assert!(answer.api_keys.is_empty() && answer.finalized_features.is_empty());
        }
    }
    for api_version in [0, 1, 2] {
        assert_eq!(client.call(api_version, &named("", "")).error_code, ErrorCode::NONE);
    }
}
