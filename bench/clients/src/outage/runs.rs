//! Runs of the outage program as they are kept: in a file that later runs are added to, and in a line to be read.

use std::{fs, io, path::Path};

use serde_json::{Value, json};

use super::{Options, Way, outage};
use crate::{
    clients::Client,
    failure::{Doing, Result},
    process,
};

/// A run: samples of the client's process, and what became of its records.
pub struct Run {
    /// The client.
    pub client: Client,
    /// How the brokers went.
    pub way: Way,
    /// One for each second, in order.
    pub samples: Vec<Sample>,
    /// Counts by fate, and what was wrong.
    pub judgement: Value,
}

/// The client's process at a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Since the program's start.
    pub seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Lines that it has logged.
    pub log_lines: u64,
    /// What the program told last: records, and tasks of its runtime.
    pub told: Value,
}

impl Sample {
    /// Looks at a process now.
    pub fn take(pid: u32, seconds: f64, log: &Path, told: &Value) -> Result<Sample> {
        let resident_bytes = process::memory(pid).doing("read the client's memory")?.resident;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).doing("read the client's threads")?;
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
        let descriptors =
            fs::read_dir(format!("/proc/{pid}/fd")).doing("count the client's descriptors")?.count();
        let text = fs::read(log).doing("read the client's log")?;
        Ok(Sample {
            seconds,
            resident_bytes,
            threads: threads.ok_or("no number of threads")?,
            descriptors: descriptors as u64,
            log_lines: text.iter().filter(|byte| **byte == b'\n').count() as u64,
            told: told.clone(),
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "resident_bytes": self.resident_bytes,
            "threads": self.threads,
            "descriptors": self.descriptors,
            "log_lines": self.log_lines,
            "told": self.told,
        })
    }

    fn of_json(value: &Value) -> Option<Sample> {
        Some(Sample {
            seconds: value["seconds"].as_f64()?,
            resident_bytes: value["resident_bytes"].as_u64()?,
            threads: value["threads"].as_u64()?,
            descriptors: value["descriptors"].as_u64()?,
            log_lines: value["log_lines"].as_u64()?,
            told: value["told"].clone(),
        })
    }
}

impl Run {
    /// The largest value of a figure.
    pub fn peak(&self, figure: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(figure).max().unwrap_or_default()
    }

    /// Whether no fate was wrong, and no more records are there than those of which the client told nothing.
    pub fn is_right(&self) -> bool {
        let count = |name: &str| self.judgement[name].as_u64();
        count("wrong") == Some(0) && count("never_told_of") <= count("unanswered")
    }

    /// It in a line of a table; [`TABLE_HEAD`] names the columns.
    pub fn row(&self) -> String {
        let judgement = &self.judgement;
        let log_lines = self.samples.last().map_or(0, |sample| sample.log_lines);
        let first = judgement["first_delivery_ms"].as_u64();
        format!(
            "| {} | {} | {} | {} | {} | {log_lines} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.client.name(),
            self.way.name(),
            self.peak(|sample| sample.resident_bytes) >> 20,
            self.peak(|sample| sample.threads),
            self.peak(|sample| sample.descriptors),
            judgement["accepted"],
            judgement["refused"],
            judgement["delivered"],
            judgement["no"],
            judgement["maybe"],
            judgement["unanswered"],
            judgement["wrong"],
            first.map_or("never".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3)),
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "client": self.client.name(),
            "way": self.way.name(),
            "judgement": self.judgement,
            "samples": self.samples.iter().map(Sample::to_json).collect::<Vec<_>>(),
        })
    }

    fn of_json(value: &Value) -> Option<Run> {
        Some(Run {
            client: Client::parse(value["client"].as_str()?)?,
            way: Way::parse(value["way"].as_str()?)?,
            samples: value["samples"].as_array()?.iter().map(Sample::of_json).collect::<Option<_>>()?,
            judgement: value["judgement"].clone(),
        })
    }
}

