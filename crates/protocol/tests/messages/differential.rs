//! The crate against the oracle and against `kafka-protocol`, on random values of every message.

use bytes::Bytes;

use crate::{
    registry::{Case, Failure, cases},
    schema::{SCHEMAS, Schema},
    value::{self, Random, Value},
};

/// How many values of each message and version are tried, unless `OTTLA_MESSAGE_VALUES` says otherwise.
const VALUES_PER_VERSION: u64 = 25;

fn values_per_version() -> u64 {
    std::env::var("OTTLA_MESSAGE_VALUES").map_or(VALUES_PER_VERSION, |text| text.parse().expect("a number"))
}

fn each_value(mut check: impl FnMut(&Case, &Schema, i16, &Value, &Bytes)) {
    for case in cases() {
        let schema = &SCHEMAS[case.name];
        let key = case.kind.key().map_or(0, |key| key.0 as u64);
        for version in case.versions.clone() {
            for seed in 0..values_per_version() {
                let mut random = Random(seed << 32 | (version as u64) << 16 | key);
                let value = value::random(schema, version, &mut random);
                let bytes =
                    value::encode(schema, &value, version).expect("values are made for their version");
                check(&case, schema, version, &value, &Bytes::from(bytes));
            }
        }
    }
}

#[test]
fn what_is_decoded_is_encoded_to_the_same_bytes() {
    each_value(|case, _, version, value, bytes| {
        let ours = (case.ours)(bytes, version, version).unwrap_or_else(|failure| {
            panic!("{} v{version}: {failure}\n{value:?}", case.name);
        });
        assert_eq!(ours, bytes, "{} v{version}\n{value:?}", case.name);
        if case.their_versions.contains(&version) {
            let theirs = (case.theirs)(bytes, version, version).unwrap_or_else(|failure| {
                panic!("{} v{version}: kafka-protocol: {failure}\n{value:?}", case.name);
            });
            assert_eq!(theirs, bytes, "{} v{version}: kafka-protocol\n{value:?}", case.name);
        }
    });
}

/// Where Kafka's default is not null and ours is, because that says what is usual: all topics, no transactions.
const NULL_BY_DEFAULT: [&str; 2] = ["MetadataRequest", "InitProducerIdRequest"];

/// What nobody sets is what Kafka would send.
#[test]
fn a_message_of_which_nothing_was_set_has_kafkas_defaults() {
    for case in cases().iter().filter(|case| !NULL_BY_DEFAULT.contains(&case.name)) {
        let schema = &SCHEMAS[case.name];
        for version in case.versions.clone() {
            let expected = value::encode(schema, &value::unset(schema), version).expect("defaults fit");
            let ours = (case.our_default)(version).unwrap_or_else(|failure| {
                panic!("{} v{version}: {failure}", case.name);
            });
            assert_eq!(ours, expected, "{} v{version}", case.name);
        }
    }
}

/// Defaults, ignorable fields and null show where a value of one version is encoded in another.
#[test]
fn another_version_gets_the_same_bytes_or_the_same_refusal() {
    let (mut expressed, mut refused) = (0, 0);
    each_value(|case, schema, version, value, bytes| {
        for other in case.versions.clone() {
            let expected = value::encode(schema, value, other);
            let context = || format!("{} v{version} in v{other}\n{value:?}", case.name);
            match ((case.ours)(bytes, version, other), &expected) {
                (Ok(ours), Ok(expected)) => assert_eq!(ours, expected, "{}", context()),
                (Err(Failure::Encode(_)), Err(value::Inexpressible)) => {}
                (ours, expected) => panic!("{ours:?} instead of {expected:?}: {}", context()),
            }
            match expected {
                Ok(_) => expressed += 1,
                Err(_) => refused += 1,
            }
        }
    });
    assert!(expressed > 10_000 && refused > 10_000, "{expressed} expressed, {refused} refused");
}

/// So that the oracle is no mistake shared with ours: `kafka-protocol` writes the same, and refuses the same
/// except for tagged fields, which it drops where a version cannot say them. Kafka and we refuse these too.
#[test]
fn kafka_protocol_agrees_on_other_versions() {
    let (mut expressed, mut refused, mut dropped) = (0, 0, 0);
    each_value(|case, schema, version, value, bytes| {
        if !case.their_versions.contains(&version) {
            return;
        }
        for other in case.versions.clone().filter(|other| case.their_versions.contains(other)) {
            let context = || format!("{} v{version} in v{other}\n{value:?}", case.name);
            match ((case.ours)(bytes, version, other), (case.theirs)(bytes, version, other)) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!(ours, theirs, "{}", context());
                    expressed += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                (Err(_), Ok(_)) if value::encode(schema, value, other).is_err() => dropped += 1,
                (ours, theirs) => panic!("{ours:?} and {theirs:?}: {}", context()),
            }
        }
    });
    assert!(expressed > 10_000 && refused > 5_000, "{expressed} expressed, {refused} refused");
    assert!(dropped < expressed / 4, "{dropped} dropped");
}
