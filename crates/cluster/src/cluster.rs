//! The cluster as a test holds it: how it is started, what it is told to do, and what can be read of it.

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ottla_protocol::Uuid;
use ottla_records::{BatchBuilder, Compression, NewRecord, ProduceLimits, RecordBatch};
use tokio::sync::{Mutex, watch};

use crate::{
    door::{Cutter, Door},
    faults::{Action, Filter, Hook},
    node::Connection,
    sessions::FetchSessions,
    settings::Given,
    state::{Counts, NewTopic, Node, Partition, Settings, Shared, State},
    thread::Thread,
    versions::KafkaVersion,
};

/// The replication factor of topics where neither test nor client says one, as far as there are nodes.
const REPLICATION_FACTOR: i16 = 3;
/// The longest frame by default, as Kafka's `socket.request.max.bytes`.
const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;
/// How far the ids of the fetch sessions of two nodes are apart.
const SESSION_IDS_PER_NODE: i32 = 1_000_000;

/// A Kafka cluster in the process.
///
/// Its nodes have the ids 1, 2, 3, … and listen on ports of 127.0.0.1 of their own. They run on a thread of their own,
/// so that the functions here are plain ones; they may be called from asynchronous tests too, as they wait for that
/// thread alone. Those whose names begin with `wait` are not for a task that the client under test needs the thread of.
/// Dropping the cluster ends it.
///
/// A mistake of the test's, such as a topic that is not there, panics.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    machines: Vec<Arc<Mutex<Machine>>>,
    thread: Thread,
}

/// A cluster of one node, whose id is [`Broker::NODE`].
#[derive(Debug)]
pub struct Broker(Cluster);

/// How a cluster is to be; see [`Cluster::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: i32,
    version: KafkaVersion,
    auto_create_topics: bool,
    num_partitions: i32,
    replication_factor: Option<i16>,
    request_bytes_max: usize,
    topics: Vec<(String, i32)>,
}

/// A record as it is in a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970, or -1.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
    /// Its headers, in their order: key and value.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The id of the idempotent producer that wrote it, or -1.
    pub producer_id: i64,
    /// The epoch of that producer, or -1.
    pub producer_epoch: i16,
    /// Its number with that producer, or -1.
    pub sequence: i32,
    /// The leader epoch in which it was appended.
    pub leader_epoch: i32,
}

/// What a node is made of, apart from what it knows.
#[derive(Debug)]
struct Machine {
    door: Door,
    frozen: watch::Sender<bool>,
    cutter: Cutter,
}

impl Broker {
    /// The id of the node.
    pub const NODE: i32 = 1;

    /// Starts a broker that creates topics as they are asked for.
    pub fn start() -> Self {
        Self(Cluster::builder().nodes(1).start())
    }
}

impl Deref for Broker {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            nodes: 1,
            version: KafkaVersion::default(),
            auto_create_topics: true,
            num_partitions: 1,
            replication_factor: None,
            request_bytes_max: REQUEST_BYTES_MAX,
            topics: Vec::new(),
        }
    }
}

impl Builder {
    /// How many nodes there are, 1 by default.
    #[must_use]
    pub fn nodes(self, nodes: u16) -> Self {
        Self { nodes: nodes.into(), ..self }
    }

    /// The Kafka that the nodes stand for: which APIs they have in which versions, the newest by default.
    #[must_use]
    pub fn version(self, version: KafkaVersion) -> Self {
        Self { version, ..self }
    }

    /// Whether topics are created as they are asked for (`auto.create.topics.enable`), `true` by default.
    #[must_use]
    pub fn auto_create_topics(self, auto_create_topics: bool) -> Self {
        Self { auto_create_topics, ..self }
    }

    /// How many partitions topics have where it is not said (`num.partitions`), 1 by default.
    #[must_use]
    pub fn num_partitions(self, num_partitions: i32) -> Self {
        Self { num_partitions, ..self }
    }

