//! What is known of the cluster, and the one task that keeps it true.
//!
//! | module | what it holds |
//! |---|---|
//! | `cluster` | a snapshot: brokers, and which of them is the controller |
//! | `task` | the task that asks for snapshots |

pub(crate) mod cluster;
pub(crate) mod task;
