//! The command line, parsed purely.

use std::path::PathBuf;

use crate::{broker::Kind, rows};

/// What `--help` prints.
pub const HELP: &str = "\
ottla-bench: Ottla and Apache Kafka side by side, under one generator

  --rows a,b,…        only these rows (default: all; see README.md)
  --only ottla|kafka  only this broker
  --seconds N         length of a round (default 10; row b's measured round takes 60)
  --rounds N          rounds of a row; all but the last are warm-up (default 3)
  --passes N          repeat everything and report medians (default 1)
  --quick             rows a, c, d, f, h, k in short rounds: an overview in less than two minutes
  --full              20 GB in row i and 8 GB in row g (default 2 GB each)
  --kill-gb N         this many GB in row i
  --groups N          this many groups in rows m and n (default 10000)
  --ottla PATH        the broker to measure (default: built from this checkout)
  --memory SIZE       Ottla's memory budget (default 256MiB)
  --ottla-set K=V     a further setting of Ottla; may be repeated
  --kafka-set K=V     a further setting of Apache Kafka; may be repeated
  --dir PATH          where data goes (default: .cache/run in the bench's folder)
  --json PATH         where raw figures go, a JSON object a line (default: .cache/figures.jsonl)
  --write-results     write the table to RESULTS.md too
  --verify            check the CRC of every batch that is fetched (costs generator CPU)
  --strace            a further round of each produce row under strace, its counts in the raw figures
";

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Ids of rows, in the order of the table.
    pub rows: Vec<String>,
    /// The one broker to run, or both.
    pub only: Option<Kind>,
    /// Length of a round in seconds.
    pub seconds: f64,
    /// Length of the measured round of row b in seconds.
    pub long_seconds: f64,
    /// Rounds of a row; the last one counts.
    pub rounds: u32,
    /// Repetitions of everything.
    pub passes: u32,
    /// Data of row i in bytes.
    pub kill_bytes: u64,
    /// Groups of rows m and n.
    pub groups: usize,
    /// Data of row f in bytes.
    pub hot_bytes: u64,
    /// Data of row g in bytes.
    pub cold_bytes: u64,
    /// The broker to measure; built when absent.
    pub ottla: Option<PathBuf>,
    /// Ottla's memory budget as it is passed on.
    pub memory: String,
    /// Further settings, `name=value`.
    pub ottla_settings: Vec<String>,
    /// Further settings, `name=value`.
    pub kafka_settings: Vec<String>,
    /// The directory of all data.
    pub dir: PathBuf,
    /// The file of raw figures.
    pub json: PathBuf,
    /// Whether RESULTS.md is written.
    pub write_results: bool,
    /// Whether fetched batches are checked.
    pub verify: bool,
    /// Whether a traced round follows.
    pub strace: bool,
}

/// The command line asks for a run, or for help.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Run the bench.
    Run(Box<Options>),
    /// Print [`HELP`].
    Help,
}

/// Parses the arguments after the program's name; `home` is the bench's folder.
pub fn parse(args: impl IntoIterator<Item = String>, home: &std::path::Path) -> Result<Command, String> {
    let mut options = Options {
        rows: rows::ALL.iter().map(|row| row.id.to_owned()).collect(),
        only: None,
        seconds: 10.0,
        long_seconds: 60.0,
        rounds: 3,
        passes: 1,
        kill_bytes: 2_000_000_000,
        groups: 10_000,
        hot_bytes: 1 << 30,
        cold_bytes: 2_000_000_000,
        ottla: None,
        memory: "256MiB".to_owned(),
        ottla_settings: Vec::new(),
        kafka_settings: Vec::new(),
        dir: home.join(".cache/run"),
        json: home.join(".cache/figures.jsonl"),
        write_results: false,
        verify: false,
        strace: false,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--rows" => options.rows = row_ids(&value()?)?,
            "--only" => options.only = Some(kind(&value()?)?),
            "--seconds" => {
                options.seconds = number::<f64>(&arg, &value()?, |n| (0.2..=3600.0).contains(&n))?;
                options.long_seconds = options.seconds;
            }
            "--rounds" => options.rounds = number(&arg, &value()?, |n| (1..=100).contains(&n))?,
            "--passes" => options.passes = number(&arg, &value()?, |n| (1..=100).contains(&n))?,
            "--quick" => {
                options.rows = ["a", "c", "d", "f", "h", "k"].map(str::to_owned).to_vec();
                (options.seconds, options.long_seconds, options.rounds) = (1.5, 1.5, 2);
                options.hot_bytes = 256 << 20;
            }
            "--full" => (options.kill_bytes, options.cold_bytes) = (20_000_000_000, 8_000_000_000),
            "--kill-gb" => {
                let gigabytes = number::<f64>(&arg, &value()?, |n| (0.3..=1000.0).contains(&n))?;
                options.kill_bytes = (gigabytes * 1e9) as u64;
            }
            "--groups" => options.groups = number(&arg, &value()?, |n| (1..=99_999).contains(&n))?,
            "--ottla" => options.ottla = Some(value()?.into()),
            "--memory" => {
                options.memory = value()?;
                size(&options.memory)
                    .ok_or_else(|| format!("--memory {}: not a size such as 256MiB", options.memory))?;
            }
            "--ottla-set" => options.ottla_settings.push(setting(&arg, value()?)?),
            "--kafka-set" => options.kafka_settings.push(setting(&arg, value()?)?),
            "--dir" => options.dir = value()?.into(),
            "--json" => options.json = value()?.into(),
            "--write-results" => options.write_results = true,
            "--verify" => options.verify = true,
            "--strace" => options.strace = true,
            _ => return Err(format!("{arg} is no option of ottla-bench; --help lists them")),
        }
    }
    Ok(Command::Run(Box::new(options)))
}

