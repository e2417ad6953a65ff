//! The broker without doors: topics and their partitions, appending, reading, waiting for what is not there
//! yet. It speaks domain types; a door translates a protocol into calls of a [`Broker`] and a [`Door`].
//!
//! Architecture invariants: nothing here knows a Kafka request or error code, and nothing here does I/O of
//! its own: storage, time and chance come in.

mod broker;
mod door;
pub mod groups;
mod names;
mod notices;
pub mod settings;

pub use broker::{Broker, CreateError, DeleteError, StartError, Topic, TopicRequest, Topics};
pub use door::{Advances, Door, ProduceError, Watch};
/// The state machines of groups: what doors ask them and are answered.
pub use ottla_coordinator as coordinator;

pub use names::{InvalidName, collides, validate};
pub use notices::Notices;
