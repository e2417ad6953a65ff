//! Which threads are a sink's own: what they log never goes to a sink.

use std::cell::Cell;

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
