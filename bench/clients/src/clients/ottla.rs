//! ottla-client.

use std::sync::Arc;

use bytes::Bytes;
use ottla_client::{
    Kafka, Written,
    consumer::{Consumer as OttlaConsumer, StartAt},
    producer::{Delivery, Producer as OttlaProducer, Record},
};

use super::{Consumer, Producer, Target};
use crate::{
    failure::{Doing, Result},
    load::{BATCH_BYTES, PARTITIONS, Seen},
    outage::{self, Fate},
};

/// Its producer.
pub struct Producing {
    producer: OttlaProducer,
    topic: Arc<str>,
}

impl Producing {
    /// A producer that has connected to nothing yet.
    pub fn new(target: &Target) -> Result<Producing> {
        let kafka = Kafka::builder([&target.bootstrap]).build().doing("build a client")?;
        let producer = kafka
            .producer()
            .linger(target.linger)
            .batch_size(BATCH_BYTES)
            .build()
            .doing("make a producer")?;
        Ok(Producing { producer, topic: target.topic.as_str().into() })
    }

    fn record(&self, value: &Bytes) -> Record {
        Record::new(self.topic.clone()).value(value.clone())
    }
}

impl Producer for Producing {
    type Delivery = Delivery;

    async fn enqueue(&self, value: &Bytes) -> Result<Delivery> {
        let enqueued = self.producer.enqueue(self.record(value)).await;
        enqueued.map_err(|rejected| format!("enqueue: {}", rejected.error()).into())
    }

    async fn delivered(delivery: Delivery) -> Result<(i32, i64)> {
        let metadata = delivery.await.doing("a record failed")?;
        Ok((metadata.partition, metadata.offset.unwrap_or(-1)))
    }

    async fn send(&self, value: &Bytes) -> Result<(i32, i64)> {
        let metadata = self.producer.send(self.record(value)).await.doing("a record failed")?;
        Ok((metadata.partition, metadata.offset.unwrap_or(-1)))
    }
}

/// Its consumer, record by record or by what `recv_batch` gives.
pub struct Consuming {
    consumer: OttlaConsumer,
    batches: bool,
}

impl Consuming {
    /// A consumer of all partitions, without a group.
    pub fn new(bootstrap: &str, topic: &str, batches: bool) -> Result<Consuming> {
        let kafka = Kafka::builder([bootstrap]).build().doing("build a client")?;
        let mut consumer = kafka.consumer().build().doing("make a consumer")?;
        consumer.assign((0..PARTITIONS).map(|partition| (topic, partition, StartAt::Earliest)));
        Ok(Consuming { consumer, batches })
    }
}

impl Consumer for Consuming {
    async fn next(&mut self, seen: &mut Seen) -> Result<()> {
        if !self.batches {
            let record = self.consumer.recv().await.doing("recv")?;
            return seen.add(record.partition(), record.offset(), record.key(), record.value());
        }
        for record in &self.consumer.recv_batch().await.doing("recv_batch")? {
            seen.add(record.partition(), record.offset(), record.key(), record.value())?;
        }
        Ok(())
    }
}

/// Its producer in an outage.
#[derive(Clone)]
pub struct Outage(OttlaProducer);

impl Outage {
    /// A producer that has connected to nothing yet.
    pub fn new(bootstrap: &str) -> Result<Outage> {
        let kafka = Kafka::builder(bootstrap.split(',')).build().doing("build a client")?;
        let producer = kafka
            .producer()
            .linger(outage::client::LINGER)
            .batch_size(BATCH_BYTES)
            .delivery_timeout(outage::DELIVERY_TIMEOUT)
            .build()
            .doing("make a producer")?;
        Ok(Outage(producer))
    }
}

impl outage::client::Sender for Outage {
    type Delivery = Delivery;

    async fn offer(&self, partition: i32, value: Bytes) -> Option<Delivery> {
        self.0.try_send(Record::new(outage::TOPIC).partition(partition).value(value)).ok()
    }

    async fn fate(delivery: &mut Delivery) -> Fate {
        match delivery.await {
            Ok(metadata) => Fate::Delivered(metadata.offset),
            Err(failed) if failed.error().written() == Some(Written::No) => Fate::No,
            Err(_) => Fate::Maybe,
        }
    }
}
