//! The command line, parsed purely.

use std::path::{Path, PathBuf};

use crate::{
    cases,
    clients::Client,
    host::Kind,
    outage::{self, Way},
};

/// What `--help` prints.
pub const HELP: &str = "\
ottla-client-bench: Rust clients of Kafka side by side, one process for each client and case

  --cases a,b,…         only these cases (default: all; see README.md)
  --brokers sink,ottla,kafka
                        against these (default: all three; the sink only acknowledges)
  --clients a,b,…       only these clients
  --passes N            repeat everything and report medians (default 3)
  --quick               few records, one pass, against the sink: does everything work?
  --ottla PATH          the broker to measure against (default: built from this checkout)
  --memory SIZE         that broker's memory budget (default 256MiB)
  --ottla-set K=V       a further setting of that broker; may be repeated
  --kafka-set K=V       a further setting of Apache Kafka; may be repeated
  --dir PATH            where brokers keep their data (default: ../.cache/run)
  --json PATH           where raw figures go, a JSON object a line (default: .cache/figures.jsonl)
  --write-results       write the tables to RESULTS.md too

ottla-client-bench outage: what a client does while all brokers are gone

  --clients a,b,…       ottla, rdkafka-future, krafka (default: all that are there)
  --ways kill,stop,swallow
                        how the brokers go (default: kill)
  --seconds N           length of a run (default 400): 10 s all is well, then nothing answers, the last 60 s it does
                        again; in short runs an eighth and a quarter
  --rate N              records of 10 KiB offered in a second (default 2000)
  --json PATH           where samples and judgements go (default: .cache/outage.json); runs of the same length and rate
                        that are there already stay, and are drawn too
  --plot                run nothing, and draw what is in that file
  --svg PATH            where the plot goes (default: .cache/outage.svg)
";

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Ids of cases, in the order of the table.
    pub cases: Vec<String>,
    /// Brokers, in the order of the table.
    pub brokers: Vec<Kind>,
    /// The clients to run, where they have the case; all when empty.
    pub clients: Vec<Client>,
    /// Repetitions of everything.
    pub passes: u32,
    /// Whether there are few records.
    pub quick: bool,
    /// The broker to measure against; built when absent.
    pub ottla: Option<PathBuf>,
    /// Its memory budget as it is passed on.
    pub memory: String,
    /// Further settings of it, `name=value`.
    pub ottla_settings: Vec<String>,
    /// Further settings of Apache Kafka, `name=value`.
    pub kafka_settings: Vec<String>,
    /// The directory of all data.
    pub dir: PathBuf,
    /// The file of raw figures.
    pub json: PathBuf,
    /// Whether RESULTS.md is written.
    pub write_results: bool,
}

/// The command line asks for one of these.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Run the bench.
    Bench(Box<Options>),
    /// Run the outage program.
    Outage(outage::Options),
    /// Print [`HELP`].
    Help,
}

/// Parses the arguments after the program's name; `home` is this bench's folder.
pub fn parse(args: impl IntoIterator<Item = String>, home: &Path) -> Result<Command, String> {
    let mut args = args.into_iter().peekable();
    if args.next_if(|arg| arg == "outage").is_some() { outage(args, home) } else { bench(args, home) }
}

