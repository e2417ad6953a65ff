//! Subscriptions and assignments behind their versions.

use bytes::Bytes;
use ottla_protocol::{
    DecodeErrorKind, EncodeErrorKind, Message, Reader, SPLICE_BYTES_MIN,
    messages::consumer_protocol::{
        ConsumerProtocol, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
    },
};

/// Topics `a` and `bc`, and the user data `u`.
const SUBSCRIPTION_V0: &[u8] = b"\0\0\0\x02\0\x01a\0\x02bc\0\0\0\x01u";
/// Behind that, partitions 0 and 7 of `a`, generation 5, and rack `r`.
const OWNED_PARTITIONS: &[u8] = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07";
const GENERATION: &[u8] = b"\0\0\0\x05";
const RACK: &[u8] = b"\0\x01r";

fn partitions() -> Vec<TopicPartition> {
    vec![TopicPartition { topic: "a".into(), partitions: vec![0, 7], ..Default::default() }]
}

/// The subscription with what each version has of it.
fn subscription(version: i16) -> ConsumerProtocolSubscription {
    let mut subscription = ConsumerProtocolSubscription {
        topics: vec!["a".into(), "bc".into()],
        user_data: Some(Bytes::from_static(b"u")),
        ..Default::default()
    };
    if version >= 1 {
        subscription.owned_partitions = partitions();
    }
    if version >= 2 {
        subscription.generation_id = 5;
    }
    if version >= 3 {
        subscription.rack_id = Some("r".into());
    }
    subscription
}

fn subscription_bytes(version: i16) -> Bytes {
    let fields = [SUBSCRIPTION_V0, OWNED_PARTITIONS, GENERATION, RACK];
    let known = &fields[..=version.clamp(0, 3) as usize];
    Bytes::from([&version.to_be_bytes()[..], &known.concat()].concat())
}

fn read(bytes: &Bytes) -> (i16, ConsumerProtocolSubscription) {
    ConsumerProtocolSubscription::from_versioned_bytes(bytes).unwrap()
}

#[test]
fn a_subscription_stands_behind_its_version() {
    for version in 0..=3 {
        let bytes = subscription_bytes(version);
        assert_eq!(read(&bytes), (version, subscription(version)));
        assert_eq!(subscription(version).to_versioned_bytes(version).unwrap(), bytes);
        // Fields that an older version does not have are not worth an error.
        assert_eq!(subscription(3).to_versioned_bytes(version).unwrap(), bytes);
    }
}

#[test]
fn an_assignment_stands_behind_its_version() {
    let assignment = ConsumerProtocolAssignment { assigned_partitions: partitions(), ..Default::default() };
    for version in 0i16..=3 {
        let bytes = [&version.to_be_bytes()[..], OWNED_PARTITIONS, &[0xff; 4]].concat();
        assert_eq!(assignment.to_versioned_bytes(version).unwrap(), bytes);
        let read = ConsumerProtocolAssignment::from_versioned_bytes(&bytes.into()).unwrap();
        assert_eq!(read, (version, assignment.clone()));
    }
}

#[test]
fn a_newer_version_is_read_as_the_last_known_one_and_what_it_adds_is_not_read() {
    for version in [4, 5, 256, i16::MAX] {
        let bytes = subscription_bytes(version);
        assert_eq!(read(&bytes), (3, subscription(3)));
        assert_eq!(read(&[&bytes[..], b"something new"].concat().into()), (3, subscription(3)));
    }
    // Nor is what follows a known version.
    assert_eq!(read(&[&subscription_bytes(0)[..], b"?"].concat().into()), (0, subscription(0)));
    let bytes = Bytes::from_static(b"\0\x09\0\0\0\0\xff\xff\xff\xff12345");
    let mut reader = Reader::new(&bytes);
    assert_eq!(ConsumerProtocolAssignment::decode_versioned(&mut reader).unwrap(), (3, Default::default()));
    assert_eq!(reader.remaining(), 5);
}

#[track_caller]
fn check_refused(bytes: &[u8], message: &str) {
    let bytes = Bytes::copy_from_slice(bytes);
    let error = ConsumerProtocolSubscription::from_versioned_bytes(&bytes).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn bytes_without_a_version_or_with_a_negative_one_are_refused() {
    check_refused(b"", "cannot decode version at byte 0: 2 bytes wanted, 0 left");
    check_refused(b"\0", "cannot decode version at byte 0: 2 bytes wanted, 1 left");
    let error = |version| {
        format!(
            "cannot decode ConsumerProtocolSubscription v{version} at byte 2: version {version} is not supported"
        )
    };
    check_refused(&[&[0xff, 0xff][..], SUBSCRIPTION_V0].concat(), &error(-1));
    check_refused(&[&[0x80, 0x00][..], SUBSCRIPTION_V0].concat(), &error(i16::MIN));
    let error =
        ConsumerProtocolAssignment::from_versioned_bytes(&Bytes::from_static(&[0xff, 0xfe])).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::UnsupportedVersion { version: -2 });
}

#[test]
fn every_prefix_is_refused() {
    for version in [0, 1, 2, 3, 4, i16::MAX] {
        let bytes = subscription_bytes(version);
        for end in 0..bytes.len() {
            let result = ConsumerProtocolSubscription::from_versioned_bytes(&bytes.slice(..end));
            assert!(result.is_err(), "v{version} cut at {end}");
        }
    }
}

/// Some clients say version 1 and write version 0.
#[test]
fn topics_can_be_read_where_a_subscription_lacks_what_its_version_has() {
    let bytes = Bytes::from([&b"\0\x01"[..], SUBSCRIPTION_V0].concat());
    check_refused(
        &bytes,
        "cannot decode ConsumerProtocolSubscription v1.owned_partitions at byte 18: 4 bytes wanted, 0 left",
    );
    for version in 0..=3 {
        let bytes = subscription_bytes(version).slice(2..);
        let read = ConsumerProtocolSubscription::decode(&mut Reader::new(&bytes), 0).unwrap();
        assert_eq!(read, subscription(0));
    }
}

#[test]
fn a_version_that_is_not_known_is_not_written() {
    for version in [-1, 4] {
        let error = subscription(0).to_versioned_bytes(version).unwrap_err();
        assert_eq!(*error.kind(), EncodeErrorKind::UnsupportedVersion { version });
    }
}

#[test]
fn long_user_data_is_written_in_its_place() {
    let user_data = Bytes::from(vec![b'x'; 3 * SPLICE_BYTES_MIN]);
    let long = ConsumerProtocolSubscription { user_data: Some(user_data.clone()), ..subscription(3) };
    let bytes = long.to_versioned_bytes(3).unwrap();
    assert_eq!(bytes.len(), subscription_bytes(3).len() + user_data.len() - 1);
    assert_eq!(read(&bytes), (3, long));
}
