//! The outage program in short: seconds instead of minutes, with the same limits.
//!
//! Each run is a process of its own, since what a process takes is what is judged.

use std::process::Command;

/// Makes a run, and shows what it has shown where a limit is not kept.
#[track_caller]
fn check(how: &str, brokers: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla-outage"));
    command.args(["--how", how, "--brokers", brokers, "--dead", "5", "--seconds", "12"]);
    // Requests end without an answer and records fail while brokers are dead.
    command.args(["--rate", "800", "--budget", "8", "--request-timeout", "2", "--delivery-timeout", "3"]);
    let run = command.output().expect("the program starts");
    let (told, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{how}, {brokers}:\n{log}\n{told}");
    println!("{how}, {brokers}:\n{told}");
}

#[test]
fn a_broker_is_killed() {
    check("kill", "ottla");
}

#[test]
fn a_broker_is_stopped_and_goes_on() {
    check("stop", "ottla");
}

#[test]
fn a_network_swallows_everything() {
    check("swallow", "ottla");
}

#[test]
fn one_of_three_brokers_is_killed() {
    check("kill-one", "cluster");
}
