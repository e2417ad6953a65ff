//! Bytes that are no message are refused, wherever they stop being one.

use bytes::Bytes;
use ottla_protocol::{
    DecodeErrorKind, EncodeErrorKind, Encoder, Message, Reader, Str, TaggedFields,
    messages::{
        api_versions::{ApiVersionsRequest, ApiVersionsResponse},
        create_topics::CreateTopicsRequest,
        delete_topics::DeleteTopicsRequest,
        describe_configs::DescribeConfigsRequest,
        metadata::MetadataRequest,
        produce::ProduceRequest,
    },
};

use crate::{
    checks::flat,
    registry::{Failure, cases},
    schema::SCHEMAS,
    value::{self, Random},
};

/// Refusal of `bytes` as `M`, which must be of this kind.
#[track_caller]
fn check_refused<M: Message + std::fmt::Debug>(version: i16, bytes: &[u8], kind: DecodeErrorKind) {
    let error = M::from_bytes(&Bytes::copy_from_slice(bytes), version).expect_err("this is no message");
    assert_eq!(*error.kind(), kind, "{error}");
}

#[test]
fn every_prefix_of_a_message_is_refused_and_so_is_a_byte_more() {
    for case in cases() {
        let schema = &SCHEMAS[case.name];
        for version in case.versions.clone() {
            for seed in 0..3 {
                let value = value::random(schema, version, &mut Random(seed));
                let bytes = Bytes::from(value::encode(schema, &value, version).unwrap());
                // Inside long runs of records one cut is as good as another.
                let cuts = (0..bytes.len()).filter(|cut| *cut < 1500 || cut % 97 == 0);
                for cut in cuts {
                    let result = (case.ours)(&bytes.slice(..cut), version, version);
                    assert!(matches!(result, Err(Failure::Decode(_))), "{} v{version} at {cut}", case.name);
                }
                let longer = Bytes::from([&bytes[..], &[0]].concat());
                let Err(Failure::Decode(error)) = (case.ours)(&longer, version, version) else {
                    panic!("{} v{version} with a byte more", case.name);
                };
                assert!(error.ends_with("1 bytes after the end of the message"), "{error}");
            }
        }
    }
}

#[test]
fn damaged_messages_are_refused_or_stay_what_they_became() {
    let mut random = Random(1);
    for case in cases() {
        let schema = &SCHEMAS[case.name];
        for version in case.versions.clone() {
            for _ in 0..40 {
                let value = value::random(schema, version, &mut random);
                let mut bytes = case.head(version);
                let head = bytes.len() as u64;
                bytes.extend(value::encode(schema, &value, version).unwrap());
                for _ in 0..=random.below(3) {
                    let at = random.below(bytes.len() as u64).max(head.min(bytes.len() as u64 - 1)) as usize;
                    bytes[at] = [0, 0xff, 0x7f, random.next() as u8][random.below(4) as usize];
                }
                case.check(&bytes);
            }
        }
    }
}

#[test]
fn versions_outside_the_range_are_refused() {
    for case in cases() {
        for version in [*case.versions.start() - 1, *case.versions.end() + 1, i16::MIN, i16::MAX] {
            let result = (case.ours)(&Bytes::from_static(&[0; 64]), version, version);
            assert!(matches!(result, Err(Failure::Decode(_))), "{} v{version}", case.name);
        }
    }
    let error = MetadataRequest::default().encode(&mut Encoder::new(), 14).unwrap_err();
    assert_eq!(*error.kind(), EncodeErrorKind::UnsupportedVersion { version: 14 });
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_memory_is_taken() {
    let count = |count: i32| [&count.to_be_bytes()[..], &[0; 8]].concat();
    let beyond = |count| DecodeErrorKind::CountBeyondEnd { count, remaining: 8 };
    check_refused::<MetadataRequest>(1, &count(i32::MAX), beyond(i32::MAX as usize));
    // A topic name takes two bytes at least, so five cannot stand in eight.
    check_refused::<MetadataRequest>(1, &count(5), beyond(5));
    assert_eq!(MetadataRequest::from_bytes(&count(4).into(), 1).unwrap().topics.unwrap().len(), 4);
    check_refused::<MetadataRequest>(
        9,
        &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0],
        DecodeErrorKind::CountBeyondEnd { count: u32::MAX as usize - 1, remaining: 2 },
    );
    check_refused::<MetadataRequest>(1, &count(-2), DecodeErrorKind::InvalidLength { length: -2 });
    check_refused::<MetadataRequest>(0, &[0xff; 4], DecodeErrorKind::Null);
    check_refused::<CreateTopicsRequest>(5, &[0, 0, 0, 0, 0, 0], DecodeErrorKind::Null);
}