    /// How many replicas partitions have where it is not said (`default.replication.factor`), 3 by default, or as many
    /// as there are nodes.
    #[must_use]
    pub fn replication_factor(self, replication_factor: i16) -> Self {
        Self { replication_factor: Some(replication_factor), ..self }
    }

    /// The longest request that is read, in bytes (`socket.request.max.bytes`), 100 MiB by default. One that is longer
    /// ends its connection.
    #[must_use]
    pub fn request_bytes_max(self, request_bytes_max: usize) -> Self {
        Self { request_bytes_max, ..self }
    }

    /// A topic that is there from the beginning.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>, partitions: i32) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// Starts the cluster.
    ///
    /// # Panics
    /// A topic is not valid, or the system has no port, thread or file descriptor left.
    #[track_caller]
    pub fn start(self) -> Cluster {
        assert!(self.nodes > 0, "a cluster has at least one node");
        let thread = Thread::start("kafka-cluster");
        let nodes = self.nodes;
        let machines = thread.run(async move {
            let machine =
                |_| Machine { door: Door::new(), frozen: watch::Sender::new(false), cutter: Cutter::new() };
            (0..nodes).map(machine).collect::<Vec<_>>()
        });
        let node = |(id, machine): (i32, &Machine)| Node {
            id,
            address: machine.door.address(),
            advertised: machine.door.address(),
            version: self.version,
            fenced: false,
            configs: Given::new(),
            sessions: FetchSessions::new(id.wrapping_mul(SESSION_IDS_PER_NODE) & i32::MAX),
            counts: Counts::default(),
        };
        let settings = Settings {
            auto_create_topics: self.auto_create_topics,
            num_partitions: self.num_partitions,
            replication_factor: self.replication_factor.unwrap_or(REPLICATION_FACTOR.min(nodes as i16)),
            request_bytes_max: self.request_bytes_max,
        };
        let state = State::new(cluster_id(), (1..).zip(&machines).map(node).collect(), settings);
        let machines = machines.into_iter().map(|machine| Arc::new(Mutex::new(machine))).collect();
        let cluster = Cluster { shared: Arc::new(Shared::new(state)), machines, thread };
        for (name, partitions) in &self.topics {
            cluster.create_topic(name, *partitions);
        }
        (1..=nodes).for_each(|id| cluster.open(id));
        cluster
    }
}

/// Where clients find it, and what is done to its nodes.
impl Cluster {
    /// A cluster of one node, with the newest versions, that creates topics as they are asked for; unless the builder
    /// is told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses of all nodes with commas between them, for `bootstrap.servers`; those that are advertised.
    pub fn bootstrap_servers(&self) -> String {
        let addresses: Vec<String> =
            self.shared.state.lock().nodes.iter().map(|node| node.advertised.to_string()).collect();
        addresses.join(",")
    }

    /// Where a node listens. It stays the same when the node is killed and revived.
    #[track_caller]
    pub fn address(&self, node: i32) -> SocketAddr {
        with_node(&mut self.shared.state.lock(), node, |node| node.address)
    }

    /// Has clients told another address for a node than its own: the one of a [`Proxy`](crate::Proxy) before it.
    #[track_caller]
    pub fn advertise(&self, node: i32, address: SocketAddr) {
        with_node(&mut self.shared.state.lock(), node, |node| node.advertised = address);
        self.shared.notify();
    }

    /// Ends a node: its connections are reset, and its port refuses new ones. The cluster has not noticed yet: clients
    /// are still sent to it. See [`Cluster::fence`].
    #[track_caller]
    pub fn kill(&self, node: i32) {
        let machine = self.machine(node);
        self.thread.run(async move {
            let mut machine = machine.lock().await;
            machine.door.close().await;
            machine.cutter.cut().await;
            machine.frozen.send_replace(false);
        });
        with_node(&mut self.shared.state.lock(), node, |node| node.sessions.clear());
        self.shared.notify();
    }

