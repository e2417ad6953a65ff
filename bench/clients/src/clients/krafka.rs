//! krafka 0.28.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use krafka::{
    Kafka, KrafkaError, Record,
    consumer::{AutoOffsetReset, Consumer as KrafkaConsumer},
    producer::{Acks, DeliveryHandle, Producer as KrafkaProducer, RecordMetadata},
};

use super::{Consumer, Producer, Target};
use crate::{
    failure::{Doing, Result},
    load::{BATCH_BYTES, PARTITIONS, Seen},
    outage::{self, Fate},
};

const POLL: Duration = Duration::from_secs(60);

/// Its producer.
pub struct Producing {
    producer: KrafkaProducer,
    topic: String,
}

impl Producing {
    /// A producer with a connection.
    pub async fn new(target: &Target) -> Result<Producing> {
        let kafka = Kafka::builder(&target.bootstrap).connect().await.doing("connect")?;
        let producer = kafka
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .batch_size(BATCH_BYTES)
            .linger(target.linger)
            .build()
            .await
            .doing("make a producer")?;
        Ok(Producing { producer, topic: target.topic.clone() })
    }
}

fn place(metadata: &RecordMetadata) -> (i32, i64) {
    (metadata.partition, metadata.offset)
}

impl Producer for Producing {
    type Delivery = DeliveryHandle;

    async fn enqueue(&self, value: &Bytes) -> Result<DeliveryHandle> {
        self.producer.enqueue(Record::new(&self.topic, value.clone())).await.doing("enqueue")
    }

    async fn delivered(delivery: DeliveryHandle) -> Result<(i32, i64)> {
        delivery.await.map(|metadata| place(&metadata)).doing("a record failed")
    }

    async fn send(&self, value: &Bytes) -> Result<(i32, i64)> {
        let sent = self.producer.send(Record::new(&self.topic, value.clone())).await;
        sent.map(|metadata| place(&metadata)).doing("a record failed")
    }
}

/// Its consumer, record by record or by what `poll` gives.
pub struct Consuming {
    consumer: KrafkaConsumer,
    batches: bool,
}

impl Consuming {
    /// A consumer of all partitions, without a group.
    pub async fn new(bootstrap: &str, topic: &str, batches: bool) -> Result<Consuming> {
        let kafka = Kafka::builder(bootstrap).connect().await.doing("connect")?;
        let consumer = kafka
            .consumer_without_group()
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .build()
            .await
            .doing("make a consumer")?;
        consumer.assign(topic, (0..PARTITIONS).collect()).await.doing("assign")?;
        Ok(Consuming { consumer, batches })
    }
}

impl Consumer for Consuming {
    async fn next(&mut self, seen: &mut Seen) -> Result<()> {
        if !self.batches {
            let record = self.consumer.recv().await.doing("recv")?.ok_or("recv: the consumer is closed")?;
            return seen.add(record.partition, record.offset, record.key.as_deref(), record.value.as_deref());
        }
        let records = self.consumer.poll(POLL).await.doing("poll")?;
        if records.is_empty() {
            return Err("poll: nothing came".into());
        }
        for record in &records {
            seen.add(record.partition, record.offset, record.key.as_deref(), record.value.as_deref())?;
        }
        Ok(())
    }
}

/// Its producer in an outage.
#[derive(Clone)]
pub struct Outage(Arc<KrafkaProducer>);

impl Outage {
    /// A producer with a connection.
    pub async fn new(bootstrap: &str) -> Result<Outage> {
        let kafka = Kafka::builder(bootstrap).connect().await.doing("connect")?;
        let producer = kafka
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .batch_size(BATCH_BYTES)
            .linger(outage::client::LINGER)
            .delivery_timeout(outage::DELIVERY_TIMEOUT)
            // It has no way to try: it waits for room, at least for a while.
            .max_block(outage::client::ROOM_WAIT_MAX)
            .build()
            .await
            .doing("make a producer")?;
        Ok(Outage(Arc::new(producer)))
    }
}

impl outage::client::Sender for Outage {
    type Delivery = DeliveryHandle;

    async fn offer(&self, partition: i32, value: Bytes) -> Option<DeliveryHandle> {
        self.0.enqueue(Record::new(outage::TOPIC, value).partition(partition)).await.ok()
    }

    async fn fate(delivery: &mut DeliveryHandle) -> Fate {
        match delivery.await {
            Ok(metadata) => Fate::Delivered(metadata.is_success().then_some(metadata.offset)),
            Err(KrafkaError::DeliveryTimeout { possibly_written: false, .. }) => Fate::No,
            Err(_) => Fate::Maybe,
        }
    }
}
