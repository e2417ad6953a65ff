//! The outage program: offers records to a cluster through `ottla-client`, takes the brokers away and gives them back, and
//! judges what the client took meanwhile and what it said of each record.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | the command line |
//! | `run` | the plan of a run, and its limits |
//! | `brokers`, `child`, `roles` | brokers and proxies, processes of their own, and how they die |
//! | `load`, `ledger` | who offers records, and what was said of each |
//! | `meter`, `log` | what the process takes, each second |
//! | `judge`, `reader` | what is in the logs, beside what was said |
//! | `verdict` | what is printed at the end |

mod brokers;
mod child;
mod failure;
mod judge;
mod ledger;
mod load;
mod log;
mod meter;
mod options;
mod reader;
mod roles;
mod run;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use crate::{failure::Result, options::Args};

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(is_good) => ExitCode::from(u8::from(!is_good)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Makes a run, and prints what it has shown; or plays a role in one.
fn start(args: Args) -> Result<bool> {
    if let Some(role) = args.role {
        return role.play().map(|()| true);
    }
    let verdict = run::run(&args.options)?;
    println!("{verdict}");
    Ok(verdict.is_good())
}
