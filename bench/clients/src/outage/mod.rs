//! The outage program: what a client does with its memory, its tasks, its log and its records while no broker answers.
//!
//! This file holds the plan of a run and the samples; the brokers are in `cluster.rs`, what the client's process does in
//! `client.rs`, the judgement of what it said in `judge.rs`, the plot in `svg.rs`. Both run as processes of their own.

pub mod client;
pub mod cluster;
mod judge;
mod runs;
mod svg;

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub use self::judge::Fate;
use self::runs::{Run, Sample, TABLE_HEAD};
use crate::{
    child::Role,
    clients::Client,
    failure::{Doing, Failure, Result},
};

/// Bytes of each value.
pub const VALUE_BYTES: usize = 10 << 10;
/// The topic that is written to.
pub const TOPIC: &str = "outage";
/// Nodes of the cluster.
pub const NODES: u16 = 3;
/// How long a client may try to deliver a record.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

const HEALTHY_SECONDS: u64 = 10;
const BACK_SECONDS: u64 = 60;
/// What a client may need beyond its delivery time-out to tell of its last records.
const GRACE: Duration = Duration::from_secs(40);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How the brokers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Connections are reset and new ones refused, as when a process is killed whose machine lives.
    Kill,
    /// SIGSTOP, and SIGCONT: the system goes on to accept connections and bytes.
    Stop,
    /// A proxy before each broker swallows every byte, as a network that is cut.
    Swallow,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The clients, one after the other.
    pub clients: Vec<Client>,
    /// The ways to go, one after the other.
    pub ways: Vec<Way>,
    /// Length of a run.
    pub seconds: u64,
    /// Records offered in a second, twice what the brokers take.
    pub rate: u64,
    /// Where samples and fates go.
    pub json: PathBuf,
    /// Where the plot goes.
    pub svg: PathBuf,
}

impl Way {
    /// All of them, in the order of the plot.
    pub const ALL: [Way; 3] = [Way::Kill, Way::Stop, Way::Swallow];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Way::Kill => "kill",
            Way::Stop => "stop",
            Way::Swallow => "swallow",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Way> {
        Way::ALL.into_iter().find(|way| way.name() == name)
    }

    fn begin(self, cluster: &mut Role) -> Result<()> {
        match self {
            Way::Kill => cluster.ask("kill", ANSWER_TIMEOUT).map(drop),
            Way::Stop => cluster.signal(libc::SIGSTOP),
            Way::Swallow => cluster.ask("swallow", ANSWER_TIMEOUT).map(drop),
        }
    }

    fn end(self, cluster: &mut Role) -> Result<()> {
        match self {
            Way::Kill => cluster.ask("revive", ANSWER_TIMEOUT).map(drop),
            Way::Stop => cluster.signal(libc::SIGCONT),
            Way::Swallow => cluster.ask("pass", ANSWER_TIMEOUT).map(drop),
        }
    }
}

/// The clients that the program knows.
pub fn clients() -> Vec<Client> {
    vec![Client::Ottla, Client::RdkafkaFuture, Client::Krafka]
}

/// When the brokers are gone, in seconds from the beginning.
fn outage(seconds: u64) -> (u64, u64) {
    (HEALTHY_SECONDS.min(seconds / 8), seconds - BACK_SECONDS.min(seconds / 4))
}

/// Runs each client through each way of going; true when every fate was right.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<bool> {
    for path in [&options.json, &options.svg] {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).doing(format_args!("create {}", parent.display()))?;
        }
    }
    let mut runs = runs::earlier(options)?;
    let mut right = true;
    println!("{TABLE_HEAD}");
    runs.iter().for_each(|run| println!("{}", run.row()));
    for &way in &options.ways {
        for &client in &options.clients {
            eprintln!("{}, brokers go by {}, {} s", client.name(), way.name(), options.seconds);
            let run = run_one(options, client, way, interrupted)?;
            println!("{}", run.row());
            for wrong in run.judgement["wrong_ones"].as_array().into_iter().flatten() {
                eprintln!("WRONG: {wrong}");
            }
            right &= run.is_right();
            runs.push(run);
            runs::write(options, &runs)?;
            draw(options, &runs)?;
        }
    }
    draw(options, &runs)?;
    Ok(right)
}

fn draw(options: &Options, runs: &[Run]) -> Result<()> {
    let plot = svg::plot(runs, outage(options.seconds), options.seconds);
    fs::write(&options.svg, plot).doing(format_args!("write {}", options.svg.display()))
}

fn run_one(options: &Options, client: Client, way: Way, interrupted: &AtomicBool) -> Result<Run> {
    let beside =
        |ending: &str| options.json.with_extension(format!("{}.{}.{ending}", client.name(), way.name()));
    let (fates, log) = (beside("fates"), beside("log"));
    let node_bytes_per_s = options.rate * VALUE_BYTES as u64 / 2 / u64::from(NODES);
    let mut cluster =
        Role::start("the cluster", &["outage-cluster".to_owned(), node_bytes_per_s.to_string()], None)?;
    let bootstrap = cluster.line(ANSWER_TIMEOUT)?;
    let args = [
        "outage-client",
        client.name(),
        &bootstrap,
        &options.seconds.to_string(),
        &options.rate.to_string(),
        &fates.to_string_lossy(),
    ];
    let log_file = File::create(&log).doing(format_args!("create {}", log.display()))?;
    let role = Role::start(client.name(), &args.map(str::to_owned), Some(log_file))?;
    role.line(ANSWER_TIMEOUT).doing(format_args!("see {}", log.display()))?;

    let started = Instant::now();
    let (gone_at, back_at) = outage(options.seconds);
    let deadline = Duration::from_secs(options.seconds) + DELIVERY_TIMEOUT + GRACE;
    let (mut gone, mut back) = (false, false);
    let mut back_ms = 0;
    let mut samples: Vec<Sample> = Vec::new();
    let mut told = Value::Null;
    loop {
        thread::sleep((SAMPLE_INTERVAL * samples.len() as u32).saturating_sub(started.elapsed()));
        let elapsed = started.elapsed();
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if !gone && elapsed.as_secs() >= gone_at {
            gone = true;
            way.begin(&mut cluster)?;
        }
        if !back && elapsed.as_secs() >= back_at {
            back = true;
            way.end(&mut cluster)?;
            back_ms = started.elapsed().as_millis() as u64;
        }
        for line in role.lines_so_far() {
            told = serde_json::from_str(&line).doing("read what the client tells")?;
        }
        if told["done"] == true {
            break;
        }
        if elapsed >= deadline {
            return Err(format!(
                "{} has not told of all records {} s after it stopped to send",
                client.name(),
                (DELIVERY_TIMEOUT + GRACE).as_secs()
            )
            .into());
        }
        samples.push(
            Sample::take(role.pid(), elapsed.as_secs_f64(), &log, &told)
                .doing(format_args!("see {}", log.display()))?,
        );
    }
    let mut judgement = cluster.ask(&format!("judge {back_ms} {}", fates.display()), ANSWER_TIMEOUT)?;
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    judgement["unanswered"] = (count("accepted") - count("answered")).into();
    judgement["accepted"] = told["accepted"].clone();
    judgement["refused"] = told["refused"].clone();
    Ok(Run { client, way, samples, judgement })
}
