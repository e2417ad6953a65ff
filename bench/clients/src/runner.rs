//! The plan: which client does which case against which broker, in which order, and what that gave.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::json;

use crate::{
    broker::Installed,
    cases::{self, Case},
    child::Role,
    clients::Client,
    failure::{Doing, Failure, Result},
    host::{Host, Kind},
    kafka::Kafka,
    options::Options,
    ottla::Ottla,
    programs::Program,
    report::Results,
};

/// How long a client may take for a case.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// Figures of one run, by name.
pub type Figures = BTreeMap<String, f64>;

/// Runs each case with each client, the clients' order turning from pass to pass.
pub fn run(options: &Options, home: &Path, interrupted: &AtomicBool) -> Result<Results> {
    let bench = home.parent().ok_or("the bench's folder has no parent")?;
    let wants = |kind| options.brokers.contains(&kind);
    // The modules that bring brokers up are those of the broker's bench, and read its part of the options.
    let installed = Installed {
        kafka: wants(Kind::Kafka).then(|| Kafka::install(options, bench)).transpose()?,
        ottla: wants(Kind::Ottla).then(|| Ottla::install(options, bench)).transpose()?,
    };
    if let Some(parent) = options.json.parent() {
        fs::create_dir_all(parent).doing(format_args!("create {}", parent.display()))?;
    }
    let mut json = File::create(&options.json).doing(format_args!("create {}", options.json.display()))?;
    let mut results = Results::default();
    for pass in 0..options.passes {
        for &kind in &options.brokers {
            let mut host = Host::start(kind, &installed, &options.dir)?;
            for case in cases::ALL.iter().filter(|case| options.cases.iter().any(|id| id == case.id)) {
                for (client, run) in run_case(options, &mut host, case, pass, interrupted)? {
                    let line = match &run {
                        Ok(figures) => json!({ "figures": figures }),
                        Err(message) => json!({ "failed": message }),
                    };
                    let line = json!({ "pass": pass, "broker": kind.name(), "case": case.id, "client": client.name(), "run": line });
                    writeln!(json, "{line}").doing("write the raw figures")?;
                    results.add(kind, case.id, client, run);
                }
            }
        }
    }
    Ok(results)
}

type Runs = Vec<(Client, std::result::Result<Figures, String>)>;

fn run_case(
    options: &Options,
    host: &mut Host,
    case: &Case,
    pass: u32,
    interrupted: &AtomicBool,
) -> Result<Runs> {
    let asked = |client: &Client| options.clients.is_empty() || options.clients.contains(client);
    let mut clients: Vec<Client> = case.clients.iter().copied().filter(asked).collect();
    // So that whoever comes first, and after whom, changes.
    if !clients.is_empty() {
        let turn = pass as usize % clients.len();
        clients.rotate_left(turn);
    }
    if pass % 2 == 1 {
        clients.reverse();
    }
    let records = case.records(options.quick);
    let shared = format!("{}-{pass}", case.id);
    if case.program == Program::Consume {
        host.create_readable(&shared, records, case.value_bytes)?;
    }
    let mut runs = Runs::new();
    for client in clients {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        eprint!("pass {pass}, {}: {} ", case.id, client.name());
        let run = if case.program == Program::Consume {
            run_client(host, case, client, &shared, records)
        } else {
            let topic = format!("{shared}-{}", client.name());
            host.create_topic(&topic)
                .and_then(|()| run_client(host, case, client, &topic, records))
                .and_then(|figures| host.delete_topic(&topic).map(|()| figures))
        };
        match &run {
            Ok(figures) => eprintln!("{:.3} us of CPU a record", figures["cpu_us_per_record"]),
            Err(failure) => eprintln!("FAILED: {failure}"),
        }
        runs.push((client, run.map_err(|failure| failure.to_string())));
        host.check_alive()?;
    }
    if case.program == Program::Consume {
        host.delete_topic(&shared)?;
    }
    Ok(runs)
}

fn run_client(host: &mut Host, case: &Case, client: Client, topic: &str, records: u64) -> Result<Figures> {
    let before = host.counts()?;
    let args = [
        "client",
        client.name(),
        case.program.name(),
        &host.bootstrap(),
        topic,
        &records.to_string(),
        &case.value_bytes.to_string(),
    ];
    let mut role = Role::start(client.name(), &args.map(str::to_owned), None)?;
    let line = role.line(RUN_TIMEOUT)?;
    let usage = role.wait()?;
    let answer: serde_json::Value =
        serde_json::from_str(&line).doing(format_args!("read {}", client.name()))?;
    if let Some(message) = answer["error"].as_str() {
        return Err(message.into());
    }
    if !usage.success {
        return Err("the process failed after it had told its figures".into());
    }
    let measured = answer.as_object().ok_or("the process told no figures")?;
    let mut figures: Figures =
        measured.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
    let done = *figures.get("records").ok_or("the process told no number of records")?;
    figures.insert("cpu_us_per_record".to_owned(), usage.cpu.as_secs_f64() * 1e6 / done);
    figures.insert("resident_peak_mib".to_owned(), usage.resident_peak as f64 / f64::from(1 << 20));
    if let (Some(before), Some(after), true) = (before, host.counts()?, case.program != Program::Consume) {
        let arrived = after.records - before.records;
        if arrived as f64 != done {
            return Err(format!("the client tells of {done} records, and {arrived} arrived").into());
        }
        let batches = (after.batches - before.batches) as f64;
        figures.insert("records_per_batch".to_owned(), done / batches);
        figures.insert("batches_per_request".to_owned(), batches / (after.requests - before.requests) as f64);
    }
    Ok(figures)
}
