//! `ottla storage`: looks into a data directory without changing it.

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use ottla_storage_local::inspect::{self, InspectError};

use crate::args::StorageCommand;

/// What could not be read, is in use, or is none of ours: as for a broker that cannot use its data directory.
const UNUSABLE: u8 = 4;
/// The check found something.
const DAMAGED: u8 = 6;

/// Does what was asked, and returns the exit code, as the README documents it.
pub fn run(command: &StorageCommand) -> ExitCode {
    let done = match command {
        StorageCommand::Dump { path } => dump(path),
        StorageCommand::Check { data } => check(data),
    };
    match done {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(InspectError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn dump(path: &Path) -> Result<ExitCode, InspectError> {
    let mut out = BufWriter::new(io::stdout().lock());
    inspect::dump(path, &mut out)?;
    out.flush().map_err(InspectError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn check(data: &Path) -> Result<ExitCode, InspectError> {
    let mut out = io::stdout().lock();
    let mut written = Ok(());
    let summary = inspect::check(data, &mut |problem| {
        if written.is_ok() {
            written = writeln!(out, "problem: {problem}");
        }
    })?;
    written.and_then(|()| writeln!(out, "{summary}")).map_err(InspectError::Output)?;
    Ok(if summary.problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}
