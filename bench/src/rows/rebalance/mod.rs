//! Row l: a large group comes together, and settles again after one more member has joined, under both protocols.
//!
//! Each member is a client of its own with a connection of its own, and behaves as Java's consumer does: one request
//! under way, the next heartbeat an interval after the last request, and what it learns from an answer it acts upon
//! at once. Members hold no records, so that giving up a partition takes them no time.

mod classic;
mod consumer;

use std::time::{Duration, Instant};

use crate::{
    broker::{Broker, Kind},
    calls::Calls,
    client::{Client, Topic, await_groups, create_topic},
    failure::{Doing, Result},
    frames::groups,
    rows::{Context, Figures, Reading, blame},
};

const MEMBERS: usize = 500;
const PARTITIONS: i32 = 5000;
/// How long a group may take to settle.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the clients of one protocol send, and what they make of the answers.
trait Clients {
    /// The first request of a client.
    fn join(&mut self, client: usize) -> Vec<u8>;

    /// Judges an answer and says what the client does next.
    fn answered(&mut self, client: usize, answer: &[u8]) -> Result<Next>;

    /// The heartbeat that a client sends when nothing else is to be done.
    fn heartbeat(&self, client: usize) -> Vec<u8>;

    /// From one request to the next heartbeat.
    fn interval(&self) -> Duration;

    /// Whether the first `joined` clients have all that they will get, each partition at exactly one of them.
    fn settled(&self, joined: usize) -> Result<bool>;

    /// Who holds what, for a group that does not settle.
    fn state(&self, joined: usize) -> String;

    /// Requests by which everyone leaves.
    fn leave(&self, joined: usize) -> Vec<Vec<u8>>;

    /// The error code of an answer to one of them.
    fn read_left(&self, answer: &[u8]) -> Result<i16>;
}

/// What a client does after an answer.
enum Next {
    /// It joins again.
    Rejoin(Vec<u8>),
    /// It sends this at once.
    Send(Vec<u8>),
    /// It waits for its next heartbeat.
    Wait,
}

/// Row l.
pub fn run(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let topic = Topic::new("shared", PARTITIONS);
    create_topic(context, &mut broker, &topic)?;
    await_groups(context, &mut broker)?;
    let mut both = || -> Result<()> {
        for round in 1..=context.options.rounds {
            let group = format!("classic-{round}");
            let clients = classic::Members::new(group, &topic, MEMBERS + 1);
            one_round(context, &broker, clients, "classic.", &mut figures)?;
        }
        for round in 1..=context.options.rounds {
            let group = format!("consumer-{round}");
            let clients = consumer::Members::new(group, &topic, MEMBERS + 1);
            one_round(context, &broker, clients, "consumer.", &mut figures)?;
        }
        Ok(())
    };
    both().map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// All join, one more joins, all leave. The figures of the last round stay.
fn one_round(
    context: &Context,
    broker: &Broker,
    clients: impl Clients,
    prefix: &str,
    figures: &mut Figures,
) -> Result<()> {
    context.settle()?;
    let calls = Calls::connect(broker.addr(), MEMBERS + 1, &context.interrupted)?;
    let mut group = Group::new(calls, clients);
    let mut set = |name: &str, value: f64| figures.set(format!("{prefix}{name}"), value);

    let before = Reading::take(context, broker)?;
    let started = Instant::now();
    for _ in 0..MEMBERS {
        group.join()?;
    }
    set("first_ms", group.until_settled()?.duration_since(started).as_secs_f64() * 1e3);
    let used = Reading::take(context, broker)?.since(before);
    set("first_cpu_ms", used.broker_cpu.as_secs_f64() * 1e3);

    let before = Reading::take(context, broker)?;
    group.spread()?;
    let used = Reading::take(context, broker)?.since(before);
    set("steady_cpu_percent", used.broker_cpu.as_secs_f64() / group.clients.interval().as_secs_f64() * 1e2);

    let before = Reading::take(context, broker)?;
    let started = Instant::now();
    group.join()?;
    let settled = group.until_settled()?;
    set("join_ms", settled.duration_since(started).as_secs_f64() * 1e3);
    set("join_rest_ms", settled.duration_since(group.last_join.max(group.last_beat)).as_secs_f64() * 1e3);
    let answered = group.first_answer.map_or(f64::NAN, |at| at.duration_since(started).as_secs_f64() * 1e3);
    set("join_answer_ms", answered);
    let used = Reading::take(context, broker)?.since(before);
    set("join_cpu_ms", used.broker_cpu.as_secs_f64() * 1e3);
    set("generator_join_cpu_ms", used.own_cpu.as_secs_f64() * 1e3);
    group.leave(broker)
}

/// A group of clients, as far as they have joined.
struct Group<'a, C> {
    calls: Calls<'a>,
    clients: C,
    /// When each client sends its next heartbeat; none while a request of it is under way.
    due: Vec<Option<Instant>>,
    /// When a client last sent a request to join.
    last_join: Instant,
    /// When the client that joined last last sent a heartbeat because it was time for one.
    last_beat: Instant,
    /// When the client that joined last was first answered.
    first_answer: Option<Instant>,
}

