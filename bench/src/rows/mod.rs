//! The rows of the table: what each does to a broker, and the figures it brings back.
//!
//! Every row starts a broker of its own with an empty data directory, so that its peak memory is its own, and runs
//! its rounds; the last one counts, the others warm the broker up. Before each round the file system is written
//! back, so that a broker that acknowledges from the page cache does not leave its writes to the next round.

pub mod commit;
pub mod fetch;
pub mod groups;
pub mod produce;
pub mod rebalance;
pub mod start;
pub mod wake;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    broker::{Broker, Installed, Kind, Prepared},
    disk::{self, Counters, Device},
    failure::{Doing, Failure, Result},
    generator::Outcome,
    options::Options,
    process,
};

/// A row of the table.
pub struct Row {
    /// Its letter.
    pub id: &'static str,
    /// What is done, in a line.
    pub title: &'static str,
    run: fn(&Context, Kind) -> Result<Figures>,
}

/// All rows, in the order of the table.
pub const ALL: [Row; 14] = [
    Row { id: "a", title: "16 KiB batches, 16 connections x 5 in flight, 16 partitions", run: produce::a },
    Row { id: "b", title: "1 MB batches, 4 x 5, 4 partitions", run: produce::b },
    Row { id: "c", title: "one 100 B record a request, 64 x 1, 16 partitions", run: produce::c },
    Row { id: "d", title: "one connection, one in flight", run: produce::d },
    Row { id: "e", title: "1 KiB batches over 1,000 partitions, 16 x 5", run: produce::e },
    Row { id: "f", title: "fetch of hot data, 1 MiB", run: fetch::hot },
    Row { id: "g", title: "fetch of cold data, 1 MiB, 1 connection", run: fetch::cold },
    Row { id: "h", title: "one record to a long-polling consumer", run: wake::run },
    Row { id: "i", title: "start to first acknowledgement", run: start::run },
    Row { id: "j", title: "memory of an idle broker", run: start::idle },
    Row { id: "k", title: "offset commits, 64 x 1, and one connection", run: commit::run },
    Row { id: "l", title: "a group of 500 members over 5,000 partitions, and one more", run: rebalance::run },
    Row { id: "m", title: "many groups of two members, which idle", run: groups::idle },
    Row { id: "n", title: "a restart with many groups", run: groups::restart },
];

impl Row {
    /// Measures one broker, and the disk's limits before and after it.
    ///
    /// A disk may be slower after a heavy row than before it (a virtual one by its rate limit). Requirements that
    /// name the durable write take the faster of the two, which is the stricter limit.
    pub fn run(&self, context: &Context, kind: Kind) -> Result<Figures> {
        let limits = || {
            context.settle()?;
            disk::limits(&context.options.dir, Duration::from_millis(500)).doing("measure the disk")
        };
        let before = limits()?;
        let mut figures = (self.run)(context, kind)?;
        let after = limits()?;
        for (when, limits) in [("before", &before), ("after", &after)] {
            figures.set(format!("disk_{when}.durable_4k_p50_ms"), limits.write_4k_p50.as_secs_f64() * 1e3);
            figures.set(format!("disk_{when}.durable_4k_p99_ms"), limits.write_4k_p99.as_secs_f64() * 1e3);
            figures.set(format!("disk_{when}.sequential_mb_per_s"), limits.sequential / 1e6);
        }
        let faster = before.write_4k_p50.min(after.write_4k_p50);
        figures.set("durable_4k_p50_ms", faster.as_secs_f64() * 1e3);
        figures.set("durable_sequential_mb_per_s", before.sequential.max(after.sequential) / 1e6);
        Ok(figures)
    }
}

/// The figures of one row and one broker, by name; the unit is the end of the name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(pub BTreeMap<String, f64>);

