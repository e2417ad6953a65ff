//! What the tests of a sink share.
#![allow(dead_code, reason = "not each test uses all of it")]

use std::{fs, net::TcpListener, path::Path, thread, time::Duration};

use ottla_testing::{Cluster, Record};
use ottla_tracing::{Builder, Sink};

/// Longer than anything takes.
pub const LONG: Duration = Duration::from_secs(30);
pub const TOPIC: &str = "logs";

/// One broker with the topic.
pub fn cluster() -> Cluster {
    Cluster::builder().auto_create_topics(false).topic(TOPIC, 1).start()
}

/// A sink that sends to it.
pub fn sink(cluster: &Cluster) -> Builder {
    Sink::builder([cluster.bootstrap_servers()], TOPIC)
}

/// A sink to where nobody is.
pub fn nowhere() -> Builder {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Sink::builder([address.to_string()], TOPIC)
}

/// The values of records.
pub fn lines(records: &[Record]) -> Vec<String> {
    let value = |record: &Record| String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap();
    records.iter().map(value).collect()
}

/// What a file holds; nothing while it is not there.
pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        pause(Duration::from_millis(10));
    }
    panic!("not in 30 s: {what}");
}

#[expect(clippy::disallowed_methods, reason = "a test on sockets and threads")]
pub fn pause(time: Duration) {
    thread::sleep(time);
}
