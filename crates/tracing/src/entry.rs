//! An event as it goes through the queue.

use tracing::Level;

/// An event as it goes through the queue: encoded, and what else its record has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) level: Level,
    /// When it happened, in milliseconds since 1970.
    pub(crate) timestamp: i64,
    /// The key of its record.
    pub(crate) key: Option<&'a [u8]>,
    /// The value of the header `target`.
    pub(crate) target: Option<&'a [u8]>,
    /// The value of its record.
    pub(crate) value: &'a [u8],
}
