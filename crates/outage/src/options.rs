//! The command line of a run.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

use crate::{failure::Result, roles::Role};

/// What ottla-client does, and says of each record, while brokers are dead: offers records to twelve partitions, takes the
/// brokers away, gives them back, and judges by what is in the logs. Ends with 1 where a limit is not kept.
#[derive(Debug, Parser)]
#[command(name = "ottla-outage", args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    pub options: Options,
    /// What the program starts itself as.
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// How a run is to be.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How brokers die
    #[arg(long, value_enum, default_value = "kill")]
    pub how: How,
    /// Which brokers
    #[arg(long, value_enum, default_value = "ottla")]
    pub brokers: Kind,
    /// An `ottla` to run as the broker, instead of one that is built into this program
    #[arg(long, value_name = "PATH")]
    pub ottla: Option<PathBuf>,
    /// How long brokers are dead, in seconds
    #[arg(long, value_parser = seconds, default_value = "600", value_name = "SECONDS")]
    pub dead: Duration,
    /// How long records are offered: before, a third of what is not `dead`, and after, the rest [default: 60 more than
    /// `dead`]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub seconds: Option<Duration>,
    /// What each broker takes, in records of 10 KiB per second
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(12..))]
    pub rate: u32,
    /// The client's memory_budget in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=4096), value_name = "MIB")]
    pub budget: u32,
    /// The client's request_timeout and connect_timeout, in seconds
    #[arg(long, value_parser = seconds, default_value = "30", value_name = "SECONDS")]
    pub request_timeout: Duration,
    /// The client's delivery_timeout and max_wait, in seconds
    #[arg(long, value_parser = seconds, default_value = "60", value_name = "SECONDS")]
    pub delivery_timeout: Duration,
    /// Where to write a JSON object of each second's measurements, one a line
    #[arg(long, value_name = "PATH")]
    pub samples: Option<PathBuf>,
}

/// How brokers die.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum How {
    /// All get SIGKILL, and are started again
    Kill,
    /// All get SIGSTOP, and SIGCONT
    Stop,
    /// A network that swallows what they are sent and what they say
    Swallow,
    /// One of three is killed, at half of the rate that all three take; with `--brokers cluster` alone
    KillOne,
}

/// Which brokers a run has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Kind {
    /// One of Ottla, which keeps its records on disk
    Ottla,
    /// A fake cluster of three, which keeps them in memory
    Cluster,
}

impl Kind {
    /// How many there are.
    pub fn count(self) -> u32 {
        match self {
            Self::Ottla => 1,
            Self::Cluster => 3,
        }
    }
}

impl Options {
    /// How long records are offered before brokers die.
    pub fn warm_up(&self) -> Duration {
        self.healthy() / 3
    }

    /// How long they are offered after brokers are back.
    pub fn after(&self) -> Duration {
        self.healthy() - self.warm_up()
    }

    fn healthy(&self) -> Duration {
        self.seconds.map_or(Duration::from_secs(60), |all| all.saturating_sub(self.dead))
    }

    /// How many records are offered in a second: twice what brokers take, or half of it where it is to be seen whether the
    /// living go on.
    pub fn offered(&self) -> u32 {
        let taken = self.rate * self.brokers.count();
        if self.how == How::KillOne { taken / 2 } else { taken * 2 }
    }

    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<()> {
        if self.how == How::KillOne && self.brokers != Kind::Cluster {
            return Err("--how kill-one needs --brokers cluster: there is one broker of Ottla".into());
        }
        if self.how == How::Stop && self.dead <= self.request_timeout {
            return Err("--how stop needs --dead to be longer than --request-timeout".into());
        }
        if self.dead < Duration::from_secs(2) || self.healthy() < Duration::from_secs(3) {
            return Err("--dead must be at least 2, and --seconds 3 more".into());
        }
        Ok(())
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Options {
        Args::try_parse_from(line.split(' ')).unwrap().options
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_run_has_three_parts() {
        let options = parse("outage --dead 30 --seconds 60");
        assert_eq!((options.warm_up(), options.after()), (Duration::from_secs(10), Duration::from_secs(20)));
        assert_eq!((parse("outage").warm_up(), options.offered()), (Duration::from_secs(20), 1600));
        options.check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--how kill-one", "--how stop --dead 29", "--dead 1.5", "--dead 10 --seconds 12"] {
            parse(&format!("outage {line}")).check().unwrap_err();
        }
        let options = parse("outage --how kill-one --brokers cluster --rate 100");
        options.check().unwrap();
        assert_eq!(options.offered(), 150);
    }
}
