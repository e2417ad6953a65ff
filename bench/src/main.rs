//! Ottla and Apache Kafka side by side: one generator, one table.
//!
//! This file holds the plan: which row runs on which broker in what order, and where the results go. Rows are in
//! `rows/`, the load in `generator.rs`, brokers' processes in `broker.rs`, the judgement in `report.rs`.
//!
//! Invariants: one broker runs at a time; whatever way the bench ends, no broker and no data of its own is left.

mod broker;
mod calls;
mod client;
mod disk;
mod failure;
mod frames;
mod generator;
mod kafka;
mod machine;
mod options;
mod ottla;
mod process;
mod report;
mod rows;
mod trace;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    broker::{Installed, Kind},
    disk::Device,
    failure::{Doing, Failure, Result},
    kafka::Kafka,
    machine::Machine,
    options::{Command, Options},
    ottla::Ottla,
    report::Results,
    rows::Context,
};

fn main() -> ExitCode {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let options = match options::parse(std::env::args().skip(1), &home) {
        Ok(Command::Run(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(options, &home) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            if failure == Failure::Interrupted { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs everything; true when no run failed.
fn run(options: Options, home: &Path) -> Result<bool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second signal ends the process at once; the kernel then ends the broker.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .doing("watch for Ctrl-C")?;
    }
    let kinds =
        [Kind::Kafka, Kind::Ottla].into_iter().filter(|kind| options.only.is_none_or(|only| only == *kind));
    let kinds: Vec<Kind> = kinds.collect();
    let installed = Installed {
        kafka: kinds.contains(&Kind::Kafka).then(|| Kafka::install(&options, home)).transpose()?,
        ottla: kinds.contains(&Kind::Ottla).then(|| Ottla::install(&options, home)).transpose()?,
    };
    let scratch = Scratch::create(&options.dir)?;
    let options = Options { dir: scratch.dir.clone(), ..options };
    let device = Device::of(&options.dir).doing("find the disk")?;
    let limits = disk::limits(&options.dir, Duration::from_secs(1)).doing("measure the disk")?;
    let machine = Machine::describe(&options.dir, &limits).doing("describe the machine")?;
    for (what, value) in &machine.lines {
        eprintln!("{what}: {value}");
    }
    let context = Context { options, installed, device, interrupted };
    let results = measure(&context, &kinds)?;

    let table = results.table(rows::mib(context.options.memory_bytes()));
    let failures = results.failures();
    print!("{table}");
    if !failures.is_empty() {
        print!("\n{failures}");
    }
    eprintln!("raw figures: {}", context.options.json.display());
    if context.options.write_results {
        let path = home.join("RESULTS.md");
        fs::write(&path, report::page(&machine, &context.options.summary(), &table, &failures))
            .doing("write RESULTS.md")?;
    }
    Ok(!results.any_failed())
}

/// Runs each row on each broker, the brokers' order changing from row to row and from pass to pass, so that a
/// machine that gets slower or faster favours neither.
fn measure(context: &Context, kinds: &[Kind]) -> Result<Results> {
    let options = &context.options;
    if let Some(parent) = options.json.parent() {
        fs::create_dir_all(parent).doing(format_args!("create {}", parent.display()))?;
    }
    let mut json = File::create(&options.json).doing(format_args!("create {}", options.json.display()))?;
    let mut results = Results::default();
    for pass in 0..options.passes {
        let chosen = rows::ALL.iter().filter(|row| options.rows.iter().any(|id| id == row.id));
        for (index, row) in chosen.enumerate() {
            let mut order = kinds.to_vec();
            if (index + pass as usize) % 2 == 1 {
                order.reverse();
            }
            for kind in order {
                eprintln!("row {} ({}): {}", row.id, row.title, kind.name());
                let run = match row.run(context, kind) {
                    Ok(figures) => Ok(figures),
                    Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                    Err(Failure::Failed(message)) => {
                        eprintln!("FAILED: {message}");
                        Err(message)
                    }
                };
                let line = report::raw(pass, row.id, kind, context.now_ms(), &run);
                writeln!(json, "{line}").doing("write the raw figures")?;
                results.add(row.id, kind, run);
                // What one has left unwritten is not the next one's to write.
                context.settle()?;
            }
            // Not before both have run: ext4 without a journal makes new files slowly for minutes after many
            // were deleted, which would be at the expense of the one that comes second.
            context.clear()?;
        }
    }
    Ok(results)
}

/// A directory of the bench's own, deleted when the bench ends.
struct Scratch {
    dir: PathBuf,
    /// The parent, locked against a second bench for as long as this lives.
    _lock: File,
}

impl Scratch {
    /// Makes a new directory inside `parent` and clears what a killed bench left there. `parent` itself and
    /// anything else in it stay as they are.
    fn create(parent: &Path) -> Result<Scratch> {
        fs::create_dir_all(parent).doing(format_args!("create {}", parent.display()))?;
        let parent = parent.canonicalize().doing(format_args!("find {}", parent.display()))?;
        let dir = parent.join("ottla-bench-data");
        let lock = File::open(&parent).doing(format_args!("open {}", parent.display()))?;
        lock.try_lock().doing(format_args!("another bench uses {}", parent.display()))?;
        disk::delete(&dir).doing(format_args!("delete {}", dir.display()))?;
        fs::create_dir(&dir).doing(format_args!("create {}", dir.display()))?;
        Ok(Scratch { dir, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
