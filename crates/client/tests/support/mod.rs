//! What the tests share.

/// The number that the value of a record is.
#[allow(dead_code, reason = "not every test reads records")]
pub fn value(record: &ottla_client::consumer::Record) -> i64 {
    std::str::from_utf8(record.value().unwrap()).unwrap().parse().unwrap()
}
