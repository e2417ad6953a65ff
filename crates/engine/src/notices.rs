//! Log lines about what clients do, which a client could repeat without end: each kind at most once a minute.

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use ottla_storage::Clock;
use parking_lot::Mutex;

/// How long a kind of line is held back after it was written.
const INTERVAL: Duration = Duration::from_secs(60);

/// What was said when. Kinds are texts of the program, so that no client can make more of them.
pub struct Notices {
    clock: Arc<dyn Clock>,
    said: Mutex<HashMap<&'static str, Said>>,
}

/// A kind of line.
#[derive(Clone, Copy, Debug)]
struct Said {
    last: Duration,
    held_back: u64,
}

impl Notices {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, said: Mutex::default() }
    }

    /// Tells that a client asked for something that this broker does not have, and got an error that says
    /// so little that its user will look here.
    pub fn unsupported(&self, what: &'static str, peer: SocketAddr) {
        if let Some(held_back) = self.due(what) {
            tracing::warn!(%peer, held_back, "a client asked for {what}, which this broker does not have");
        }
    }

    /// Tells that something failed which a client asked for, and will ask for again.
    pub fn failed(&self, what: &'static str, error: &dyn fmt::Display) {
        if let Some(held_back) = self.due(what) {
            tracing::warn!(held_back, "{what} failed: {error}");
        }
    }

    /// Whether a line of this kind may be written now, and how many were held back before it.
    fn due(&self, kind: &'static str) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut said = self.said.lock();
        match said.get_mut(kind) {
            Some(said) if now.saturating_sub(said.last) < INTERVAL => {
                said.held_back += 1;
                None
            }
            before => {
                let held_back = before.map_or(0, |said| said.held_back);
                said.insert(kind, Said { last: now, held_back: 0 });
                Some(held_back)
            }
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").field("said", &*self.said.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ottla_storage::ManualClock;

    use super::*;

    #[test]
    fn each_kind_is_said_once_a_minute() {
        let clock = Arc::new(ManualClock::at(0));
        let notices = Notices::new(clock.clone());
        assert_eq!(notices.due("one"), Some(0));
        assert_eq!(notices.due("other"), Some(0), "each kind counts for itself");
        clock.advance(INTERVAL - Duration::from_millis(1));
        assert_eq!((notices.due("one"), notices.due("one")), (None, None));
        clock.advance(Duration::from_millis(1));
        assert_eq!(notices.due("one"), Some(2));
        assert_eq!(notices.due("one"), None);
        clock.advance(INTERVAL);
        assert_eq!(notices.due("one"), Some(1), "lines that were told of are not told again");
    }
}
