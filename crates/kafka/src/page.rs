//! The page `docs/apis.md`, made from the table of APIs, and the test that it is up to date. `UPDATE_DOCS=1
//! cargo test -p ottla-kafka page` writes it.

use std::{env, fmt::Write, fs, path::Path};

use ottla_storage::memory::MemoryStorage;

use crate::dispatch::Api;

const HEAD: &str = "\
# Supported APIs

<!-- Made from crates/kafka/src/dispatch.rs by `UPDATE_DOCS=1 cargo test -p ottla-kafka page`. -->

What the broker answers to ApiVersions, at the versions that Apache Kafka 4.3 offers. A request that is not in
this table closes its connection; ApiVersions alone is answered in any version. What a request of the table may
ask for and the broker lacks answers INVALID_REQUEST, which no client retries.

| key | API | advertised | answered | before authentication |
|---|---|---|---|---|
";

/// The whole page.
fn page() -> String {
    let mut page = String::from(HEAD);
    for api in Api::<MemoryStorage>::TABLE {
        let Api { key, min, max, served_from, .. } = api;
        let before = if api.before_authentication { "yes" } else { "no" };
        writeln!(page, "| {} | {key} | {min} to {max} | {served_from} to {max} | {before} |", key.0).unwrap();
    }
    page
}

#[test]
fn the_page_is_what_the_table_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/apis.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page(),
        "docs/apis.md is out of date: run UPDATE_DOCS=1 cargo test -p ottla-kafka page",
    );
}
