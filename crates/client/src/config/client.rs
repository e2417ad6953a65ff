//! What is set of connections, metadata and memory, for all producers and consumers of a client.

use std::time::Duration;

use super::{
    Fault,
    table::{self, Section, Setting},
};
use crate::error::Error;

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

impl ClientConfig {
    /// Checks every setting, and those that have to go together.
    ///
    /// # Errors
    /// `Config`, with all that is wrong.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        Fault::all(self.faults())
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = table::out_of_range(self);
        if self.retry_backoff > self.retry_backoff_max {
            faults.push(Fault(format!(
                "retry_backoff (retry.backoff.ms), {:?}, must be at most retry_backoff_max (retry.backoff.max.ms), {:?}",
                self.retry_backoff, self.retry_backoff_max,
            )));
        }
        faults
    }
}

impl Section for ClientConfig {
    fn settings() -> &'static [Setting<Self>] {
        table::CLIENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let client = ClientConfig {
            client_id: String::new(),
            memory_budget: 1 << 10,
            retry_backoff: Duration::from_secs(2),
            ..Default::default()
        };
        assert_eq!(
            client.validate().unwrap_err().to_string(),
            "3 settings are wrong: client_id is \"\": it must be a text; memory_budget is \"1024\": it must be a number of \
             bytes from 1048576 on; retry_backoff (retry.backoff.ms), 2s, must be at most retry_backoff_max \
             (retry.backoff.max.ms), 1s",
        );
        assert!(ClientConfig::default().validate().is_ok());
    }
}
