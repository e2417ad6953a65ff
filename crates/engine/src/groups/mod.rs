//! Groups and their offsets: the state machines of `ottla-coordinator`, kept alive, fed with time, and made
//! durable.
//!
//! | module | what it holds |
//! |---|---|
//! | `handle` | [`Groups`]: what doors ask of groups |
//! | `table` | all groups that are in memory, with what waits for each |
//! | `owner` | [`Owner`]: the task that brings them time, news, and the requests that wait |
//! | `shared` | the groups, as those who ask and their owner share them |
//! | `step` | a request at work on its group |
//! | `tools` | what steps work with: the store, time, topics, memory, and those who wait |
//! | `error` | [`GroupError`]: why groups refuse something |
//! | `group` | one group of either protocol, and what its steps want done |
//! | `patterns` | regular expressions in subscriptions, and which topics they stand for |
//! | `expiry` | offsets that nobody needs any more |
//! | `memory` | what groups may hold |
//! | `settling` | changes on their way to the disk, and who is told when they are there |
//! | `documents` | groups as rows of the state database and back |
//!
//! Invariants:
//! - One task owns all groups. Whoever asks sends it a message and waits for the answer. What is brief is done by who
//!   asks, where that is possible at once, and never before what was asked earlier.
//! - What a step has changed is durable before anybody is told of it: while a group's changes are on their way, its
//!   other requests wait, so that none sees what may yet be lost. Where they cannot be made durable, the group is
//!   read again as it was before.
//! - In memory are the groups that have members, and some others that were asked for lately. All others are rows.

mod documents;
mod error;
mod expiry;
mod group;
mod handle;
mod memory;
mod owner;
mod patterns;
mod settling;
mod shared;
mod step;
mod table;
#[cfg(test)]
mod tests;
mod tools;

pub use documents::UnreadableGroup;
pub use error::GroupError;
pub use group::{
    CommitClaim, FetchClaim, GroupDescription, GroupOverview, GroupSettings, SubscriptionTopics,
};
pub use handle::{Groups, LeavingMember, Member, SyncRequest};
pub use owner::Owner;
