//! [`Kafka`]: a cluster, as a program sees it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ottla_protocol::Request;
use tokio::{runtime::Handle, time::Instant};

use crate::{
    admin::Admin,
    budget::Budget,
    config::{ClientConfig, Config, ConsumerConfig, ProducerConfig},
    consumer::ConsumerBuilder,
    drivers::Drivers,
    error::{Error, ErrorKind},
    jitter::Jitter,
    metadata::{cluster::Cluster, task::Metadata},
    metrics::{Counters, Metrics},
    net::{
        address::Address,
        pool::{Peer, Pool, Purpose},
    },
    producer::ProducerBuilder,
    runtime::Runtime,
};

/// The largest answer to a call; what carries records has bounds of its own.
pub(crate) const ANSWER_MAX: usize = 16 << 20;

/// A Kafka cluster.
///
/// It is cheap to clone, and all clones share connections and what is known of the cluster. When the last one is gone,
/// so are they.
#[derive(Clone)]
pub struct Kafka {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<ClientConfig>,
    /// What producers are made with, unless they are told otherwise.
    producer: ProducerConfig,
    /// The same for consumers.
    consumer: ConsumerConfig,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    seeds: Vec<Address>,
    runtime: Option<Handle>,
    /// What runs, from the first use on.
    running: OnceLock<Result<Running, Error>>,
}

/// What runs of a client.
pub(crate) struct Running {
    pub(crate) pool: Arc<Pool>,
    pub(crate) metadata: Metadata,
    pub(crate) drivers: Drivers,
    // Goes last: what ran on it ends first.
    pub(crate) runtime: Runtime,
}

/// Settings of a [`Kafka`], with defaults for all but the first addresses.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is built"]
pub struct KafkaBuilder {
    config: Config,
    runtime: Option<Handle>,
}

impl Kafka {
    /// Begins with addresses of brokers, `host:port`. One that answers is enough, the others are found through it; give
    /// several, for the case that one is down.
    pub fn builder<A: Into<String>>(seeds: impl IntoIterator<Item = A>) -> KafkaBuilder {
        let seeds = seeds.into_iter().map(Into::into).collect();
        let client = ClientConfig { seeds, ..ClientConfig::default() };
        KafkaBuilder { config: Config { client, ..Config::default() }, runtime: None }
    }

