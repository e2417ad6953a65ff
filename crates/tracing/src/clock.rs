//! Where time comes in.

use std::time::{Duration, Instant, SystemTime};

/// What stands for a wait without an end: a year.
pub(crate) const LONG: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Now, by the clock on the wall.
#[expect(clippy::disallowed_methods, reason = "events carry the time at which they happened")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The instant from now on after which so much time is over.
#[expect(clippy::disallowed_methods, reason = "deadlines of callers begin when they call")]
pub(crate) fn deadline(within: Duration) -> Instant {
    Instant::now() + within.min(LONG)
}

/// As milliseconds since 1970.
pub(crate) fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
