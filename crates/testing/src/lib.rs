//! Test support for the workspace.
//!
//! [`TestBroker`] is a whole broker in the test's own process, and [`TestClient`] speaks to it, or to any
//! other, over a socket. [`SimDisk`] is a disk in memory that records every operation; [`PowerCut`] builds from
//! such a record what a disk may hold after the power failed at some moment; [`FailingDisk`] fails at a chosen
//! operation.

mod broker;
mod client;
mod failing_disk;
mod power_cut;
mod sim_disk;

pub use broker::{Setup, TestBroker};
pub use client::{Sent, TestClient};
pub use failing_disk::{FailingDisk, Failure};
pub use power_cut::{Forgets, NOTHING, PowerCut, Recording};
pub use sim_disk::{Image, Op, SimDisk};