/// The head of a table of [`Run::row`]s, in Markdown.
pub const TABLE_HEAD: &str = "\
| client | way | peak memory, MiB | threads | descriptors | log lines | accepted | refused | delivered | no | maybe \
| no result | wrong | first result after the return |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// The runs that an earlier execution left in the file, if they were as long and as fast; without those that are to be
/// made now.
pub fn earlier(options: &Options) -> Result<Vec<Run>> {
    let text = match fs::read_to_string(&options.json) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.doing(format_args!("read {}", options.json.display()))?,
    };
    let all: Value = serde_json::from_str(&text).doing(format_args!("read {}", options.json.display()))?;
    if all["seconds"] != options.seconds || all["rate"] != options.rate {
        return Ok(Vec::new());
    }
    let runs = all["runs"].as_array().into_iter().flatten().map(Run::of_json);
    let runs: Option<Vec<Run>> = runs.collect();
    let mut runs =
        runs.ok_or_else(|| format!("{} holds something else than runs", options.json.display()))?;
    runs.retain(|run| !(options.clients.contains(&run.client) && options.ways.contains(&run.way)));
    Ok(runs)
}

/// Writes all runs to the file.
pub fn write(options: &Options, runs: &[Run]) -> Result<()> {
    let (gone_at, back_at) = outage(options.seconds);
    let all = json!({
        "seconds": options.seconds,
        "rate": options.rate,
        "gone_at_seconds": gone_at,
        "back_at_seconds": back_at,
        "runs": runs.iter().map(Run::to_json).collect::<Vec<_>>(),
    });
    fs::write(&options.json, all.to_string()).doing(format_args!("write {}", options.json.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(client: Client, way: Way) -> Run {
        let sample = Sample {
            seconds: 1.5,
            resident_bytes: 7 << 20,
            threads: 4,
            descriptors: 9,
            log_lines: 2,
            told: json!({ "accepted": 3 }),
        };
        let judgement = json!({ "wrong": 0, "never_told_of": 0, "unanswered": 0 });
        Run { client, way, samples: vec![sample], judgement }
    }

    #[test]
    fn runs_of_the_same_length_and_rate_stay_unless_they_are_made_again() {
        let json = std::env::temp_dir().join(format!("ottla-client-bench-runs-{}.json", std::process::id()));
        let options = Options {
            clients: vec![Client::Krafka],
            ways: vec![Way::Kill],
            seconds: 40,
            rate: 100,
            json: json.clone(),
            svg: json.with_extension("svg"),
        };
        assert!(earlier(&options).unwrap().is_empty());
        let runs = [
            run(Client::Krafka, Way::Kill),
            run(Client::Krafka, Way::Stop),
            run(Client::RdkafkaFuture, Way::Kill),
        ];
        write(&options, &runs).unwrap();
        let kept = earlier(&options).unwrap();
        let longer = earlier(&Options { seconds: 41, ..options.clone() }).unwrap();
        fs::write(&json, "{\"seconds\":40,\"rate\":100,\"runs\":[{}]}").unwrap();
        let broken = earlier(&options);
        fs::remove_file(&json).unwrap();
        let names: Vec<_> = kept.iter().map(|run| (run.client, run.way)).collect();
        assert_eq!(names, [(Client::Krafka, Way::Stop), (Client::RdkafkaFuture, Way::Kill)]);
        assert_eq!(kept[0].to_json(), runs[1].to_json());
        assert!(longer.is_empty() && broken.is_err());
    }

    #[test]
    fn a_record_that_is_there_and_belongs_to_nobody_is_not_right() {
        let mut run = run(Client::Krafka, Way::Kill);
        assert!(run.is_right());
        run.judgement["never_told_of"] = 1.into();
        assert!(!run.is_right());
        run.judgement["unanswered"] = 1.into();
        assert!(run.is_right());
        run.judgement["wrong"] = 1.into();
        assert!(!run.is_right());
    }
}
