//! Whether Kafka has taken nothing for a while of what is on its way.

use std::time::{Duration, Instant};

/// How long that goes on until it is told.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// Since when nothing was delivered.
pub(super) struct Silence {
    delivered: u64,
    since: Instant,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self { delivered: 0, since: now }
    }

    /// Whether it is to be told, with so many delivered so far and so many on their way.
    pub(super) fn goes_on(&mut self, delivered: u64, on_their_way: u64, now: Instant) -> bool {
        if delivered != self.delivered || on_their_way == 0 {
            *self = Self { delivered, since: now };
        }
        now.saturating_duration_since(self.since) >= TOLD_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::deadline;

    #[test]
    fn it_is_told_only_where_something_waits_and_nothing_was_delivered() {
        let now = deadline(Duration::ZERO);
        let at = |second| now + Duration::from_secs(second);
        let mut silence = Silence::new(now);
        // Nothing is to be delivered.
        assert!(!silence.goes_on(0, 0, at(100)));
        // Something is on its way, and something is delivered.
        assert!(!silence.goes_on(0, 5, at(129)));
        assert!(!silence.goes_on(3, 2, at(131)));
        assert!(!silence.goes_on(3, 2, at(160)));
        assert!(silence.goes_on(3, 2, at(161)));
        assert!(silence.goes_on(3, 9, at(200)));
        assert!(!silence.goes_on(4, 8, at(201)));
    }
}
