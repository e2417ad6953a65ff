//! What is a sink's own: its threads, and what it and its client log. None of that goes to a sink, or it would never end.

use std::cell::Cell;

/// Whose events are never taken: those of the client, and the sink's own.
const NEVER: [&str; 2] = ["ottla_client", "ottla_tracing"];

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread is one of a sink's.
pub(crate) fn mark() {
    IS_OWN.set(true);
}

/// Whether this thread is one of a sink's. A thread that is about to end, and has lost what it knew, is not.
pub(crate) fn is_own() -> bool {
    IS_OWN.try_with(Cell::get).unwrap_or(false)
}

/// Whether what is logged here and now, with that target, goes to a sink.
pub(crate) fn is_for_a_sink(target: &str) -> bool {
    let is_of = |module: &&str| {
        target.strip_prefix(*module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    !is_own() && !NEVER.iter().any(is_of)
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
            mark();
            assert!(!is_for_a_sink("shop"));
        })
        .join()
        .unwrap();
    }
}
