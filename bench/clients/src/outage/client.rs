//! What the client's process does in an outage: one task for each partition offers records at a fixed rate, and reads the
//! result of each that was accepted.
//!
//! An offer that finds no room is refused and not made again. Fates go to a file as they come; nothing is kept.

use std::{
    collections::VecDeque,
    fs::File,
    future::Future,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::{DELIVERY_TIMEOUT, VALUE_BYTES, judge::Fate};
use crate::{
    clients::{self, Client},
    failure::{Doing, Result},
    load::PARTITIONS,
};

/// How long a record may wait for others.
pub const LINGER: Duration = Duration::from_millis(5);
/// How long a client that only waits for room may wait.
pub const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long after its delivery time-out a record's result is waited for.
const LATE_MAX: Duration = Duration::from_secs(30);
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// A client in an outage.
pub trait Sender: Clone + Send + Sync + 'static {
    /// What a record's fate is awaited with.
    type Delivery: Send + 'static;

    /// Offers a record; `None` where there is no room for it.
    fn offer(&self, partition: i32, value: Bytes) -> impl Future<Output = Option<Self::Delivery>> + Send;

    /// What became of a record.
    fn fate(delivery: &mut Self::Delivery) -> impl Future<Output = Fate> + Send;
}

struct Told {
    started: Instant,
    accepted: AtomicU64,
    refused: AtomicU64,
    answered: AtomicU64,
    fates: Mutex<BufWriter<File>>,
}

impl Told {
    fn tell(&self, partition: i32, number: u64, fate: Fate) {
        let at_ms = self.started.elapsed().as_millis() as u64;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let line = fate.line(at_ms, partition, number);
        // A fate that cannot be written would make the judgement worth nothing.
        let mut fates = self.fates.lock().expect("nobody panics while holding it");
        fates.write_all(line.as_bytes()).expect("the file of fates can be written");
    }

    fn line(&self, done: bool) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "accepted": of(&self.accepted),
            "refused": of(&self.refused),
            "answered": of(&self.answered),
            "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            "done": done,
        })
        .to_string()
    }
}

/// Offers so many records a second for so many seconds, and tells the fate of each.
pub fn run(client: Client, bootstrap: &str, seconds: u64, rate: u64, fates: &Path) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing("start a runtime")?;
    runtime.block_on(async {
        match client {
            Client::RdkafkaFuture => {
                drive(clients::rdkafka::Outage::new(bootstrap)?, seconds, rate, fates).await
            }
            Client::Krafka => {
                drive(clients::krafka::Outage::new(bootstrap).await?, seconds, rate, fates).await
            }
            Client::Ottla => drive(clients::ottla::Outage::new(bootstrap)?, seconds, rate, fates).await,
            other => Err(format!("{} is not in the outage program", other.name()).into()),
        }
    })
}

async fn drive(sender: impl Sender, seconds: u64, rate: u64, fates: &Path) -> Result<()> {
    let file = File::create(fates).doing(format_args!("create {}", fates.display()))?;
    let told = Arc::new(Told {
        started: Instant::now(),
        accepted: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        fates: Mutex::new(BufWriter::new(file)),
    });
    println!("{}", told.line(false));
    let every = Duration::from_secs(PARTITIONS as u64).div_f64(rate as f64);
    let end = told.started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            tokio::spawn(partition_task(sender.clone(), partition, every, end, Arc::clone(&told)))
        })
        .collect();
    let teller = tokio::spawn({
        let told = Arc::clone(&told);
        async move {
            let mut ticks = interval(TELL_INTERVAL);
            loop {
                ticks.tick().await;
                println!("{}", told.line(false));
            }
        }
    });
    for task in tasks {
        task.await.doing("a partition's task")?;
    }
    teller.abort();
    let _ = teller.await;
    told.fates.lock().expect("nobody panics while holding it").flush().doing("write the fates")?;
    println!("{}", told.line(true));
    Ok(())
}

/// Offers records to a partition until the end, and then waits for the results that are not there yet.
async fn partition_task<S: Sender>(
    sender: S,
    partition: i32,
    every: Duration,
    end: Instant,
    told: Arc<Told>,
) {
    let mut ticks = interval(every);
    // What could not be offered in time is not offered later: the rate is fixed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut waiting: VecDeque<(u64, S::Delivery)> = VecDeque::new();
    for number in 0.. {
        loop {
            let Some((oldest, delivery)) = waiting.front_mut() else {
                ticks.tick().await;
                break;
            };
            tokio::select! {
                fate = S::fate(delivery) => {
                    told.tell(partition, *oldest, fate);
                    waiting.pop_front();
                }
                _ = ticks.tick() => break,
            }
        }
        if Instant::now() >= end {
            break;
        }
        match sender.offer(partition, value(number)).await {
            Some(delivery) => {
                told.accepted.fetch_add(1, Ordering::Relaxed);
                waiting.push_back((number, delivery));
            }
            None => drop(told.refused.fetch_add(1, Ordering::Relaxed)),
        }
    }
    let patience = tokio::time::sleep(DELIVERY_TIMEOUT + LATE_MAX);
    tokio::pin!(patience);
    for (number, mut delivery) in waiting {
        tokio::select! {
            biased;
            fate = S::fate(&mut delivery) => told.tell(partition, number, fate),
            () = &mut patience => return,
        }
    }
}

/// A value that bears its number.
fn value(number: u64) -> Bytes {
    let mut value = BytesMut::with_capacity(VALUE_BYTES);
    value.put_u64(number);
    value.resize(VALUE_BYTES, b'o');
    value.freeze()
}
