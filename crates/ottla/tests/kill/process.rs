//! The broker as a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// What the broker promises: a stop in order takes no longer.
const STOP_MAX: Duration = Duration::from_secs(5);

pub struct Broker {
    child: Child,
    /// Kept open, so that the broker can go on writing.
    _output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

fn spawn(data: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--memory", "64MiB", "--set", "wal.max=32MiB"]);
    command.arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

impl Broker {
    /// Starts it and waits until it listens.
    pub fn start(data: &Path) -> Self {
        let mut child = spawn(data);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while address.is_none() {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                panic!("the broker did not start: {}", child.wait().unwrap());
            }
            address = line.trim().strip_prefix("listening on ").map(|address| address.parse().unwrap());
        }
        Self { child, _output: output, address: address.unwrap() }
    }

    /// Starts it and kills it after this time, somewhere on its way.
    pub fn start_and_kill(data: &Path, after: Duration) {
        let mut child = spawn(data);
        // There is nothing to wait for: any moment will do.
        thread::park_timeout(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how the broker ended.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let (ended, end) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| ended.send(self.child.wait().unwrap()).unwrap());
            end.recv_timeout(STOP_MAX).unwrap_or_else(|_| {
                kill_process(pid, Signal::KILL).unwrap();
                panic!("the broker did not stop within {STOP_MAX:?}");
            })
        })
    }
}

impl Drop for Broker {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
