//! What ends a run before its verdict.

use std::{error::Error, fmt::Display};

/// A result whose error is for whoever started the program to read.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Tells what was being done when something failed.
pub trait Doing<T> {
    /// Puts `what` before the error.
    fn doing(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}
