//! The `ottla` binary.

mod args;
mod config;
mod serve;
mod storage;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, ServeArgs};
use config::Machine;

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Storage(command) => storage::run(&command),
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
