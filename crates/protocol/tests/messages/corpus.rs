//! The fuzzer's corpus, replayed: what it found worth keeping, and what once broke.

use std::{fs, path::Path};

use crate::{
    checks::{check_request, check_response},
    registry::cases,
    schema::SCHEMAS,
    value::{self, Random},
};

/// Every file of a directory of the corpus; there must be some.
fn replay(direction: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(direction);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= cases().len() / 2, "the corpus in {} is gone", directory.display());
}

#[test]
fn requests_of_the_corpus_are_handled() {
    replay("request", check_request);
}

#[test]
fn responses_of_the_corpus_are_handled() {
    replay("response", check_response);
}

/// Writes one message of each API in its newest version into the corpus: a start for the fuzzer. Run by hand with
/// `OTTLA_SEED_CORPUS=1` when an API is added.
#[test]
fn seeds_exist_for_every_message() {
    let write = std::env::var_os("OTTLA_SEED_CORPUS").is_some();
    for case in cases() {
        let version = *case.versions.end();
        let schema = &SCHEMAS[case.name];
        let mut bytes = [&case.key.0.to_be_bytes()[..], &version.to_be_bytes()].concat();
        if case.is_request {
            bytes.extend([0, 0, 0, 1, 0, 1, b'c']);
            bytes.extend((version >= case.flexible_from).then_some(0));
        }
        // The first seeds whose value is neither tiny nor long.
        let body = (0..)
            .map(|seed| {
                value::encode(schema, &value::random(schema, version, &mut Random(seed)), version).unwrap()
            })
            .find(|body| (if case.is_request { 3 } else { 12 }..300).contains(&body.len()))
            .expect("there is always one");
        bytes.extend(body);
        let direction = if case.is_request { "request" } else { "response" };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus")
            .join(direction)
            .join(format!("{}-v{version}", case.name));
        if write {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(path.exists(), "no seed {}", path.display());
    }
}
