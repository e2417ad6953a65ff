//! A broker's process: started, watched, killed and cleaned up after.
//!
//! Invariants: at most one broker runs at a time; a [`Broker`] that is dropped, by whatever way, has killed its
//! process by its id and deleted its data; the kernel kills the process too if the bench itself is killed.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    disk,
    failure::{Doing, Result},
    kafka::Kafka,
    ottla::Ottla,
    process::{self, Memory, Sampler},
};

/// How long a broker may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka.
    Kafka,
    /// Ottla.
    Ottla,
}

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kafka => "kafka",
            Kind::Ottla => "ottla",
        }
    }
}

/// How each broker is started.
pub struct Installed {
    /// Apache Kafka, when it takes part.
    pub kafka: Option<Kafka>,
    /// Ottla, when it takes part.
    pub ottla: Option<Ottla>,
}

/// A broker's directory, prepared but not started: its data, its settings, its log.
pub struct Prepared {
    kind: Kind,
    dir: PathBuf,
    addr: SocketAddr,
    command: Command,
}

/// A broker that runs. Its directory stays when it ends.
pub struct Broker {
    kind: Kind,
    dir: PathBuf,
    addr: SocketAddr,
    command: Command,
    child: Child,
    sampler: Sampler,
    started: Instant,
}

impl Prepared {
    /// Makes a fresh directory below `parent` and whatever the broker wants in it before its first start.
    pub fn new(installed: &Installed, kind: Kind, parent: &Path) -> Result<Prepared> {
        let dir = parent.join(kind.name());
        disk::delete(&dir).doing(format_args!("delete {}", dir.display()))?;
        fs::create_dir_all(&dir).doing(format_args!("create {}", dir.display()))?;
        let addr = free_port()?;
        let command = match kind {
            Kind::Kafka => installed.kafka.as_ref().expect("installed").prepare(&dir, addr, free_port()?)?,
            Kind::Ottla => installed.ottla.as_ref().expect("installed").prepare(&dir, addr),
        };
        Ok(Prepared { kind, dir, addr, command })
    }

    /// Starts the process and does not wait for it to answer.
    pub fn start(mut self) -> Result<Broker> {
        let started = Instant::now();
        let child = spawn(&mut self.command, &self.dir).doing(format_args!("start {}", self.kind.name()))?;
        let sampler = Sampler::start(child.id());
        let Prepared { kind, dir, addr, command } = self;
        Ok(Broker { kind, dir, addr, command, child, sampler, started })
    }
}

impl Broker {
    /// Which broker this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its directory, which holds the data, the settings and the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When its process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// CPU time of its process so far.
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.pid()).doing(format_args!("read the CPU time of {}", self.kind.name()))
    }

    /// Its memory now, and the largest anonymous part so far, in bytes.
    pub fn memory(&self) -> Result<(Memory, u64)> {
        let memory =
            process::memory(self.pid()).doing(format_args!("read the memory of {}", self.kind.name()))?;
        Ok((memory, self.sampler.anonymous_peak().max(memory.anonymous)))
    }

    /// Fails with the end of the broker's log if its process has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().doing("wait for the broker")? {
            None => Ok(()),
            Some(status) => Err(format!(
                "{} ended by itself ({status}); its log ends:\n{}",
                self.kind.name(),
                self.log_end()
            )
            .into()),
        }
    }

    /// Kills the process with SIGKILL and keeps its data.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().doing("kill the broker")?;
        self.child.wait().doing("wait for the killed broker")?;
        Ok(())
    }

    /// Asks the process to end with SIGTERM, waits until it has, and keeps its data.
    pub fn terminate(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).doing("stop the broker")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait().doing("wait for the broker")?.is_none() {
            if Instant::now() >= deadline {
                let (name, log) = (self.kind.name(), self.log_end());
                let seconds = STOP_TIMEOUT.as_secs();
                return Err(
                    format!("{name} still runs {seconds} s after SIGTERM; its log ends:\n{log}").into()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts the process again on the same data and port, after [`Broker::kill`] or [`Broker::terminate`].
    pub fn restart(&mut self) -> Result<()> {
        self.started = Instant::now();
        self.child =
            spawn(&mut self.command, &self.dir).doing(format_args!("restart {}", self.kind.name()))?;
        self.sampler = Sampler::start(self.child.id());
        Ok(())
    }

    /// The last lines of the broker's log.
    pub fn log_end(&self) -> String {
        let text = fs::read(self.dir.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command, dir: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    die_with_parent(command).spawn()
}

/// Lets the kernel kill the process when the thread that started it, the bench's main thread, is gone.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let request =
        || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
    // SAFETY: between fork and exec the closure makes one prctl system call; it neither allocates nor locks.
    unsafe { command.pre_exec(request) }
}

/// An address on loopback that was free a moment ago.
fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("find a free port")?;
    listener.local_addr().doing("find a free port")
}
