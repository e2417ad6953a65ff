//! Rows m and n: very many small groups that do nothing but live. What they cost while they idle, and whether a
//! restart loses any of them.

mod create;

use std::{
    io,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use self::create::Created;
use crate::{
    broker::{Broker, Kind},
    calls::Calls,
    client::{Client, Topic, await_groups, create_topic},
    failure::{Doing, Result},
    frames::{self, groups},
    generator::latencies,
    rows::{Context, Figures, Reading, blame, start},
};

/// Pairs of connections: in each, one carries the first members of groups and the other the second ones.
const LANES: usize = 8;
/// Groups that exist before memory is first looked at, so that what a broker allocates once is no group's.
const WARM_UP: usize = 200;
/// Java's `heartbeat.interval.ms`.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Heartbeats that are under way at once while all members are asked for.
const WINDOW: usize = 256;
/// How long a broker may take to take every member back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Row m.
pub fn idle(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = start(context, kind)?;
    let mut figures = Figures::default();
    idle_in(context, &broker, &mut figures).map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// Row n.
pub fn restart(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = start(context, kind)?;
    let mut figures = Figures::default();
    let created = create(context, &broker, "group", context.options.groups)
        .map_err(|failure| blame(&mut broker, failure))?;
    for (prefix, stop) in [("term.", Broker::terminate as fn(&mut Broker) -> _), ("kill.", Broker::kill)] {
        context.settle()?;
        stop(&mut broker)?;
        broker.restart()?;
        let first = first_heartbeat(context, &mut broker, &created)?;
        let all =
            all_heartbeats(context, &broker, &created).map_err(|failure| blame(&mut broker, failure))?;
        figures.set(format!("{prefix}first_heartbeat_ms"), first.as_secs_f64() * 1e3);
        figures.set(format!("{prefix}all_heartbeats_ms"), all.as_secs_f64() * 1e3);
        figures.set(format!("{prefix}cpu_ms"), broker.cpu()?.as_secs_f64() * 1e3);
    }
    figures.set("groups", context.options.groups as f64);
    figures.set_memory(&broker)?;
    Ok(figures)
}

fn start(context: &Context, kind: Kind) -> Result<Broker> {
    let mut broker = context.start(kind)?;
    create_topic(context, &mut broker, &Topic::new(create::TOPIC, create::PARTITIONS))?;
    await_groups(context, &mut broker)?;
    Ok(broker)
}

fn idle_in(context: &Context, broker: &Broker, figures: &mut Figures) -> Result<()> {
    let mut calls = Calls::connect(broker.addr(), 2 * LANES, &context.interrupted)?;
    create::run(&mut calls, "warm-up", WARM_UP)?;
    context.pause(Duration::from_secs(1))?;
    let (before, _) = broker.memory()?;
    let started = Instant::now();
    let created = create::run(&mut calls, "group", context.options.groups)?;
    let count = context.options.groups as f64;
    figures.set("groups", count);
    figures.set("groups_per_s", count / started.elapsed().as_secs_f64());
    // What a broker does behind its answers is no part of what groups cost while they idle.
    context.settle()?;
    context.pause(Duration::from_secs(2))?;

    let time = context.round();
    let reading = Reading::take(context, broker)?;
    context.pause(time)?;
    let used = Reading::take(context, broker)?.since(reading);
    figures.set("silent_cpu_percent", used.broker_cpu.as_secs_f64() / time.as_secs_f64() * 1e2);

    let time = context.round() * 3;
    let reading = Reading::take(context, broker)?;
    let latency = heartbeats(&mut calls, &created, time)?;
    let used = Reading::take(context, broker)?.since(reading);
    let answered = latency.len() as f64;
    figures.set("heartbeats_per_s", answered / time.as_secs_f64());
    figures.set("heartbeat_cpu_percent", used.broker_cpu.as_secs_f64() / time.as_secs_f64() * 1e2);
    figures.set("heartbeat_cpu_us", used.broker_cpu.as_secs_f64() * 1e6 / answered);
    figures.set("generator_heartbeat_cpu_us", used.own_cpu.as_secs_f64() * 1e6 / answered);
    for (name, quantile) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
        figures.set(format!("heartbeat_{name}"), latency.value_at_quantile(quantile) as f64 / 1e6);
    }

    let (after, _) = broker.memory()?;
    let kib = |after: u64, before: u64| (after as f64 - before as f64) / 1024.0 / count;
    figures.set("resident_kib_per_group", kib(after.resident, before.resident));
    figures.set("anonymous_kib_per_group", kib(after.anonymous, before.anonymous));
    Ok(())
}

fn create(context: &Context, broker: &Broker, prefix: &str, count: usize) -> Result<Created> {
    let mut calls = Calls::connect(broker.addr(), 2 * LANES, &context.interrupted)?;
    create::run(&mut calls, prefix, count)
}

/// Every member sends a heartbeat each three seconds, at its own moment of them, for `time`; then what is under way is
/// waited for. Returns the latencies.
fn heartbeats(calls: &mut Calls<'_>, created: &Created, time: Duration) -> Result<Histogram<u64>> {
    let members = created.heartbeats.len();
    let started = Instant::now();
    let due = |number: usize| HEARTBEAT_INTERVAL.mul_f64(number as f64 / members as f64);
    let mut latency = latencies();
    let (mut sent, mut answered) = (0, 0);
    loop {
        while due(sent) <= started.elapsed() && due(sent) < time {
            let member = sent % members;
            calls.send(connection(member), member, &created.heartbeats[member])?;
            sent += 1;
        }
        if started.elapsed() >= time && answered == sent {
            return Ok(latency);
        }
        if started.elapsed() >= time + PATIENCE {
            return Err(format!("{} heartbeats were not answered", sent - answered).into());
        }
        let until = if due(sent) < time { due(sent) } else { time + PATIENCE };
        for answer in calls.wait(started + until)? {
            groups::expect_none("heartbeat", groups::read_error(&answer.frame).doing("heartbeat")?)?;
            latency.saturating_record(answer.at.duration_since(answer.sent).as_nanos() as u64);
            answered += 1;
        }
    }
}

/// The time from the start of the process to the first heartbeat that is accepted.
fn first_heartbeat(context: &Context, broker: &mut Broker, created: &Created) -> Result<Duration> {
    let mut code = frames::NONE;
    let time = start::retry(context, broker, |addr| {
        let answer = Client::connect(addr, PATIENCE)?.call(&created.heartbeats[0])?;
        code = groups::read_error(&answer).map_err(io::Error::other)?;
        Ok(!groups::not_ready(code))
    })?;
    groups::expect_none("the first heartbeat after a restart", code)?;
    Ok(time)
}

/// The time from the start of the process until every member's heartbeat was accepted in its generation.
fn all_heartbeats(context: &Context, broker: &Broker, created: &Created) -> Result<Duration> {
    let mut calls = Calls::connect(broker.addr(), 2 * LANES, &context.interrupted)?;
    let deadline = broker.started() + PATIENCE;
    let mut missing: Vec<usize> = (0..created.heartbeats.len()).collect();
    loop {
        missing = ask(&mut calls, created, missing, deadline)?;
        if missing.is_empty() {
            return Ok(broker.started().elapsed());
        }
        // A broker that loads its groups is not to be kept busy with refusals.
        context.pause(Duration::from_millis(5))?;
    }
}

/// Sends a heartbeat of each of these members, and returns those whose group is not loaded yet. Any other refusal is a
/// rebalance, or a group that is lost.
fn ask(
    calls: &mut Calls<'_>,
    created: &Created,
    mut members: Vec<usize>,
    deadline: Instant,
) -> Result<Vec<usize>> {
    let mut not_loaded = Vec::new();
    let mut under_way = 0;
    while !members.is_empty() || under_way > 0 {
        while under_way < WINDOW
            && let Some(member) = members.pop()
        {
            calls.send(connection(member), member, &created.heartbeats[member])?;
            under_way += 1;
        }
        for answer in calls.wait(deadline)? {
            under_way -= 1;
            let (group, which) = (answer.tag / 2, answer.tag % 2 + 1);
            match groups::read_error(&answer.frame).doing("heartbeat")? {
                frames::NONE => {}
                code if groups::not_ready(code) => not_loaded.push(answer.tag),
                code => {
                    let name = frames::error_name(code);
                    return Err(format!(
                        "after a restart member {which} of group {group} is refused: error {code} ({name})"
                    )
                    .into());
                }
            }
        }
        if Instant::now() >= deadline {
            let left = members.len() + under_way + not_loaded.len();
            return Err(format!("{left} members were not taken back in {} s", PATIENCE.as_secs()).into());
        }
    }
    Ok(not_loaded)
}

/// The connection of a member: groups go round the lanes, and the two members of a group have one each.
fn connection(member: usize) -> usize {
    let (group, which) = (member / 2, member % 2);
    2 * (group % LANES) + which
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_group_have_a_connection_each_in_the_same_lane() {
        for group in 0..50 {
            let [first, second] = [2 * group, 2 * group + 1].map(connection);
            assert_eq!(second, first + 1);
            assert_eq!(first / 2, group % LANES);
            assert!(second < 2 * LANES);
        }
    }
}