    /// Has the cluster notice that a node is gone: it is named no more, and what it led is led by the next replica, or
    /// by nobody where there is none.
    #[track_caller]
    pub fn fence(&self, node: i32) {
        self.machine(node);
        self.shared.state.lock().fence(node);
        self.shared.notify();
    }

    /// Starts a node that was killed again, at the same port. It knows its fetch sessions no more, leads what it led, and
    /// what nobody leads of its replicas.
    #[track_caller]
    pub fn revive(&self, node: i32) {
        self.machine(node);
        self.shared.state.lock().unfence(node);
        self.open(node);
        self.shared.notify();
    }

    /// Freezes a node as SIGSTOP does: the system goes on to accept connections and bytes, and nothing is answered.
    #[track_caller]
    pub fn freeze(&self, node: i32) {
        self.set_frozen(node, true);
    }

    /// Lets a node go on that was frozen; it answers what has come meanwhile.
    #[track_caller]
    pub fn thaw(&self, node: i32) {
        self.set_frozen(node, false);
    }

    /// Has a node stand for another version of Kafka from the next request on, as after an upgrade.
    #[track_caller]
    pub fn set_version(&self, node: i32, version: KafkaVersion) {
        with_node(&mut self.shared.state.lock(), node, |node| node.version = version);
    }

    /// Sets up a fault: what happens to requests that the filter means. Of several, the first one that means a request
    /// and is not used up counts.
    ///
    /// ```
    /// use ottla_testing::{Action, ApiKey, Broker, ErrorCode, Filter};
    ///
    /// let broker = Broker::start();
    /// let filter = Filter::api(ApiKey::PRODUCE).topic("orders").times(2);
    /// let hook = broker.on_request(filter, Action::Fail(ErrorCode::NOT_ENOUGH_REPLICAS));
    /// // … the producer under test sends, and tries again …
    /// # assert_eq!(hook.hits(), 0);
    /// ```
    pub fn on_request(&self, filter: Filter, action: Action) -> Hook {
        Hook::new(&self.shared, filter, action)
    }

    /// What has come and gone at all nodes together.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.shared.state.lock().nodes.iter().for_each(|node| sum.add(&node.counts));
        sum
    }

    /// What has come and gone at one node.
    #[track_caller]
    pub fn node_counts(&self, node: i32) -> Counts {
        with_node(&mut self.shared.state.lock(), node, |node| node.counts.clone())
    }

    fn open(&self, id: i32) {
        let (machine, shared) = (self.machine(id), self.shared.clone());
        self.thread.run(async move {
            let mut machine = machine.lock().await;
            let (frozen, cutter) = (machine.frozen.subscribe(), machine.cutter.clone());
            let paused = frozen.clone();
            machine.door.open(paused, move |stream| {
                let cut = cutter.subscribe();
                Connection::new(shared.clone(), id, frozen.clone(), stream).serve(cut)
            });
        });
    }

    #[track_caller]
    fn set_frozen(&self, node: i32, frozen: bool) {
        let machine = self.machine(node);
        self.thread.run(async move {
            machine.lock().await.frozen.send_replace(frozen);
        });
    }

    #[track_caller]
    fn machine(&self, node: i32) -> Arc<Mutex<Machine>> {
        let place = usize::try_from(node).ok().and_then(|id| id.checked_sub(1));
        let machine = place.and_then(|place| self.machines.get(place));
        machine
            .unwrap_or_else(|| panic!("there is no node {node}: they are 1 to {}", self.machines.len()))
            .clone()
    }
}

