//! A broker in a process of its own.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ottla_client::{Kafka, admin::NewTopic, block_on};

use crate::Outcome;

/// The topic that is logged to.
pub const TOPIC: &str = "logs";

/// A broker that is killed when this is dropped.
pub struct Broker {
    ottla: PathBuf,
    data: PathBuf,
    address: String,
    process: Option<Child>,
}

impl Broker {
    /// Starts one, and makes the topic.
    pub fn start(ottla: &Path, data: &Path) -> Outcome<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut broker = Self { ottla: ottla.into(), data: data.into(), address, process: None };
        broker.start_again()?;
        let admin = Kafka::builder([broker.address.as_str()]).build()?.admin();
        for (_, made) in block_on(admin.create_topics([NewTopic::new(TOPIC).partitions(4)]))? {
            made?;
        }
        Ok(broker)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts it with the data that it had.
    pub fn start_again(&mut self) -> Outcome<()> {
        let mut command = Command::new(&self.ottla);
        command.args(["serve", "--listen", &self.address, "--data"]).arg(&self.data);
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        for _ in 0..1000 {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{} does not listen on {}", self.ottla.display(), self.address).into())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
