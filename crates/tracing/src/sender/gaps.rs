//! What is missing in Kafka, and when that is told.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{level::ByLevel, queue::Counts};

/// How often it is told at most.
const EVERY: Duration = Duration::from_secs(60);

/// What was told of events that are missing in Kafka.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    told: Missing,
    last: Option<Instant>,
}

/// Events that are neither in Kafka nor in the fallback.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Missing {
    /// The queue had no room for them.
    pub(super) dropped: ByLevel<u64>,
    /// Kafka did not take them, nor did the fallback.
    pub(super) lost: ByLevel<u64>,
}

impl Gaps {
    /// When it is to be told, if there is something to tell.
    pub(super) fn due(&self, counts: &Counts, now: Instant) -> Option<Instant> {
        let is_any = self.since(counts) != Missing::default();
        is_any.then(|| self.last.map_or(now, |last| last + EVERY))
    }

    /// It is told now: what is missing that was not told before.
    pub(super) fn told(&mut self, counts: &Counts, now: Instant) -> Missing {
        let missing = self.since(counts);
        self.told = Missing { dropped: counts.dropped, lost: counts.lost };
        self.last = Some(now);
        missing
    }

    fn since(&self, counts: &Counts) -> Missing {
        Missing {
            dropped: counts.dropped.since(&self.told.dropped),
            lost: counts.lost.since(&self.told.lost),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log events are missing before this one")?;
        if self.dropped.total() > 0 {
            write!(f, "; dropped, as the queue was full: {}", self.dropped)?;
        }
        if self.lost.total() > 0 {
            write!(f, "; lost, as neither Kafka nor the fallback took them: {}", self.lost)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::deadline;

    #[test]
    fn what_is_missing_is_told_once_and_once_a_minute() {
        let now = deadline(Duration::ZERO);
        let second = Duration::from_secs(1);
        let (mut gaps, mut counts) = (Gaps::default(), Counts::default());
        counts.accepted.info = 10;
        assert_eq!(gaps.due(&counts, now), None);
        counts.dropped.info = 3;
        counts.lost.error = 2;
        assert_eq!(gaps.due(&counts, now), Some(now));
        let missing = gaps.told(&counts, now);
        assert_eq!((missing.dropped.total(), missing.lost.error), (3, 2));
        let said = "log events are missing before this one; dropped, as the queue was full: 3 INFO; \
                    lost, as neither Kafka nor the fallback took them: 2 ERROR";
        assert_eq!(missing.to_string(), said);
        assert_eq!(gaps.due(&counts, now + second), None);
        counts.dropped.info = 4;
        assert_eq!(gaps.due(&counts, now + second), Some(now + 60 * second));
        let missing = gaps.told(&counts, now + 60 * second);
        assert_eq!((missing.dropped.info, missing.lost.total()), (1, 0));
    }
}
