//! Topics that are created and deleted again while others are written to.

use std::{collections::BTreeMap, io, net::SocketAddr};

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_records::{BatchBuilder, NewRecord, TimestampMs};

use crate::client::Client;

const NAMES: [&str; 2] = ["passing-a", "passing-b"];

/// What is known of each name: whether there is such a topic, or `None` while a request about it is under way.
#[derive(Default)]
pub struct Turnover {
    known: BTreeMap<&'static str, Option<bool>>,
    round: u64,
}

impl Turnover {
    /// Creates, writes and deletes until the broker ends.
    pub fn run(&mut self, address: SocketAddr) {
        if let Err(error) = self.try_run(address) {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "the broker fell silent");
        }
    }

    fn try_run(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut client = Client::connect(address)?;
        loop {
            let name = NAMES[self.round as usize % NAMES.len()];
            self.round += 1;
            if self.known.get(name).copied().flatten() == Some(true) {
                self.known.insert(name, None);
                assert_eq!(client.delete_topic(name)?, ErrorCode::NONE, "{name} was there");
                self.known.insert(name, Some(false));
            }
            self.known.insert(name, None);
            assert_eq!(client.create_topic(name, 1, &[])?, ErrorCode::NONE, "{name} was deleted");
            self.known.insert(name, Some(true));
            for count in 0..20 {
                client.send_produce(&[((name, 0), batch())])?;
                assert_eq!(client.receive_produced()?, [Ok(count)], "{name} is new and empty");
            }
        }
    }

    /// Compares with what a new life of the broker knows, which tells what became of requests under way.
    pub fn verify(&mut self, client: &mut Client) {
        let topics = client.topics().unwrap();
        for name in NAMES {
            let there = topics.iter().any(|topic| topic == name);
            if let Some(Some(known)) = self.known.insert(name, Some(there)) {
                assert_eq!(there, known, "{name}");
            }
        }
    }
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new();
    let value = [b'y'; 1000];
    let record =
        NewRecord { timestamp: TimestampMs(1_700_000_000_000), key: None, value: Some(&value), headers: &[] };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}
