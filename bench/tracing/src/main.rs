//! What logging to Kafka costs the thread that logs (`cpu`), and what an outage costs its program (`outage`).

mod allocations;
mod broker;
mod cpu;
mod outage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

/// What `--help` prints.
const HELP: &str = "\
ottla-tracing-bench: what logging to Kafka costs the program that logs

  cpu       CPU time and allocations of the thread that logs, for each event: ottla-tracing beside the JSON layer
            of tracing-subscriber with the non-blocking writer of tracing-appender, in turns in one process
    --rounds N      turns of each (default 300), of 2,000 events
  outage    the broker is killed while two threads log as fast as they can, and comes back
    --seconds N     how long it is gone (default 600)

  --ottla PATH      the broker (default: ../../target/release/ottla)
";

/// Whatever went wrong, in words.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all that was wanted was seen.
fn run(arguments: Vec<String>) -> Outcome<bool> {
    let mut ottla = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release/ottla");
    let (mut rounds, mut seconds, mut what) = (300, 600, None);
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" => {
                print!("{HELP}");
                return Ok(true);
            }
            "--ottla" => ottla = value()?.into(),
            "--rounds" => rounds = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "cpu" | "outage" => what = Some(argument),
            _ => return Err(format!("unknown: {argument}\n\n{HELP}").into()),
        }
    }
    match what.as_deref() {
        Some("cpu") => cpu::run(&ottla, rounds),
        Some("outage") => outage::run(&ottla, Duration::from_secs(seconds)),
        _ => Err(HELP.into()),
    }
}
