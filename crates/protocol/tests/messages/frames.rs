//! Frames and headers, in both directions.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{RequestHeader as TheirRequestHeader, ResponseHeader as TheirResponseHeader},
    protocol::{Decodable, Encodable, StrBytes},
};
use ottla_protocol::{
    ApiKey, DecodeErrorKind, EncodeErrorKind, Encoder, ErrorCode, Message, Piece, Records, RequestFrame,
    RequestHeader, ResponseHeader, Str, TaggedFields, decode_correlation_id, decode_response, encode_request,
    encode_response,
    messages::{
        api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
        fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData},
        metadata::{MetadataRequest, MetadataRequestTopic},
        produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData},
    },
};

use crate::checks::flat;

/// The frame without its length, which must be right.
fn frame(out: &mut Encoder) -> Bytes {
    let bytes = flat(out);
    assert_eq!(bytes[..4], (bytes.len() as i32 - 4).to_be_bytes());
    bytes.slice(4..)
}

fn produce_request(records: Records) -> ProduceRequest {
    let partition = PartitionProduceData { index: 4, records, ..Default::default() };
    let topic =
        TopicProduceData { name: "orders".into(), partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1500, topic_data: vec![topic], ..Default::default() }
}

#[test]
fn request_headers_are_those_of_kafka_protocol() {
    let request = MetadataRequest::default();
    for (version, header_version) in [(4, 1), (8, 1), (9, 2), (13, 2)] {
        for client_id in [None, Some(""), Some("shop")] {
            let mut out = Encoder::new();
            encode_request(&mut out, 77, client_id.map(Str::from).as_ref(), version, &request).unwrap();
            let bytes = frame(&mut out);

            let mut theirs = BytesMut::new();
            TheirRequestHeader::default()
                .with_request_api_key(3)
                .with_request_api_version(version)
                .with_correlation_id(77)
                .with_client_id(client_id.map(StrBytes::from_static_str))
                .encode(&mut theirs, header_version)
                .unwrap();
            assert_eq!(bytes[..theirs.len()], theirs[..]);

            let received = RequestFrame::decode(&bytes).unwrap();
            assert_eq!(received.header.api_key, ApiKey::METADATA);
            assert_eq!((received.header.api_version, received.header.correlation_id), (version, 77));
            assert_eq!(received.header.client_id.as_deref(), client_id);
            assert_eq!(received.request::<MetadataRequest>().unwrap(), request);
        }
    }
}

#[test]
fn response_headers_are_those_of_kafka_protocol() {
    for (version, header_version) in [(8, 0), (9, 1)] {
        let mut out = Encoder::new();
        encode_response(&mut out, -5, version, &ProduceResponse::default()).unwrap();
        let bytes = frame(&mut out);
        let header = TheirResponseHeader::decode(&mut bytes.clone(), header_version).unwrap();
        assert_eq!(header.correlation_id, -5);
        assert_eq!(decode_correlation_id(&bytes).unwrap(), -5);
        let (header, response) = decode_response::<ProduceResponse>(&bytes, version).unwrap();
        assert_eq!((header.correlation_id, response), (-5, ProduceResponse::default()));
    }
}

#[test]
fn unknown_tagged_fields_of_headers_survive() {
    let mut unknown_tagged_fields = TaggedFields::default();
    for (tag, value) in
        [(0, Bytes::new()), (1, Bytes::from(vec![9; 300])), (u32::MAX, Bytes::from_static(b"x"))]
    {
        unknown_tagged_fields.insert(tag, value);
    }
    let header = RequestHeader {
        api_key: ApiKey::METADATA,
        api_version: 9,
        correlation_id: 7,
        client_id: None,
        unknown_tagged_fields: unknown_tagged_fields.clone(),
    };
    let mut out = Encoder::new();
    header.encode(&mut out, 2).unwrap();
    MetadataRequest::default().encode(&mut out, 9).unwrap();
    let received = RequestFrame::decode(&flat(&mut out)).unwrap();
    assert_eq!(received.header, header);
    assert_eq!(received.request::<MetadataRequest>().unwrap(), MetadataRequest::default());

    let header = ResponseHeader { correlation_id: 7, unknown_tagged_fields };
    header.encode(&mut out, 1).unwrap();
    ProduceResponse::default().encode(&mut out, 9).unwrap();
    let received = decode_response::<ProduceResponse>(&flat(&mut out), 9).unwrap();
    assert_eq!(received, (header, ProduceResponse::default()));
}

