//! What can be set, with its default and why that is the default.

use std::time::Duration;

/// What is set of connections, metadata and memory, for all producers and consumers of a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// Where the first broker is looked for: `host:port`, one or more.
    pub(crate) seeds: Vec<String>,
    /// What the client calls itself to brokers, for their logs and quotas.
    pub(crate) client_id: String,
    /// Where the client runs, by the names that the cluster uses; it reads from replicas there (KIP-392).
    pub(crate) client_rack: Option<String>,
    /// The most bytes of records, responses and decompressed data in memory.
    pub(crate) memory_budget: usize,
    /// How long an answer may take before the connection counts as dead.
    pub(crate) request_timeout: Duration,
    /// How long a call may take in all, with every attempt.
    pub(crate) call_timeout: Duration,
    /// How long it may take until a connection can be used.
    pub(crate) connect_timeout: Duration,
    /// How long a connection stays open without a request.
    pub(crate) connections_max_idle: Duration,
    /// The least and the most time between two attempts at the same thing.
    pub(crate) retry_backoff: Duration,
    /// See `retry_backoff`.
    pub(crate) retry_backoff_max: Duration,
    /// How old metadata of topics in use may grow without a reason to refresh it.
    pub(crate) metadata_max_age: Duration,
    /// Whether a topic that is asked for and not there is created by the broker.
    pub(crate) allow_auto_create_topics: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            seeds: Vec::new(),
            client_id: "ottla-client".to_owned(),
            client_rack: None,
            memory_budget: 64 << 20,
            request_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(540),
            retry_backoff: Duration::from_millis(50),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            allow_auto_create_topics: false,
        }
    }
}
