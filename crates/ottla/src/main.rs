//! The `ottla` binary.

mod args;
mod config;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, ServeArgs, StorageCommand};
use config::Machine;

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Storage(StorageCommand::Dump { path } | StorageCommand::Check { data: path }) => {
            eprintln!("ottla: cannot look into {}: this build has no storage tools", path.display());
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let config = match config::load(args, &Machine) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("ottla: {error}");
            return ExitCode::from(config::EXIT_CODE);
        }
    };
    match serve::serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
