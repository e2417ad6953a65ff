//! The one error of the bench: a sentence for its user, or the user's own Ctrl-C.

use std::fmt;

/// Why a run gave no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The user asked for the end.
    Interrupted,
    /// What happened, to what, and where to look.
    Failed(String),
}

/// A result of the bench.
pub type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Interrupted => f.write_str("interrupted"),
            Failure::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Failed(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Failed(message.to_owned())
    }
}

/// Adds to an error what was being done.
pub trait Doing<T> {
    /// Turns an error into "`what`: error".
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::Failed(format!("{what}: {error}")))
    }
}
