//! The broker that all threads share: its topics, its settings, its identity.
//!
//! Topics are published as an immutable snapshot; one change at a time makes the next one. A topic that a call
//! has created can be written to at once.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ottla_records::{LeaderEpoch, ProducerId, TopicId};
use ottla_storage::{
    Budget, Clock, CreateTopicError, NewTopic, OffsetStore, Random, StateStoreError, Storage, StorageError,
    TopicRow, TopicState, TopicStore,
};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    names::{self, InvalidName},
    notices::Notices,
    settings::{BrokerSettings, EffectiveTopicSettings, SettingError, TopicSettings},
};

/// How many producer ids are set aside at a time.
const PRODUCER_ID_BLOCK: u32 = 1000;
/// Most partitions of all topics together: each takes memory, whoever asked for it.
pub const PARTITIONS_MAX: usize = 200_000;

/// A topic.
pub struct Topic<S: Storage> {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// The settings that were given for it.
    pub given: TopicSettings,
    /// What they come to with the broker's.
    pub settings: EffectiveTopicSettings,
    /// Its partitions' logs, by partition index.
    pub partitions: Vec<Arc<S::Log>>,
}

impl<S: Storage> Topic<S> {
    /// The log of a partition, if the topic has it.
    pub fn partition(&self, index: i32) -> Option<&Arc<S::Log>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl<S: Storage> fmt::Debug for Topic<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The topics at some moment.
pub struct Topics<S: Storage> {
    by_name: BTreeMap<Arc<str>, Arc<Topic<S>>>,
    by_id: HashMap<TopicId, Arc<Topic<S>>>,
}

impl<S: Storage> Topics<S> {
    /// The topic of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Topic<S>>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn with_id(&self, id: TopicId) -> Option<&Arc<Topic<S>>> {
        self.by_id.get(&id)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Topic<S>>> {
        self.by_name.values()
    }

    /// How many partitions all topics have together.
    pub fn partitions(&self) -> usize {
        self.by_name.values().map(|topic| topic.partitions.len()).sum()
    }

    fn with(&self, topic: Arc<Topic<S>>) -> Self {
        let mut next = Self { by_name: self.by_name.clone(), by_id: self.by_id.clone() };
        next.by_id.insert(topic.id, topic.clone());
        next.by_name.insert(topic.name.clone(), topic);
        next
    }

    fn without(&self, topic: &Topic<S>) -> Self {
        let mut next = Self { by_name: self.by_name.clone(), by_id: self.by_id.clone() };
        next.by_id.remove(&topic.id);
        next.by_name.remove(&topic.name);
        next
    }
}

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub struct TopicRequest {
    /// Its name.
    pub name: String,
    /// How many partitions; `None`: `num.partitions`.
    pub partitions: Option<i32>,
    /// Replicas of each; `None`: `default.replication.factor`.
    pub replication_factor: Option<i16>,
    /// Settings by name.
    pub settings: Vec<(String, Option<String>)>,
}

/// Why a topic was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// Its name is invalid.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// Its name collides with another topic's.
    #[error("topic '{0}' collides with topic '{1}': '.' and '_' count as the same")]
    Collision(String, String),
    /// There is one of this name.
    #[error("topic '{0}' already exists")]
    Exists(String),
    /// The number of partitions is not possible.
    #[error("{0}")]
    Partitions(String),
    /// The replication factor is not possible.
    #[error("{0}")]
    ReplicationFactor(String),
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
}

/// Why a topic was not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// There is none.
    #[error("there is no such topic")]
    Unknown,
    /// `delete.topic.enable` is off.
    #[error("deleting topics is switched off (delete.topic.enable)")]
    SwitchedOff,
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a broker could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// A deleted topic's log could not be removed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A stored setting is not valid any more.
    #[error("topic '{0}' has a stored setting that is not valid: {1}")]
    Setting(String, SettingError),
}

