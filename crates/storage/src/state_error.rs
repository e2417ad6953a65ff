//! Why a store of small state (topics, groups, committed offsets) could not answer.

use std::sync::Arc;

use thiserror::Error;

/// Why the store of small state could not answer.
#[derive(Clone, Debug, Error)]
pub enum StateStoreError {
    /// The disk is full; nothing was changed.
    #[error("the disk of the data directory is full; nothing was changed")]
    DiskFull,
    /// This request could not be done; nothing was changed, and others go on.
    #[error("the state database refused the request, and nothing was changed: {0}")]
    Refused(Arc<str>),
    /// The store has stopped after a fault, or is shutting down.
    #[error("the state database has stopped: {0}")]
    Failed(Arc<str>),
}
