//! What the process takes, each second: memory, threads, descriptors, tasks, log lines, records.

use std::{
    fmt, fs,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ottla_client::Kafka;
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
    time::{Instant, interval},
};

use crate::{
    failure::{Doing, Result},
    log,
};

/// The process at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    pub rss_kib: u64,
    pub threads: u64,
    pub fds: u64,
    /// Of the client.
    pub tasks: u64,
    pub log_lines: u64,
    pub accepted: u64,
    pub delivered: u64,
    pub failed: u64,
}

/// What looks at the process.
#[derive(Clone)]
pub struct Meter {
    began: Instant,
    kafka: Kafka,
    /// Where the client's tasks are.
    client: Handle,
}

/// What was seen each second.
pub struct Watching {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

struct Seen {
    file: Option<BufWriter<File>>,
    most: Sample,
}

impl Meter {
    pub fn new(kafka: Kafka, client: Handle) -> Self {
        Self { began: Instant::now(), kafka, client }
    }

    /// The process now.
    pub fn sample(&self) -> Sample {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let records = self.kafka.metrics().producer;
        Sample {
            at: self.began.elapsed(),
            rss_kib: figure(&status, "VmRSS:"),
            threads: figure(&status, "Threads:"),
            // But the one that is open to look.
            fds: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count).saturating_sub(1) as u64,
            tasks: self.client.metrics().num_alive_tasks() as u64,
            log_lines: log::lines(),
            accepted: records.records_accepted,
            delivered: records.records_delivered,
            failed: records.records_failed,
        }
    }

    /// Looks each second from now on, and writes what it sees to a file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn watch(&self, samples: Option<&Path>, runtime: &Runtime) -> Result<Watching> {
        let file = samples.map(|path| File::create(path).doing(path.display())).transpose()?;
        let seen = Arc::new(Mutex::new(Seen { file: file.map(BufWriter::new), most: Sample::default() }));
        let (meter, watched) = (self.clone(), seen.clone());
        let task = runtime.spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                watched.lock().take(meter.sample());
            }
        });
        Ok(Watching { seen, task })
    }
}

impl Watching {
    /// Looks no more: the most that was seen of each, together with this last one.
    ///
    /// # Errors
    /// The file of samples cannot be written.
    pub fn stop(self, last: Sample) -> Result<Sample> {
        self.task.abort();
        let mut seen = self.seen.lock();
        seen.take(last);
        // The most memory is what the system has seen, which looks more often.
        let status = fs::read_to_string("/proc/self/status").doing("/proc/self/status")?;
        seen.most.rss_kib = seen.most.rss_kib.max(figure(&status, "VmHWM:"));
        if let Some(file) = &mut seen.file {
            file.flush().doing("samples")?;
        }
        Ok(seen.most)
    }
}

impl Seen {
    fn take(&mut self, sample: Sample) {
        let most = &mut self.most;
        most.rss_kib = most.rss_kib.max(sample.rss_kib);
        most.threads = most.threads.max(sample.threads);
        most.fds = most.fds.max(sample.fds);
        most.tasks = most.tasks.max(sample.tasks);
        most.log_lines = most.log_lines.max(sample.log_lines);
        if let Some(file) = &mut self.file {
            // Where this fails, so does the flush at the end.
            let _ = writeln!(file, "{sample}");
        }
    }
}

/// As a JSON object in a line.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, rss_kib, threads, fds, tasks, log_lines, accepted, delivered, failed } = self;
        write!(
            f,
            "{{\"t\":{:.1},\"rss_kib\":{rss_kib},\"threads\":{threads},\"fds\":{fds},\"tasks\":{tasks},\
             \"log_lines\":{log_lines},\"accepted\":{accepted},\"delivered\":{delivered},\"failed\":{failed}}}",
            at.as_secs_f64()
        )
    }
}

fn figure(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_line() {
        let sample = Sample { at: Duration::from_millis(1040), rss_kib: 5, failed: 7, ..Sample::default() };
        assert_eq!(
            sample.to_string(),
            "{\"t\":1.0,\"rss_kib\":5,\"threads\":0,\"fds\":0,\"tasks\":0,\"log_lines\":0,\"accepted\":0,\
             \"delivered\":0,\"failed\":7}"
        );
        assert_eq!(figure("Name:\tx\nVmRSS:\t   5120 kB\nThreads:\t3\n", "VmRSS:"), 5120);
    }
}
