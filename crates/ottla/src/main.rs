//! The `ottla` binary.

mod args;
mod config;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, ServeArgs, StorageCommand};
use config::{Config, Machine};

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
    match config::load(args, &Machine) {
        Ok(config) => {
            show(&config);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ottla: {error}");
            ExitCode::from(config::EXIT_CODE)
        }
    }
}

fn show(config: &Config) {
    for listener in &config.listeners {
        let optional = if listener.optional { " (where the host has it)" } else { "" };
        println!("listen      {}{optional}", listener.address);
    }
    if let Some(advertise) = &config.advertise {
        println!("advertise   {advertise}");
    }
    println!("data        {}", config.data.display());
    println!("durability  {}", config.settings.durability);
    println!("memory      {} MiB", config.settings.memory_budget >> 20);
    for reduced in config.settings.reduced() {
        println!("note        {reduced}");
    }
}
