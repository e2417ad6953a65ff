//! Topics in memory.

use std::{collections::BTreeMap, sync::Arc};

use ottla_records::{LogId, ProducerId, TopicId};
use parking_lot::Mutex;

use crate::{CreateTopicError, NewTopic, ProducerIdBlock, StateStoreError, TopicRow, TopicState, TopicStore};

/// A [`TopicStore`] in memory. Its clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct MemoryTopics {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<TopicId, TopicRow>,
    /// The greatest log id that was ever given.
    last_log_id: u64,
    next_producer_id: i64,
    cluster_id: Option<String>,
}

impl MemoryTopics {
    /// Takes a log that was deleted from its topic, if that was marked, and drops the topic with its last one.
    pub(super) fn log_is_gone(&self, log: LogId) {
        let topics = &mut self.state.lock().topics;
        for row in topics.values_mut().filter(|row| row.state == TopicState::Deleting) {
            row.logs.retain(|own| *own != log);
        }
        topics.retain(|_, row| row.state == TopicState::Live || !row.logs.is_empty());
    }
}

impl State {
    fn create(&mut self, topic: NewTopic) -> Result<TopicRow, CreateTopicError> {
        if self.topics.values().any(|row| row.state == TopicState::Live && row.name == topic.name) {
            return Err(CreateTopicError::Exists(topic.name));
        }
        if self.topics.contains_key(&topic.id) {
            let why = format!("topic id {} is taken", topic.id);
            return Err(StateStoreError::Refused(why.into()).into());
        }
        let first = self.last_log_id + 1;
        self.last_log_id += u64::from(topic.partitions);
        let row = TopicRow {
            id: topic.id,
            name: topic.name,
            logs: (first..=self.last_log_id).map(LogId).collect(),
            settings: topic.settings,
            state: TopicState::Live,
        };
        self.topics.insert(row.id, row.clone());
        Ok(row)
    }

    fn mark_deleting(&mut self, id: TopicId) -> bool {
        match self.topics.get_mut(&id) {
            Some(row) if row.state == TopicState::Live => {
                row.state = TopicState::Deleting;
                true
            }
            _ => false,
        }
    }

    fn reserve_producer_ids(&mut self, count: u32) -> Result<ProducerIdBlock, StateStoreError> {
        let first = self.next_producer_id;
        let next = first.checked_add(count.into());
        self.next_producer_id =
            next.ok_or_else(|| StateStoreError::Refused("all producer ids are used up".into()))?;
        Ok(ProducerIdBlock { first: ProducerId(first), count })
    }
}

impl TopicStore for MemoryTopics {
    async fn load(&self) -> Result<Vec<TopicRow>, StateStoreError> {
        Ok(self.state.lock().topics.values().cloned().collect())
    }

    async fn create(&self, topic: NewTopic) -> Result<TopicRow, CreateTopicError> {
        self.state.lock().create(topic)
    }

    async fn mark_deleting(&self, id: TopicId) -> Result<bool, StateStoreError> {
        Ok(self.state.lock().mark_deleting(id))
    }

    async fn drop_deleted(&self, id: TopicId) -> Result<(), StateStoreError> {
        let topics = &mut self.state.lock().topics;
        if topics.get(&id).is_some_and(|row| row.state == TopicState::Deleting) {
            topics.remove(&id);
        }
        Ok(())
    }

    async fn reserve_producer_ids(&self, count: u32) -> Result<ProducerIdBlock, StateStoreError> {
        self.state.lock().reserve_producer_ids(count)
    }

    async fn cluster_id(&self, proposed: &str) -> Result<String, StateStoreError> {
        Ok(self.state.lock().cluster_id.get_or_insert_with(|| proposed.to_owned()).clone())
    }
}
