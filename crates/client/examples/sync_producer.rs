//! Sends lines one at a time, waits until all replicas have each, and prints where it is. Nothing here is asynchronous.
//!
//!     printf 'one\ntwo\n' | cargo run -p ottla-client --example sync_producer -- localhost:9092 orders

use std::{env, error::Error, io};

use ottla_client::{Kafka, Record, block_on, config::Acks, producer::partitioner::Partitioning};

fn main() -> Result<(), Box<dyn Error>> {
    let [brokers, topic] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "give BROKERS TOPIC")?;
    send(&brokers, &topic, io::stdin().lines(), |line| println!("{line}"))
}

/// Sends each line, and says where it is.
pub fn send(
    brokers: &str,
    topic: &str,
    lines: impl IntoIterator<Item = io::Result<String>>,
    mut say: impl FnMut(String),
) -> Result<(), Box<dyn Error>> {
    let kafka = Kafka::builder(brokers.split(',')).build()?;
    let producer = kafka.producer().acks(Acks::All).partitioner(Partitioning::Random).build()?;
    for line in lines {
        let written = block_on(producer.send(Record::new(topic).value(line?)))?;
        say(format!("partition {}, offset {}", written.partition, written.offset.unwrap_or(-1)));
    }
    Ok(())
}
