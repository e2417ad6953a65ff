//! What can be set, with its default and why that is the default.
//!
//! Each setting is a method of a builder. [`Config::from_properties`] reads them by the names that users of Java's client
//! and of librdkafka know:
//!
//! ```
//! use ottla_client::config::Config;
//!
//! let config = Config::from_properties([
//!     ("bootstrap.servers", "one.example.com:9092,two.example.com:9092"),
//!     ("linger.ms", "20"),
//!     ("compression.type", "zstd"),
//!     ("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
//! ])?;
//! for ignored in config.ignored() {
//!     println!("{ignored}");
//! }
//!
//! let error = Config::from_properties([("acks", "1"), ("lingr.ms", "20")]).unwrap_err();
//! println!("{error}"); // names both: acks needs idempotence to be off, and linger.ms was meant
//! # assert!(error.to_string().contains("did you mean linger.ms?"));
//! # assert!(error.to_string().contains("enable.idempotence"));
//! # Ok::<(), ottla_client::Error>(())
//! ```
//!
//! # Units
//!
//! In properties, times are milliseconds, with decimals where that is wanted (`0.5`), and sizes are bytes, but KiB where
//! the name ends in `.kbytes`. Flags are `true` or `false`. Words are taken in any case; lists are separated by commas.
//! Builders take [`Duration`](std::time::Duration)s, bytes, and the types of this module.
#![doc = include_str!("settings.md")]

mod client;
mod consumer;
mod field;
mod foreign;
mod nearest;
#[cfg(test)]
mod page;
mod producer;
mod properties;
mod table;

use std::fmt;

use crate::error::{Error, ErrorKind};

pub(crate) use client::ClientConfig;
pub(crate) use consumer::ConsumerConfig;
pub(crate) use producer::ProducerConfig;

pub use consumer::{IsolationLevel, OffsetReset};
pub use producer::{Acks, Compression};

/// All settings of a client, its producers and its consumers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) client: ClientConfig,
    pub(crate) producer: ProducerConfig,
    pub(crate) consumer: ConsumerConfig,
    pub(crate) ignored: Vec<Ignored>,
}

impl Config {
    /// Reads properties, by Java's or librdkafka's names.
    ///
    /// # Errors
    /// `Config`, with all that is wrong: names that are unknown, and the nearest that is known; values that are out of
    /// their range; settings that do not go together; properties that ask for what this version does not do.
    pub fn from_properties<N, V>(properties: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Self::default().with_properties(properties)
    }

    /// Reads properties over what is set already: what they name is set anew, the rest stays. So a library that comes with
    /// settings of its own lets its users change them.
    ///
    /// # Errors
    /// Those of [`from_properties`](Self::from_properties).
    pub fn with_properties<N, V>(self, properties: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut reader = properties::Reader::over(self);
        for (property, value) in properties {
            reader.read(property.as_ref(), value.as_ref());
        }
        reader.finish()
    }

    /// The properties that were accepted and do nothing, for a line in the log.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    fn faults(&self) -> Vec<Fault> {
        let Self { client, producer, consumer, .. } = self;
        [client.faults(), producer.faults(client), consumer.faults(client)].concat()
    }
}

/// A property that was accepted and does nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ignored {
    property: String,
    reason: &'static str,
}

impl Ignored {
    /// Its name.
    pub fn property(&self) -> &str {
        &self.property
    }

    /// Why it does nothing.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does nothing: {}", self.property, self.reason)
    }
}

/// One thing that is wrong with settings, in words.
#[derive(Clone, Debug)]
struct Fault(String);

impl Fault {
    /// One error of all that is wrong, if anything is.
    fn all(faults: Vec<Self>) -> Result<(), Error> {
        let what = match &faults[..] {
            [] => return Ok(()),
            [Self(only)] => only.clone(),
            [..] => {
                let all: Vec<&str> = faults.iter().map(|Self(fault)| fault.as_str()).collect();
                format!("{} settings are wrong: {}", faults.len(), all.join("; "))
            }
        };
        Err(Error::new(ErrorKind::Config, what))
    }
}
