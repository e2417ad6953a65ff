//! What a cluster knows: its nodes, its topics with their leaders and logs, and the faults that are set up.
//!
//! All nodes share one state behind one lock, which is held for one step of one request and never across a wait. Here
//! is what happens to it; Kafka's requests are the business of the handlers.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, time::Duration};

use ottla_protocol::{ApiKey, ErrorCode, Str, Uuid};
use ottla_records::{ProduceLimits, TimestampMs};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::{
    faults::Hooks,
    log::PartitionLog,
    sessions::FetchSessions,
    settings::{self, Given},
    versions::KafkaVersion,
};

/// How long a test waits for what it expects: far longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The longest name of a topic, in characters.
const TOPIC_NAME_LEN_MAX: usize = 249;
/// How many partitions a cluster has at most.
pub(crate) const PARTITIONS_MAX: usize = 10_000;

/// The state, and how to hear of its changes.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    changed: Condvar,
    changes: watch::Sender<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) hooks: Hooks,
    pub(crate) settings: Settings,
    /// What was given for all brokers while they ran.
    pub(crate) default_configs: Given,
    next_topic: u64,
    next_producer_id: i64,
}

/// What holds for the cluster as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) auto_create_topics: bool,
    pub(crate) num_partitions: i32,
    pub(crate) replication_factor: i16,
    /// The longest frame that a node reads, in bytes.
    pub(crate) request_bytes_max: usize,
}

/// A broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where clients are told that it does.
    pub(crate) advertised: SocketAddr,
    pub(crate) version: KafkaVersion,
    /// Whether the cluster has taken notice that the node is gone.
    pub(crate) fenced: bool,
    /// What was given for it while it ran.
    pub(crate) configs: Given,
    pub(crate) sessions: FetchSessions,
    pub(crate) counts: Counts,
}

/// What has come and gone since the start. Bytes are those of frames with their lengths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// How many connections were accepted.
    pub connections_opened: u64,
    /// How many of them are open now.
    pub connections_open: u64,
    /// How many requests came, by API; only those in a version that is served.
    pub requests: BTreeMap<ApiKey, u64>,
    /// How many bytes came.
    pub bytes_received: u64,
    /// How many bytes were sent, or were about to be when a connection ended.
    pub bytes_sent: u64,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    /// The settings that were given for it.
    pub(crate) configs: Given,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) log: PartitionLog,
}

/// A topic that is to be created.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// `None` for the cluster's default.
    pub(crate) partitions: Option<i32>,
    /// `None` for the cluster's default.
    pub(crate) replication_factor: Option<i16>,
    pub(crate) configs: Given,
    /// The replicas of each partition, the leader first; empty to have them chosen.
    pub(crate) assignments: Vec<Vec<i32>>,
}

