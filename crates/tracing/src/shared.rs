//! What the faces of a sink share with its thread.

use std::time::Duration;

use crate::{encode::Encoder, entry::Entry, own, queue::Queue};

/// Whose events are never taken: those of the client, and the sink's own.
const NEVER: [&str; 2] = ["ottla_client", "ottla_tracing"];

/// What the faces of a sink share with its thread.
pub(crate) struct Shared {
    pub(crate) encoder: Encoder,
    pub(crate) queue: Queue,
    /// How long a flush waits that cannot be told how long.
    pub(crate) flush_within: Duration,
}

impl Shared {
    pub(crate) fn take(&self, entry: Entry<'_>) {
        self.queue.push(&entry, !own::is_own());
    }
}

/// Whether what is logged here and now, with that target, goes to a sink: what sinks and their clients log does not, or it would never
/// end.
pub(crate) fn is_for_a_sink(target: &str) -> bool {
    let is_of = |module: &&str| {
        target.strip_prefix(*module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    !own::is_own() && !NEVER.iter().any(is_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_logs_is_not_for_a_sink() {
        for target in ["ottla_client", "ottla_client::producer", "ottla_tracing", "ottla_tracing::sender"] {
            assert!(!is_for_a_sink(target), "{target}");
        }
        for target in ["", "shop", "ottla_clients", "ottla", "shop::ottla_client"] {
            assert!(is_for_a_sink(target), "{target}");
        }
        std::thread::spawn(|| {
            own::mark();
            assert!(!is_for_a_sink("shop"));
        })
        .join()
        .unwrap();
    }
}