impl<'a, C: Clients> Group<'a, C> {
    fn new(calls: Calls<'a>, clients: C) -> Group<'a, C> {
        let now = Instant::now();
        Group { calls, clients, due: Vec::new(), last_join: now, last_beat: now, first_answer: None }
    }

    /// One more client joins.
    fn join(&mut self) -> Result<()> {
        let client = self.due.len();
        self.due.push(None);
        self.last_join = Instant::now();
        self.first_answer = None;
        let frame = self.clients.join(client);
        self.calls.send(client, client, &frame)
    }

    /// Sends what is due, waits for answers and acts upon them.
    fn turn(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut wake = now + Duration::from_secs(1);
        for client in 0..self.due.len() {
            match self.due[client] {
                Some(due) if due <= now => {
                    self.due[client] = None;
                    if client + 1 == self.due.len() {
                        self.last_beat = now;
                    }
                    let frame = self.clients.heartbeat(client);
                    self.calls.send(client, client, &frame)?;
                }
                Some(due) => wake = wake.min(due),
                None => {}
            }
        }
        for answer in self.calls.wait(wake)? {
            let client = answer.tag;
            if client + 1 == self.due.len() {
                self.first_answer.get_or_insert(answer.at);
            }
            match self.clients.answered(client, &answer.frame)? {
                Next::Rejoin(frame) => {
                    self.last_join = Instant::now();
                    self.calls.send(client, client, &frame)?;
                }
                Next::Send(frame) => self.calls.send(client, client, &frame)?,
                Next::Wait => self.due[client] = Some(answer.sent + self.clients.interval()),
            }
        }
        Ok(())
    }

    /// Goes on until the group has settled, and says when that was.
    fn until_settled(&mut self) -> Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn()?;
            let joined = self.due.len();
            if self.clients.settled(joined)? {
                return Ok(Instant::now());
            }
            if Instant::now() >= deadline {
                let state = self.clients.state(joined);
                return Err(
                    format!("the group has not settled within {} s: {state}", PATIENCE.as_secs()).into()
                );
            }
        }
    }

    /// Goes on for one interval, in which each client moves its heartbeat to its own place, so that they come evenly
    /// as in a group that has grown over time, whatever the join has done to them.
    ///
    /// A twentieth of the interval stays empty at both ends, because a client joins at the end of this. All others hear
    /// of it afterwards, and what they give up is free by the time of that client's next heartbeat. Otherwise both would
    /// be races, which cost the loser an interval.
    fn spread(&mut self) -> Result<()> {
        while self.due.iter().any(Option::is_none) {
            self.turn()?;
        }
        let (start, interval, clients) = (Instant::now(), self.clients.interval(), self.due.len() as u32);
        for (client, due) in self.due.iter_mut().enumerate() {
            *due = Some(start + interval / 20 + interval * 9 / 10 * client as u32 / clients);
        }
        while start.elapsed() < interval {
            self.turn()?;
        }
        Ok(())
    }

    fn leave(self, broker: &Broker) -> Result<()> {
        drop(self.calls);
        let mut client = Client::connect(broker.addr(), Duration::from_secs(60)).doing("connect")?;
        for frame in self.clients.leave(self.due.len()) {
            let answer = client.call(&frame).doing("leave the group")?;
            groups::expect_none("leave the group", self.clients.read_left(&answer)?)?;
        }
        Ok(())
    }
}

/// Who owns each partition; an error for one that two own, or that is not of the topic.
fn owners<'a>(owned: impl Iterator<Item = &'a [i32]>) -> Result<Vec<Option<usize>>> {
    let mut owners = vec![None; PARTITIONS as usize];
    for (client, partitions) in owned.enumerate() {
        for &partition in partitions {
            let slot = usize::try_from(partition).ok().and_then(|index| owners.get_mut(index));
            match slot {
                Some(slot @ None) => *slot = Some(client),
                Some(Some(other)) => {
                    return Err(format!("members {other} and {client} both own partition {partition}").into());
                }
                None => return Err(format!("member {client} was given partition {partition}").into()),
            }
        }
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_of_two_owners_is_an_error() {
        let owned: [&[i32]; 2] = [&[0, 4999], &[1]];
        let found = owners(owned.into_iter()).unwrap();
        assert_eq!((found[0], found[1], found[2], found[4999]), (Some(0), Some(1), None, Some(0)));
        let twice: [&[i32]; 2] = [&[0], &[1, 0]];
        assert!(owners(twice.into_iter()).unwrap_err().to_string().contains("0 and 1 both own partition 0"));
        for wrong in [-1, 5000] {
            assert!(owners([&[wrong][..]].into_iter()).is_err());
        }
    }
}
