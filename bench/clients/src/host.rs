//! The broker that clients are measured against, whichever it is.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{
    broker::{self, Broker, Installed, Prepared},
    child::Role,
    failure::{Doing, Result},
    load::Readable,
    wire::Connection,
};

const SINK_TIMEOUT: Duration = Duration::from_secs(30);

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The one that only acknowledges.
    Sink,
    /// Ottla.
    Ottla,
    /// Apache Kafka.
    Kafka,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sink => "sink",
            Kind::Ottla => "ottla",
            Kind::Kafka => "kafka",
        }
    }

    /// Its name for the table.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Sink => "a broker that only acknowledges",
            Kind::Ottla => "Ottla",
            Kind::Kafka => "Apache Kafka 4.3.1 (reported only)",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        [Kind::Sink, Kind::Ottla, Kind::Kafka].into_iter().find(|kind| kind.name() == name)
    }
}

/// A broker that runs, until it is dropped.
pub enum Host {
    /// The one that only acknowledges.
    Sink {
        /// Its process.
        role: Role,
        /// Where it listens.
        addr: SocketAddr,
    },
    /// A real one.
    Real {
        /// Its process.
        broker: Box<Broker>,
        /// A connection of the runner's own.
        connection: Connection,
    },
}

/// What the sink has counted; nothing is known of real brokers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Produce requests.
    pub requests: u64,
    /// Batches in them.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
}

impl Host {
    /// Starts a broker on an empty directory.
    pub fn start(kind: Kind, installed: &Installed, dir: &Path) -> Result<Host> {
        let real = match kind {
            Kind::Sink => {
                let role = Role::start("the sink", &["sink".to_owned()], None)?;
                let addr = role.line(SINK_TIMEOUT)?.parse().doing("read the sink's address")?;
                return Ok(Host::Sink { role, addr });
            }
            Kind::Ottla => broker::Kind::Ottla,
            Kind::Kafka => broker::Kind::Kafka,
        };
        let mut broker = Prepared::new(installed, real, dir)?.start()?;
        let connection = Connection::open(broker.addr(), || broker.check_alive())?;
        Ok(Host::Real { broker: Box::new(broker), connection })
    }

    /// Where it listens.
    pub fn bootstrap(&self) -> String {
        match self {
            Host::Sink { addr, .. } => addr.to_string(),
            Host::Real { broker, .. } => broker.addr().to_string(),
        }
    }

    /// Creates a topic.
    pub fn create_topic(&mut self, name: &str) -> Result<()> {
        match self {
            Host::Sink { role, .. } => role.ask(&format!("create {name}"), SINK_TIMEOUT).map(drop),
            Host::Real { connection, .. } => connection.create_topic(name),
        }
    }

    /// Creates a topic with at least so many records to be read.
    pub fn create_readable(&mut self, name: &str, records: u64, value_bytes: usize) -> Result<()> {
        match self {
            Host::Sink { role, .. } => {
                role.ask(&format!("fill {name} {records} {value_bytes}"), SINK_TIMEOUT).map(drop)
            }
            Host::Real { connection, .. } => {
                connection.create_topic(name)?;
                connection.fill(name, &Readable::new(records, value_bytes)?)
            }
        }
    }

    /// Deletes a topic, so that its data does not pile up.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        match self {
            Host::Sink { .. } => Ok(()),
            Host::Real { connection, .. } => connection.delete_topic(name),
        }
    }

    /// What it has counted since its start.
    pub fn counts(&mut self) -> Result<Option<Counts>> {
        let Host::Sink { role, .. } = self else { return Ok(None) };
        let answer = role.ask("stats", SINK_TIMEOUT)?;
        let count =
            |name: &str| answer[name].as_u64().ok_or_else(|| format!("the sink does not count {name}"));
        Ok(Some(Counts {
            requests: count("requests")?,
            batches: count("batches")?,
            records: count("records")?,
        }))
    }

    /// Fails if it has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self {
            Host::Sink { .. } => self.counts().map(drop),
            Host::Real { broker, .. } => broker.check_alive(),
        }
    }
}
