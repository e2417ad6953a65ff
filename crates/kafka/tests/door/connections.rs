//! Requests that close their connection, with one line in the log that has the peer's address; and what is
//! read past instead.

use ottla_protocol::{
    ApiKey, Encoder, ErrorCode, Message, Piece, TaggedFields, encode_request,
    messages::{
        api_versions::ApiVersionsRequest, describe_cluster::DescribeClusterRequest, metadata::MetadataRequest,
    },
};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::Log;

/// The bytes of a request's frame, without its length.
fn request_frame(version: i16, request: &MetadataRequest) -> Vec<u8> {
    let mut out = Encoder::new();
    encode_request(&mut out, 1, None, version, request).unwrap();
    let pieces = out.finish().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.to_vec(),
        Piece::External { .. } => unreachable!("there are no records"),
    });
    pieces.collect::<Vec<_>>().concat().split_off(4)
}

fn header(key: i16, version: i16) -> Vec<u8> {
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &1_i32.to_be_bytes(), &[255, 255]].concat()
}

/// Sends a frame and expects the connection to be closed, and one line in the log.
fn check_closed(broker: &TestBroker, frame: &[u8], why: &str) {
    check_ended(broker, why, |client| client.send_frame(frame));
}

fn check_ended(broker: &TestBroker, why: &str, send: impl FnOnce(&mut TestClient)) {
    let log = Log::from_now_on();
    let mut client = broker.client();
    send(&mut client);
    client.expect_close();
    let peer = client.local_address().to_string();
    let lines = log.lines(&[&peer]);
    assert!(lines.len() == 1 && lines[0].contains(why), "{why:?} expected: {lines:?}");
}

#[test]
fn what_is_not_in_the_table_closes_the_connection() {
    let broker = TestBroker::start(&[]);
    // Advertised and not served, as in Kafka.
    for version in 0..3 {
        check_closed(&broker, &header(0, version), &format!("no Produce in version {version}"));
    }
    for (key, version) in [
        (ApiKey::PRODUCE, 14),
        (ApiKey::FETCH, 3),
        (ApiKey::FETCH, 19),
        (ApiKey::LIST_OFFSETS, 0),
        (ApiKey::LIST_OFFSETS, 12),
        (ApiKey::METADATA, 14),
        (ApiKey::METADATA, -1),
        (ApiKey::CREATE_TOPICS, 1),
        (ApiKey::CREATE_TOPICS, 8),
        (ApiKey::DELETE_TOPICS, 0),
        (ApiKey::DELETE_TOPICS, 7),
        (ApiKey::INIT_PRODUCER_ID, 6),
        (ApiKey::OFFSET_FOR_LEADER_EPOCH, 1),
        (ApiKey::OFFSET_FOR_LEADER_EPOCH, 5),
        (ApiKey::DESCRIBE_CONFIGS, 0),
        (ApiKey::DESCRIBE_CONFIGS, 5),
        (ApiKey::DESCRIBE_CLUSTER, 3),
        (ApiKey::OFFSET_COMMIT, 1),
        (ApiKey::OFFSET_COMMIT, 11),
        (ApiKey::OFFSET_FETCH, 0),
        (ApiKey::OFFSET_FETCH, 11),
        (ApiKey::FIND_COORDINATOR, 7),
        (ApiKey::JOIN_GROUP, 10),
        (ApiKey::OFFSET_DELETE, 1),
        (ApiKey::CONSUMER_GROUP_HEARTBEAT, 2),
        (ApiKey::SASL_HANDSHAKE, 1),
    ] {
        // A tagged section, which old versions do not have, does not make it readable either.
        let frame = [&header(key.0, version)[..], &[0; 8]].concat();
        check_closed(&broker, &frame, &format!("no {key} in version {version}"));
    }
    check_closed(&broker, &header(1000, 0), "1000");
    check_closed(&broker, &header(-1, 0), "-1");
}

#[test]
fn garbage_closes_the_connection() {
    let broker = TestBroker::start(&[]);
    check_closed(&broker, &[], "cannot be read");
    check_closed(&broker, &[0, 3, 0, 9, 0], "cannot be read");
    check_closed(&broker, &[255; 40], "cannot be read");

    let whole = request_frame(9, &MetadataRequest::default());
    check_closed(&broker, &whole[..whole.len() - 1], "cannot be read");

    check_ended(&broker, "HTTP", |client| client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    check_ended(&broker, "frame", |client| client.write(&(-1_i32).to_be_bytes()));
}

#[test]
fn tagged_fields_that_are_not_known_are_read_past() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let tagged = || {
        let mut fields = TaggedFields::default();
        fields.insert(9000, vec![1; 300].into());
        fields
    };
    for version in 9..=13 {
        let request = MetadataRequest { unknown_tagged_fields: tagged(), ..MetadataRequest::default() };
        assert_eq!(client.call(version, &request).brokers.len(), 1);
    }
    for version in DescribeClusterRequest::VERSIONS {
        let request =
            DescribeClusterRequest { unknown_tagged_fields: tagged(), ..DescribeClusterRequest::default() };
        assert_eq!(client.call(version, &request).error_code, ErrorCode::NONE);
    }
}

#[test]
fn what_was_asked_before_the_garbage_is_answered() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let sent: Vec<_> = (0..20).map(|_| client.send(0, &ApiVersionsRequest::default())).collect();
    client.send_frame(&header(1000, 0));
    for sent in sent {
        assert_eq!(client.receive(sent).error_code, ErrorCode::NONE);
    }
    client.expect_close();
}
