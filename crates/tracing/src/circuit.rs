//! When to try again what has failed.

use std::time::{Duration, Instant};

/// Whether something works, and when to try it again after it has failed. It has no clock of its own.
#[derive(Debug)]
pub(crate) struct Circuit {
    least: Duration,
    most: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    /// It has failed so often in a row, and is not to be tried before.
    Open {
        failures: u32,
        try_at: Instant,
    },
}

impl Circuit {
    /// One that is closed: what it is for works. Between two attempts after that failed, `least` passes at first, twice as
    /// much each time, and `most` in the end.
    pub(crate) fn closed(least: Duration, most: Duration) -> Self {
        Self { least, most, state: State::Closed }
    }

    /// One that is open, and may be tried at once.
    pub(crate) fn open(least: Duration, most: Duration, now: Instant) -> Self {
        Self { least, most, state: State::Open { failures: 0, try_at: now } }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether it may be tried.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.try_at().is_none_or(|at| now >= at)
    }

    /// When it may be tried, if it is open.
    pub(crate) fn try_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { try_at, .. } => Some(try_at),
        }
    }

    /// It has worked.
    pub(crate) fn worked(&mut self) {
        self.state = State::Closed;
    }

    /// It has failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        let failures = match self.state {
            State::Closed => 0,
            State::Open { failures, .. } => failures,
        };
        let pause = self.least.saturating_mul(2_u32.saturating_pow(failures)).min(self.most);
        self.state = State::Open { failures: failures.saturating_add(1), try_at: now + pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::deadline;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_to_the_most_and_begin_anew_once_it_has_worked() {
        let mut now = deadline(Duration::ZERO);
        let mut circuit = Circuit::closed(SECOND, 30 * SECOND);
        for _ in 0..2 {
            assert!(circuit.is_closed() && circuit.allows(now));
            for pause in [1, 2, 4, 8, 16, 30, 30] {
                circuit.failed(now);
                assert_eq!(circuit.try_at(), Some(now + pause * SECOND));
                assert!(!circuit.is_closed() && !circuit.allows(now));
                now += pause * SECOND;
                assert!(circuit.allows(now));
            }
            circuit.worked();
        }
    }

    #[test]
    fn an_open_one_may_be_tried_at_once() {
        let now = deadline(Duration::ZERO);
        let mut circuit = Circuit::open(SECOND, 30 * SECOND, now);
        assert!(!circuit.is_closed() && circuit.allows(now));
        circuit.failed(now);
        assert_eq!(circuit.try_at(), Some(now + SECOND));
        for _ in 0..1000 {
            circuit.failed(now);
        }
        assert_eq!(circuit.try_at(), Some(now + 30 * SECOND));
    }
}
