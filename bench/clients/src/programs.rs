//! What a client's process does: one shape for all clients, and proof that it was done.
//!
//! The process prints one JSON line and ends at once; what closing costs is not measured. Its CPU is read by the runner
//! when it has ended, and so includes its start.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    clients::{Client, Consumer, Producer, Target, krafka, ottla, rdkafka},
    failure::{Doing, Result},
    load::{self, Offsets, Readable, Seen, WINDOW},
};

/// How long a batch waits to be filled where records are many.
pub const LINGER: Duration = Duration::from_millis(5);
/// Records before the first whose latency counts.
pub const WARM_UP: u64 = 500;
/// Threads of the runtime on which the program itself runs.
const WORKERS: usize = 2;

/// What a process is told to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// With which client.
    pub client: Client,
    /// The program.
    pub program: Program,
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// How many records at least.
    pub records: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Send records as fast as they go, and read the result of each.
    Produce,
    /// Send one record at a time.
    One,
    /// Read records.
    Consume,
}

impl Program {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Program::Produce => "produce",
            Program::One => "one",
            Program::Consume => "consume",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Program> {
        [Program::Produce, Program::One, Program::Consume].into_iter().find(|program| program.name() == name)
    }
}

/// Does it, and tells what was measured.
pub fn run(job: &Job) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .doing("start a runtime")?;
    let job = job.clone();
    // The program is a task, as in a service, and not what the main thread blocks on.
    let figures = runtime.block_on(async { tokio::spawn(async move { dispatch(&job).await }).await });
    let figures = figures.doing("the program")?;
    // Nothing is closed: a consumer that is dropped may take its time, and that is not what is measured.
    std::mem::forget(runtime);
    figures
}

async fn dispatch(job: &Job) -> Result<Value> {
    let linger = if job.program == Program::One { Duration::ZERO } else { LINGER };
    let target = Target { bootstrap: job.bootstrap.clone(), topic: job.topic.clone(), linger };
    match (job.client, job.program) {
        (Client::RdkafkaBase, Program::Produce) => {
            let value = load::value(job.value_bytes);
            timed(job.records, async {
                rdkafka::produce_base(&target, &value, job.records)?.check(job.records)
            })
            .await
        }
        (Client::RdkafkaFuture, _) => send(job, rdkafka::Future::new(&target)?).await,
        (Client::RdkafkaStream, _) => consume(job, rdkafka::Stream::new(&job.bootstrap, &job.topic)?).await,
        (Client::RdkafkaPoll, _) => consume(job, rdkafka::Poll::new(&job.bootstrap, &job.topic)?).await,
        (Client::Krafka, Program::Consume) | (Client::KrafkaBatch, _) => {
            let batches = job.client == Client::KrafkaBatch;
            consume(job, krafka::Consuming::new(&job.bootstrap, &job.topic, batches).await?).await
        }
        (Client::Krafka, _) => send(job, krafka::Producing::new(&target).await?).await,
        (Client::Ottla | Client::OttlaBatch, Program::Consume) => {
            let batches = job.client == Client::OttlaBatch;
            consume(job, ottla::Consuming::new(&job.bootstrap, &job.topic, batches)?).await
        }
        (Client::Ottla, Program::Produce | Program::One) => send(job, ottla::Producing::new(&target)?).await,
        (client, program) => Err(format!("{} has no program {}", client.name(), program.name()).into()),
    }
}

/// Sends records with a result each, many or one at a time.
pub async fn send(job: &Job, producer: impl Producer + Sync) -> Result<Value> {
    let value = load::value(job.value_bytes);
    if job.program == Program::One {
        return one(&producer, &value, job.records).await;
    }
    timed(job.records, async { produce(&producer, &value, job.records).await?.check(job.records) }).await
}

/// Sends records, at most [`WINDOW`] of them without a result that was read; results are read in order.
async fn produce<P: Producer>(producer: &P, value: &Bytes, records: u64) -> Result<Offsets> {
    let mut offsets = Offsets::default();
    let mut waiting = VecDeque::with_capacity(WINDOW);
    for _ in 0..records {
        if waiting.len() == WINDOW {
            let (partition, offset) = P::delivered(waiting.pop_front().expect("it is full")).await?;
            offsets.add(partition, offset)?;
        }
        waiting.push_back(producer.enqueue(value).await?);
    }
    for delivery in waiting {
        let (partition, offset) = P::delivered(delivery).await?;
        offsets.add(partition, offset)?;
    }
    Ok(offsets)
}

async fn one(producer: &impl Producer, value: &Bytes, records: u64) -> Result<Value> {
    let mut offsets = Offsets::default();
    let mut latencies = Histogram::<u64>::new(3).doing("make a histogram")?;
    for index in 0..WARM_UP + records {
        let started = Instant::now();
        let (partition, offset) = producer.send(value).await?;
        let nanos = started.elapsed().as_nanos() as u64;
        offsets.add(partition, offset)?;
        if index >= WARM_UP {
            latencies.record(nanos).doing("count a latency")?;
        }
    }
    offsets.check(WARM_UP + records)?;
    let microseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(json!({
        "records": WARM_UP + records,
        "p50_us": microseconds(0.5),
        "p99_us": microseconds(0.99),
        "p999_us": microseconds(0.999),
    }))
}

/// Reads all records of the topic, keys and values.
pub async fn consume(job: &Job, mut consumer: impl Consumer) -> Result<Value> {
    let readable = Readable::new(job.records, job.value_bytes)?;
    let all = readable.records();
    timed(all, async {
        let mut seen = Seen::default();
        while seen.records < all {
            consumer.next(&mut seen).await?;
        }
        std::mem::forget(consumer);
        seen.check(&readable, job.value_bytes)
    })
    .await
}

async fn timed(records: u64, program: impl Future<Output = Result<()>>) -> Result<Value> {
    let started = Instant::now();
    program.await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({ "records": records, "seconds": seconds, "records_per_s": records as f64 / seconds }))
}
