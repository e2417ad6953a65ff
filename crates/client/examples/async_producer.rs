//! Sends many records without waiting for each, and hears of successes and errors as they come.
//!
//!     cargo run -p ottla-client --example async_producer -- localhost:9092 orders 100000

use std::{env, error::Error, time::Duration};

use ottla_client::{
    Kafka, Record, Written,
    producer::{Delivery, Producer},
};
use tokio::{sync::mpsc, task};

/// Deliveries that wait to be looked at.
const WAITING: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let [brokers, topic, count] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "give BROKERS TOPIC COUNT")?;
    let count = count.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let seen = runtime.block_on(send_all(&brokers, &topic, count))?;
    println!("{} successes, {} errors", seen.successes, seen.errors);
    Ok(())
}

/// What became of the records.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many are in the log.
    pub successes: u64,
    /// How many failed.
    pub errors: u64,
}

/// Sends so many records.
pub async fn send_all(brokers: &str, topic: &str, count: u64) -> Result<Seen, Box<dyn Error>> {
    let producer = Kafka::builder(brokers.split(',')).build()?.producer().build()?;
    let (deliveries, taken) = mpsc::channel(WAITING);
    let watching = task::spawn(watch(taken));
    input(&producer, topic, count, deliveries).await;
    let report = producer.close(Duration::from_secs(30)).await;
    if report.failed + report.unsent > 0 {
        eprintln!("{} records failed, {} were not sent", report.failed, report.unsent);
    }
    Ok(watching.await?)
}

/// Gives records to the producer, which takes them as fast as its memory has room.
async fn input(producer: &Producer, topic: &str, count: u64, deliveries: mpsc::Sender<Delivery>) {
    for number in 0..count {
        let record = Record::new(topic).key(format!("key-{}", number % 100)).value(format!("value {number}"));
        match producer.enqueue(record).await {
            // Where nobody watches any more, nobody wants to know.
            Ok(delivery) => drop(deliveries.send(delivery).await),
            Err(rejected) => eprintln!("{rejected}"),
        }
    }
}

/// Looks at what became of each record, in the order in which they were sent.
async fn watch(mut deliveries: mpsc::Receiver<Delivery>) -> Seen {
    let mut seen = Seen::default();
    while let Some(delivery) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => seen.successes += 1,
            Err(failed) => {
                seen.errors += 1;
                match failed.error().written() {
                    Some(Written::Maybe) => eprintln!("{failed}; look it up before you send it again"),
                    _ => eprintln!("{failed}; it can be sent again: {:?}", failed.record()),
                }
            }
        }
    }
    seen
}
