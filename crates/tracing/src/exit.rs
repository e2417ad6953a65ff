//! What is done when a program ends against its will.

use std::{
    panic::{self, PanicHookInfo},
    time::Duration,
};

use tracing::Level;

use crate::{
    clock, own,
    sink::{Guard, Sink},
};

/// The target of events about panics.
const TARGET: &str = "panic";

impl Sink {
    /// From now on, a panic is an event of `ERROR` (with the target `panic`), and waits until what was logged is in Kafka or in
    /// the fallback, at most this long. What was done about panics before is done first.
    ///
    /// Where panics abort the program (`panic = "abort"`), the sink ends with the first one, as with
    /// [`Guard::close`]: what Kafka does not take in time goes to the fallback.
    pub fn panic_hook(&self, within: Duration) {
        let sink = self.clone();
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            previous(info);
            // The sink's own thread cannot wait for itself.
            if own::is_own() {
                return;
            }
            sink.record(info);
            if cfg!(panic = "abort") {
                sink.close(within);
            } else {
                // It goes on if it did not have the time.
                let _ = sink.flush(within);
            }
        }));
    }

    fn record(&self, info: &PanicHookInfo<'_>) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let said = text.or(payload.downcast_ref().map(String::as_str)).unwrap_or("without a message");
        let message = match info.location() {
            Some(location) => format!("thread {name} panicked at {location}: {said}"),
            None => format!("thread {name} panicked: {said}"),
        };
        let Self { shared, .. } = self;
        shared.encoder.own(Level::ERROR, TARGET, &message, &[], clock::wall(), |entry| shared.take(entry));
    }
}

impl Guard {
    /// From now on, SIGTERM ends the sink in order, and then the program, as it would without this. `before` is called first,
    /// on a thread of its own: for a server that is to end what it has begun. A program that handles SIGTERM itself, and
    /// returns from `main`, needs this not.
    ///
    /// # Errors
    /// The signal cannot be handled.
    #[cfg(unix)]
    pub fn close_on_sigterm(
        &self,
        within: Duration,
        before: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        use signal_hook::{consts::SIGTERM, iterator::Signals, low_level::emulate_default_handler};

        let mut signals = Signals::new([SIGTERM])?;
        let sink = self.sink().clone();
        std::thread::Builder::new().name("ottla-tracing-term".into()).spawn(move || {
            if signals.forever().next().is_none() {
                return;
            }
            before();
            sink.close(within);
            // It does not come back; if it does, the program goes on as one that ignores the signal.
            let _ = emulate_default_handler(SIGTERM);
        })?;
        Ok(())
    }
}
