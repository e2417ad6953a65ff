//! How programs end, and what of their logs is in Kafka then. Each is this test program once more, as a process of its own.

#![cfg(unix)]

mod support;

#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/service/main.rs"]
mod service;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use ottla_testing::Cluster;
use ottla_tracing::{Fallback, Sink};
use tracing::{Level, error, info};
use tracing_subscriber::prelude::*;

use support::{LONG, TOPIC, cluster, lines, pause};

/// Names what a process of this program is to do instead of testing.
const PROGRAM: &str = "OTTLA_TEST_PROGRAM";
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// The programs. A run as a test does nothing.
#[test]
fn program() {
    let brokers = || env::var("BROKERS").unwrap();
    // Nothing is sent by itself.
    let build =
        || Sink::builder([brokers()], TOPIC).linger(LONG).fallback(Fallback::Nowhere).build().unwrap();
    match env::var(PROGRAM).as_deref() {
        Ok("flushes") => {
            let (sink, _guard) = build();
            log(&sink, 1000);
            sink.flush(LONG).unwrap();
            ready();
        }
        Ok("waits") => {
            let (sink, guard) = build();
            log(&sink, 1000);
            let writer = sink.clone();
            guard.close_on_sigterm(LONG, move || log(&writer, 1)).unwrap();
            ready();
        }
        Ok("panics") => {
            let (sink, _guard) = build();
            tracing_subscriber::registry().with(sink.layer()).init();
            sink.panic_hook(LONG);
            let panicked = thread::spawn(|| {
                info!("before");
                panic!("the cup is broken");
            });
            panicked.join().unwrap_err();
            std::process::exit(7);
        }
        Ok("exits") => {
            let (sink, guard) = build();
            log(&sink, 1000);
            assert_eq!(guard.close(LONG).delivered, 1000);
            std::process::exit(7);
        }
        Ok("is stuck") => {
            // Nobody reads its standard error, which is the fallback.
            let (sink, guard) = support::nowhere().build().unwrap();
            let mut writer = sink.writer(Level::ERROR);
            for _ in 0..5000 {
                writeln!(writer, "{}", "x".repeat(1000)).unwrap();
            }
            let counters = guard.close(Duration::from_millis(500));
            assert!(counters.waiting > 0, "{counters:?}");
            println!("closed");
            std::process::exit(7);
        }
        Ok("unwinds") => {
            let (sink, _guard) = build();
            tracing_subscriber::registry().with(sink.layer()).init();
            error!("before");
            panic!("the guard is dropped on the way");
        }
        Ok("serves") => service::run().unwrap(),
        Ok(other) => panic!("no such program: {other}"),
        Err(_) => {}
    }
}

fn log(sink: &Sink, count: usize) {
    let mut writer = sink.writer(Level::INFO);
    for number in 0..count {
        writeln!(writer, "{number}").unwrap();
    }
}

/// Says so, and waits for its end.
fn ready() {
    println!("ready");
    pause(LONG);
}

/// A program that runs.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(program: &str, cluster: &Cluster) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "program", "--nocapture"]).env(PROGRAM, program);
        command.env("BROKERS", cluster.bootstrap_servers()).env("LISTEN", "127.0.0.1:0").env("NO_COLOR", "1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Waits until it says a line that has this, and returns it.
    fn wait_for(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended before it said {what}");
            if line.contains(what) {
                return line;
            }
        }
    }

    fn end_by(mut self, signal: i32) -> ExitStatus {
        let sent =
            Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_was_flushed_is_there_after_a_kill() {
    let cluster = cluster();
    let mut program = Running::start("flushes", &cluster);
    program.wait_for("ready");
    assert_eq!(Running::end_by(program, SIGKILL).signal(), Some(SIGKILL));
    assert_eq!(cluster.records(TOPIC, 0).len(), 1000);
}

#[test]
fn sigterm_loses_nothing_and_ends_the_program() {
    let cluster = cluster();
    let mut program = Running::start("waits", &cluster);
    program.wait_for("ready");
    assert_eq!(Running::end_by(program, SIGTERM).signal(), Some(SIGTERM));
    // What is done before is logged too.
    assert_eq!(cluster.records(TOPIC, 0).len(), 1001);
}

#[test]
fn a_panic_is_logged_before_the_program_goes_on() {
    let cluster = cluster();
    let mut program = Running::start("panics", &cluster);
    assert_eq!(program.child.wait().unwrap().code(), Some(7));
    let lines = lines(&cluster.records(TOPIC, 0));
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("before"), "{}", lines[0]);
    assert!(lines[1].contains("panicked at") && lines[1].contains("the cup is broken"), "{}", lines[1]);
    assert!(
        lines[1].contains(r#""target":"panic""#) && lines[1].contains(r#""level":"ERROR""#),
        "{}",
        lines[1]
    );
}

#[test]
fn closing_before_an_exit_loses_nothing() {
    let cluster = cluster();
    let mut program = Running::start("exits", &cluster);
    assert_eq!(program.child.wait().unwrap().code(), Some(7));
    assert_eq!(cluster.records(TOPIC, 0).len(), 1000);
}

#[test]
fn a_fallback_that_is_stuck_holds_up_no_end() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "program", "--nocapture"]).env(PROGRAM, "is stuck");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut program = Running { child, said };
    program.wait_for("closed");
    assert_eq!(program.child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_panic_that_unwinds_drops_the_guard() {
    let cluster = cluster();
    let mut program = Running::start("unwinds", &cluster);
    assert!(!program.child.wait().unwrap().success());
    assert_eq!(cluster.records(TOPIC, 0).len(), 1);
}

#[test]
fn the_example_serves_and_its_logs_are_in_kafka() {
    let cluster = cluster();
    let mut service = Running::start("serves", &cluster);
    let line = service.wait_for("the tea is ready");
    let address = line.split("address=").nth(1).unwrap().trim().to_owned();
    assert!(get(&address, "/tea/8").ends_with("tea for 8\n"));
    assert!(get(&address, "/tea/20").contains("503"));
    get(&address, "/drop");
    // It returns from `main` at the same time as the sink ends it.
    let status = Running::end_by(service, SIGTERM);
    assert!(status.success() || status.signal() == Some(SIGTERM), "{status}");
    let records = cluster.records(TOPIC, 0);
    let events: Vec<serde_json::Value> =
        lines(&records).iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let with = |message: &str| {
        let found = events.iter().find(|event| event["message"].as_str().unwrap().contains(message));
        found.unwrap_or_else(|| panic!("{message}: {events:#?}"))
    };
    let warned = with("this takes two kettles");
    assert_eq!(warned["log.level"], "WARN");
    assert_eq!(warned["service.name"], "tea");
    assert_eq!(warned["labels"]["guests"], 8);
    assert_eq!(warned["labels"]["kettles"], 2);
    assert_eq!(warned["labels"]["password"], "[redacted]");
    let of_the_warning = |record: &&ottla_testing::Record| {
        record.value.as_deref().unwrap().windows(11).any(|part| part == b"two kettles")
    };
    let record = records.iter().find(of_the_warning).unwrap();
    assert_eq!(record.key.as_deref().unwrap(), warned["trace.id"].as_str().unwrap().as_bytes());
    assert_eq!(with("too many guests")["log.level"], "ERROR");
    with("the cup is broken");
    with("the last cup is empty");
    assert!(lines(&records).iter().any(|line| line.starts_with("started as process ")));
}

/// What the service answers, whatever that is.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
