//! Consumer groups as pure state machines.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | names of groups, members and instances; generations and epochs |
//! | [`effects`] | what a step wants done: changes to make durable, and then answers to give |
//! | [`assignor`] | who of a group is to have which partitions |
//! | [`consumer`] | consumer groups of the new protocol (KIP-848) |
//! | [`classic`] | groups in which a member assigns the work: JoinGroup, SyncGroup, Heartbeat, LeaveGroup |
//!
//! Architecture invariants: no I/O, no clock, no randomness, nothing async. Requests, time and fresh member ids
//! come in as arguments, effects go out; the same inputs give the same effects. This crate knows nothing of
//! Kafka's messages: the door decodes what a group must understand into the types here, and turns answers and
//! refusals into responses. No step takes time or memory that grows with the square of the members.

pub mod assignor;
pub mod classic;
pub mod consumer;
pub mod effects;
pub mod ids;
mod memory;

pub use effects::{Effects, Token};
pub use ids::{Generation, GroupEpoch, GroupId, InstanceId, MemberEpoch, MemberId};
