//! What is logged: it is counted, and shown.

use std::{
    fmt::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::failure::{Doing, Result};

/// How the client says that it has metadata again, after nobody had answered.
const ANSWERS_AGAIN: &str = "the cluster answers again";

static LINES: AtomicU64 = AtomicU64::new(0);
static ANSWERED_AGAIN: Mutex<Option<Instant>> = Mutex::new(None);
static BEGAN: OnceLock<Instant> = OnceLock::new();

/// Counts from now on what is logged at INFO and above, and writes it to standard error.
///
/// # Errors
/// Something else takes what is logged.
pub fn start() -> Result<()> {
    BEGAN.get_or_init(Instant::now);
    tracing::subscriber::set_global_default(Counting).doing("the log")
}

/// Lines that were logged.
pub fn lines() -> u64 {
    LINES.load(Relaxed)
}

/// When the client last said that it has metadata again.
pub fn answered_again() -> Option<Instant> {
    *ANSWERED_AGAIN.lock()
}

struct Counting;

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let now = Instant::now();
        LINES.fetch_add(1, Relaxed);
        let mut line = Line::default();
        event.record(&mut line);
        if line.0.contains(ANSWERS_AGAIN) {
            *ANSWERED_AGAIN.lock() = Some(now);
        }
        let since = BEGAN.get().map_or(0.0, |began| (now - *began).as_secs_f64());
        let (level, target) = (event.metadata().level(), event.metadata().target());
        eprintln!("{since:8.3} {level} {target}:{}", line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
