//! rdkafka 0.39, over librdkafka.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::{FromClientConfig, FromClientConfigAndContext},
    consumer::{BaseConsumer, Consumer as _, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{
        BaseProducer, BaseRecord, DeliveryFuture, DeliveryResult, FutureProducer, FutureRecord,
        Producer as _, ProducerContext,
    },
};

use super::{Consumer, Producer, Target};
use crate::{
    failure::{Doing, Result},
    load::{BATCH_BYTES, Offsets, PARTITIONS, Seen, WINDOW},
    outage::{self, Fate},
};

/// How long the BaseProducer's loop waits for results when it has no room. The wrapper's `poll` spins in the last
/// millisecond of its time, so a shorter one would cost more CPU.
const POLL: Duration = Duration::from_millis(10);
/// After so many records the BaseProducer's loop looks for results.
const POLL_RECORDS: u64 = 1_000;
/// Without a result for this long, a program gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

fn producer_config(target: &Target) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "none")
        .set("batch.size", BATCH_BYTES.to_string())
        .set("linger.ms", target.linger.as_millis().to_string());
    config
}

/// The FutureProducer.
pub struct Future {
    producer: FutureProducer,
    topic: String,
}

impl Future {
    /// A producer that has connected to nothing yet.
    pub fn new(target: &Target) -> Result<Future> {
        let producer =
            FutureProducer::from_config(&producer_config(target)).doing("make a FutureProducer")?;
        Ok(Future { producer, topic: target.topic.clone() })
    }
}

impl Producer for Future {
    type Delivery = DeliveryFuture;

    async fn enqueue(&self, value: &Bytes) -> Result<DeliveryFuture> {
        let record = FutureRecord::<(), [u8]>::to(&self.topic).payload(&value[..]);
        // There is room: its queue holds 100,000 records by default, which is more than the window.
        self.producer.send_result(record).map_err(|(error, _)| format!("send_result: {error}").into())
    }

    async fn delivered(delivery: DeliveryFuture) -> Result<(i32, i64)> {
        match delivery.await.doing("await a result")? {
            Ok(delivered) => Ok((delivered.partition, delivered.offset)),
            Err((error, _)) => Err(format!("a record failed: {error}").into()),
        }
    }

    async fn send(&self, value: &Bytes) -> Result<(i32, i64)> {
        let record = FutureRecord::<(), [u8]>::to(&self.topic).payload(&value[..]);
        match self.producer.send(record, Duration::ZERO).await {
            Ok(delivered) => Ok((delivered.partition, delivered.offset)),
            Err((error, _)) => Err(format!("a record failed: {error}").into()),
        }
    }
}

/// Results as the callback sees them, on the thread that polls.
#[derive(Default)]
struct Results(RefCell<Counted>);

#[derive(Default)]
struct Counted {
    offsets: Offsets,
    count: u64,
    failed: Option<String>,
}

// SAFETY: librdkafka calls the callback from `poll`, and the one thread that made this producer polls it. Nothing else
// touches the cell but that thread, between polls.
unsafe impl Sync for Results {}

impl ClientContext for Results {}

impl ProducerContext for Results {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counted = &mut *self.0.borrow_mut();
        counted.count += 1;
        let added = match result {
            Ok(message) => counted.offsets.add(message.partition(), message.offset()),
            Err((error, _)) => Err(format!("a record failed: {error}").into()),
        };
        if let Err(failure) = added {
            counted.failed.get_or_insert(failure.to_string());
        }
    }
}

/// Sends so many records with the BaseProducer and reads all results; the program of [`crate::programs::produce`] for
/// an interface without futures.
pub fn produce_base(target: &Target, value: &Bytes, records: u64) -> Result<Offsets> {
    let mut config = producer_config(target);
    config.set("queue.buffering.max.messages", WINDOW.to_string());
    let producer: BaseProducer<Results> =
        BaseProducer::from_config_and_context(&config, Results::default()).doing("make a BaseProducer")?;
    for index in 0..records {
        let mut record = BaseRecord::<(), [u8]>::to(&target.topic).payload(&value[..]);
        let started = Instant::now();
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(format!("send: {error}").into());
            }
            if started.elapsed() >= SILENCE_MAX {
                return Err(format!("no room for record {index} after {SILENCE_MAX:?}").into());
            }
            producer.poll(POLL);
            record = back;
        }
        if index % POLL_RECORDS == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(SILENCE_MAX).doing("wait for the last results")?;
    let counted = producer.context().0.take();
    match counted.failed {
        Some(message) => Err(message.into()),
        None if counted.count == records => Ok(counted.offsets),
        None => Err(format!("{records} records were sent, and {} results came", counted.count).into()),
    }
}

fn consumer_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "ottla-client-bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}

fn all_partitions(topic: &str) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).doing("list the partitions")?;
    }
    Ok(list)
}

/// The StreamConsumer.
pub struct Stream(StreamConsumer);

impl Stream {
    /// A consumer of all partitions, without a group.
    pub fn new(bootstrap: &str, topic: &str) -> Result<Stream> {
        let consumer: StreamConsumer = consumer_config(bootstrap).create().doing("make a StreamConsumer")?;
        consumer.assign(&all_partitions(topic)?).doing("assign")?;
        Ok(Stream(consumer))
    }
}

impl Consumer for Stream {
    async fn next(&mut self, seen: &mut Seen) -> Result<()> {
        let message = self.0.recv().await.doing("recv")?;
        seen.add(message.partition(), message.offset(), message.key(), message.payload())
    }
}

/// The BaseConsumer.
pub struct Poll(BaseConsumer);

impl Poll {
    /// A consumer of all partitions, without a group.
    pub fn new(bootstrap: &str, topic: &str) -> Result<Poll> {
        let consumer: BaseConsumer = consumer_config(bootstrap).create().doing("make a BaseConsumer")?;
        consumer.assign(&all_partitions(topic)?).doing("assign")?;
        Ok(Poll(consumer))
    }
}

impl Consumer for Poll {
    async fn next(&mut self, seen: &mut Seen) -> Result<()> {
        let message = self.0.poll(SILENCE_MAX).ok_or("poll: nothing came")?.doing("poll")?;
        seen.add(message.partition(), message.offset(), message.key(), message.payload())
    }
}

/// The FutureProducer in an outage.
#[derive(Clone)]
pub struct Outage(FutureProducer);

impl Outage {
    /// A producer that has connected to nothing yet.
    pub fn new(bootstrap: &str) -> Result<Outage> {
        let target =
            Target { bootstrap: bootstrap.to_owned(), topic: String::new(), linger: outage::client::LINGER };
        let mut config = producer_config(&target);
        config.set("message.timeout.ms", outage::DELIVERY_TIMEOUT.as_millis().to_string());
        Ok(Outage(FutureProducer::from_config(&config).doing("make a FutureProducer")?))
    }
}

impl outage::client::Sender for Outage {
    type Delivery = DeliveryFuture;

    async fn offer(&self, partition: i32, value: Bytes) -> Option<DeliveryFuture> {
        let record = FutureRecord::<(), [u8]>::to(outage::TOPIC).partition(partition).payload(&value[..]);
        self.0.send_result(record).ok()
    }

    async fn fate(delivery: &mut DeliveryFuture) -> Fate {
        match delivery.await {
            Ok(Ok(delivered)) => Fate::Delivered((delivered.offset >= 0).then_some(delivered.offset)),
            // The wrapper keeps to itself what librdkafka knows of whether the record may have been written.
            Ok(Err(_)) | Err(_) => Fate::Maybe,
        }
    }
}
