//! Settings of a producer.

use std::{sync::Arc, time::Duration};

use ottla_records::{self as records, Compressor, Level};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Producer,
    accumulator::{Accumulator, Settings},
    delivery::OnFailure,
    driver::Driver,
    partition::Limits,
    partitioner::Partitioning,
    record::Record,
    shared::Shared,
};
use crate::{
    config::{Acks, Compression, ProducerConfig},
    error::{Error, ErrorKind},
    jitter::Jitter,
    kafka::Kafka,
    logging::Seldom,
};

/// Settings of a [`Producer`], with those of the client's properties to begin with, and else with their defaults.
#[must_use = "it does nothing until it is built"]
pub struct ProducerBuilder {
    kafka: Kafka,
    config: ProducerConfig,
    on_failure: Option<OnFailure>,
}

impl ProducerBuilder {
    pub(crate) fn new(kafka: Kafka, config: ProducerConfig) -> Self {
        Self { kafka, config, on_failure: None }
    }

    /// How long a batch waits for more records (`linger.ms`). A batch that is full does not wait. Default: 5 ms.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.config.linger = linger;
        self
    }

    /// The bytes, uncompressed, from which on a batch is complete (`batch.size`). A larger record makes a batch of its own.
    /// Default: 64 KiB.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.config.batch_size = bytes;
        self
    }

    /// The most bytes of one record, uncompressed, and of the batches in one request (`max.request.size`). Brokers have a
    /// limit of their own for batches (`max.message.bytes`). Default: 1 MiB.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.config.max_request_size = bytes;
        self
    }

    /// How batches are compressed (`compression.type`). Each codec is a feature of this crate. Default: not at all.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.config.compression = compression;
        self
    }

    /// How hard the codec tries that was chosen with [`compression`](Self::compression), before this: 1 to 9 for gzip, 1 to
    /// 17 for lz4, -131072 to 22 for zstd (KIP-390). Default: the codec's own.
    pub fn compression_level(mut self, level: i32) -> Self {
        match self.config.compression {
            Compression::Gzip => self.config.gzip_level = level,
            Compression::Lz4 => self.config.lz4_level = level,
            Compression::Zstd => self.config.zstd_level = level,
            Compression::None | Compression::Snappy => {}
        }
        self
    }

    /// Whose acknowledgement a record waits for (`acks`). Less than all needs [`idempotence`](Self::idempotence) to be off.
    /// Default: all replicas in sync.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.config.acks = acks;
        self
    }

    /// Whether brokers recognise what is sent again, so that each record is written once and in order (KIP-98,
    /// `enable.idempotence`). Without it, what is sent again may be written twice, and one batch of a partition is under way
    /// at a time. Default: yes.
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.config.idempotence = idempotence;
        self
    }

    /// How long after its send a record's fate is known at the latest (`delivery.timeout.ms`). Default: 2 minutes.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.config.delivery_timeout = timeout;
        self
    }

    /// How long a record may wait for room in the memory budget, and for its topic to be known (`max.block.ms`). Default: 1
    /// minute.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.config.max_wait = wait;
        self
    }

    /// How long a producer that is dropped goes on with what it has. Default: 5 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.config.drop_grace = grace;
        self
    }

    /// Which partition a record goes to that names none (`partitioner.class`, `partitioner`). Default: as Java's client does
    /// it.
    pub fn partitioner(mut self, partitioning: Partitioning) -> Self {
        self.config.partitioner = partitioning;
        self
    }

    /// What is called with each record that failed while nobody awaited its [`Delivery`](super::Delivery), on the client's
    /// thread: it must not block. Without this, such failures are counted, and one line a minute is logged.
    pub fn on_failure(mut self, on_failure: impl Fn(Record, Error) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(on_failure));
        self
    }

    /// The producer. This waits for nothing: brokers are looked for when there is a record.
    ///
    /// # Errors
    /// `Config`: a setting is out of its range, or settings do not go together; the error names all of them, and the codec
    /// whose feature is off. `Closed`: the runtime that the client was to run on has ended. `Retriable`: the system gives no
    /// thread.
    pub fn build(self) -> Result<Producer, Error> {
        let Self { kafka, config, on_failure } = self;
        config.validate(kafka.config())?;
        let compressor = compressor(&config)?;
        let client = kafka.config();
        let settings = Settings {
            limits: Limits {
                batch_bytes: config.batch_size,
                linger: config.linger,
                delivery_timeout: config.delivery_timeout,
            },
            request_bytes: config.max_request_size,
            max_wait: config.max_wait,
            is_idempotent: config.idempotence,
            partitioning: config.partitioner.clone(),
            backoff: (client.retry_backoff, client.retry_backoff_max),
            on_failure: on_failure.unwrap_or_else(log_failures),
        };
        let counters = kafka.counters().clone();
        let accumulator =
            Accumulator::new(settings, kafka.budget().producing(), counters.clone(), Jitter::new());
        let (shared, config) = (Arc::new(Shared::new(accumulator, counters)), Arc::new(config));
        let running = kafka.running()?;
        let runtime = running.runtime.clone();
        let driver = Driver::new(shared.clone(), kafka.clone(), config.clone(), compressor);
        running.drivers.add(driver.run())?;
        Ok(Producer::new(shared, config, runtime))
    }
}

fn compressor(config: &ProducerConfig) -> Result<Option<Compressor>, Error> {
    let codec = match config.compression {
        Compression::None => return Ok(None),
        Compression::Gzip => records::Compression::Gzip,
        Compression::Snappy => records::Compression::Snappy,
        Compression::Lz4 => records::Compression::Lz4,
        Compression::Zstd => records::Compression::Zstd,
    };
    let level =
        config.compression_level().map_or(Ok(Level::default_of(codec)), |level| Level::new(codec, level));
    let wrong = |error: &dyn std::error::Error| {
        let what =
            format!("compression {codec} cannot be used: {error}; it is a feature of ottla-client, {codec}");
        Error::new(ErrorKind::Config, what)
    };
    let level = level.map_err(|error| wrong(&error))?;
    Compressor::new(level).map(Some).map_err(|error| wrong(&error))
}

/// Counts failures that nobody awaits, and says so once a minute.
fn log_failures() -> OnFailure {
    let state = Mutex::new((0_u64, Seldom::default()));
    Arc::new(move |record, error| {
        let (failed, log) = &mut *state.lock();
        *failed += 1;
        let failed = *failed;
        log.say(Instant::now(), || {
            tracing::warn!(
                failed,
                topic = &*record.topic,
                %error,
                "records failed, and nobody awaited their deliveries: this is the last of so many"
            );
        });
    })
}
