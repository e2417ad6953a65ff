//! `--strace`: counts a broker's writes and syncs while a round runs.
//!
//! Tracing slows the broker down a great deal, so no other figure of such a round is kept.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    broker::{Broker, die_with_parent},
    failure::{Doing, Result},
};

/// Calls that only ever go to files, and so never count an answer to a client.
const CALLS: &str = "pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,syncfs,msync";

/// A running strace.
pub struct Tracer {
    child: Child,
    output: PathBuf,
}

impl Tracer {
    /// Attaches to all threads of a broker, and waits until it counts.
    pub fn attach(broker: &Broker) -> Result<Tracer> {
        let output = broker.dir().join("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "name,calls", "-e", &format!("trace={CALLS}"), "-o"]);
        command.arg(&output).arg("-p").arg(broker.pid().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = die_with_parent(&mut command).spawn().doing("run strace")?;
        let mut tracer = Tracer { child, output };
        let traced = format!("/proc/{}/status", broker.pid());
        let deadline = Instant::now() + Duration::from_secs(5);
        while !is_traced(&fs::read_to_string(&traced).unwrap_or_default()) {
            if tracer.child.try_wait().doing("wait for strace")?.is_some() || Instant::now() > deadline {
                return Err("strace could not attach to the broker; it needs the right to ptrace"
                    .to_owned()
                    .into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tracer)
    }

    /// Detaches and returns the number of each call.
    pub fn finish(mut self) -> Result<Vec<(String, u64)>> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).doing("stop strace")?;
        self.child.wait().doing("wait for strace")?;
        Ok(counts(&fs::read_to_string(&self.output).doing("read strace's counts")?))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_traced(status: &str) -> bool {
    status.lines().filter_map(|line| line.strip_prefix("TracerPid:")).any(|pid| pid.trim() != "0")
}

/// Lines of `name count`, without the headline, the rules and the total.
fn counts(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (name, calls) = (fields.next()?, fields.next()?.parse().ok()?);
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_summary() {
        let text = "syscall              calls\n---------------- ---------\npwritev2               120\n\
                    fdatasync                3\n---------------- ---------\ntotal                  123\n";
        assert_eq!(counts(text), [("pwritev2".to_owned(), 120), ("fdatasync".to_owned(), 3)]);
        assert_eq!(counts(""), []);
    }

    #[test]
    fn a_tracer_is_seen_in_the_status() {
        assert!(is_traced("Name:\tx\nTracerPid:\t77\n"));
        assert!(!is_traced("TracerPid:\t0\n"));
    }
}
