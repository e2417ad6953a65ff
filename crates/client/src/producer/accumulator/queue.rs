//! What waits to be sent to a broker.

use std::{collections::VecDeque, time::Duration};

/// Requests under way to a broker at a time.
const REQUESTS_MAX: usize = 5;
/// How long a broker may be silent before records that could go elsewhere do.
const SILENCE: Duration = Duration::from_secs(1);

/// A broker, and the partitions that it leads which have something to send.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Their slots, in the order in which it is their turn.
    pub(super) ready: VecDeque<usize>,
    /// When each request under way was sent.
    sent: VecDeque<Duration>,
    /// Nothing is sent before: the broker said so.
    throttled_until: Duration,
    /// It cannot be connected to.
    is_down: bool,
    is_silent: bool,
}

impl Queue {
    /// Whether it takes a request now.
    pub(super) fn is_free(&self, now: Duration) -> bool {
        self.sent.len() < REQUESTS_MAX && self.throttled_until <= now
    }

    /// Whether records that may go to any broker should go to this one.
    pub(super) fn is_reachable(&self) -> bool {
        !self.is_down && !self.is_silent
    }

    /// Whether nothing waits, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.sent.is_empty()
    }

    pub(super) fn set_down(&mut self, is_down: bool) {
        self.is_down = is_down;
    }

    pub(super) fn sent(&mut self, now: Duration) {
        self.sent.push_back(now);
    }

    /// A request was answered, or never will be. Nothing more is to be sent for the time that the broker said.
    pub(super) fn answered(&mut self, now: Duration, throttle: Duration) {
        self.sent.pop_front();
        self.throttled_until = self.throttled_until.max(now.saturating_add(throttle));
        self.listen(now);
    }

    /// Notices whether the broker is silent.
    pub(super) fn listen(&mut self, now: Duration) {
        self.is_silent = self.sent.front().is_some_and(|sent| sent.saturating_add(SILENCE) <= now);
    }

    /// When there is something to notice, or to be sent, if nothing comes.
    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let silence = self.sent.front().map(|sent| sent.saturating_add(SILENCE)).filter(|_| !self.is_silent);
        let is_throttled = !self.ready.is_empty() && self.throttled_until > now;
        silence.into_iter().chain(is_throttled.then_some(self.throttled_until)).min()
    }
}
