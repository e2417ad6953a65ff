//! What becomes of events that Kafka does not take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use ottla_client::{Error, ErrorKind, Record};
use parking_lot::Mutex;
use tracing::Level;

use super::LEVEL_HEADER;
use crate::{clock, fallback::Outlet, shared::Shared};

/// How often the sink says something of its own at most.
const NOTICE_EVERY: Duration = Duration::from_secs(60);
/// What the sink's own events have as their target.
pub(super) const TARGET: &str = "ottla_tracing";

/// What becomes of events that Kafka does not take. The client tells of failures here, on the sink's thread.
pub(super) struct Fates {
    shared: Arc<Shared>,
    outlet: Mutex<Outlet>,
    /// Why Kafka did not take the last one that failed, until somebody has looked.
    trouble: Mutex<Option<Error>>,
    noticed: Mutex<Option<Instant>>,
    probes: Probes,
}

/// How many events were sent to see whether Kafka takes them again, and of how many of those the end is known.
#[derive(Default)]
pub(super) struct Probes {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Probes {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Fates {
    pub(super) fn new(shared: Arc<Shared>, outlet: Outlet) -> Self {
        Self {
            shared,
            outlet: Mutex::new(outlet),
            trouble: Mutex::new(None),
            noticed: Mutex::new(None),
            probes: Probes::default(),
        }
    }

    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Whether the fallback would take something now.
    pub(super) fn is_able(&self, now: Instant) -> bool {
        self.outlet.lock().is_able(now)
    }

    /// A record that the client has taken has failed.
    pub(super) fn failed(&self, record: &Record, error: Error) {
        self.divert_record(record);
        // One record that is wrong says nothing of others, nor does one that there was no time for.
        if !matches!(error.kind(), ErrorKind::InvalidRecord | ErrorKind::Closed) {
            *self.trouble.lock() = Some(error);
        }
    }

    /// Why Kafka has not taken events, if that is so and was not told before.
    pub(super) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().take()
    }

    /// Gives the event that a record carries to the fallback, as [`divert`](Self::divert).
    pub(super) fn divert_record(&self, record: &Record) {
        self.divert(level_of(record), record.value.as_deref().unwrap_or_default());
    }

    /// Gives an event to the fallback. Where that does not take it, it is lost.
    pub(super) fn divert(&self, level: Level, value: &[u8]) {
        let mut outlet = self.outlet.lock();
        let is_written = outlet.takes(level) && outlet.write(value, now());
        drop(outlet);
        self.shared.queue.count(|counts| {
            let count = if is_written { &mut counts.fallback } else { &mut counts.lost };
            count[level] += 1;
        });
    }

    /// Says something of the sink's own, once a minute at most: to whoever else listens to the program's events, and in the
    /// fallback.
    pub(super) fn warn(&self, message: &str) {
        let now = now();
        {
            let mut noticed = self.noticed.lock();
            if noticed.is_some_and(|last| now.saturating_duration_since(last) < NOTICE_EVERY) {
                return;
            }
            *noticed = Some(now);
        }
        tracing::warn!(target: TARGET, "{message}");
        self.shared.encoder.own(Level::WARN, TARGET, message, &[], clock::wall(), |entry| {
            self.outlet.lock().write(entry.value, now);
        });
    }
}

/// Now, by the clock of the sink's thread.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The level of the event that a record carries.
fn level_of(record: &Record) -> Level {
    let header = record.headers.iter().find(|header| &*header.name == LEVEL_HEADER);
    let name = header.and_then(|header| header.value.as_deref());
    let level = name.and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
    // Each record is given one.
    level.unwrap_or(Level::ERROR)
}

/// The value of the header that tells a level.
pub(super) fn level_value(level: Level) -> Bytes {
    Bytes::from_static(level.as_str().as_bytes())
}
