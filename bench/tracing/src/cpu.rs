//! What an event costs the thread that logs it.

use std::{fs::File, path::Path, thread, time::Duration};

use ottla_tracing::{Fallback, Format, Sink};
use rustix::time::{ClockId, clock_gettime};
use tracing::{Dispatch, dispatcher, info, info_span};
use tracing_subscriber::{Registry, fmt, prelude::*};

use crate::{
    Outcome, allocations,
    broker::{Broker, TOPIC},
};

/// Events of a turn.
const EVENTS: u32 = 2000;
/// Turns that do not count.
const WARM_UP: u32 = 5;
/// The most that is wanted, of what the other costs.
const WANTED: f64 = 1.0;

/// Some way to log.
struct Way {
    name: &'static str,
    dispatch: Dispatch,
    /// What waits until all that was logged is out of the way.
    settle: Box<dyn Fn()>,
    costs: [Cost; EVENT_KINDS.len()],
}

#[derive(Clone, Copy, Default)]
struct Cost {
    nanoseconds: u64,
    allocations: u64,
}

/// What is logged: a name, and what logs so many.
const EVENT_KINDS: [(&str, fn(u32)); 3] = [("message", message), ("fields", fields), ("spans", spans)];

fn message(events: u32) {
    for _ in 0..events {
        info!("the kettle is on, and tea will be served as soon as the water boils");
    }
}

fn fields(events: u32) {
    for event in 0..events {
        info!(order = event, table = 7_u64, paid = true, name = "Earl Grey", price = 3.5, "tea is served");
    }
}

fn spans(events: u32) {
    let request = info_span!(
        "request",
        method = "GET",
        path = "/orders/42",
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    let _request = request.enter();
    let order = info_span!("order", table = 7, waiter = "nobody in particular");
    let _order = order.enter();
    for event in 0..events {
        info!(order = event, status = ?Some(200), path = %"/orders", "a \"request\" was served");
    }
}

/// Whether it costs no more than wanted.
pub fn run(ottla: &Path, rounds: u32) -> Outcome<bool> {
    let data = tempfile::tempdir()?;
    let broker = Broker::start(ottla, data.path())?;
    let plain = sink(&broker, Format::Plain)?;
    let ecs = sink(&broker, Format::Ecs)?;
    let (writer, _guard) = tracing_appender::non_blocking(File::create("/dev/null")?);
    let other = Registry::default().with(fmt::layer().json().with_writer(writer));
    let mut ways =
        [Way::new("tracing-appender", other.into(), || thread::sleep(Duration::from_millis(20))), plain, ecs];
    for round in 0..rounds + WARM_UP {
        for way in &mut ways {
            way.turn(round >= WARM_UP);
        }
    }
    Ok(report(&ways, rounds))
}

fn sink(broker: &Broker, format: Format) -> Outcome<Way> {
    let name = match format {
        Format::Plain => "ottla-tracing",
        _ => "ottla-tracing, ECS",
    };
    let builder = Sink::builder([broker.address()], TOPIC).format(format).fallback(Fallback::Nowhere);
    let (sink, guard) = builder.build()?;
    let dispatch = Registry::default().with(sink.layer()).into();
    Ok(Way::new(name, dispatch, move || {
        let _keep = &guard;
        if let Err(error) = sink.flush(Duration::from_secs(30)) {
            eprintln!("{error}");
        }
        let dropped = sink.counters().dropped.total();
        assert_eq!(dropped, 0, "what is dropped costs less");
    }))
}

impl Way {
    fn new(name: &'static str, dispatch: Dispatch, settle: impl Fn() + 'static) -> Self {
        Self { name, dispatch, settle: Box::new(settle), costs: Default::default() }
    }

    fn turn(&mut self, counts: bool) {
        for ((_, log), cost) in EVENT_KINDS.iter().zip(&mut self.costs) {
            let before = (thread_time(), allocations::so_far());
            dispatcher::with_default(&self.dispatch, || log(EVENTS));
            if counts {
                cost.nanoseconds += thread_time() - before.0;
                cost.allocations += allocations::so_far() - before.1;
            }
            (self.settle)();
        }
    }
}

/// CPU time of this thread, in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn report(ways: &[Way], rounds: u32) -> bool {
    let events = f64::from(rounds) * f64::from(EVENTS);
    let mut is_good = true;
    println!("| event | way | ns of the caller's CPU | of the first | allocations |\n|---|---|---|---|---|");
    for (kind, (event, _)) in EVENT_KINDS.iter().enumerate() {
        let first = ways[0].costs[kind].nanoseconds as f64;
        for way in ways {
            let Cost { nanoseconds, allocations } = way.costs[kind];
            let (each, ratio) = (nanoseconds as f64 / events, nanoseconds as f64 / first);
            is_good &= ratio <= WANTED;
            println!(
                "| {event} | {} | {each:.0} | {ratio:.2}x | {:.3} |",
                way.name,
                allocations as f64 / events
            );
        }
    }
    println!("{}", if is_good { "verdict: good" } else { "verdict: more than wanted" });
    is_good
}
