//! The face for the `log` crate.

use std::{fmt, sync::Arc};

use log::{Log, Metadata, Record};

use crate::{clock, level::of_log, own::is_for_a_sink, shared::Shared, sink::Sink};

impl Sink {
    /// The face for the [`log`] crate. It takes records of all levels: `log::set_max_level` decides.
    pub fn logger(&self) -> Logger {
        Logger::new(self.shared.clone())
    }
}

/// A logger that gives records to a sink. See [`Sink::logger`](crate::Sink::logger).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sink, guard) = ottla_tracing::Sink::builder(["localhost:9092"], "logs").build()?;
/// log::set_boxed_logger(Box::new(sink.logger()))?;
/// log::set_max_level(log::LevelFilter::Info);
/// log::info!(order = 42; "tea is served");
/// # Ok(())
/// # }
/// ```
///
/// Records of this crate, of its client, and of the sink's own threads are left out. Its `flush` waits for
/// [`Builder::flush_within`](crate::Builder::flush_within) at most.
pub struct Logger {
    shared: Arc<Shared>,
}

impl Logger {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_for_a_sink(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) && !self.shared.queue.sheds(of_log(record.level())) {
            self.shared.encoder.log(record, clock::wall(), |entry| self.shared.take(entry));
        }
    }

    fn flush(&self) {
        if !crate::own::is_own() {
            // There is no way to say how it went.
            let _ = self.shared.queue.flush(self.shared.flush_within);
        }
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").finish_non_exhaustive()
    }
}
