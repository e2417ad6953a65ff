//! Logging that stays within bounds, whatever happens.

use std::time::Duration;

use tokio::time::Instant;

/// How often something is said at most.
const EVERY: Duration = Duration::from_secs(60);

/// Says something once a minute at most.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
}

impl Seldom {
    /// Says it, unless something was said a moment ago.
    pub(crate) fn say(&mut self, now: Instant, say: impl FnOnce()) {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) {
            self.last = Some(now);
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute() {
        let (mut seldom, mut said) = (Seldom::default(), 0);
        let began = Instant::now();
        for second in 0..150 {
            seldom.say(began + Duration::from_secs(second), || said += 1);
        }
        assert_eq!(said, 3);
    }
}
