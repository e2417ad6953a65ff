//! The command line: which commands and flags there are. What their values mean is said elsewhere, for the
//! settings in [`config`](crate::config).

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Event streaming that speaks the Kafka protocol, in one small binary.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker.
    Serve(ServeArgs),
    /// Look into a data directory.
    #[command(subcommand)]
    Storage(StorageCommand),
}

/// The flags of `ottla serve`. A flag counts more than the configuration file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: ottla-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on; may be repeated, and port 0 takes a free one [default: port 9092 of 127.0.0.1,
    /// and of ::1 where there is IPv6]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Vec<String>,
    /// Address that clients are told to connect to [default: the one they connected to]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Memory budget, at least 32MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Broker setting, by Kafka's name; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// What `ottla storage` can do. Nothing of it changes a file.
#[derive(Clone, Debug, Subcommand)]
pub enum StorageCommand {
    /// Show what a file holds, or each file of a directory. A broker may be running.
    Dump {
        /// A segment, index, checkpoint, write-ahead log or state.db, or a directory of them
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
    },
    /// Read everything in a data directory that no broker uses, and report what is damaged.
    Check {
        /// The data directory
        #[arg(value_name = "DIR")]
        data: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn serve_takes_all_its_flags() {
        let line = "ottla serve --config o.toml --data d --listen a:1 --listen=[::1]:2 --advertise b:3 \
                    --memory 64MiB --set a.b=c --set d=e=f";
        let Ok(Args { command: Command::Serve(serve) }) = parse(line) else { panic!("{line}") };
        assert_eq!(serve.config, Some("o.toml".into()));
        assert_eq!(serve.data, Some("d".into()));
        assert_eq!(serve.listen, ["a:1", "[::1]:2"]);
        assert_eq!(serve.advertise.as_deref(), Some("b:3"));
        assert_eq!(serve.memory.as_deref(), Some("64MiB"));
        assert_eq!(serve.set, ["a.b=c", "d=e=f"]);
    }

    #[test]
    fn storage_takes_one_path() {
        let dump = parse("ottla storage dump logs/1").unwrap().command;
        assert!(
            matches!(&dump, Command::Storage(StorageCommand::Dump { path }) if path.ends_with("logs/1")),
            "{dump:?}",
        );
        let check = parse("ottla storage check ottla-data").unwrap().command;
        assert!(
            matches!(&check, Command::Storage(StorageCommand::Check { data }) if data.ends_with("ottla-data")),
            "{check:?}",
        );
    }

    #[test]
    fn what_is_wrong_exits_with_2_and_what_is_asked_with_0() {
        for (line, kind, exit_code) in [
            ("ottla", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, 2),
            ("ottla serv", ErrorKind::InvalidSubcommand, 2),
            ("ottla serve --lisen a:1", ErrorKind::UnknownArgument, 2),
            ("ottla serve --memory", ErrorKind::InvalidValue, 2),
            ("ottla storage check", ErrorKind::MissingRequiredArgument, 2),
            ("ottla --version", ErrorKind::DisplayVersion, 0),
            ("ottla serve --help", ErrorKind::DisplayHelp, 0),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, exit_code), "{line}");
        }
    }
}