#[test]
fn malformed_lengths_and_numbers_are_refused() {
    // A varint of six bytes, and one of five with bits past the 32nd.
    check_refused::<MetadataRequest>(
        9,
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0, 0],
        DecodeErrorKind::InvalidVarint,
    );
    check_refused::<MetadataRequest>(
        9,
        &[0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0],
        DecodeErrorKind::InvalidVarint,
    );
    // As Kafka, one with more bytes than it needs is accepted: here null, in five.
    let padded = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0, 1, 0, 0, 0]);
    assert_eq!(MetadataRequest::from_bytes(&padded, 9).unwrap().topics, None);
    // Lengths of strings: negative, past the end, longer than Kafka's longest, not UTF-8.
    check_refused::<ProduceRequest>(3, &[0xff, 0xfe], DecodeErrorKind::InvalidLength { length: -2 });
    check_refused::<ProduceRequest>(
        3,
        &[0, 9, 1],
        DecodeErrorKind::UnexpectedEnd { wanted: 9, remaining: 1 },
    );
    check_refused::<ProduceRequest>(
        9,
        &[[0x81, 0x80, 0x02].as_slice(), &[b'a'; 40_000]].concat(),
        DecodeErrorKind::InvalidLength { length: 32_768 },
    );
    check_refused::<ProduceRequest>(3, &[0, 1, 0xff], DecodeErrorKind::InvalidUtf8);
    check_refused::<ApiVersionsRequest>(3, &[0, 1, 0], DecodeErrorKind::Null);
}

#[test]
fn strings_longer_than_kafkas_longest_are_not_written() {
    for version in [2, 4] {
        let mut request = DescribeConfigsRequest::default();
        for (length, written) in [(32_767, true), (32_768, false)] {
            request.resources = vec![Default::default()];
            request.resources[0].resource_name = Str::from("x".repeat(length));
            let result = request.encode(&mut Encoder::new(), version);
            assert_eq!(result.is_ok(), written);
        }
    }
}

#[test]
fn tagged_fields_must_ascend_and_end_where_they_say() {
    // The error code, no APIs, the throttle time; then the tagged fields.
    let check = |tagged: &[u8], kind| {
        check_refused::<ApiVersionsResponse>(3, &[&[0, 0, 1, 0, 0, 0, 0], tagged].concat(), kind);
    };
    let epoch = [1, 8, 0, 0, 0, 0, 0, 0, 0, 5];
    let flag = [3, 1, 1];
    check(&[&[2][..], &epoch, &epoch].concat(), DecodeErrorKind::TagOutOfOrder { tag: 1 });
    check(&[&[2][..], &flag, &epoch].concat(), DecodeErrorKind::TagOutOfOrder { tag: 1 });
    check(&[2, 9, 0, 9, 0], DecodeErrorKind::TagOutOfOrder { tag: 9 });
    check(&[1, 3, 2, 1, 0], DecodeErrorKind::TagTooLong { tag: 3, count: 1 });
    check(&[1, 3, 0], DecodeErrorKind::UnexpectedEnd { wanted: 1, remaining: 0 });
    check(&[1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 5], DecodeErrorKind::UnexpectedEnd { wanted: 8, remaining: 7 });
    check(&[1, 3, 9, 1], DecodeErrorKind::UnexpectedEnd { wanted: 9, remaining: 1 });
    check(&[0xff, 0xff, 3, 1, 1], DecodeErrorKind::CountBeyondEnd { count: 65_535, remaining: 2 });

    let good = [&[0, 0, 1, 0, 0, 0, 0, 2][..], &epoch, &flag].concat();
    let response = ApiVersionsResponse::from_bytes(&good.into(), 3).unwrap();
    assert_eq!((response.finalized_features_epoch, response.zk_migration_ready), (5, true));
}

#[test]
fn tagged_fields_are_written_by_ascending_tag_and_only_if_not_the_default() {
    let mut response = ApiVersionsResponse { zk_migration_ready: true, ..Default::default() };
    response.unknown_tagged_fields.insert(9, Bytes::from_static(b"x"));
    let mut out = Encoder::new();
    response.encode(&mut out, 3).unwrap();
    assert_eq!(flat(&mut out)[..], [0, 0, 1, 0, 0, 0, 0, 2, 3, 1, 1, 9, 1, b'x']);

    response.unknown_tagged_fields.insert(2, Bytes::new());
    let error = response.encode(&mut out, 3).unwrap_err();
    assert_eq!(*error.kind(), EncodeErrorKind::TagIsKnown { tag: 2 });
    let error = response.encode(&mut out, 2).unwrap_err();
    assert_eq!(*error.kind(), EncodeErrorKind::NoTaggedFields);
    response.unknown_tagged_fields = TaggedFields::default();
    assert!(response.encode(&mut out, 2).is_ok());
}

#[test]
fn any_byte_but_zero_is_true() {
    for (byte, expected) in [(0, false), (1, true), (2, true), (0xff, true)] {
        let bytes = Bytes::copy_from_slice(&[0, 0, 0, 0, byte]);
        let request = MetadataRequest::from_bytes(&bytes, 4).unwrap();
        assert_eq!(request.allow_auto_topic_creation, expected);
    }
}

#[test]
fn arrays_stop_at_the_element_limit() {
    // A thousand names to delete, each empty: a byte there and 32 here.
    let mut bytes = vec![0xe9, 0x07];
    bytes.extend([1; 1000]);
    bytes.extend([0; 5]);
    let bytes = Bytes::from(bytes);
    let mut reader = Reader::with_element_limit(&bytes, 1000 * size_of::<Str>() + 16);
    assert_eq!(DeleteTopicsRequest::decode(&mut reader, 4).unwrap().topic_names.len(), 1000);
    assert_eq!(reader.element_bytes(), 1000 * size_of::<Str>() + 16);
    let limit = 1000 * size_of::<Str>();
    let error = DeleteTopicsRequest::decode(&mut Reader::with_element_limit(&bytes, limit), 4).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::TooManyElements { limit });
}