/// Clients ask in the newest version that they know, and read the answer in version 0.
#[test]
fn a_newer_api_versions_request_can_be_answered() {
    let mut out = Encoder::new();
    encode_request(&mut out, 1, Some(&"new".into()), 4, &ApiVersionsRequest::default()).unwrap();
    let mut newer = frame(&mut out).to_vec();
    newer[3] = 99;
    let received = RequestFrame::decode(&Bytes::from(newer)).unwrap();
    assert_eq!(received.header.api_version, 99);
    let error = received.request::<ApiVersionsRequest>().unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::UnsupportedVersion { version: 99 });

    let own =
        ApiVersion { api_key: ApiKey::API_VERSIONS, min_version: 0, max_version: 4, ..Default::default() };
    let answer = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![own],
        ..Default::default()
    };
    encode_response(&mut out, 1, 0, &answer).unwrap();
    assert_eq!(frame(&mut out)[..], [0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    // A flexible version still has the old header.
    encode_response(&mut out, 1, 3, &ApiVersionsResponse::default()).unwrap();
    assert_eq!(frame(&mut out)[..], [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn records_are_never_copied_on_the_way_in_and_large_ones_not_on_the_way_out() {
    let batch = Bytes::from(vec![7; 16 * 1024]);
    let mut out = Encoder::new();
    encode_request(&mut out, 1, None, 9, &produce_request(batch.clone().into())).unwrap();
    let pieces: Vec<_> = out.finish().collect();
    assert_eq!(pieces.len(), 3);
    assert!(matches!(&pieces[1], Piece::Bytes(bytes) if bytes.as_ptr() == batch.as_ptr()));

    encode_request(&mut out, 1, None, 9, &produce_request(batch.into())).unwrap();
    let received = frame(&mut out);
    let request: ProduceRequest = RequestFrame::decode(&received).unwrap().request().unwrap();
    let Records::Bytes(records) = &request.topic_data[0].partition_data[0].records else {
        panic!("no records")
    };
    assert!(received.as_ptr_range().contains(&records.as_ptr()));
    assert!(received.as_ptr_range().contains(&request.topic_data[0].name.as_ptr()));
}

#[test]
fn bytes_after_a_request_are_ignored() {
    // As librdkafka 2.16 asks for all topics: the null array has four bytes, and what follows it is left over.
    let frame = Bytes::from_static(
        b"\x00\x03\x00\x0d\x00\x00\x00\x02\x00\x07rdkafka\x00\x00\x00\x00\x00\x01\x00\x00",
    );
    let request: MetadataRequest = RequestFrame::decode(&frame).unwrap().request().unwrap();
    assert_eq!(request.topics, None);
    assert!(!request.include_topic_authorized_operations);
}

#[test]
fn external_records_leave_a_gap_that_the_length_counts() {
    let partition = PartitionData {
        high_watermark: 100,
        records: Records::External { id: 3, len: 1_000_000 },
        ..Default::default()
    };
    let topic =
        FetchableTopicResponse { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let mut out = Encoder::new();
    for version in [4, 12] {
        encode_response(&mut out, 1, version, &response).unwrap();
        let bytes = frame(&mut out);
        let (_, decoded) = decode_response::<FetchResponse>(&bytes, version).unwrap();
        assert_eq!(decoded.responses[0].partitions[0].records, Records::Bytes(vec![3; 1_000_000].into()));
    }
}

#[test]
fn a_refused_response_leaves_the_frames_before_it_alone() {
    let mut out = Encoder::new();
    encode_response(&mut out, 1, 9, &ProduceResponse::default()).unwrap();
    let refused = FetchRequest { replica_id: 3, ..Default::default() };
    let error = encode_request(&mut out, 2, None, 15, &refused).unwrap_err();
    assert_eq!(*error.kind(), EncodeErrorKind::NotInVersion);
    assert_eq!(
        error.to_string(),
        "cannot encode FetchRequest v15.replica_id: this version does not have the field, and its value is not \
         the default"
    );
    let unnamed = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: None, ..Default::default() }]),
        ..Default::default()
    };
    let error = unnamed.encode(&mut Encoder::new(), 9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot encode MetadataRequest v9.topics[0].name: this version does not allow null"
    );
    assert_eq!(frame(&mut out).len(), 4 + 1 + 1 + 4 + 1);
}

#[test]
fn a_frame_without_a_known_key_is_refused() {
    let frame = Bytes::from_static(&[0, 200, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    let error = RequestFrame::decode(&frame).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::UnknownApiKey { key: ApiKey(200) });
    for length in 0..4 {
        assert!(RequestFrame::decode(&frame.slice(..length)).is_err());
    }
    let negative = Bytes::from_static(&[0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff]);
    let received = RequestFrame::decode(&negative).unwrap();
    assert!(received.request::<MetadataRequest>().is_err());
}
