//! What the faces of a sink share with its thread.

use std::time::Duration;

use crate::{encode::Encoder, entry::Entry, own, queue::Queue};

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
