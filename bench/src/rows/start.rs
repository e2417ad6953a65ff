//! Rows i and j: how long until a broker acknowledges a first record, empty or after SIGKILL, and what it holds
//! in memory while nobody asks for anything.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    broker::{Broker, Kind},
    client::{Client, Topic, create_topic, latest_offsets},
    disk,
    failure::{Doing, Result},
    frames::{self, Batch},
    generator::{Generator, Until},
    rows::{
        Context, Figures, blame, mib,
        produce::{Spread, Writes},
    },
};

const WIDE: i32 = 1000;
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two tries to connect or to be acknowledged.
const RETRY: Duration = Duration::from_millis(1);

/// Row i.
pub fn run(context: &Context, kind: Kind) -> Result<Figures> {
    let mut figures = Figures::default();
    empty(context, kind, &mut figures)?;
    killed(context, kind, &mut figures)?;
    Ok(figures)
}

/// Row j.
pub fn idle(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    first_answer(context, &mut broker)?;
    let before = broker.cpu()?;
    let time = Duration::from_secs(5);
    context.pause(time)?;
    broker.check_alive()?;
    let (memory, _) = broker.memory()?;
    let mut figures = Figures::default();
    figures.set("idle_resident_mib", mib(memory.resident));
    figures.set("idle_anonymous_mib", mib(memory.anonymous));
    figures.set("idle_cores", (broker.cpu()? - before).as_secs_f64() / time.as_secs_f64());
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// The median of several starts on an empty directory.
fn empty(context: &Context, kind: Kind, figures: &mut Figures) -> Result<()> {
    let topic = Topic::new("first", 1);
    let mut starts = Vec::new();
    for _ in 0..context.options.rounds {
        let mut broker = context.start(kind)?;
        let answered = first_answer(context, &mut broker)?;
        let acknowledged = first_acknowledgement(context, &mut broker, &topic, true)?;
        starts.push((acknowledged, answered, broker.cpu()?));
    }
    starts.sort_unstable();
    let (acknowledged, answered, cpu) = starts[starts.len() / 2];
    figures.set("empty.first_ack_ms", acknowledged.as_secs_f64() * 1e3);
    figures.set("empty.first_answer_ms", answered.as_secs_f64() * 1e3);
    figures.set("empty.cpu_ms", cpu.as_secs_f64() * 1e3);
    Ok(())
}

/// Fills 1,000 partitions, kills the broker, evicts its files and starts it again. Whatever was acknowledged must
/// be there afterwards.
fn killed(context: &Context, kind: Kind, figures: &mut Figures) -> Result<()> {
    let mut broker = context.start(kind)?;
    let topic = Topic { retention_bytes: None, ..Topic::new("wide", WIDE) };
    create_topic(context, &mut broker, &topic)?;
    let acknowledged_before =
        fill(context, &broker, &topic).map_err(|failure| blame(&mut broker, failure))?;
    broker.kill()?;
    context.settle()?;
    disk::evict(&broker.data()).doing("evict the data from the page cache")?;

    broker.restart()?;
    let answered = first_answer(context, &mut broker)?;
    let acknowledged = first_acknowledgement(context, &mut broker, &topic, false)?;
    figures.set("killed.first_ack_ms", acknowledged.as_secs_f64() * 1e3);
    figures.set("killed.first_answer_ms", answered.as_secs_f64() * 1e3);
    figures.set("killed.cpu_ms", broker.cpu()?.as_secs_f64() * 1e3);
    figures.set("killed.data_gb", acknowledged_before.bytes as f64 / 1e9);
    figures.set_memory(&broker)?;
    let ready = check_nothing_lost(context, &mut broker, &topic, &acknowledged_before)?;
    figures.set("killed.all_partitions_ms", ready.as_secs_f64() * 1e3);
    Ok(())
}

/// What was acknowledged before the kill.
struct Acknowledged {
    bytes: u64,
    records_per_partition: i64,
}

fn fill(context: &Context, broker: &Broker, topic: &Topic) -> Result<Acknowledged> {
    const CONNECTIONS: u64 = 4;
    let batch = Batch::filled(256 << 10, 1 << 10, context.now_ms());
    let total = (context.options.kill_bytes / batch.bytes.len() as u64).max(WIDE as u64);
    let rounds = total / WIDE as u64;
    let spread = Spread::Own { requests: rounds * WIDE as u64 / CONNECTIONS };
    let work = Writes::new(frames::produce(&topic.name, &batch), WIDE as u64, CONNECTIONS, spread);
    let mut generator =
        Generator::connect(broker.addr(), CONNECTIONS as usize, 5, work, &context.interrupted)?;
    let outcome = generator.run(Until::Done)?;
    Ok(Acknowledged { bytes: outcome.bytes, records_per_partition: rounds as i64 * i64::from(batch.records) })
}

/// Waits until every partition answers, compares where each ends, and returns when the last one answered.
fn check_nothing_lost(
    context: &Context,
    broker: &mut Broker,
    topic: &Topic,
    acknowledged: &Acknowledged,
) -> Result<Duration> {
    let mut offsets = Vec::new();
    let ready = retry(context, broker, |addr| {
        offsets = latest_offsets(addr, topic).map_err(io::Error::other)?;
        Ok(true)
    })?;
    // Partition 0 has the records of the first acknowledgement too, one for each try that the broker took.
    let due = acknowledged.records_per_partition;
    let wrong = |&(partition, end): &(usize, i64)| if partition == 0 { end <= due } else { end != due };
    match offsets.into_iter().enumerate().find(wrong) {
        None => Ok(ready),
        Some((partition, end)) => {
            Err(format!("after SIGKILL partition {partition} ends at offset {end}; {due} were acknowledged")
                .into())
        }
    }
}

/// Time from the start of the process to its first answer of any kind.
fn first_answer(context: &Context, broker: &mut Broker) -> Result<Duration> {
    retry(context, broker, |addr| {
        let mut client = Client::connect(addr, PATIENCE)?;
        client.call(&frames::metadata("no-such-topic")).map(|_| true)
    })
}

/// Time from the start of the process to the first acknowledged record, the topic's creation included where it
/// does not exist yet.
fn first_acknowledgement(
    context: &Context,
    broker: &mut Broker,
    topic: &Topic,
    create: bool,
) -> Result<Duration> {
    let template = frames::produce(&topic.name, &Batch::single(100, context.now_ms()));
    if create {
        retry(context, broker, |addr| {
            let answer = Client::connect(addr, PATIENCE)?.call(&topic.create_frame())?;
            let (code, _) = frames::read_created(&answer).map_err(io::Error::other)?;
            Ok(code == frames::NONE || code == 36)
        })?;
    }
    retry(context, broker, |addr| {
        let answer = Client::connect(addr, PATIENCE)?.call(&template.head)?;
        let (_, code, _) = frames::read_produced(&answer).map_err(io::Error::other)?;
        Ok(code == frames::NONE)
    })
}

/// Tries until it succeeds, and returns how long after the broker's start that was.
pub fn retry(
    context: &Context,
    broker: &mut Broker,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<bool>,
) -> Result<Duration> {
    let deadline = broker.started() + PATIENCE;
    loop {
        let outcome = attempt(broker.addr());
        if matches!(outcome, Ok(true)) {
            return Ok(broker.started().elapsed());
        }
        context.check_interrupted()?;
        broker.check_alive()?;
        if Instant::now() >= deadline {
            let problem =
                outcome.err().map_or_else(|| "it answers with errors".to_owned(), |error| error.to_string());
            let (name, log) = (broker.kind().name(), broker.log_end());
            return Err(format!(
                "{name} is not up after {} s: {problem}; its log ends:\n{log}",
                PATIENCE.as_secs()
            )
            .into());
        }
        std::thread::sleep(RETRY);
    }
}