/// A broker.
pub struct Broker<S: Storage> {
    storage: S,
    settings: BrokerSettings,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    cluster_id: String,
    topics: RwLock<Arc<Topics<S>>>,
    /// How often topics have changed.
    topic_changes: watch::Sender<u64>,
    memory: Budget,
    /// Held by whoever changes topics.
    changing: tokio::sync::Mutex<()>,
    /// Producer ids that are set aside: the next one, and how many.
    producer_ids: tokio::sync::Mutex<(i64, u32)>,
    notices: Notices,
}

impl<S: Storage> Broker<S> {
    /// Loads topics and opens their logs.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        storage: S,
        settings: BrokerSettings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StartError> {
        let proposed = TopicId(random.next_16()).to_string();
        let cluster_id = storage.topics().cluster_id(&proposed).await?;
        let mut topics = Topics { by_name: BTreeMap::new(), by_id: HashMap::new() };
        for row in storage.topics().load().await? {
            match row.state {
                TopicState::Live => {
                    let topic = Arc::new(open(&storage, &settings, row)?);
                    topics.by_id.insert(topic.id, topic.clone());
                    topics.by_name.insert(topic.name.clone(), topic);
                }
                TopicState::Deleting => {}
            }
        }
        let notices = Notices::new(clock.clone());
        let memory = usize::try_from(settings.memory_budget / 4).unwrap_or(usize::MAX);
        Ok(Self {
            storage,
            settings,
            clock,
            random,
            cluster_id,
            topics: RwLock::new(Arc::new(topics)),
            topic_changes: watch::Sender::new(0),
            memory: Budget::new(memory),
            changing: tokio::sync::Mutex::new(()),
            producer_ids: tokio::sync::Mutex::new((0, 0)),
            notices,
        })
    }

