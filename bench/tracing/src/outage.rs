//! A program that logs as fast as it can, while its broker is killed and comes back.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ottla_tracing::{Fallback, Sink};
use tracing::{Level, debug, error, info, trace, warn};
use tracing_subscriber::prelude::*;

use crate::{
    Outcome,
    broker::{Broker, TOPIC},
};

const QUEUE: usize = 16 << 20;
const BUDGET: usize = 16 << 20;
/// What the rest of the program may grow by.
const ASIDE: usize = 16 << 20;
/// How long all is well, before and after.
const WELL: Duration = Duration::from_secs(10);

/// Whether all that is wanted is so.
pub fn run(ottla: &Path, gone: Duration) -> Outcome<bool> {
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start(ottla, &directory.path().join("data"))?;
    let fallback = directory.path().join("fallback.log");
    let before = resident()?;
    let (sink, guard) = Sink::builder([broker.address()], TOPIC)
        .queue_bytes(QUEUE)
        .property("buffer.memory", BUDGET.to_string())
        .fallback(Fallback::file(&fallback))
        .fallback_level(Level::WARN)
        .build()?;
    tracing_subscriber::registry().with(sink.layer()).init();
    let ends = AtomicBool::new(false);
    let mut peak = before;
    thread::scope(|scope| -> Outcome<()> {
        for _ in 0..2 {
            scope.spawn(|| log_until(&ends));
        }
        let seen = watch(&mut broker, gone, &mut peak, &sink);
        ends.store(true, Ordering::Relaxed);
        seen
    })?;
    let counters = guard.close(Duration::from_secs(60));
    let written = fs::metadata(&fallback)?.len() >> 20;
    println!("{counters:#?}\nthe fallback has {written} MiB");
    let grown = (peak - before) >> 20;
    let allowed = (QUEUE + BUDGET + ASIDE) >> 20;
    let mut is_good = true;
    let mut check = |what: &str, is_so: bool| {
        println!("{}  {what}", if is_so { "kept  " } else { "BROKEN" });
        is_good &= is_so;
    };
    check(&format!("RSS grows by at most {allowed} MiB: {grown} MiB"), grown <= allowed);
    let (dropped, lost) = (counters.dropped, counters.lost);
    check(&format!("no WARN or ERROR was dropped: {dropped}"), dropped.warn + dropped.error == 0);
    check(&format!("no WARN or ERROR was lost: {lost}"), lost.warn + lost.error == 0);
    check("each has an end", counters.waiting == 0);
    println!("{}", if is_good { "verdict: good" } else { "verdict: broken" });
    Ok(is_good)
}

/// One in a thousand is a warning, one in ten thousand an error.
fn log_until(ends: &AtomicBool) {
    let mut number = 0_u64;
    while !ends.load(Ordering::Relaxed) {
        number += 1;
        match number % 10_000 {
            0 => error!(number, table = 7, "the kettle is broken"),
            thousand if thousand % 1000 == 0 => warn!(number, table = 7, "tea is late"),
            other => match other % 3 {
                0 => info!(number, table = 7, name = "Earl Grey", "tea is served"),
                1 => debug!(number, table = 7, temperature = 97.5, "water boils"),
                _ => trace!(number, table = 7, "the kettle is on"),
            },
        }
    }
}

/// Kills the broker, starts it again, and looks how much memory the program has meanwhile.
fn watch(broker: &mut Broker, gone: Duration, peak: &mut usize, sink: &Sink) -> Outcome<()> {
    let began = Instant::now();
    let mut look = |until: Duration| -> Outcome<()> {
        while began.elapsed() < until {
            thread::sleep(Duration::from_millis(200));
            *peak = (*peak).max(resident()?);
            if began.elapsed().as_millis() % 30_000 < 200 {
                let counters = sink.counters();
                let (now, accepted) = (began.elapsed().as_secs(), counters.accepted.total());
                println!(
                    "{now:4} s  RSS {} MiB  accepted {accepted}  delivered {}  fallback {}",
                    resident()? >> 20,
                    counters.delivered,
                    counters.fallback.total()
                );
            }
        }
        Ok(())
    };
    look(WELL)?;
    broker.kill();
    look(WELL + gone)?;
    broker.start_again()?;
    look(WELL + gone + WELL)
}

/// Bytes of this process in memory.
fn resident() -> Outcome<usize> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).ok_or("statm is odd")?.parse()?;
    Ok(pages * rustix::param::page_size())
}
