//! Apache Kafka 4.3.1: its jars by Maven, its settings, its command line.
//!
//! One node that is broker and controller, a 1 GiB heap, and the options of the JVM that Kafka's own start
//! script passes. What is not named here has Kafka's default.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    failure::{Doing, Result},
    options::Options,
};

const CLUSTER_ID: &str = "b3R0bGEtYmVuY2gtcnVuMQ";
const JVM: [&str; 8] = [
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// Jars that run a broker, and further settings.
pub struct Kafka {
    jars: PathBuf,
    log4j: PathBuf,
    settings: Vec<String>,
}

impl Kafka {
    /// Finds the jars in `home`/.cache/kafka, or has Maven copy them there, once.
    pub fn install(options: &Options, home: &Path) -> Result<Kafka> {
        let jars = home.join(".cache/kafka");
        if !jars.is_dir() {
            fetch(home, &jars)?;
        }
        let log4j = home.join("kafka/log4j2.properties");
        Ok(Kafka { jars, log4j, settings: options.kafka_settings.clone() })
    }

    /// Writes the settings, formats the data directory, and returns the command that serves it at `addr`.
    pub fn prepare(&self, dir: &Path, addr: SocketAddr, controller: SocketAddr) -> Result<Command> {
        let properties = dir.join("server.properties");
        fs::write(&properties, self.properties(dir, addr, controller)).doing("write Kafka's settings")?;
        let output = self
            .java("kafka.tools.StorageTool")
            .args(["format", "--standalone", "-t", CLUSTER_ID, "-c"])
            .arg(&properties)
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .doing("run java, which must be version 17 or later")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            return Err(format!("Kafka's StorageTool could not format {}: {text}", dir.display()).into());
        }
        let mut command = self.java("kafka.Kafka");
        command.arg(properties).current_dir(dir);
        Ok(command)
    }

    fn java(&self, class: &str) -> Command {
        let java = match std::env::var_os("JAVA_HOME") {
            Some(home) => Path::new(&home).join("bin/java"),
            None => PathBuf::from("java"),
        };
        let mut command = Command::new(java);
        command.args(JVM);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.log4j.display()));
        command.arg("-cp").arg(self.jars.join("*")).arg(class);
        command
    }

    fn properties(&self, dir: &Path, addr: SocketAddr, controller: SocketAddr) -> String {
        let data = dir.join("data");
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=PLAINTEXT://{addr},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{addr}\n\
             controller.quorum.bootstrap.servers={controller}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             log.initial.task.delay.ms=1000\n\
             log.retention.check.interval.ms=1000\n\
             log.segment.delete.delay.ms=1000\n",
            data.display()
        );
        for setting in &self.settings {
            let _ = writeln!(text, "{setting}");
        }
        text
    }
}

/// Copies into a directory beside the wanted one first, so that a broken copy is never taken for a whole one.
fn fetch(home: &Path, jars: &Path) -> Result<()> {
    eprintln!("fetching Apache Kafka's jars with Maven");
    let partial = jars.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(home.join("kafka/pom.xml"))
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .doing("run mvn, which fetches Apache Kafka (--only ottla does without)")?;
    if !status.success() {
        return Err("mvn could not fetch Apache Kafka's jars (see above)".to_owned().into());
    }
    fs::rename(&partial, jars).doing(format_args!("move the jars to {}", jars.display()))
}
