//! Rows a to e: producing, and what each acknowledgement costs.

use std::time::Duration;

use crate::{
    broker::{Broker, Kind},
    client::{Topic, create_topic},
    failure::Result,
    frames::{self, Batch, Template},
    generator::{Generator, Outcome, Until, Work},
    rows::{Context, Figures, Reading, Used, blame},
    trace,
};

/// How the requests of connections are spread over partitions.
#[derive(Debug, Clone, Copy)]
pub enum Spread {
    /// Each connection goes round all partitions, starting at its own place, without end.
    Rotating,
    /// Each connection has its own equal share of the partitions, goes round those, and ends after so many
    /// requests.
    Own {
        /// Requests of each connection.
        requests: u64,
    },
}

/// Produce requests that are all alike but for their partition.
pub struct Writes {
    template: Template,
    partitions: u64,
    connections: u64,
    spread: Spread,
}

impl Writes {
    /// Spreads `template` from `connections` over `partitions`.
    pub fn new(template: Template, partitions: u64, connections: u64, spread: Spread) -> Writes {
        Writes { template, partitions, connections, spread }
    }

    fn partition(&self, connection: usize, sequence: u64) -> i32 {
        let start = connection as u64 * self.partitions / self.connections;
        let partition = match self.spread {
            Spread::Rotating => (start + sequence) % self.partitions,
            Spread::Own { .. } => {
                let end = (connection as u64 + 1) * self.partitions / self.connections;
                start + sequence % (end - start)
            }
        };
        partition as i32
    }
}

impl Work for Writes {
    fn template(&self, _connection: usize) -> &Template {
        &self.template
    }

    fn prepare(&mut self, connection: usize, sequence: u64, head: &mut [u8]) -> bool {
        if let Spread::Own { requests } = self.spread
            && sequence >= requests
        {
            return false;
        }
        self.template.patch(head, sequence as i32, self.partition(connection, sequence));
        true
    }

    fn check(&mut self, connection: usize, sequence: u64, seen: &[u8]) -> std::result::Result<u64, String> {
        let due = self.partition(connection, sequence);
        match frames::read_produced(seen) {
            Ok((partition, frames::NONE, offset)) if partition == due && offset >= 0 => {
                Ok(self.template.batch_bytes as u64)
            }
            Ok((partition, code, offset)) => {
                let name = frames::error_name(code);
                Err(format!(
                    "produce to partition {due}: partition {partition}, error {code} ({name}), offset {offset}"
                ))
            }
            Err(error) => Err(format!("produce to partition {due}: {error}")),
        }
    }
}

/// One way to produce.
struct Case {
    prefix: &'static str,
    partitions: i32,
    batch: Batch,
    connections: usize,
    in_flight: usize,
    measured: Duration,
}

/// Row a.
pub fn a(context: &Context, kind: Kind) -> Result<Figures> {
    let batch = Batch::filled(16 << 10, 100, context.now_ms());
    let measured = context.round();
    one(context, kind, Case { prefix: "", partitions: 16, batch, connections: 16, in_flight: 5, measured })
}

/// Row b.
pub fn b(context: &Context, kind: Kind) -> Result<Figures> {
    let batch = Batch::filled(1_000_000, 1 << 10, context.now_ms());
    let measured = Duration::from_secs_f64(context.options.long_seconds);
    one(context, kind, Case { prefix: "", partitions: 4, batch, connections: 4, in_flight: 5, measured })
}

/// Row c.
pub fn c(context: &Context, kind: Kind) -> Result<Figures> {
    let batch = Batch::single(100, context.now_ms());
    let measured = context.round();
    one(context, kind, Case { prefix: "", partitions: 16, batch, connections: 64, in_flight: 1, measured })
}

