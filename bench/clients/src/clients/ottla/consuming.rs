//! ottla-client's consumer.

use ottla_client::{Kafka, StartAt, consumer::Consumer as OttlaConsumer};

use crate::{
    clients::Consumer,
    failure::{Doing, Result},
    load::{PARTITIONS, Seen},
};

/// Its consumer, record by record or by what `recv_batch` gives.
pub struct Consuming {
    consumer: OttlaConsumer,
    batches: bool,
}

impl Consuming {
    /// A consumer of all partitions, without a group.
    pub fn new(bootstrap: &str, topic: &str, batches: bool) -> Result<Consuming> {
        let kafka = Kafka::builder([bootstrap]).build().doing("build a client")?;
        let consumer = kafka.consumer().build().doing("make a consumer")?;
        consumer
            .assign((0..PARTITIONS).map(|partition| (topic, partition, StartAt::Earliest)))
            .doing("assign")?;
        Ok(Consuming { consumer, batches })
    }
}

impl Consumer for Consuming {
    async fn next(&mut self, seen: &mut Seen) -> Result<()> {
        if !self.batches {
            let record = self.consumer.recv().await.doing("recv")?;
            return seen.add(record.partition, record.offset, record.key.as_deref(), record.value.as_deref());
        }
        for record in &self.consumer.recv_batch().await.doing("recv_batch")? {
            seen.add(record.partition, record.offset, record.key.as_deref(), record.value.as_deref())?;
        }
        Ok(())
    }
}
