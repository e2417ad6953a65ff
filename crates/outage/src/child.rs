//! Processes that a run starts: they say where they listen, take commands by line, and end with the run.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Doing, Result};

/// What a process says first, before the addresses where it listens, with commas between them.
pub const LISTENING: &str = "listening on ";
/// What a process says when it has done what it was told.
pub const DONE: &str = "done";

/// A process, which is killed when this is dropped.
pub struct Process {
    what: String,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    addresses: Vec<SocketAddr>,
}

impl Process {
    /// Starts a program and waits until it says where it listens.
    ///
    /// # Errors
    /// It cannot be started, or ends before it says so.
    pub fn start(program: &Path, args: &[String]) -> Result<Self> {
        let what = format!("{} {}", program.display(), args.first().map_or("", String::as_str));
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().doing(&what)?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{what} has no standard input and output").into());
        };
        let answers = BufReader::new(answers);
        let mut process = Self { what, child, commands, answers, addresses: Vec::new() };
        let told = loop {
            let line = process.line()?;
            if let Some(addresses) = line.strip_prefix(LISTENING) {
                break addresses.to_owned();
            }
        };
        process.addresses =
            told.split(',').map(str::parse).collect::<std::result::Result<_, _>>().doing(&told)?;
        Ok(process)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Has it do something, and waits until that is done.
    ///
    /// # Errors
    /// It has ended, or says something else.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").doing(&self.what)?;
        match self.line()? {
            line if line == DONE => Ok(()),
            line => Err(format!("{}: {command}: {line}", self.what).into()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).doing(&self.what)
    }

    /// Ends it as SIGKILL does.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().doing(&self.what).map(drop)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line).doing(&self.what)? {
            0 => Err(format!("{} has ended: {}", self.what, self.child.wait()?).into()),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
