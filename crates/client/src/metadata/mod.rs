//! What is known of the cluster, and the one task that keeps it true.
//!
//! | module | what it holds |
//! |---|---|
//! | `cluster` | a snapshot: brokers, which of them is the controller, and who leads the topics in use |
//! | `round` | one round of asking, until somebody answers |
//! | `task` | the task that asks for snapshots |

pub(crate) mod cluster;
mod round;
pub(crate) mod task;

/// The first version of Metadata in which an empty list of topics stands for none, and no list for all.
pub(crate) const EMPTY_IS_NONE_FROM: i16 = 1;
