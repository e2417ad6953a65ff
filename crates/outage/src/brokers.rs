//! The brokers of a run, behind proxies, and how they die and come back.
//!
//! Proxies limit what a broker takes, so that "twice as much" means the same on every machine. A client does not see the
//! difference: where a broker is killed, its proxy's port refuses as well; where it is stopped, the proxy's system goes on to
//! take bytes, as its own does.

use std::{env, path::PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    child::Process,
    failure::{Doing, Result},
    load::VALUE_BYTES,
    options::{How, Kind, Options},
};

/// The node that dies where one of three does.
pub const THE_ONE: i32 = 1;

/// The brokers of a run.
pub struct Brokers {
    how: How,
    kind: Kind,
    program: PathBuf,
    /// Gone while a broker of Ottla is killed.
    process: Option<Process>,
    // Goes after the brokers.
    proxies: Process,
    data: TempDir,
}

impl Brokers {
    /// Starts them.
    ///
    /// # Errors
    /// The system refuses, or a broker does not start.
    pub fn start(options: &Options) -> Result<Self> {
        let this = env::current_exe().doing("this program")?;
        let bytes_per_second = u64::from(options.rate) * VALUE_BYTES as u64;
        let count = options.brokers.count().to_string();
        let proxies = Process::start(&this, &["proxies".into(), count, bytes_per_second.to_string()])?;
        let data = tempfile::tempdir().doing("a directory for data")?;
        let program = options.ottla.clone().unwrap_or(this);
        let mut brokers =
            Self { how: options.how, kind: options.brokers, program, process: None, proxies, data };
        brokers.start_process()?;
        Ok(brokers)
    }

    /// Where clients find them.
    pub fn addresses(&self) -> Vec<String> {
        self.proxies.addresses().iter().map(ToString::to_string).collect()
    }

    /// Ends them, in the way of this run.
    ///
    /// # Errors
    /// A process of the run has ended.
    pub fn die(&mut self) -> Result<()> {
        match (self.how, self.kind) {
            (How::Kill, Kind::Ottla) => {
                self.process.take().map_or(Ok(()), Process::kill)?;
                self.all_proxies("refuse")
            }
            (How::Kill, Kind::Cluster) => {
                self.all_nodes("kill")?;
                self.all_proxies("refuse")
            }
            (How::Stop, _) => self.process()?.signal(Signal::STOP),
            (How::Swallow, _) => self.all_proxies("swallow"),
            (How::KillOne, _) => {
                self.process()?.tell(&format!("kill {THE_ONE}"))?;
                self.proxies.tell(&format!("refuse {}", THE_ONE - 1))
            }
        }
    }

    /// Brings them back, and tells when clients could reach them again.
    ///
    /// # Errors
    /// A process of the run has ended, or a broker does not start again.
    pub fn come_back(&mut self) -> Result<Instant> {
        match (self.how, self.kind) {
            (How::Kill, Kind::Ottla) => {
                self.start_process()?;
                self.all_proxies("accept")?;
            }
            (How::Kill, Kind::Cluster) => {
                self.all_nodes("revive")?;
                self.all_proxies("accept")?;
            }
            (How::Stop, _) => self.process()?.signal(Signal::CONT)?,
            (How::Swallow, _) => self.all_proxies("pass")?,
            (How::KillOne, _) => {
                self.process()?.tell(&format!("revive {THE_ONE}"))?;
                self.proxies.tell(&format!("accept {}", THE_ONE - 1))?;
            }
        }
        Ok(Instant::now())
    }

    fn start_process(&mut self) -> Result<()> {
        let proxies = self.addresses();
        let process = match self.kind {
            Kind::Ottla => {
                let data = self.data.path().display().to_string();
                let args = ["serve", "--data", &data, "--advertise", &proxies[0], "--listen", "127.0.0.1:0"];
                Process::start(&self.program, &args.map(str::to_owned))?
            }
            Kind::Cluster => {
                let args: Vec<String> = ["cluster".to_owned()].into_iter().chain(proxies).collect();
                Process::start(&self.program, &args)?
            }
        };
        for (number, address) in process.addresses().iter().enumerate() {
            self.proxies.tell(&format!("server {number} {address}"))?;
        }
        self.process = Some(process);
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| "the broker is dead".into())
    }

    fn all_proxies(&mut self, command: &str) -> Result<()> {
        (0..self.kind.count()).try_for_each(|number| self.proxies.tell(&format!("{command} {number}")))
    }

    fn all_nodes(&mut self, command: &str) -> Result<()> {
        let count = self.kind.count();
        (1..=count).try_for_each(|node| self.process()?.tell(&format!("{command} {node}")))
    }
}
