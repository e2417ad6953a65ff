//! Prints the records of all partitions of a topic, from the first on, and goes on as more come.
//!
//!     cargo run -p ottla-client --example topic_consumer -- localhost:9092 orders

use std::{env, error::Error, ops::ControlFlow};

use ottla_client::{
    Kafka, block_on,
    consumer::{RecordRef, StartAt},
};

fn main() -> Result<(), Box<dyn Error>> {
    let [brokers, topic] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "give BROKERS TOPIC")?;
    let print = |record: RecordRef<'_>| {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (key, value) = (text(record.key()), text(record.value()));
        println!("{}-{} at {}: {key:?} {value:?}", record.topic(), record.partition(), record.offset());
        ControlFlow::Continue(())
    };
    block_on(read(&brokers, &topic, print))
}

/// Reads a topic until somebody has seen enough.
pub async fn read(
    brokers: &str,
    topic: &str,
    mut look: impl FnMut(RecordRef<'_>) -> ControlFlow<()>,
) -> Result<(), Box<dyn Error>> {
    let mut consumer = Kafka::builder(brokers.split(',')).build()?.consumer().build()?;
    consumer.assign_topic(topic, StartAt::Earliest).await?;
    loop {
        let records = consumer.recv_batch().await?;
        for record in &records {
            if look(record).is_break() {
                return Ok(());
            }
        }
    }
}
