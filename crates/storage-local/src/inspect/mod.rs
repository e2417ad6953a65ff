//! Looking at a data directory from outside: [`dump`] shows what files hold, [`check`] reads everything and
//! says what is damaged, and what that means for a broker.
//!
//! Both use the readers of the broker, over a disk that refuses to be changed. Neither trusts what a file
//! says: it decides no allocation, and what makes no sense is a line of the output.

mod check;
mod data_dir;
mod disk;
mod dump;
mod segments;
mod show;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::{
    check::{Impact, Problem, Summary, check},
    dump::dump,
};
use crate::{recovery::RecoveryError, state::StateError};

/// Why nothing could be shown or checked.
#[derive(Debug, Error)]
pub enum InspectError {
    /// A running broker holds the data directory.
    #[error("the data directory {} is in use by a broker: stop it first, or check a copy", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// It is not what was asked for.
    #[error("{} is no data directory: it has neither {} nor wal, checkpoint or logs", dir.display(), crate::STATE_FILE)]
    NoDataDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A file whose kind cannot be told.
    #[error(
        "{} is of no kind that is known: give a .log, .index, .timeindex, .wal or .checkpoint file, a state \
         database, or a directory",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// The disk did not give it.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The state database cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Checkpoint or write-ahead log cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// What was found could not be written out.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// Makes an error of reading this path.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> InspectError {
    move |error| InspectError::Io { path: path.to_path_buf(), error }
}
