//! Test support for the workspace.
//!
//! [`SimDisk`] is a disk in memory that records every operation; [`PowerCut`] builds from such a record what
//! a disk may hold after the power failed at some moment; [`FailingDisk`] fails at a chosen operation.

mod failing_disk;
mod power_cut;
mod sim_disk;

pub use failing_disk::{FailingDisk, Failure};
pub use power_cut::{Forgets, NOTHING, PowerCut, Recording};
pub use sim_disk::{Image, Op, SimDisk};