    /// The storage below.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The settings.
    pub fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// The time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Chance.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// Log lines that clients could repeat without end.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// The cluster's id, made once and kept.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The leader epoch of this life.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.storage.leader_epoch()
    }

    /// The topics now.
    pub fn topics(&self) -> Arc<Topics<S>> {
        self.topics.read().clone()
    }

    /// Hears that topics were created or deleted.
    pub fn topic_changes(&self) -> watch::Receiver<u64> {
        self.topic_changes.subscribe()
    }

    /// A quarter of `memory.budget`: what responses hold until they are written, and what groups remember.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    fn publish(&self, topics: Topics<S>) {
        *self.topics.write() = Arc::new(topics);
        self.topic_changes.send_modify(|changes| *changes += 1);
    }

    /// Checks a request for a topic and returns how it would come out: partitions and settings.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn check_create(&self, request: &TopicRequest) -> Result<(u32, TopicSettings), CreateError> {
        names::validate(&request.name)?;
        let topics = self.topics();
        if topics.named(&request.name).is_some() {
            return Err(CreateError::Exists(request.name.clone()));
        }
        if let Some(other) = topics.all().find(|topic| names::collides(&topic.name, &request.name)) {
            return Err(CreateError::Collision(request.name.clone(), other.name.to_string()));
        }
        let given = request.settings.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let settings = TopicSettings::validate(given)?;
        let partitions = match request.partitions {
            None => self.settings.num_partitions,
            Some(wanted) => match u32::try_from(wanted) {
                Ok(wanted) if wanted > 0 => wanted,
                _ => return Err(CreateError::Partitions("a topic has at least one partition".into())),
            },
        };
        let room = PARTITIONS_MAX.saturating_sub(topics.partitions());
        if partitions as usize > room {
            let what = format!("a broker holds {PARTITIONS_MAX} partitions, and {room} are left");
            return Err(CreateError::Partitions(what));
        }
        self.check_replication(request)?;
        Ok((partitions, settings))
    }

    fn check_replication(&self, request: &TopicRequest) -> Result<(), CreateError> {
        let wanted = self.replication_wanted(request);
        if wanted < 1 {
            return Err(CreateError::ReplicationFactor("a replication factor is at least 1".into()));
        }
        if wanted > 1 && self.settings.strict_replication {
            let what = format!("replication factor {wanted} is more than the one broker there is");
            return Err(CreateError::ReplicationFactor(what));
        }
        Ok(())
    }

    fn replication_wanted(&self, request: &TopicRequest) -> i16 {
        request.replication_factor.unwrap_or(self.settings.default_replication_factor)
    }

    /// Creates a topic; it can be written to when this returns.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, request: &TopicRequest) -> Result<Arc<Topic<S>>, CreateError> {
        let _changing = self.changing.lock().await;
        let (partitions, settings) = self.check_create(request)?;
        let new = NewTopic {
            id: TopicId(self.random.next_16()),
            name: request.name.clone(),
            partitions,
            settings: settings.to_stored(),
        };
        let row = self.storage.topics().create(new).await.map_err(|error| match error {
            CreateTopicError::Exists(name) => CreateError::Exists(name),
            CreateTopicError::Store(error) => CreateError::Store(error),
        })?;
        let effective = settings.resolve(&self.settings);
        let partitions =
            row.logs.iter().map(|log| self.storage.open_log(*log, effective.log_settings())).collect();
        let topic = Arc::new(Topic {
            id: row.id,
            name: row.name.into(),
            given: settings,
            settings: effective,
            partitions,
        });
        self.publish(self.topics().with(topic.clone()));
        let wanted = self.replication_wanted(request);
        if wanted > 1 {
            tracing::warn!(
                topic = &*topic.name,
                "replication factor {wanted} brought down to 1, the number of brokers"
            );
        }
        Ok(topic)
    }

    /// The topic of this name, created with defaults if there is none.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn get_or_create(&self, name: &str) -> Result<Arc<Topic<S>>, CreateError> {
        let request = TopicRequest { name: name.to_owned(), ..TopicRequest::default() };
        match self.create(&request).await {
            Err(CreateError::Exists(_)) => match self.topics().named(name) {
                Some(topic) => Ok(topic.clone()),
                None => Err(CreateError::Exists(name.to_owned())),
            },
            other => other,
        }
    }

    /// Deletes a topic: when this returns, clients do not see it any more, nor does any later life, and what groups
    /// committed for it is gone.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub async fn delete(&self, id: TopicId) -> Result<(), DeleteError> {
        if !self.settings.delete_topics {
            return Err(DeleteError::SwitchedOff);
        }
        let _changing = self.changing.lock().await;
        let topic = self.topics().with_id(id).cloned().ok_or(DeleteError::Unknown)?;
        self.storage.topics().mark_deleting(id).await?;
        self.publish(self.topics().without(&topic));
        self.storage.groups().delete_offsets_of_topic(id).await?;
        for log in &topic.partitions {
            self.storage.delete_log(log).await?;
        }
        Ok(())
    }

    /// A producer id that nobody else was or will be given.
    ///
    /// # Errors
    /// Where no block of ids could be made durable.
    pub async fn next_producer_id(&self) -> Result<ProducerId, StateStoreError> {
        let mut ids = self.producer_ids.lock().await;
        if ids.1 == 0 {
            let block = self.storage.topics().reserve_producer_ids(PRODUCER_ID_BLOCK).await?;
            *ids = (block.first.0, block.count);
        }
        let id = ids.0;
        *ids = (id + 1, ids.1 - 1);
        Ok(ProducerId(id))
    }
}

impl<S: Storage> fmt::Debug for Broker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

fn open<S: Storage>(storage: &S, settings: &BrokerSettings, row: TopicRow) -> Result<Topic<S>, StartError> {
    let stored = row.settings.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
    let given =
        TopicSettings::validate(stored).map_err(|error| StartError::Setting(row.name.clone(), error))?;
    let effective = given.resolve(settings);
    let partitions = row.logs.iter().map(|log| storage.open_log(*log, effective.log_settings())).collect();
    Ok(Topic { id: row.id, name: row.name.into(), given, settings: effective, partitions })
}

