//! The broker as a process, killed when a test ends.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use ottla_testing_internal::TestClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a stop in order may take.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long anything else may take: only a hang does.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    command.arg("serve").args(args).current_dir(dir).stdin(Stdio::null()).stderr(log).env_remove("OTTLA_LOG");
    command
}

/// A running broker in a directory of its own, killed when it is dropped.
pub struct Ottla {
    child: Child,
    /// What it printed at the start.
    pub block: String,
    pub addresses: Vec<SocketAddr>,
    _stdout: BufReader<ChildStdout>,
}

impl Ottla {
    /// Starts a broker with its data in `dir` on a free port of loopback.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::start_on(dir, &[&["--listen", "127.0.0.1:0"], args].concat())
    }

    pub fn start_on(dir: &Path, args: &[&str]) -> Self {
        Self::spawn(dir, &mut command(dir, args))
    }

    pub fn spawn(dir: &Path, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut block = String::new();
        // The number of topics is what every start prints after the rest.
        while !block.lines().last().is_some_and(|line| line.trim_start().starts_with("topics ")) {
            if stdout.read_line(&mut block).unwrap() == 0 {
                let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
                panic!("no broker: {:?}\n{block}{log}", child.wait());
            }
        }
        let address = |line: &str| line.trim().strip_prefix("listening on ")?.parse().ok();
        let addresses = block.lines().filter_map(address).collect();
        Self { child, block, addresses, _stdout: stdout }
    }

    /// What the system tells of it under this name.
    pub fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    /// Its memory that no file stands behind, in bytes.
    pub fn anonymous_bytes(&self) -> usize {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub fn client(&self) -> TestClient {
        TestClient::connect(self.addresses[0])
    }

    /// The rest of the line of the block that begins with this word.
    pub fn line(&self, word: &str) -> Option<&str> {
        self.block.lines().find_map(|line| line.trim().strip_prefix(word)).map(str::trim)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, for so long at most.
    pub fn ended_within(mut self, most: Duration) -> Option<ExitStatus> {
        let (tell, told) = mpsc::channel();
        let pid = Pid::from_child(&self.child);
        let waiter = thread::spawn(move || tell.send(self.child.wait().unwrap()));
        let ended = told.recv_timeout(most).ok();
        if ended.is_none() {
            kill_process(pid, Signal::KILL).unwrap();
        }
        let _ = waiter.join().unwrap();
        ended
    }

    pub fn stop(self, signal: Signal) {
        self.signal(signal);
        let ended = self.ended_within(STOP_MAX);
        assert_eq!(ended.expect("it stops in time").code(), Some(0));
    }

    pub fn kill(self) {
        self.signal(Signal::KILL);
        self.ended_within(PATIENCE).expect("a killed process ends");
    }
}

impl Drop for Ottla {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}
