//! Why groups refuse something.

use ottla_coordinator::{classic, consumer};
use ottla_storage::StateStoreError;
use thiserror::Error;

use super::documents::UnreadableGroup;

/// Why a request to a group is refused.
#[derive(Clone, Debug, Error)]
pub enum GroupError {
    /// A classic group says no.
    #[error(transparent)]
    Classic(#[from] classic::Refusal),
    /// A group of KIP-848 says no.
    #[error(transparent)]
    Consumer(#[from] consumer::Refusal),
    /// A group of KIP-848 refuses a commit.
    #[error(transparent)]
    Offset(#[from] consumer::OffsetRefusal),
    /// The group has members that use the other protocol.
    #[error("the group has members that use the other group protocol")]
    OtherProtocol,
    /// There is no such group.
    #[error("there is no such group")]
    NotFound,
    /// Groups hold all the memory that they may.
    #[error(
        "groups hold all the memory that they may (three sixteenths of memory.budget); a larger budget lets them grow"
    )]
    NoMemory,
    /// Groups need more memory, which others are about to give back: the same request will be served in a moment.
    #[error("memory for groups is short for a moment; try again")]
    Busy,
    /// What is stored of the group cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableGroup),
    /// The store failed; nothing has changed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}