/// Its topics, and what is in them.
impl Cluster {
    /// Creates a topic with the cluster's replication factor.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Creates a topic with settings of its own. Of those, `max.message.bytes`, `message.timestamp.type`,
    /// `min.insync.replicas` and `cleanup.policy` have an effect; the others are described alone.
    #[track_caller]
    pub fn create_topic_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new =
            NewTopic { name: name.into(), partitions: Some(partitions), configs, ..NewTopic::default() };
        let created = self.shared.state.lock().create(&new).map(|_| ());
        created.unwrap_or_else(|refusal| panic!("topic '{name}' cannot be created: {}", refusal.why));
        self.shared.notify();
    }

    /// Gives a topic more partitions: `count` in all, with the replication factor that it has.
    #[track_caller]
    pub fn create_partitions(&self, name: &str, count: i32) {
        let grown = {
            let mut state = self.shared.state.lock();
            state.plan_growth(name, count, None).map(|new| state.grow(name, new))
        };
        grown.unwrap_or_else(|refusal| {
            panic!("topic '{name}' cannot have {count} partitions: {}", refusal.why)
        });
        self.shared.notify();
    }

    /// Deletes a topic.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        let deleted = self.shared.state.lock().topics.remove(name);
        assert!(deleted.is_some(), "there is no topic '{name}'");
        self.shared.notify();
    }

    /// Deletes a topic and creates it anew: with another id, and without records.
    #[track_caller]
    pub fn recreate_topic(&self, name: &str) {
        let recreated = self.shared.state.lock().recreate(name);
        assert!(recreated.is_some(), "there is no topic '{name}'");
        self.shared.notify();
    }

    /// The id of a topic; `None` if there is no such topic.
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.shared.state.lock().topics.get(name).map(|topic| topic.id)
    }

    /// The node that leads a partition, `None` if none does, and the leader epoch.
    #[track_caller]
    pub fn leader(&self, topic: &str, partition: i32) -> (Option<i32>, i32) {
        self.look(topic, partition, |partition| (partition.leader, partition.leader_epoch))
    }

    /// Makes a node the leader of a partition, in a new leader epoch. A node that was no replica takes the place of the
    /// leader before it.
    #[track_caller]
    pub fn move_leader(&self, topic: &str, partition: i32, to: i32) {
        self.machine(to);
        self.change(topic, partition, |partition| {
            if !partition.replicas.contains(&to) {
                let before = partition.replicas.iter().position(|id| Some(*id) == partition.leader);
                match before {
                    Some(place) => partition.replicas[place] = to,
                    None => partition.replicas.push(to),
                }
            }
            partition.leader = Some(to);
            partition.leader_epoch += 1;
        });
    }

    /// Takes the leader of a partition away, in a new leader epoch. [`Cluster::move_leader`] gives it one.
    #[track_caller]
    pub fn remove_leader(&self, topic: &str, partition: i32) {
        self.change(topic, partition, |partition| {
            partition.leader = None;
            partition.leader_epoch += 1;
        });
    }

    /// Loses the records of a partition from an offset on, as when a replica becomes the leader that was behind
    /// (`unclean.leader.election.enable`): move the leader after it. Batches go as a whole. Returns the log end offset.
    #[track_caller]
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> i64 {
        self.change(topic, partition, |partition| partition.log.truncate(offset))
    }

    /// Moves the log start offset of a partition forward, as retention does.
    #[track_caller]
    pub fn set_log_start(&self, topic: &str, partition: i32, offset: i64) {
        self.change(topic, partition, |partition| partition.log.set_start(offset));
    }

    /// Appends records in one batch, as a producer would. Returns the offset of the first.
    #[track_caller]
    pub fn append(&self, topic: &str, partition: i32, records: &[NewRecord<'_>]) -> i64 {
        let mut batch = BatchBuilder::new();
        records.iter().for_each(|record| batch.push(record).expect("the records fit a batch"));
        self.append_batch(topic, partition, &batch.build().expect("there is a record"))
    }

    /// Appends a record batch of format v2, which may be a compressed one. Returns the offset of the first record.
    #[track_caller]
    pub fn append_batch(&self, topic: &str, partition: i32, batch: &[u8]) -> i64 {
        let appended = self.change(topic, partition, |partition| {
            partition.log.append(batch, partition.leader_epoch, &ProduceLimits::default(), None)
        });
        match appended {
            Ok(appended) => appended.base_offset,
            Err(error) => panic!("the batch cannot be appended to '{topic}' {partition}: {error}"),
        }
    }

    /// The records of a partition, from the log start offset on.
    ///
    /// # Panics
    /// There is no such partition, or it has compressed batches, which [`Cluster::batches`] gives.
    #[track_caller]
    pub fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        let (start, batches) = (self.offsets(topic, partition).0, self.batches(topic, partition));
        let compressed = batches.iter().any(|batch| batch.header().compression() != Ok(Compression::None));
        assert!(
            !compressed,
            "'{topic}' {partition} has compressed batches: read them with `batches`, or compress nothing"
        );
        batches.iter().flat_map(records_of).filter(|record| record.offset >= start).collect()
    }

    /// Waits until a partition has at least `count` records, and gives all of them. The topic need not be there yet.
    ///
    /// # Panics
    /// It had not within 30 s, or as [`Cluster::records`].
    #[track_caller]
    pub fn wait_for_records(&self, topic: &str, partition: i32, count: usize) -> Vec<Record> {
        let kept = |state: &State| {
            let log = state.partition(topic, partition).map(|partition| &partition.log);
            log.map_or(0, |log| usize::try_from(log.end() - log.start()).unwrap_or(0))
        };
        let mut there = 0;
        let came = self.shared.wait_until(|state| {
            there = kept(state);
            there >= count
        });
        assert!(came, "'{topic}' {partition} has {there} records, and {count} were waited for");
        self.records(topic, partition)
    }

    /// The record batches of a partition as they were appended, with their offsets.
    #[track_caller]
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<RecordBatch> {
        self.look(topic, partition, |partition| partition.log.batches().cloned().collect())
    }

    /// The log start offset and the log end offset of a partition.
    #[track_caller]
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        self.look(topic, partition, |partition| (partition.log.start(), partition.log.end()))
    }

    #[track_caller]
    fn look<T>(&self, topic: &str, index: i32, look: impl FnOnce(&Partition) -> T) -> T {
        let found = self.shared.state.lock().partition(topic, index).map(look);
        found.unwrap_or_else(|| panic!("there is no partition {index} of a topic '{topic}'"))
    }

    #[track_caller]
    fn change<T>(&self, topic: &str, index: i32, change: impl FnOnce(&mut Partition) -> T) -> T {
        let changed = self.shared.state.lock().partition_mut(topic, index).map(change);
        self.shared.notify();
        changed.unwrap_or_else(|| panic!("there is no partition {index} of a topic '{topic}'"))
    }
}