    /// Begins with properties, by the names that Java's and librdkafka's users know: see [`Config::from_properties`]. Those
    /// of producers and consumers are what each of them begins with that is made from this client.
    ///
    /// # Errors
    /// Those of [`Config::from_properties`].
    pub fn from_properties<N, V>(properties: impl IntoIterator<Item = (N, V)>) -> Result<KafkaBuilder, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Ok(Config::from_properties(properties)?.into())
    }

    /// Waits until a broker answers. Nothing needs this: whatever is asked of the cluster waits by itself. It tells at the
    /// start of a program that the addresses are right.
    ///
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// `Timeout`: no broker answered within [`KafkaBuilder::call_timeout`]; the cause tells of the last attempt.
    pub async fn connect(&self) -> Result<(), Error> {
        self.cluster(&[], self.deadline()).await.map(drop)
    }

    /// Topics, and what else can be changed in the cluster.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// A producer to be built, with the settings of producers that this client was made with.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), self.shared.producer.clone())
    }

    /// What this client and all that was made from it have done, and what they hold at the moment.
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.snapshot(self.shared.budget.fetched() as u64)
    }

    /// A consumer to be built, with the settings of consumers that this client was made with.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), self.shared.consumer.clone())
    }

    /// What runs, from the first call of this on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn running(&self) -> Result<&Running, Error> {
        let Shared { config, seeds, runtime, running, .. } = &*self.shared;
        let started = running.get_or_init(|| {
            let runtime = runtime.clone().map_or_else(Runtime::own, |handle| Ok(Runtime::on(handle)))?;
            let mut jitter = Jitter::new();
            let for_pool = Jitter::seeded(jitter.next());
            let pool = Arc::new(Pool::new(runtime.handle().clone(), config.clone(), for_pool));
            let metadata =
                Metadata::start(runtime.handle(), pool.clone(), config.clone(), seeds.clone(), jitter);
            let drivers = Drivers::start(runtime.handle());
            Ok(Running { pool, metadata, drivers, runtime })
        });
        started.as_ref().map_err(Clone::clone)
    }

    fn metadata(&self) -> Result<&Metadata, Error> {
        Ok(&self.running()?.metadata)
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.shared.config
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    /// Until when a call that begins now may take.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.shared.config.call_timeout
    }

    /// What is known of the cluster from now on.
    pub(crate) async fn refresh(&self, deadline: Instant) -> Result<Arc<Cluster>, Error> {
        self.metadata()?.refresh(&[], deadline, 0).await
    }

    /// Sends a request to a broker and returns its answer, trying again until the deadline where that may help: the broker
    /// cannot be reached, or `judge` finds an error in the answer that is retriable.
    ///
    /// # Errors
    /// Of the last attempt; `Timeout` with that as its cause where the deadline has passed.
    pub(crate) async fn call<R: Request + Clone>(
        &self,
        whom: Whom,
        least: i16,
        request: &R,
        deadline: Instant,
        judge: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        self.call_with(whom, least, |_| request.clone(), deadline, judge).await
    }

    /// The same for a request that differs from version to version. `least` is the first version that can say what has to
    /// be said.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub(crate) async fn call_with<R: Request>(
        &self,
        whom: Whom,
        least: i16,
        request: impl Fn(i16) -> R,
        deadline: Instant,
        judge: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        let mut cluster = self.cluster(&[], deadline).await?;
        let mut failures = 0;
        loop {
            let attempt = async {
                let answer = self.ask(whom.find(&cluster, failures)?, least, &request, deadline).await?;
                judge(&answer).map(|()| answer)
            };
            match attempt.await {
                // Which waits for as long as makes sense, and finds out whom to ask instead.
                Err(error) if error.kind() == ErrorKind::Retriable => {
                    failures += 1;
                    cluster = self.again(&[], deadline, failures, error).await?;
                }
                done => return done,
            }
        }
    }

    /// Sends a request to a broker once.
    ///
    /// # Errors
    /// The broker cannot be reached, does not answer in time, or is too old.
    pub(crate) async fn ask<R: Request>(
        &self,
        broker: i32,
        least: i16,
        request: impl Fn(i16) -> R,
        deadline: Instant,
    ) -> Result<R::Response, Error> {
        let Running { pool, runtime, .. } = self.running()?;
        let connection = pool.connection(&Peer::Broker(broker), Purpose::Calls, Instant::now())?;
        tokio::select! {
            answer = connection.call(least, request, ANSWER_MAX, deadline) => answer.map_err(|failure| failure.error),
            // The connection may still be on its way.
            () = runtime.sleep_until(deadline) => {
                let what = format!("no answer of broker {broker} in time");
                Err(Error::new(ErrorKind::Timeout, what))
            }
        }
    }

    /// What is known of the cluster and these topics, to begin with.
    ///
    /// # Errors
    /// No broker answers until the deadline.
    pub(crate) async fn cluster(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Arc<Cluster>, Error> {
        self.metadata()?.cluster(topics, deadline).await
    }

    /// The same after a call has failed so often in a row, at last with `error`: after a backoff.
    ///
    /// # Errors
    /// No broker answers until the deadline, or it has passed: `Timeout`, with `error` as its cause.
    pub(crate) async fn again(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
        failures: u32,
        error: Error,
    ) -> Result<Arc<Cluster>, Error> {
        let refreshed = self.metadata()?.refresh(topics, deadline, failures).await;
        refreshed.map_err(|late| match late.kind() {
            ErrorKind::Timeout => Error::because(ErrorKind::Timeout, late.to_string(), error),
            _ => late,
        })
    }
}

/// Which broker a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// Any.
    Any,
    /// The one that changes topics.
    Controller,
}

impl Whom {
    /// The broker to ask, another one after each failure where any will do.
    fn find(self, cluster: &Cluster, failures: u32) -> Result<i32, Error> {
        let found = match self {
            Self::Any => {
                cluster.brokers.keys().nth(failures as usize % cluster.brokers.len().max(1)).copied()
            }
            Self::Controller => cluster.controller,
        };
        let nobody = || Error::new(ErrorKind::Retriable, "the cluster has no controller at the moment");
        found.ok_or_else(nobody)
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("seeds", &self.shared.config.seeds).finish_non_exhaustive()
    }
}