/// Why something was not done, in Kafka's terms and for people.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl From<Refusal> for ErrorCode {
    fn from(refusal: Refusal) -> Self {
        refusal.code
    }
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new(), changes: watch::Sender::new(0) }
    }

    /// Tells everybody who waits for a change to look again.
    pub(crate) fn notify(&self) {
        self.changes.send_modify(|changes| *changes += 1);
        // Whoever looks holds the lock: this way nobody misses a change between looking and waiting.
        drop(self.state.lock());
        self.changed.notify_all();
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until something holds; `false` if it does not in time.
    pub(crate) fn wait_until(&self, mut holds: impl FnMut(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        !self.changed.wait_while_for(&mut state, |state| !holds(state), PATIENCE).timed_out()
    }
}

impl State {
    pub(crate) fn new(cluster_id: String, nodes: Vec<Node>, settings: Settings) -> Self {
        let (topics, hooks, default_configs) = (BTreeMap::new(), Hooks::default(), Given::new());
        // Ids that a broker could not have given by chance show a mistake sooner.
        let (next_topic, next_producer_id) = (1, 1000);
        Self { cluster_id, nodes, topics, hooks, settings, default_configs, next_topic, next_producer_id }
    }

    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub(crate) fn node_mut(&mut self, id: i32) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    /// The nodes that the cluster takes for alive.
    pub(crate) fn live_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.fenced)
    }

    /// The node that admin requests went to while there was ZooKeeper.
    pub(crate) fn controller(&self) -> Option<i32> {
        self.live_nodes().map(|node| node.id).next()
    }

    pub(crate) fn next_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    /// The name of the topic with an id.
    pub(crate) fn name_of(&self, id: Uuid) -> Option<&String> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name)
    }

    /// The partition that a client asks a node for, where the node leads it and the client's leader epoch is the
    /// current one (-1 if it tells none).
    pub(crate) fn led(
        &mut self,
        node: i32,
        topic: &str,
        index: i32,
        leader_epoch: i32,
    ) -> Result<(&mut Partition, &Given), ErrorCode> {
        let topic = self.topics.get_mut(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get_mut(index));
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !partition.replicas.contains(&node) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        // A replica knows the epoch, and says first what is wrong with that.
        match leader_epoch {
            0.. if leader_epoch < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            0.. if leader_epoch > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ if partition.leader != Some(node) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            _ => Ok((partition, &topic.configs)),
        }
    }

    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, index: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// Checks what is asked for, and makes the topic of it without adding it.
    pub(crate) fn plan(&self, new: &NewTopic) -> Result<Topic, Refusal> {
        check_name(&new.name)?;
        if self.topics.contains_key(&new.name) {
            let why = format!("topic '{}' already exists", new.name);
            return Err(Refusal::new(ErrorCode::TOPIC_ALREADY_EXISTS, why));
        }
        if let Some(other) = self.topics.keys().find(|other| collides(other, &new.name)) {
            let why = format!("topic '{}' collides with '{other}': '.' and '_' are one in metrics", new.name);
            return Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why));
        }
        for (name, value) in &new.configs {
            settings::TOPIC.check(name, value)?;
        }
        let assignments =
            if new.assignments.is_empty() { self.assign(new)? } else { new.assignments.clone() };
        self.check_room(assignments.len())?;
        let partitions = assignments.into_iter().map(|replicas| self.new_partition(replicas));
        Ok(Topic {
            id: topic_id(self.next_topic),
            partitions: partitions.collect(),
            configs: new.configs.clone(),
        })
    }

    /// Creates a topic.
    pub(crate) fn create(&mut self, new: &NewTopic) -> Result<&Topic, Refusal> {
        let topic = self.plan(new)?;
        self.next_topic += 1;
        Ok(self.topics.entry(new.name.clone()).or_insert(topic))
    }

    /// Deletes a topic and creates it anew: the same partitions and settings, another id, and no records.
    pub(crate) fn recreate(&mut self, name: &str) -> Option<()> {
        let old = self.topics.remove(name)?;
        let assignments = old.partitions.into_iter().map(|partition| partition.replicas).collect();
        let new = NewTopic { name: name.into(), configs: old.configs, assignments, ..NewTopic::default() };
        self.create(&new).expect("what was there can be there again");
        Some(())
    }

    /// Checks how a topic is to grow to `count` partitions, and makes those that are new without adding them. Their
    /// replicas are chosen where they are not told.
    pub(crate) fn plan_growth(
        &self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<Vec<Partition>, Refusal> {
        let unknown = || Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
        let partitions = &self.topics.get(name).ok_or_else(unknown)?.partitions;
        let (there, factor) = (partitions.len(), partitions[0].replicas.len());
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > there) else {
            let why = format!("topic '{name}' has {there} partitions, and {count} are no more than that");
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, why));
        };
        self.check_room(count - there)?;
        let replicas = match assignments {
            Some(told) => self.check_assignments(told, count - there, factor)?,
            None => self.replicas_in_turn(there..count, factor)?,
        };
        Ok(replicas.into_iter().map(|replicas| self.new_partition(replicas)).collect())
    }

    /// Gives a topic the partitions that were planned.
    pub(crate) fn grow(&mut self, name: &str, new: Vec<Partition>) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(new);
        }
    }

    /// Whether these can be the replicas of a partition: each is there, and named once.
    pub(crate) fn can_be_replicas(&self, ids: &[i32]) -> bool {
        let each_once = ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id));
        !ids.is_empty() && each_once && ids.iter().all(|id| self.node(*id).is_some())
    }

    fn check_assignments(
        &self,
        told: Vec<Vec<i32>>,
        count: usize,
        factor: usize,
    ) -> Result<Vec<Vec<i32>>, Refusal> {
        let refuse = |why| Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
        if told.len() != count {
            return refuse(format!("there are {count} new partitions and the replicas of {}", told.len()));
        }
        for ids in &told {
            if !self.can_be_replicas(ids) {
                return refuse("an assignment names brokers that are there, each once".to_owned());
            }
            if ids.len() != factor {
                return refuse(format!("{} replicas are named, where the topic has {factor}", ids.len()));
            }
            if !ids.iter().any(|id| self.is_live(*id)) {
                return refuse(format!("none of the replicas {ids:?} is alive"));
            }
        }
        Ok(told)
    }

    fn check_room(&self, more: usize) -> Result<(), Refusal> {
        let there: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        if there + more > PARTITIONS_MAX {
            let why = format!("a cluster for tests has at most {PARTITIONS_MAX} partitions");
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, why));
        }
        Ok(())
    }

    fn new_partition(&self, replicas: Vec<i32>) -> Partition {
        Partition {
            leader: replicas.iter().copied().find(|id| self.is_live(*id)),
            leader_epoch: 0,
            replicas,
            log: PartitionLog::default(),
        }
    }

    fn assign(&self, new: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
        let partitions = new.partitions.unwrap_or(self.settings.num_partitions);
        let factor = new.replication_factor.unwrap_or(self.settings.replication_factor);
        let partitions =
            usize::try_from(partitions).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
        let Some(partitions) = partitions else {
            let why = format!("a topic has from 1 to {PARTITIONS_MAX} partitions");
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, why));
        };
        self.replicas_in_turn(0..partitions, usize::try_from(factor).unwrap_or(0))
    }

    /// The replicas of partitions with these numbers: in turn, as Kafka lays them out.
    fn replicas_in_turn(&self, partitions: Range<usize>, factor: usize) -> Result<Vec<Vec<i32>>, Refusal> {
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        if !(1..=live.len()).contains(&factor) {
            let why = format!("the replication factor is {factor}, and {} brokers are there", live.len());
            return Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
        }
        let replicas =
            |partition| (0..factor).map(|replica| live[(partition + replica) % live.len()]).collect();
        Ok(partitions.map(replicas).collect())
    }

    fn is_live(&self, id: i32) -> bool {
        self.live_nodes().any(|node| node.id == id)
    }

    /// Takes notice that a node is gone: each partition that it leads goes to the next replica that is alive.
    pub(crate) fn fence(&mut self, id: i32) {
        if let Some(node) = self.node_mut(id) {
            node.fenced = true;
        }
        self.elect(|partition| partition.leader == Some(id));
    }

    /// Takes notice that a node is back: it leads what nobody else does.
    pub(crate) fn unfence(&mut self, id: i32) {
        if let Some(node) = self.node_mut(id) {
            node.fenced = false;
        }
        self.elect(|partition| partition.leader.is_none() && partition.replicas.contains(&id));
    }

    fn elect(&mut self, wanted: impl Fn(&Partition) -> bool) {
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|partition| wanted(partition)) {
            partition.leader = partition.replicas.iter().copied().find(|id| live.contains(id));
            partition.leader_epoch += 1;
        }
    }
}

