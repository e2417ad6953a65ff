//! The cases: what is done, with which clients, and what is wanted of ottla-client.

use crate::{clients::Client, programs::Program};

/// A case.
#[derive(Debug)]
pub struct Case {
    /// Its id on the command line.
    pub id: &'static str,
    /// What is done, for the table.
    pub title: &'static str,
    /// How it is done.
    pub program: Program,
    /// How many records.
    pub records: u64,
    /// How many with `--quick`.
    pub quick_records: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// With which clients.
    pub clients: &'static [Client],
    /// What is wanted.
    pub wanted: &'static [Wanted],
}

/// That a figure of ottla-client is at most so many times that of another.
#[derive(Debug)]
pub struct Wanted {
    /// Which figure.
    pub figure: Figure,
    /// ottla-client, by one of its ways.
    pub ottla: Client,
    /// The other.
    pub other: Client,
    /// The ratio that is wanted at most.
    pub at_most: f64,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// CPU of the client's process for each record.
    Cpu,
    /// The median of latencies.
    P50,
}

const SENDERS: &[Client] = &[Client::Ottla, Client::RdkafkaFuture, Client::RdkafkaBase, Client::Krafka];
const READERS: &[Client] = &[
    Client::Ottla,
    Client::OttlaBatch,
    Client::RdkafkaStream,
    Client::RdkafkaPoll,
    Client::Krafka,
    Client::KrafkaBatch,
];
const SEND: &[Wanted] = &[
    wanted(Figure::Cpu, Client::Ottla, Client::RdkafkaFuture, 0.5),
    wanted(Figure::Cpu, Client::Ottla, Client::RdkafkaBase, 1.4),
];
const READ: &[Wanted] = &[
    wanted(Figure::Cpu, Client::OttlaBatch, Client::RdkafkaStream, 0.5),
    wanted(Figure::Cpu, Client::Ottla, Client::RdkafkaStream, 0.8),
];

/// All of them, in the order of the table.
pub const ALL: &[Case] = &[
    Case {
        id: "send-100",
        title: "3,000,000 records of 100 B are sent, and the result of each is read",
        program: Program::Produce,
        records: 3_000_000,
        quick_records: 200_000,
        value_bytes: 100,
        clients: SENDERS,
        wanted: SEND,
    },
    Case {
        id: "send-1k",
        title: "400,000 records of 1 KiB are sent, and the result of each is read",
        program: Program::Produce,
        records: 400_000,
        quick_records: 40_000,
        value_bytes: 1024,
        clients: SENDERS,
        wanted: SEND,
    },
    Case {
        id: "one",
        title: "20,000 records of 100 B, one at a time, without linger",
        program: Program::One,
        records: 20_000,
        quick_records: 2_000,
        value_bytes: 100,
        clients: &[Client::Ottla, Client::RdkafkaFuture, Client::Krafka],
        wanted: &[wanted(Figure::P50, Client::Ottla, Client::RdkafkaFuture, 1.0)],
    },
    Case {
        id: "read-100",
        title: "3,000,000 records of 100 B are read, key and value",
        program: Program::Consume,
        records: 3_000_000,
        quick_records: 200_000,
        value_bytes: 100,
        clients: READERS,
        wanted: READ,
    },
    Case {
        id: "read-1k",
        title: "400,000 records of 1 KiB are read, key and value",
        program: Program::Consume,
        records: 400_000,
        quick_records: 40_000,
        value_bytes: 1024,
        clients: READERS,
        wanted: READ,
    },
];

const fn wanted(figure: Figure, ottla: Client, other: Client, at_most: f64) -> Wanted {
    Wanted { figure, ottla, other, at_most }
}

impl Case {
    /// How many records.
    pub fn records(&self, quick: bool) -> u64 {
        if quick { self.quick_records } else { self.records }
    }
}

impl Figure {
    /// Its name among the raw figures.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Cpu => "cpu_us_per_record",
            Figure::P50 => "p50_us",
        }
    }
}
