//! The small state of topics: which there are, their ids, partitions and settings, and the blocks of producer
//! ids.
//!
//! Every change is durable when its call returns. A topic lives through three states, in the order of the
//! architecture page: its row is committed before its first record is written; a deletion marks the row first
//! ([`TopicState::Deleting`]), and the row goes only once nothing on disk names its logs any more.

use std::{collections::BTreeMap, future::Future};

use ottla_records::{LogId, ProducerId, TopicId};
use thiserror::Error;

use crate::StateStoreError;

/// Where a topic stands between its creation and its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TopicState {
    /// Clients see it.
    Live,
    /// It is deleted for clients; its files are still being removed.
    Deleting,
}

/// A topic as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicRow {
    /// Its id; a topic of the same name created later has another (KIP-516).
    pub id: TopicId,
    /// Its name, unique among the live ones.
    pub name: String,
    /// The log of each partition, by partition index; of a topic that is being deleted, those of which
    /// something may be left. Log ids start at 1 and are never used again.
    pub logs: Vec<LogId>,
    /// The settings that were given explicitly, by Kafka's names, as given.
    pub settings: BTreeMap<String, String>,
    /// Whether clients see it.
    pub state: TopicState,
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// The id to give it.
    pub id: TopicId,
    /// Its name, valid already.
    pub name: String,
    /// How many partitions, at least one.
    pub partitions: u32,
    /// Explicit settings, valid already.
    pub settings: BTreeMap<String, String>,
}

/// Why a topic was not created.
#[derive(Clone, Debug, Error)]
pub enum CreateTopicError {
    /// A live topic has this name.
    #[error("topic {0} exists already")]
    Exists(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
}

/// Producer ids that nobody else will be given, durable before this is returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProducerIdBlock {
    /// The first id of the block.
    pub first: ProducerId,
    /// How many ids follow each other from it on.
    pub count: u32,
}

/// The store of topics.
pub trait TopicStore: Send + Sync + 'static {
    /// All topics, live or not, in no particular order.
    fn load(&self) -> impl Future<Output = Result<Vec<TopicRow>, StateStoreError>> + Send;

    /// Stores a new topic, and gives its partitions log ids that no log ever had.
    fn create(&self, topic: NewTopic) -> impl Future<Output = Result<TopicRow, CreateTopicError>> + Send;

    /// Marks a live topic as deleted: its name is free from now on. Returns whether it was live.
    fn mark_deleting(&self, id: TopicId) -> impl Future<Output = Result<bool, StateStoreError>> + Send;

    /// Drops the row of a topic that was marked. The storage that holds its logs does that by itself, once
    /// nothing names them any more; whoever deletes a topic calls [`mark_deleting`](Self::mark_deleting) and
    /// then [`Storage::delete_log`](crate::Storage::delete_log) for each log.
    fn drop_deleted(&self, id: TopicId) -> impl Future<Output = Result<(), StateStoreError>> + Send;

    /// Sets aside `count` producer ids.
    fn reserve_producer_ids(
        &self,
        count: u32,
    ) -> impl Future<Output = Result<ProducerIdBlock, StateStoreError>> + Send;

    /// The cluster id: the one stored, or else `proposed`, which is stored now.
    fn cluster_id(&self, proposed: &str) -> impl Future<Output = Result<String, StateStoreError>> + Send;
}