impl Options {
    /// How the figures were taken, in a sentence; it names no path.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "Rounds of {} s ({} s in row b), {} a row of which the last counts; {} pass(es); {:.1} GB in row i; \
             {} groups in rows m and n; Ottla with `--memory {}`",
            self.seconds,
            self.long_seconds,
            self.rounds,
            self.passes,
            self.kill_bytes as f64 / 1e9,
            self.groups,
            self.memory
        );
        for (name, settings) in [("Ottla", &self.ottla_settings), ("Kafka", &self.kafka_settings)] {
            for setting in settings {
                text += &format!("; {name} with `{setting}`");
            }
        }
        text + "."
    }

    /// Ottla's memory budget in bytes.
    pub fn memory_bytes(&self) -> u64 {
        size(&self.memory).expect("parsed before")
    }
}

fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match &text[digits..] {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn row_ids(list: &str) -> Result<Vec<String>, String> {
    let asked: Vec<&str> = list.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    let known: Vec<&str> = rows::ALL.iter().map(|row| row.id).collect();
    if let Some(unknown) = asked.iter().find(|id| !known.contains(id)) {
        return Err(format!("--rows: there is no row {unknown}; the rows are {}", known.join(",")));
    }
    if asked.is_empty() {
        return Err(format!("--rows names no row; the rows are {}", known.join(",")));
    }
    Ok(known.into_iter().filter(|id| asked.contains(id)).map(str::to_owned).collect())
}

fn kind(name: &str) -> Result<Kind, String> {
    match name {
        "ottla" => Ok(Kind::Ottla),
        "kafka" => Ok(Kind::Kafka),
        _ => Err(format!("--only {name}: it takes ottla or kafka")),
    }
}

fn setting(arg: &str, value: String) -> Result<String, String> {
    match value.split_once('=') {
        Some((name, _)) if !name.is_empty() && !value.contains('\n') => Ok(value),
        _ => Err(format!("{arg} {value}: it takes name=value")),
    }
}

fn number<T: std::str::FromStr + Copy>(arg: &str, text: &str, fits: impl Fn(T) -> bool) -> Result<T, String> {
    text.parse().ok().filter(|&n| fits(n)).ok_or_else(|| format!("{arg} {text}: not a number in its range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Options, String> {
        let args = line.split_whitespace().map(str::to_owned);
        match parse(args, std::path::Path::new("/bench"))? {
            Command::Run(options) => Ok(*options),
            Command::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn rows_come_in_the_order_of_the_table() {
        assert_eq!(check("--rows d,a").unwrap().rows, ["a", "d"]);
        assert!(check("--rows a,z").unwrap_err().contains("there is no row z"));
        assert!(check("--rows ,").unwrap_err().contains("names no row"));
    }

    #[test]
    fn numbers_have_ranges() {
        assert_eq!(check("--seconds 3").unwrap().long_seconds, 3.0);
        assert_eq!(check("").unwrap().long_seconds, 60.0);
        for line in ["--seconds 0", "--seconds x", "--rounds 0", "--passes -1", "--kill-gb NaN", "--groups 0"]
        {
            assert!(check(line).unwrap_err().contains("not a number in its range"), "{line}");
        }
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        assert!(check("--only both").unwrap_err().contains("ottla or kafka"));
        assert!(check("--seconds").unwrap_err().contains("needs a value"));
        assert!(check("--fast").unwrap_err().contains("--help"));
        assert!(check("--kafka-set x").unwrap_err().contains("name=value"));
        assert!(check("--memory lots").unwrap_err().contains("256MiB"));
    }

    #[test]
    fn the_summary_names_settings_and_no_path() {
        let summary =
            check("--ottla a/secret --dir a/secret --kafka-set num.io.threads=2").unwrap().summary();
        assert!(
            summary.contains("Kafka with `num.io.threads=2`") && summary.contains("Rounds of 10 s"),
            "{summary}"
        );
        assert!(!summary.contains("secret"));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(check("--memory 64MiB").unwrap().memory_bytes(), 64 << 20);
        assert_eq!(size("99999999999999999999"), None);
        assert_eq!(size("99999999999GiB"), None);
    }
}