fn bench(mut args: impl Iterator<Item = String>, home: &Path) -> Result<Command, String> {
    let mut options = Options {
        cases: cases::ALL.iter().map(|case| case.id.to_owned()).collect(),
        brokers: vec![Kind::Sink, Kind::Ottla, Kind::Kafka],
        clients: Vec::new(),
        passes: 3,
        quick: false,
        ottla: None,
        memory: "256MiB".to_owned(),
        ottla_settings: Vec::new(),
        kafka_settings: Vec::new(),
        dir: home.join("../.cache/run"),
        json: home.join(".cache/figures.jsonl"),
        write_results: false,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--cases" => {
                let known =
                    |id: &str| cases::ALL.iter().find(|case| case.id == id).map(|case| case.id.to_owned());
                options.cases = list(&arg, &value()?, known)?;
            }
            "--brokers" => options.brokers = list(&arg, &value()?, Kind::parse)?,
            "--clients" => options.clients = list(&arg, &value()?, Client::parse)?,
            "--passes" => options.passes = number(&arg, &value()?, 1, 100)?,
            "--quick" => {
                (options.quick, options.passes, options.brokers) = (true, 1, vec![Kind::Sink]);
            }
            "--ottla" => options.ottla = Some(value()?.into()),
            "--memory" => options.memory = value()?,
            "--ottla-set" => options.ottla_settings.push(setting(&arg, value()?)?),
            "--kafka-set" => options.kafka_settings.push(setting(&arg, value()?)?),
            "--dir" => options.dir = value()?.into(),
            "--json" => options.json = value()?.into(),
            "--write-results" => options.write_results = true,
            _ => return Err(format!("{arg} is no option of ottla-client-bench; --help lists them")),
        }
    }
    Ok(Command::Bench(Box::new(options)))
}

fn outage(mut args: impl Iterator<Item = String>, home: &Path) -> Result<Command, String> {
    let mut options = outage::Options {
        clients: outage::clients(),
        ways: vec![Way::Kill],
        seconds: 400,
        rate: 2000,
        json: home.join(".cache/outage.json"),
        svg: home.join(".cache/outage.svg"),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--clients" => {
                let known =
                    |name: &str| Client::parse(name).filter(|client| outage::clients().contains(client));
                options.clients = list(&arg, &value()?, known)?;
            }
            "--ways" => options.ways = list(&arg, &value()?, Way::parse)?,
            "--seconds" => options.seconds = number(&arg, &value()?, 8, 86_400)?,
            "--rate" => options.rate = number(&arg, &value()?, 12, 100_000)?,
            "--json" => options.json = value()?.into(),
            "--plot" => options.clients.clear(),
            "--svg" => options.svg = value()?.into(),
            _ => return Err(format!("{arg} is no option of ottla-client-bench outage; --help lists them")),
        }
    }
    Ok(Command::Outage(options))
}

fn list<T>(arg: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let parsed: Result<Vec<T>, String> = names
        .map(|name| parse(name).ok_or_else(|| format!("{arg}: there is no {name}; see --help")))
        .collect();
    parsed.and_then(|list| if list.is_empty() { Err(format!("{arg} names nothing")) } else { Ok(list) })
}

fn setting(arg: &str, value: String) -> Result<String, String> {
    match value.split_once('=') {
        Some((name, _)) if !name.is_empty() && !value.contains('\n') => Ok(value),
        _ => Err(format!("{arg} {value}: it takes name=value")),
    }
}

fn number<T: std::str::FromStr + PartialOrd>(arg: &str, text: &str, min: T, max: T) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("{arg} {text}: not a number in its range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned), Path::new("/bench/clients"))
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        for (line, says) in [
            ("--fast", "--help"),
            ("--cases x", "there is no x"),
            ("--cases ,", "names nothing"),
            ("--brokers redpanda", "there is no redpanda"),
            ("--passes 0", "not a number in its range"),
            ("--passes", "needs a value"),
            ("--kafka-set x", "name=value"),
            ("outage --seconds 1", "not a number in its range"),
            ("outage --ways sleep", "there is no sleep"),
            ("outage --clients rdkafka-base", "there is no rdkafka-base"),
        ] {
            let error = check(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn quick_is_one_pass_against_the_sink_and_what_follows_it_counts() {
        let Ok(Command::Bench(options)) = check("--quick --passes 2 --cases one,send-100") else {
            panic!("it runs")
        };
        assert_eq!((options.passes, options.brokers), (2, vec![Kind::Sink]));
        assert_eq!(options.cases, ["one", "send-100"]);
    }
}
