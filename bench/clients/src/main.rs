//! Rust clients of Kafka side by side: CPU for each record, latency, and what an outage costs.
//!
//! This file tells the roles of the program apart: the runner that a user starts, and the processes that it starts, each
//! of which is this same program. Cases are in `cases.rs`, the plan in `runner.rs`, what a client's process does in
//! `programs.rs`, the clients in `clients/`, the broker that only acknowledges in `sink/`, the outage in `outage/`.
//!
//! Invariants: one client runs at a time; whatever way the bench ends, no process of its own is left.

#[allow(dead_code)]
#[path = "../../src/broker.rs"]
mod broker;
mod cases;
mod child;
mod clients;
#[allow(dead_code)]
#[path = "../../src/disk.rs"]
mod disk;
#[path = "../../src/failure.rs"]
mod failure;
mod host;
#[path = "../../src/kafka.rs"]
mod kafka;
mod load;
#[path = "../../src/machine.rs"]
mod machine;
mod options;
#[path = "../../src/ottla.rs"]
mod ottla;
mod outage;
#[allow(dead_code)]
#[path = "../../src/process.rs"]
mod process;
mod programs;
mod report;
mod runner;
mod sink;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    clients::Client,
    failure::{Doing, Failure, Result},
    machine::Machine,
    options::{Command, Options},
    programs::{Job, Program},
};

fn main() -> ExitCode {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = role(&args) {
        return code;
    }
    let command = match options::parse(args, &home) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Command::Bench(options) => bench(&options, &home),
        Command::Outage(options) => {
            watch_signals().and_then(|interrupted| outage::run(&options, &interrupted))
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            if failure == Failure::Interrupted { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// Takes a role that the runner gives to a process of its own; `None` where it is a user who calls.
fn role(args: &[String]) -> Option<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["sink"] => sink::run(),
        ["client", client, program, bootstrap, topic, records, value_bytes] => {
            // It ends here, whatever the client would still do when it is closed.
            std::process::exit(client_process(client, program, bootstrap, topic, records, value_bytes));
        }
        ["outage-cluster", bytes_per_s] => {
            bytes_per_s.parse().doing("outage-cluster").and_then(outage::cluster::run)
        }
        ["outage-client", client, bootstrap, seconds, rate, fates] => {
            outage_client(client, bootstrap, seconds, rate, fates)
        }
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    })
}

fn client_process(
    client: &str,
    program: &str,
    bootstrap: &str,
    topic: &str,
    records: &str,
    value_bytes: &str,
) -> i32 {
    let job = || -> Result<Job> {
        Ok(Job {
            client: Client::parse(client).ok_or("no such client")?,
            program: Program::parse(program).ok_or("no such program")?,
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            records: records.parse().doing("records")?,
            value_bytes: value_bytes.parse().doing("bytes of a value")?,
        })
    };
    match job().and_then(|job| programs::run(&job)) {
        Ok(figures) => {
            println!("{figures}");
            0
        }
        Err(failure) => {
            println!("{}", json!({ "error": failure.to_string() }));
            1
        }
    }
}

fn outage_client(client: &str, bootstrap: &str, seconds: &str, rate: &str, fates: &str) -> Result<()> {
    let client = Client::parse(client).ok_or("no such client")?;
    let (seconds, rate) = (seconds.parse().doing("seconds")?, rate.parse().doing("rate")?);
    outage::client::run(client, bootstrap, seconds, rate, Path::new(fates))?;
    // What closing would do is no part of the program.
    std::process::exit(0)
}

/// Runs all cases; true when no run failed.
fn bench(options: &Options, home: &Path) -> Result<bool> {
    let interrupted = watch_signals()?;
    fs::create_dir_all(&options.dir).doing(format_args!("create {}", options.dir.display()))?;
    let limits = disk::limits(&options.dir, Duration::from_millis(300)).doing("measure the disk")?;
    let machine = Machine::describe(&options.dir, &limits).doing("describe the machine")?;
    let results = runner::run(options, home, &interrupted)?;
    let (tables, failures) = (results.tables(), results.failures());
    print!("{tables}{failures}");
    eprintln!("raw figures: {}", options.json.display());
    if options.write_results {
        fs::write(home.join("RESULTS.md"), page(options, &machine, &tables, &failures))
            .doing("write RESULTS.md")?;
    }
    Ok(!results.any_failed())
}

fn page(options: &Options, machine: &Machine, tables: &str, failures: &str) -> String {
    let mut text = format!(
        "# Rust clients of Kafka side by side: results\n\n\
         Written by `ottla-client-bench --write-results`; README.md says how it measures and how to read this. Medians of \
         {} pass(es); compare ratios, absolute numbers belong to the machine.\n\n",
        options.passes
    );
    for (what, value) in machine.lines.iter().filter(|(what, _)| !what.contains("durable")) {
        text += &format!("- {what}: {value}\n");
    }
    text + "\n" + tables + failures
}

fn watch_signals() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second signal ends the process at once; the kernel then ends what it started.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .doing("watch for Ctrl-C")?;
    }
    Ok(interrupted)
}
