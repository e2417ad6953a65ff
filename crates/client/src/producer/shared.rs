//! What a producer's handles share with what drives it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ottla_records::TimestampMs;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::accumulator::Accumulator;
use crate::{
    error::{Error, ErrorKind},
    metrics::Counters,
};

/// What a producer's handles share with what drives it.
pub(super) struct Shared {
    began: Instant,
    state: Mutex<State>,
    wake: Notify,
    pub(super) counters: Arc<Counters>,
}

/// What changes.
pub(super) struct State {
    pub(super) accumulator: Accumulator,
    /// How many are telling at the moment what came of a change.
    telling: usize,
    /// Those who wait until all batches up to a number are settled.
    pub(super) flushing: Vec<(u64, oneshot::Sender<()>)>,
    /// Those who wait until nothing drives the producer any more.
    pub(super) closing: Vec<oneshot::Sender<()>>,
    /// When what is left fails.
    pub(super) ends_at: Option<Duration>,
    pub(super) has_ended: bool,
}

impl Shared {
    pub(super) fn new(accumulator: Accumulator, counters: Arc<Counters>) -> Self {
        let (flushing, closing) = (Vec::new(), Vec::new());
        let state = State { accumulator, telling: 0, flushing, closing, ends_at: None, has_ended: false };
        Self { began: Instant::now(), state: Mutex::new(state), wake: Notify::new(), counters }
    }

    /// How long ago the producer began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long after the producer began that is.
    pub(super) fn since_began(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// When that is; what is too far away is a day away.
    pub(super) fn instant(&self, since_began: Duration) -> Instant {
        const DAY: Duration = Duration::from_secs(86400);
        self.began
            .checked_add(since_began)
            .map_or_else(|| Instant::now() + DAY, |at| at.min(Instant::now() + DAY))
    }

    /// Changes something, and then tells whoever waits for what came of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        let turn = std::mem::take(&mut state.accumulator.turn);
        let has_news = turn.has_news();
        state.telling += usize::from(has_news);
        let flushed = state.take_flushed();
        drop(state);
        turn.tell();
        tell_flushed(flushed);
        if has_news {
            let mut state = self.state.lock();
            state.telling -= 1;
            let flushed = state.take_flushed();
            drop(state);
            tell_flushed(flushed);
        }
        changed
    }

    /// Takes no more records, and ends when all that there are have settled, or so much time has passed.
    pub(super) fn close(&self, within: Duration) {
        let now = self.now();
        self.change(|state| {
            let ends_at = now.saturating_add(within);
            state.ends_at = Some(state.ends_at.map_or(ends_at, |before| before.min(ends_at)));
            state.accumulator.stop(Error::new(ErrorKind::Closed, "the producer was closed"));
            state.accumulator.flush(now);
        });
        self.wake();
    }

    /// Makes what drives the producer look again.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl State {
    /// Those who wait for nothing any more: everything is settled, and everybody was told.
    fn take_flushed(&mut self) -> Vec<oneshot::Sender<()>> {
        if self.flushing.is_empty() || self.telling > 0 {
            return Vec::new();
        }
        let accumulator = &self.accumulator;
        let (flushed, flushing): (Vec<_>, Vec<_>) = std::mem::take(&mut self.flushing)
            .into_iter()
            .filter(|(_, sender)| !sender.is_closed())
            .partition(|(number, _)| accumulator.is_flushed(*number));
        self.flushing = flushing;
        flushed.into_iter().map(|(_, sender)| sender).collect()
    }
}

fn tell_flushed(flushed: Vec<oneshot::Sender<()>>) {
    for flushed in flushed {
        // Whoever asked may have gone.
        let _ = flushed.send(());
    }
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "what is driven by it takes it as an argument")]
pub(super) fn wall() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