#[cfg(test)]
mod tests {
    use ottla_storage::{
        ManualClock, SeededRandom,
        memory::{MemoryOptions, MemoryStorage},
    };

    use super::*;

    async fn broker(settings: &[(&str, &str)]) -> Broker<MemoryStorage> {
        let storage = MemoryStorage::new(MemoryOptions::default());
        let mut given = BrokerSettings::default();
        for (name, value) in settings {
            given.apply(name, value).unwrap();
        }
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        Broker::start(storage, given, clock, random).await.unwrap()
    }

    fn request(name: &str, partitions: i32) -> TopicRequest {
        TopicRequest { name: name.into(), partitions: Some(partitions), ..TopicRequest::default() }
    }

    #[tokio::test]
    async fn all_topics_together_have_a_most_of_partitions() {
        let broker = broker(&[]).await;
        let most = PARTITIONS_MAX as i32;
        assert!(broker.check_create(&request("a", most)).is_ok());
        broker.create(&request("a", 3)).await.unwrap();
        let refused = broker.check_create(&request("b", most - 2)).unwrap_err();
        assert!(matches!(refused, CreateError::Partitions(_)), "{refused}");
        assert!(refused.to_string().contains(&format!("{} are left", most - 3)), "{refused}");
        assert!(broker.check_create(&request("b", most - 3)).is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_is_found_in_kafkas_order() {
        let broker = broker(&[("strict.replication", "true")]).await;
        broker.create(&request("a.b", 1)).await.unwrap();
        let wrong = |name: &str, setting: &str, partitions| TopicRequest {
            replication_factor: Some(7),
            settings: vec![(setting.into(), Some("1".into()))],
            ..request(name, partitions)
        };
        let refused = |request: TopicRequest| broker.check_create(&request).unwrap_err();
        assert!(matches!(refused(wrong("a b", "none", 0)), CreateError::Name(_)));
        assert!(matches!(refused(wrong("a.b", "none", 0)), CreateError::Exists(_)));
        assert!(matches!(refused(wrong("a_b", "none", 0)), CreateError::Collision(..)));
        assert!(matches!(refused(wrong("c", "none", 0)), CreateError::Setting(_)));
        assert!(matches!(refused(wrong("c", "retention.ms", 0)), CreateError::Partitions(_)));
        assert!(matches!(refused(wrong("c", "retention.ms", 1)), CreateError::ReplicationFactor(_)));
    }

    #[tokio::test]
    async fn a_topic_is_made_once_whoever_asks_for_it() {
        let broker = broker(&[("num.partitions", "2")]).await;
        let (one, other) = tokio::join!(broker.get_or_create("a"), broker.get_or_create("a"));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.id, one.partitions.len()), (other.id, 2));
        assert_eq!(broker.topics().partitions(), 2);
    }

    #[tokio::test]
    async fn a_deleted_topic_is_gone_in_the_next_life_too() {
        let first = broker(&[]).await;
        let topic = first.create(&request("a", 2)).await.unwrap();
        first.create(&request("b", 1)).await.unwrap();
        first.delete(topic.id).await.unwrap();
        assert!(matches!(first.delete(topic.id).await, Err(DeleteError::Unknown)));
        assert!(first.topics().named("a").is_none() && first.topics().with_id(topic.id).is_none());

        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(2)));
        let storage = first.storage().restart();
        let next = Broker::start(storage, BrokerSettings::default(), clock, random).await.unwrap();
        let names: Vec<_> = next.topics().all().map(|topic| topic.name.clone()).collect();
        assert_eq!(names, ["b".into()]);
        assert_eq!(next.cluster_id(), first.cluster_id());
    }

    #[tokio::test]
    async fn producer_ids_rise_past_their_blocks() {
        let broker = broker(&[]).await;
        for expected in 0..i64::from(PRODUCER_ID_BLOCK) + 5 {
            assert_eq!(broker.next_producer_id().await.unwrap(), ProducerId(expected));
        }
    }
}
