//! The fuzzer's corpus, replayed, and the seeds in it.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod files;

use files::{check_seed, replay};

use crate::{
    checks::{check_request, check_response},
    registry::{Case, cases},
    schema::SCHEMAS,
    value::{self, Random},
};

#[test]
fn requests_of_the_corpus_are_handled() {
    let seeds = cases().iter().filter(|case| case.is_request).map(|case| case.versions.len()).sum();
    assert!(replay("requests", check_request) >= seeds, "the corpus is gone");
}

#[test]
fn responses_of_the_corpus_are_handled() {
    let seeds = cases().iter().filter(|case| !case.is_request).map(|case| case.versions.len()).sum();
    assert!(replay("responses", check_response) >= seeds, "the corpus is gone");
}

/// A start for the fuzzer: one value of each message in each version.
#[test]
fn seeds_exist_for_every_message_and_version() {
    for case in cases() {
        for version in case.versions.clone() {
            let target = if case.is_request { "requests" } else { "responses" };
            check_seed(target, &format!("{}-v{version}", case.name), &seed(&case, version));
        }
    }
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
