//! What every implementation of the storage traits must do, as functions that its tests call.
//!
//! Each function panics where the implementation breaks a promise of [`TopicStore`](crate::TopicStore),
//! [`GroupStore`](crate::GroupStore), [`OffsetStore`](crate::OffsetStore), [`Storage`](crate::Storage),
//! [`Log`](crate::Log) or [`Appender`](crate::Appender). They wait without a
//! limit for what was promised to come, so a test gives them one.
//!
//! Architecture invariant: nothing outside of tests calls what is here.

mod groups;
mod harness;
mod idempotence;
mod logs;
mod offsets;
mod reopening;
mod topics;

pub use self::{
    groups::{GroupSnapshot, group_snapshot, groups},
    harness::{bytes, read, topic},
    logs::logs,
    reopening::reopening,
    topics::topics,
};
