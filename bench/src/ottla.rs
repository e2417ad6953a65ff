//! Ottla: found or built, and its command line.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::{Doing, Result},
    options::Options,
};

/// An Ottla binary and what it is told.
pub struct Ottla {
    binary: PathBuf,
    memory: String,
    settings: Vec<String>,
}

impl Ottla {
    /// Takes the binary that the user names, or builds the one of the checkout around `home`, the bench's folder.
    pub fn install(options: &Options, home: &Path) -> Result<Ottla> {
        let binary = match &options.ottla {
            Some(path) => path.canonicalize().doing(format_args!("--ottla {}", path.display()))?,
            None => build(home)?,
        };
        let mut settings = vec![
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "log.retention.check.interval.ms=1000".to_owned(),
            "log.segment.delete.delay.ms=1000".to_owned(),
        ];
        settings.extend(options.ottla_settings.iter().cloned());
        Ok(Ottla { binary, memory: options.memory.clone(), settings })
    }

    /// The command that serves `dir`/data at `addr`.
    pub fn prepare(&self, dir: &Path, addr: SocketAddr) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data").arg(dir.join("data"));
        command.arg("--listen").arg(addr.to_string()).arg("--memory").arg(&self.memory);
        for setting in &self.settings {
            command.arg("--set").arg(setting);
        }
        command.current_dir(dir);
        command
    }
}

/// Builds with the checkout's own profile and asks cargo where the binary went.
fn build(home: &Path) -> Result<PathBuf> {
    eprintln!("building ottla (release)");
    let checkout = home.parent().ok_or_else(|| format!("{} has no parent", home.display()))?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "-p", "ottla", "--bin", "ottla"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(checkout)
        .stderr(std::process::Stdio::inherit())
        .output()
        .doing("run cargo to build ottla")?;
    if !output.status.success() {
        return Err(
            "ottla does not build (see above); --ottla PATH takes a binary, --only kafka does without"
                .to_owned()
                .into(),
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ottla")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| {
            "cargo built ottla but named no executable; pass it with --ottla PATH".to_owned().into()
        })
}
