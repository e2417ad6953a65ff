//! Storage on local disk: a write-ahead log for all partitions, segments in Kafka's formats behind it, and
//! small state in SQLite.
//!
//! The way of a batch: a network thread copies it into its intake's piece of arena (`wal`); the WAL
//! thread gives it its offset and makes it durable, together with all others that are waiting; from then on
//! it is readable from memory (`log`); the flusher moves it into a segment (`segment`); the keeper writes
//! a checkpoint (`checkpoint`), after which the WAL file is used again. After a crash, `recovery` puts
//! together what these have left.

mod arena;
mod checkpoint;
mod disk;
mod faults;
mod flusher;
#[cfg(test)]
mod golden;
pub mod inspect;
mod keeper;
mod local;
mod log;
mod recovery;
mod segment;
mod state;
mod store;
mod wal;

pub use checkpoint::CheckpointError;
pub use disk::RealDisk;
pub use faults::FaultHandler;
pub use keeper::GoneHandler;
pub use local::{LocalStorage, LocalStorageError, STATE_FILE};
pub use log::LocalLog;
pub use recovery::{KnownLogs, RecoveryError};
pub use state::{StateDb, StateError, StateProblem};
pub use store::{LogStore, OpenError, Options, World};
pub use wal::{intake::LocalAppender, replay::WalError};
