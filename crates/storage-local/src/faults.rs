//! Faults that end the process: reported once, by whichever thread meets the first.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// Receives the first fault; it decides how the process ends.
pub type FaultHandler = Arc<dyn Fn(&str) + Send + Sync>;

/// Where threads report that storage cannot go on.
#[derive(Clone)]
pub(crate) struct Faults {
    first: Arc<OnceLock<Arc<str>>>,
    handler: FaultHandler,
}

impl Faults {
    /// Faults go to `handler`.
    pub(crate) fn new(handler: FaultHandler) -> Self {
        Self { first: Arc::default(), handler }
    }

    /// Storage cannot go on because of `what`.
    pub(crate) fn report(&self, what: &str) {
        if self.first.set(what.into()).is_ok() {
            (self.handler)(what);
        }
    }

    /// The first fault, if there was one.
    pub(crate) fn first(&self) -> Option<Arc<str>> {
        self.first.get().cloned()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("first", &self.first.get()).finish_non_exhaustive()
    }
}
