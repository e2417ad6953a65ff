//! What a sink can be told, and how it begins.

use std::{fmt, io, path::PathBuf, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use ottla_client::{Kafka, KafkaBuilder, config::Config};
use tokio::runtime::{self, Runtime};
use tracing::Level;

use crate::{
    encode::{Encoder, Encoding, Format, Key},
    fallback::{Fallback, Outlet},
    own,
    queue::{self, Overflow, Queue},
    sender::{self, Sender},
    shared::Shared,
    sink::{Guard, Sink},
};

/// The client's settings that a sink begins with; its user's go over them.
const DEFAULTS: [(&str, &str); 7] = [
    ("client.id", "ottla-tracing"),
    ("buffer.memory", "16777216"),
    // A sink reads nothing, but these have to go together with what its users may set.
    ("fetch.max.bytes", "1048576"),
    ("fetch.max.wait.ms", "1"),
    // Events were collected before.
    ("linger.ms", "0"),
    ("delivery.timeout.ms", "300000"),
    // After so long the sink is told that a topic is missing.
    ("max.block.ms", "5000"),
];

/// The least and the most bytes of an event.
const EVENT_BYTES: (usize, usize) = (1 << 10, 900 << 10);

impl Sink {
    /// Begins with addresses of brokers, `host:port`, and the topic. See [`Builder`].
    pub fn builder<A: Into<String>>(seeds: impl IntoIterator<Item = A>, topic: impl Into<String>) -> Builder {
        Builder::new(seeds.into_iter().map(Into::into).collect(), topic.into())
    }
}

/// Settings of a [`Sink`], with defaults for all but addresses and topic.
#[must_use = "it does nothing until it is built"]
pub struct Builder {
    seeds: Vec<String>,
    topic: String,
    properties: Vec<(String, String)>,
    encoding: Encoding,
    headers: Vec<(String, Bytes)>,
    queue_bytes: usize,
    overflow: Overflow,
    linger: Duration,
    fallback: Fallback,
    fallback_level: Option<Level>,
    flush_within: Duration,
    drop_within: Duration,
}

impl Builder {
    pub(crate) fn new(seeds: Vec<String>, topic: String) -> Self {
        Self {
            seeds,
            topic,
            properties: Vec::new(),
            encoding: Encoding { max_event_bytes: 64 << 10, ..Encoding::default() },
            headers: Vec::new(),
            queue_bytes: 16 << 20,
            overflow: Overflow::default(),
            linger: Duration::from_millis(20),
            fallback: Fallback::default(),
            fallback_level: None,
            flush_within: Duration::from_secs(5),
            drop_within: Duration::from_secs(5),
        }
    }

    /// A property of the client, by the names that users of Java's client and of librdkafka know:
    /// `compression.type`, `security.protocol` and so on. The sink begins with `buffer.memory` of 16 MiB, `delivery.timeout.ms`
    /// of 5 minutes, `max.block.ms` of 5 seconds, and without a linger of the producer.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// What fields are called, and where they stand. Default: [`Format::Plain`].
    pub fn format(mut self, format: Format) -> Self {
        self.encoding.format = format;
        self
    }

    /// What becomes the key of a record, which decides its partition. Default: no key.
    pub fn key(mut self, key: Key) -> Self {
        self.encoding.key = key;
        self
    }

    /// A field that each event has, beside its own: the name of the service, its version.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.encoding.fields.push((name.into(), value.into()));
        self
    }

    /// A header that each record has. All records have one named `level`, beside.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether records have a header `target`, which tells where in the program an event comes from. Default: no.
    pub fn target_header(mut self, target_header: bool) -> Self {
        self.encoding.target_header = target_header;
        self
    }

    /// Whether events tell file and line. Default: no.
    pub fn location(mut self, location: bool) -> Self {
        self.encoding.location = location;
        self
    }

    /// Fields whose values are never written, nor even formatted: `[redacted]` stands in their place. Names are compared as
    /// they are, and `message` is one; what stands in a text is not looked at.
    pub fn redact<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.encoding.redacted.extend(names.into_iter().map(Into::into));
        self
    }

    /// The most bytes of one event; a larger one is cut, and says so. 1 KiB to 900 KiB. Default: 64 KiB.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.encoding.max_event_bytes = bytes;
        self
    }

    /// The most bytes of events that wait. From half of it on `TRACE` is refused, from 70 % on `DEBUG`, from 85 % on `INFO`; what
    /// is on its way to brokers is counted by the property `buffer.memory`. At least 256 KiB, and four times
    /// [`max_event_bytes`](Self::max_event_bytes). Default: 16 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// What happens to events for which the queue has no room. Default: [`Overflow::DropNewest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How long an event waits for others before it is sent. Default: 20 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Where events go that Kafka does not take. Default: `WARN` and `ERROR` to the program's standard error.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// The least level that goes to the fallback. Default: as the [`Fallback`] says.
    pub fn fallback_level(mut self, level: Level) -> Self {
        self.fallback_level = Some(level);
        self
    }

    /// How long a flush waits whose caller cannot say: that of [`std::io::Write`] and that of [`log::Log`]. Default: 5 s.
    pub fn flush_within(mut self, within: Duration) -> Self {
        self.flush_within = within;
        self
    }

    /// How long dropping the [`Guard`] waits for what there is. Default: 5 s.
    pub fn drop_within(mut self, within: Duration) -> Self {
        self.drop_within = within;
        self
    }

    /// The sink, and the guard that sees to its end. This touches no network: brokers are looked for when there is an event.
    ///
    /// # Errors
    /// A setting is wrong; the file of the fallback cannot be opened; the system gives no thread.
    pub fn build(self) -> Result<(Sink, Guard), BuildError> {
        self.check()?;
        let config = self.client_config()?;
        let least = self.fallback_level.unwrap_or(self.fallback.least());
        let outlet = Outlet::open(&self.fallback, least).map_err(|error| self.no_fallback(error))?;
        let shared = Arc::new(Shared {
            encoder: Encoder::new(self.encoding),
            queue: Queue::new(self.queue_bytes, self.overflow),
            flush_within: self.flush_within,
        });
        let headers = self.headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let settings = sender::Settings { topic: self.topic.into(), headers, linger: self.linger };
        let runtime = own_runtime().map_err(BuildError::NoThread)?;
        let begun = begin(&runtime, config, shared.clone(), outlet, settings);
        let (kafka, sender) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // It would wait for its threads, which is not allowed everywhere.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let sink = Sink::new(shared.clone(), kafka);
        let ends = Ends(shared);
        let thread = thread::Builder::new().name("ottla-tracing".into()).spawn(move || {
            own::mark();
            // However this thread ends, it is told.
            let _ends = ends;
            runtime.block_on(sender.run());
            // Somebody may still resolve a name.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(BuildError::NoThread)?;
        Ok((sink.clone(), Guard::new(sink, thread, self.drop_within)))
    }

    fn check(&self) -> Result<(), BuildError> {
        let wrong = |what: String| Err(BuildError::Setting(what));
        let event = self.encoding.max_event_bytes;
        if !(EVENT_BYTES.0..=EVENT_BYTES.1).contains(&event) {
            return wrong(format!("max_event_bytes is {event}, and must be 1 KiB to 900 KiB"));
        }
        if let Some(fault) = self.encoding.fault() {
            return wrong(fault);
        }
        let least = queue::BYTES_MIN.max(4 * event);
        if self.queue_bytes < least {
            let bytes = self.queue_bytes;
            return wrong(format!(
                "queue_bytes is {bytes}, and must be at least {least}: 256 KiB, and four times max_event_bytes"
            ));
        }
        if self.topic.is_empty() {
            return wrong("the topic has no name".into());
        }
        let creates = |(name, value): &(String, String)| {
            name.trim() == "allow.auto.create.topics" && value.trim().eq_ignore_ascii_case("true")
        };
        if self.properties.iter().any(creates) {
            return wrong("allow.auto.create.topics is true, but a sink never creates topics".into());
        }
        Ok(())
    }

    fn client_config(&self) -> Result<Config, BuildError> {
        let seeds = self.seeds.join(",");
        let own = [("bootstrap.servers", seeds.as_str())];
        let users = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let config = Config::from_properties(DEFAULTS)
            .and_then(|config| config.with_properties(own.into_iter().chain(users)));
        config.map_err(BuildError::Client)
    }

    fn no_fallback(&self, error: io::Error) -> BuildError {
        let path = match &self.fallback {
            Fallback::File { path, .. } => path.clone(),
            _ => PathBuf::new(),
        };
        BuildError::Fallback { path, error }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Properties may hold a password.
        f.debug_struct("Builder")
            .field("seeds", &self.seeds)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// Says, when it is dropped, that the sink has ended.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}

/// A runtime on the sink's thread alone; it has others for names that are to be resolved.
fn own_runtime() -> io::Result<Runtime> {
    let mut builder = runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .max_blocking_threads(2)
        .thread_name("ottla-tracing")
        .on_thread_start(own::mark)
        .build()
}

fn begin(
    runtime: &Runtime,
    config: Config,
    shared: Arc<Shared>,
    outlet: Outlet,
    settings: sender::Settings,
) -> Result<(Kafka, Sender), BuildError> {
    let _on = runtime.enter();
    let kafka = KafkaBuilder::from(config).on_current_runtime().build().map_err(BuildError::Client)?;
    let sender = Sender::new(shared, &kafka, outlet, settings).map_err(BuildError::Client)?;
    Ok((kafka, sender))
}

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting of the sink is wrong.
    #[error("a sink for logs cannot be made: {0}")]
    Setting(String),
    /// A setting of its client is wrong.
    #[error("a sink for logs cannot be made: {0}")]
    Client(#[source] ottla_client::Error),
    /// The fallback cannot be opened.
    #[error("the fallback for logs, {}, cannot be opened for appending: {error}", path.display())]
    Fallback {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The system gives no thread.
    #[error("the system gives no thread for logs: {0}")]
    NoThread(#[source] io::Error),
}