impl From<Config> for KafkaBuilder {
    fn from(config: Config) -> Self {
        Self { config, runtime: None }
    }
}

impl KafkaBuilder {
    /// What brokers know the client by, in their logs and quotas (`client.id`). Default: `ottla-client`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.config.client.client_id = client_id.into();
        self
    }

    /// How long an answer may take (`request.timeout.ms`); then the connection counts as dead. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.client.request_timeout = timeout;
        self
    }

    /// How long it may take until a connection can be used (`socket.connection.setup.timeout.ms`). Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.client.connect_timeout = timeout;
        self
    }

    /// How long a call may take in all, with every attempt (`default.api.timeout.ms`). Default: 60 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.config.client.call_timeout = timeout;
        self
    }

    /// Where the client runs, by the names that the cluster uses (`client.rack`): it reads from a replica there where there is
    /// one (KIP-392). Default: not known.
    pub fn client_rack(mut self, rack: impl Into<String>) -> Self {
        self.config.client.client_rack = Some(rack.into());
        self
    }

    /// The most bytes of records that wait or are on their way, of responses and of what is decompressed from them
    /// (`buffer.memory`). While there are producers and consumers, each kind keeps half. Default: 64 MiB.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.config.client.memory_budget = bytes;
        self
    }

    /// How long a connection stays open without a request (`connections.max.idle.ms`). Default: 9 minutes.
    pub fn connections_max_idle(mut self, time: Duration) -> Self {
        self.config.client.connections_max_idle = time;
        self
    }

    /// The least and the most time between two attempts at the same thing (`retry.backoff.ms`, `retry.backoff.max.ms`), which
    /// grows from one to the other. Default: 50 ms to 1 s.
    pub fn retry_backoff(mut self, least: Duration, most: Duration) -> Self {
        (self.config.client.retry_backoff, self.config.client.retry_backoff_max) = (least, most);
        self
    }

    /// How old metadata of topics in use may grow without a reason to refresh it (`metadata.max.age.ms`). A topic that is not
    /// used for as long is forgotten. Default: 5 minutes.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.config.client.metadata_max_age = age;
        self
    }

    /// Whether brokers may create topics that are asked for and are not there (`allow.auto.create.topics`): with the
    /// replication that is the broker's default, which is often 1. Default: no.
    pub fn allow_auto_create_topics(mut self, allow: bool) -> Self {
        self.config.client.allow_auto_create_topics = allow;
        self
    }

    /// Runs on the tokio runtime that the caller is on, instead of a thread of the client's own. A task that blocks that
    /// runtime then holds up the client as well.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_current_runtime(mut self) -> Self {
        self.runtime = Some(Handle::current());
        self
    }

    /// The cluster. This touches no network and starts nothing.
    ///
    /// # Errors
    /// `Config`: an address cannot be read, or there is none.
    pub fn build(self) -> Result<Kafka, Error> {
        let Self { config: Config { client: config, producer, consumer, ignored }, runtime } = self;
        config.validate()?;
        for property in &ignored {
            tracing::info!("{property}");
        }
        if config.seeds.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a client needs the address of at least one broker"));
        }
        let seeds = config.seeds.iter().map(|seed| seed.parse()).collect::<Result<_, _>>()?;
        let budget = Arc::new(Budget::new(config.memory_budget));
        let (config, counters, running) = (Arc::new(config), Arc::default(), OnceLock::new());
        let shared = Shared { config, producer, consumer, budget, counters, seeds, runtime, running };
        Ok(Kafka { shared: Arc::new(shared) })
    }

    /// Builds it and waits until a broker answers: see [`Kafka::connect`].
    ///
    /// # Errors
    /// Those of [`KafkaBuilder::build`] and [`Kafka::connect`].
    pub async fn connect(self) -> Result<Kafka, Error> {
        let kafka = self.build()?;
        kafka.connect().await?;
        Ok(kafka)
    }
}
