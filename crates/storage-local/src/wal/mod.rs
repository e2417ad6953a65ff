//! The write-ahead log: one for all partitions, and the one order of what happens to them.

pub(crate) mod format;
pub(crate) mod intake;
pub(crate) mod replay;
pub(crate) mod ring;
pub(crate) mod sequencer;
pub(crate) mod writer;
