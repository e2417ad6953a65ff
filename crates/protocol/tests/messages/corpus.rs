//! The fuzzer's corpus, replayed, and the seeds in it.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod files;

use files::{check_seed, replay};

use crate::{
    checks::{check_consumer_protocol, check_request, check_response},
    registry::{Case, cases},
    schema::SCHEMAS,
    value::{self, Random},
};

#[track_caller]
fn check_replay(target: &str, check: fn(&[u8])) {
    let cases = cases().into_iter().filter(|case| case.kind.target() == target);
    let seeds = cases.map(|case| seed_versions(&case).count()).sum();
    assert!(seeds > 0 && replay(target, check) >= seeds, "the corpus is gone");
}

#[test]
fn requests_of_the_corpus_are_handled() {
    check_replay("requests", check_request);
}

#[test]
fn responses_of_the_corpus_are_handled() {
    check_replay("responses", check_response);
}

#[test]
fn the_consumer_protocol_of_the_corpus_is_handled() {
    check_replay("consumer_protocol", check_consumer_protocol);
}

/// A start for the fuzzer: one value of each message in each version that looks like no other.
#[test]
fn seeds_exist_for_every_message_and_layout() {
    for case in cases() {
        for version in seed_versions(&case) {
            check_seed(case.kind.target(), &format!("{}-v{version}", case.name), &seed(&case, version));
        }
    }
}

/// The versions of a message in which other bytes stand than in the one before.
fn seed_versions(case: &Case) -> impl Iterator<Item = i16> {
    let (name, first) = (case.name, *case.versions.start());
    case.versions.clone().filter(move |version| *version == first || SCHEMAS[name].changes_in(*version))
}

/// The longest of some values that are short.
fn seed(case: &Case, version: i16) -> Vec<u8> {
    let schema = &SCHEMAS[case.name];
    let bodies = (0..100).map(|seed| {
        value::encode(schema, &value::random(schema, version, &mut Random(seed)), version).unwrap()
    });
    let body = bodies.filter(|body| body.len() < 200).max_by_key(Vec::len).expect("some are short");
    [case.head(version), body].concat()
}
