//! What can go wrong with the state database: at the opening, and in one request.

use std::{
    io,
    path::{Path, PathBuf},
};

use ottla_storage::StateStoreError;
use rusqlite::ErrorCode;
use thiserror::Error;

use super::schema::is_damage;

/// Why the state database cannot be opened. It was not changed then.
#[derive(Debug, Error)]
pub enum StateError {
    /// A later version of Ottla has written it.
    #[error(
        "{} was written by a newer version of ottla (format {version}; this version knows up to {newest}): \
         start that version again, or restore the data directory from a backup made before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        version: usize,
        /// The newest format version known.
        newest: usize,
    },
    /// It is a database, but not one of ours.
    #[error(
        "{} is not a state database of ottla: give another data directory, or move the file away if it was put \
         there by mistake",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not what SQLite or we have written.
    #[error("{} is damaged ({what}): restore the data directory from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file system cannot give what durable commits need.
    #[error(
        "{} cannot be written durably: SQLite set {setting} to {value}; put the data directory on a local file \
         system",
        path.display()
    )]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The setting of SQLite.
        setting: &'static str,
        /// What it is instead of what was asked for.
        value: String,
    },
    /// SQLite could not do it.
    #[error("{} cannot be opened: {error}; check that it exists, its permissions and the disk", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: String,
    },
    /// The operating system could not do it.
    #[error("cannot use {}: {error}; see to the disk and the permissions, and start again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

impl StateError {
    /// What SQLite's error about this file means.
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(code) if is_damage(code) => Self::Damaged { path, what: error.to_string() },
            _ => Self::Database { path, error: error.to_string() },
        }
    }
}

/// Why a request was not done.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum Trouble {
    /// No room on the disk. What was begun is rolled back, and the next request may pass.
    #[error("the disk is full")]
    Full,
    /// This request cannot be done; others can.
    #[error("{0}")]
    Refused(String),
    /// The database cannot be trusted any more.
    #[error("{0}")]
    Fatal(String),
}

impl Trouble {
    /// What the database says cannot be.
    pub(super) fn damage(what: impl Into<String>) -> Self {
        Self::Fatal(what.into())
    }

    /// What to answer.
    pub(super) fn answer(&self) -> StateStoreError {
        match self {
            Self::Full => StateStoreError::DiskFull,
            Self::Refused(why) => StateStoreError::Refused(why.as_str().into()),
            Self::Fatal(why) => StateStoreError::Failed(why.as_str().into()),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    /// Whatever is not known to leave the database as it was counts as fatal: after a failed sync nobody can
    /// say what the disk holds.
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Refused("another program has held a lock on it for 5 s; close that program".into())
            }
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Self::Refused(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}
