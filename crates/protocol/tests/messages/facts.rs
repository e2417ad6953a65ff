//! Versions, keys and error codes are those of Kafka.

use std::collections::BTreeSet;

use ottla_protocol::{ApiKey, ErrorCode, messages::produce::ProduceRequest};

use crate::{
    registry::{Kind, cases, modules},
    schema::SCHEMAS,
};

#[test]
fn versions_are_those_that_a_broker_announces() {
    let announced: Vec<_> =
        include_str!("../fixtures/api-versions.txt").lines().filter_map(announced).collect();
    assert!(announced.len() > 50);
    for case in cases() {
        let Some(api) = case.kind.key() else { continue };
        let (_, first, last) =
            *announced.iter().find(|(key, ..)| *key == api.0).expect("a broker announces the API");
        // Produce is announced from 0 on for the sake of librdkafka, and understood from 3 on.
        let first = if api == ApiKey::PRODUCE { 3 } else { first };
        assert_eq!(case.versions, first..=last, "{}", case.name);
    }
    assert_eq!(*<ProduceRequest as ottla_protocol::Message>::VERSIONS.start(), 3);
}

/// The key, first and last version of a line such as `Fetch(1): 4 to 18 [usable: 18]`.
fn announced(line: &str) -> Option<(i16, i16, i16)> {
    let (_, rest) = line.split_once('(')?;
    let (key, rest) = rest.split_once("): ")?;
    let (range, _) = rest.split_once(" [")?;
    let (first, last) = range.split_once(" to ").unwrap_or((range, range));
    Some((key.parse().ok()?, first.parse().ok()?, last.parse().ok()?))
}

#[test]
fn messages_have_the_keys_and_versions_of_their_schemas() {
    for case in cases() {
        let schema = &SCHEMAS[case.name];
        let kind = match case.kind {
            Kind::Request(_) => "request",
            Kind::Response(_) => "response",
            Kind::Data => "data",
        };
        assert_eq!(schema.kind, kind, "{}", case.name);
        assert_eq!(schema.key, case.kind.key().map(|key| key.0), "{}", case.name);
        let flexible_from = schema.flexible.map_or(i16::MAX, |versions| versions.first);
        assert_eq!(case.flexible_from, flexible_from, "{}", case.name);
        assert_eq!(schema.versions.last.min(*case.versions.end()), *case.versions.end(), "{}", case.name);
        if case.kind == Kind::Data {
            assert_eq!(case.versions, schema.versions.first..=schema.versions.last, "{}", case.name);
        }
    }
}

#[test]
fn every_key_is_known_with_its_name_and_first_flexible_version() {
    let known: BTreeSet<_> = ApiKey::ALL.iter().map(|key| key.0).collect();
    let mut seen = 0;
    for schema in SCHEMAS.values().filter(|schema| schema.kind == "request") {
        let key = ApiKey(schema.key.expect("a request has a key"));
        assert!(known.contains(&key.0), "{}", schema.name);
        assert_eq!(key.name(), schema.name.strip_suffix("Request"));
        assert_eq!(key.flexible_from(), schema.flexible.map_or(i16::MAX, |versions| versions.first));
        seen += 1;
    }
    // The others are the four that Kafka has removed.
    assert_eq!(known.len() - seen, 4);
}

#[test]
fn error_codes_are_kafkas() {
    let mut count = 0;
    for line in include_str!("../fixtures/errors.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let code = ErrorCode(words[0].parse().unwrap());
        assert_eq!(code.name(), Some(words[1]));
        assert_eq!(code.is_retriable(), words.contains(&"retriable"), "{code}");
        assert_eq!(code.is_invalid_metadata(), words.contains(&"invalid-metadata"), "{code}");
        count += 1;
    }
    assert_eq!(count, ErrorCode::ALL.len());
}

#[test]
fn no_message_escapes_the_tests() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/messages");
    let files: BTreeSet<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "mod.rs")
        .collect();
    let tested: BTreeSet<_> = modules().iter().map(|module| format!("{module}.rs")).collect();
    assert_eq!(files, tested);
}
