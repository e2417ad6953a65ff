//! Processes that the bench starts: another role of this same program, its lines, its end, and what it used.
//!
//! Invariants: a process that is dropped was killed by its id; the kernel kills it too if the bench itself is killed.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::fd::OwnedFd,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    broker::die_with_parent,
    failure::{Doing, Failure, Result},
};

/// A process with its standard input and output.
pub struct Role {
    name: String,
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
    ended: bool,
}

/// What a process used until it ended, as the kernel counted.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// The most memory that was ever resident, in bytes.
    pub resident_peak: u64,
    /// Whether it ended with exit code 0.
    pub success: bool,
}

impl Role {
    /// Starts this program with other arguments. Its standard error goes to a file, or to ours.
    pub fn start(name: &str, args: &[String], stderr: Option<File>) -> Result<Role> {
        let program = std::env::current_exe().doing("find this program")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(file) = stderr {
            command.stderr(OwnedFd::from(file));
        }
        let mut child = die_with_parent(&mut command).spawn().doing(format_args!("start {name}"))?;
        let stdin = child.stdin.take().expect("it is piped");
        let lines = read_lines(child.stdout.take().expect("it is piped"));
        Ok(Role { name: name.to_owned(), child, stdin, lines, ended: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").doing(format_args!("speak to {}", self.name))
    }

    /// Its next line.
    pub fn line(&self, timeout: Duration) -> Result<String> {
        self.lines.recv_timeout(timeout).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                Failure::Failed(format!("{} said nothing for {} s", self.name, timeout.as_secs()))
            }
            mpsc::RecvTimeoutError::Disconnected => {
                Failure::Failed(format!("{} ended; its errors are above or in its log", self.name))
            }
        })
    }

    /// All lines that are there by now.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Its answer to a line, which is JSON.
    pub fn ask(&mut self, line: &str, timeout: Duration) -> Result<serde_json::Value> {
        self.say(line)?;
        let answer: serde_json::Value =
            serde_json::from_str(&self.line(timeout)?).doing(format_args!("read {}", self.name))?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => Err(format!("{}: {error}", self.name).into()),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: kill has no preconditions, and the process was not waited for, so that its id is still its own.
        let done = unsafe { libc::kill(self.child.id() as i32, signal) };
        if done == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error()).doing(format_args!("signal {}", self.name))
        }
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> Result<Usage> {
        let mut status = 0;
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the process is ours and was not waited for; both pointers are valid for writes.
        let waited = unsafe { libc::wait4(self.child.id() as i32, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited < 0 {
            return Err(std::io::Error::last_os_error()).doing(format_args!("wait for {}", self.name));
        }
        self.ended = true;
        // SAFETY: it was zeroed, which is a valid value of it, and wait4 filled it.
        let usage = unsafe { usage.assume_init() };
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
        Ok(Usage {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            resident_peak: usage.ru_maxrss as u64 * 1024,
            success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        })
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if !self.ended {
            // A process that is stopped can be killed too.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read_lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