#[track_caller]
fn with_node<T>(state: &mut State, id: i32, look: impl FnOnce(&mut Node) -> T) -> T {
    let nodes = state.nodes.len();
    look(state.node_mut(id).unwrap_or_else(|| panic!("there is no node {id}: they are 1 to {nodes}")))
}

fn records_of(batch: &RecordBatch) -> Vec<Record> {
    let header = *batch.header();
    let share = |bytes: &[u8]| batch.bytes().slice_ref(bytes);
    let record = |record: ottla_records::Record<'_>| Record {
        offset: record.offset.0,
        timestamp_ms: record.timestamp.0,
        key: record.key.map(share),
        value: record.value.map(share),
        headers: record.headers.map(|header| (share(header.key), header.value.map(share))).collect(),
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        sequence: header.base_sequence.plus((record.offset.0 - header.base_offset.0) as u32).0,
        leader_epoch: header.leader_epoch.0,
    };
    batch.records().into_iter().flatten().filter_map(Result::ok).map(record).collect()
}

/// An id of Kafka's form that no other cluster of the process has.
fn cluster_id() -> String {
    static STARTED: AtomicU64 = AtomicU64::new(1);
    Uuid::from_bytes(u128::from(STARTED.fetch_add(1, Ordering::Relaxed)).to_be_bytes()).to_string()
}