/// Row d.
pub fn d(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let measured = context.round();
    let sizes = [
        ("16k.", Batch::filled(16 << 10, 100, context.now_ms())),
        ("100b.", Batch::single(100, context.now_ms())),
    ];
    for (prefix, batch) in sizes {
        let case = Case { prefix, partitions: 1, batch, connections: 1, in_flight: 1, measured };
        let topic = Topic::new(&format!("{prefix}d"), case.partitions);
        create_topic(context, &mut broker, &topic)?;
        rounds(context, &mut broker, &topic, &case, &mut figures)
            .map_err(|failure| blame(&mut broker, failure))?;
    }
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// Row e: the broker is warmed up on another topic, so that the first second shows the cost of the first touch
/// of 1,000 partitions and not of a cold virtual machine.
pub fn e(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let batch = Batch::filled(1 << 10, 100, context.now_ms());
    let measured = context.round();
    let mut case =
        Case { prefix: "warm_up.", partitions: 16, batch, connections: 16, in_flight: 5, measured };
    let warm_up = Topic::new("warm-up", case.partitions);
    create_topic(context, &mut broker, &warm_up)?;
    rounds(context, &mut broker, &warm_up, &case, &mut figures)
        .map_err(|failure| blame(&mut broker, failure))?;

    case.partitions = 1000;
    let topic = Topic::new("wide", case.partitions);
    create_topic(context, &mut broker, &topic)?;
    let mut wide = || -> Result<()> {
        // At least two seconds, because the first one is a figure of its own.
        case.measured = measured.max(Duration::from_secs(2));
        let (first, used) = round(context, &broker, &topic, &case)?;
        figures.set_round("first.", &first, &used);
        figures.set("first_second_requests_per_s", first.per_second[0] as f64);
        // The steady state comes only after each partition was touched, which took Kafka twelve seconds.
        touch(context, &broker, &topic, &case)?;
        case.measured = measured;
        let (steady, used) = round(context, &broker, &topic, &case)?;
        figures.set_round("", &steady, &used);
        Ok(())
    };
    wide().map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

fn one(context: &Context, kind: Kind, case: Case) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let topic = Topic::new("rows", case.partitions);
    create_topic(context, &mut broker, &topic)?;
    rounds(context, &mut broker, &topic, &case, &mut figures)
        .map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// Warm-up rounds, the round that counts, and one more under strace where that is asked for.
fn rounds(
    context: &Context,
    broker: &mut Broker,
    topic: &Topic,
    case: &Case,
    figures: &mut Figures,
) -> Result<()> {
    for _ in 1..context.options.rounds {
        round(
            context,
            broker,
            topic,
            &Case { measured: context.round(), batch: case.batch.clone(), ..*case },
        )?;
    }
    let (outcome, used) = round(context, broker, topic, case)?;
    figures.set_round(case.prefix, &outcome, &used);
    if context.options.strace {
        let tracer = trace::Tracer::attach(broker)?;
        let (outcome, _) = round(context, broker, topic, case)?;
        figures.set(format!("{}strace.requests", case.prefix), outcome.requests as f64);
        for (call, count) in tracer.finish()? {
            figures.set(format!("{}strace.{call}", case.prefix), count as f64);
        }
    }
    Ok(())
}

fn round(context: &Context, broker: &Broker, topic: &Topic, case: &Case) -> Result<(Outcome, Used)> {
    context.settle()?;
    let template = frames::produce(&topic.name, &case.batch);
    let work = Writes::new(template, case.partitions as u64, case.connections as u64, Spread::Rotating);
    let (connections, in_flight) = (case.connections, case.in_flight);
    let mut generator =
        Generator::connect(broker.addr(), connections, in_flight, work, &context.interrupted)?;
    let before = Reading::take(context, broker)?;
    let outcome = generator.run(Until::Elapsed(case.measured))?;
    let used = Reading::take(context, broker)?.since(before);
    generator.drain()?;
    Ok((outcome, used))
}

/// Produces once to every partition.
fn touch(context: &Context, broker: &Broker, topic: &Topic, case: &Case) -> Result<()> {
    let (connections, in_flight) = (case.connections, case.in_flight);
    let requests = (case.partitions as u64).div_ceil(connections as u64);
    let template = frames::produce(&topic.name, &case.batch);
    let work = Writes::new(template, case.partitions as u64, connections as u64, Spread::Own { requests });
    Generator::connect(broker.addr(), connections, in_flight, work, &context.interrupted)?
        .run(Until::Done)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(spread: Spread, partitions: u64, connections: u64, each: u64) -> Vec<i32> {
        let template = frames::produce("t", &Batch::single(100, 0));
        let writes = Writes::new(template, partitions, connections, spread);
        (0..connections as usize)
            .flat_map(|connection| (0..each).map(move |sequence| (connection, sequence)))
            .map(|(connection, sequence)| writes.partition(connection, sequence))
            .collect()
    }

    #[test]
    fn every_partition_gets_its_share() {
        for (spread, connections, each) in [
            (Spread::Rotating, 16, 1000),
            (Spread::Own { requests: 63 }, 16, 63),
            (Spread::Own { requests: 500 }, 4, 500),
        ] {
            let mut counts = vec![0; 1000];
            for partition in partitions(spread, 1000, connections, each) {
                counts[partition as usize] += 1;
            }
            assert!(counts.iter().all(|&count| count >= 1), "{spread:?}");
        }
        let own = partitions(Spread::Own { requests: 500 }, 1000, 4, 500);
        assert!((0..1000).all(|partition| own.iter().filter(|&&found| found == partition).count() == 2));
    }

    #[test]
    fn connections_start_at_partitions_of_their_own() {
        assert_eq!(partitions(Spread::Rotating, 16, 16, 1), (0..16).collect::<Vec<_>>());
    }
}