impl Figures {
    /// Adds a figure.
    pub fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), value);
    }

    /// Adds a broker's memory, at the end of its row.
    pub fn set_memory(&mut self, broker: &Broker) -> Result<()> {
        let (memory, anonymous_peak) = broker.memory()?;
        self.set("resident_peak_mib", mib(memory.peak));
        self.set("anonymous_peak_mib", mib(anonymous_peak));
        Ok(())
    }

    /// Adds what a round of a generator has shown, each name with this prefix.
    pub fn set_round(&mut self, prefix: &str, outcome: &Outcome, used: &Used) {
        let seconds = outcome.elapsed.as_secs_f64();
        let requests = outcome.requests as f64;
        let gigabytes = outcome.bytes as f64 / 1e9;
        let mut set = |name: &str, value: f64| self.set(format!("{prefix}{name}"), value);
        set("seconds", seconds);
        set("requests", requests);
        set("mb_per_s", gigabytes * 1e3 / seconds);
        set("requests_per_s", requests / seconds);
        for (name, quantile) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)] {
            set(name, outcome.latency.value_at_quantile(quantile) as f64 / 1e6);
        }
        set("broker_cpu_ms_per_gb", used.broker_cpu.as_secs_f64() * 1e3 / gigabytes);
        set("broker_cpu_us_per_request", used.broker_cpu.as_secs_f64() * 1e6 / requests);
        set("broker_cores", used.broker_cpu.as_secs_f64() / seconds);
        set("generator_cpu_us_per_request", used.own_cpu.as_secs_f64() * 1e6 / requests);
        set("generator_cores", used.own_cpu.as_secs_f64() / seconds);
        if let Some(disk) = used.disk {
            set("acks_per_write", requests / disk.writes as f64);
            set("acks_per_flush", requests / disk.flushes as f64);
            set("disk_writes", disk.writes as f64);
            set("disk_flushes", disk.flushes as f64);
            set("disk_write_mb", disk.bytes_written as f64 / 1e6);
            set("disk_read_mb", disk.bytes_read as f64 / 1e6);
        }
    }
}

/// What all rows share.
pub struct Context {
    /// What the user asked for.
    pub options: Options,
    /// How brokers are started.
    pub installed: Installed,
    /// The device below the data, where there is one.
    pub device: Option<Device>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
}

impl Context {
    /// Starts a broker with an empty data directory and does not wait for it.
    pub fn start(&self, kind: Kind) -> Result<Broker> {
        Prepared::new(&self.installed, kind, &self.options.dir)?.start()
    }

    /// Deletes what the brokers of a row have left.
    pub fn clear(&self) -> Result<()> {
        for kind in [Kind::Kafka, Kind::Ottla] {
            let dir = self.options.dir.join(kind.name());
            disk::delete(&dir).doing(format_args!("delete {}", dir.display()))?;
        }
        Ok(())
    }

    /// Fails after Ctrl-C.
    pub fn check_interrupted(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Waits, unless Ctrl-C comes first.
    pub fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.check_interrupted()?;
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.check_interrupted()
    }

    /// Writes back everything dirty below the data directory.
    pub fn settle(&self) -> Result<()> {
        disk::settle(&self.options.dir).doing("write back the data directory")
    }

    /// Length of an ordinary round.
    pub fn round(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    /// Milliseconds since the epoch, for record timestamps.
    pub fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
    }
}

/// CPU and disk counters at one moment.
pub struct Reading {
    broker_cpu: Duration,
    own_cpu: Duration,
    disk: Option<Counters>,
}

/// CPU and disk counters over a round.
pub struct Used {
    /// CPU time of the broker's process.
    pub broker_cpu: Duration,
    /// CPU time of the generator.
    pub own_cpu: Duration,
    /// What the whole device did, whoever asked for it.
    pub disk: Option<Counters>,
}

impl Reading {
    /// Reads everything now.
    pub fn take(context: &Context, broker: &Broker) -> Result<Reading> {
        let disk =
            context.device.as_ref().map(Device::counters).transpose().doing("read the disk's counters")?;
        Ok(Reading { broker_cpu: broker.cpu()?, own_cpu: process::own_cpu(), disk })
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: Reading) -> Used {
        Used {
            broker_cpu: self.broker_cpu - earlier.broker_cpu,
            own_cpu: self.own_cpu - earlier.own_cpu,
            disk: self.disk.zip(earlier.disk).map(|(now, then)| now.since(then)),
        }
    }
}

/// Adds what the broker's log says to a failure that the broker may have caused.
pub fn blame(broker: &mut Broker, failure: Failure) -> Failure {
    match failure {
        Failure::Interrupted => failure,
        Failure::Failed(message) => match broker.check_alive() {
            Err(death) => Failure::Failed(format!("{message}; {death}")),
            Ok(()) => Failure::Failed(format!(
                "{message}; {}'s log ends:\n{}",
                broker.kind().name(),
                broker.log_end()
            )),
        },
    }
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
