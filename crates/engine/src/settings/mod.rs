//! Settings: which there are, what they may be, and what they come to.
//!
//! Two static tables of one shape, [`TOPIC`] and [`BROKER`], say everything about a setting once: its name,
//! type, default, valid values, synonyms and documentation. The configuration file, the flags, CreateTopics,
//! DescribeConfigs and the page `docs/settings.md` are all served from them. [`TopicSettings`] and
//! [`BrokerSettings`] hold what was given explicitly and has passed its checks; a topic's settings resolve
//! against the broker's to [`EffectiveTopicSettings`], which the rest of the broker acts on.
//!
//! Invariants: a value that is held has the type and range of its row in the table; resolving never fails.
//! What does not live here: files, flags and where a value was given, which the binary knows.

mod broker;
mod describe;
mod error;
#[cfg(test)]
mod page;
mod table;
mod topic;
mod value;

pub use broker::{BrokerSettings, Durability, Reduced};
pub use describe::{Described, Source, Synonym, describe_topic};
pub use error::{Scope, SettingError, nearest};
pub use table::{BROKER, Setting, TOPIC};
pub use topic::{EffectiveTopicSettings, TopicSettings};
pub use value::{Kind, Valid, Value};