impl Node {
    /// Host and port as clients are told them.
    pub(crate) fn endpoint(&self) -> (Str, i32) {
        (self.advertised.ip().to_string().into(), self.advertised.port().into())
    }
}

impl Counts {
    /// How many requests came for one API.
    pub fn requests_of(&self, api: ApiKey) -> u64 {
        self.requests.get(&api).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.connections_opened += other.connections_opened;
        self.connections_open += other.connections_open;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        for (api, count) in &other.requests {
            *self.requests.entry(*api).or_default() += count;
        }
    }
}

/// What a topic's settings allow of a batch.
pub(crate) fn produce_limits(configs: &Given) -> ProduceLimits {
    let value = |name| settings::value(configs, name);
    ProduceLimits {
        size_max: value(settings::MAX_MESSAGE_BYTES).parse().unwrap_or(usize::MAX),
        key_required: settings::policies(configs).any(|policy| policy == "compact"),
        ..ProduceLimits::default()
    }
}

/// The stamp of records that are appended now, where the topic's settings ask for one.
pub(crate) fn append_time(configs: &Given) -> Option<TimestampMs> {
    (settings::value(configs, settings::TIMESTAMP_TYPE) == "LogAppendTime").then(now)
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "records are stamped as a broker does it, and nothing decides by that"
)]
fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The id of the n-th topic of a cluster: a random id as RFC 9562 has it, only that it is not random.
fn topic_id(number: u64) -> Uuid {
    Uuid::from_bytes(
        ((0x6f74_746c_6174_4000_u128 << 64) | (0x8000_0000_0000_0000 + u128::from(number))).to_be_bytes(),
    )
}

/// Checks a topic's name by Kafka's rules.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let valid =
        !matches!(name, "" | "." | "..") && name.len() <= TOPIC_NAME_LEN_MAX && name.chars().all(allowed);
    valid.then_some(()).ok_or_else(|| {
        let why = format!(
            "'{name}' is no topic name: use 1 to {TOPIC_NAME_LEN_MAX} ASCII letters, digits, '.', '_' and '-'"
        );
        Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, why)
    })
}

fn collides(one: &str, other: &str) -> bool {
    let metric = |byte| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(metric).eq(other.bytes().map(metric))
}
