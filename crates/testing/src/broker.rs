//! A broker in the test's own process: an engine and the Kafka door over a store, on a free port of loopback.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use ottla_engine::{
    Broker,
    groups::{GroupSettings, Groups, Owner},
    settings::BrokerSettings,
};
use ottla_kafka::{Identity, Patience, Server, ServerConfig, subscription_topics};
use ottla_storage::{
    Clock, SeededRandom, Storage, SystemClock, SystemRandom,
    memory::{MemoryOptions, MemoryStorage},
};
use ottla_storage_local::{LocalStorage, Options, RealDisk, World};
use tokio::runtime::Runtime;

use crate::TestClient;

/// Network threads: more than one, so that connections meet on different ones.
const THREADS: usize = 2;

/// How a [`TestBroker`] is set up. The default is what a user gets who sets nothing.
pub struct Setup<'a> {
    /// Broker settings, each as `name=value`.
    pub settings: &'a [&'a str],
    /// The host and port to advertise; `None`: the address that a client dialled.
    pub advertise: Option<(&'a str, u16)>,
    /// The broker's time.
    pub clock: Arc<dyn Clock>,
    /// How long clients that do not get on are waited for.
    pub patience: Patience,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            settings: &[],
            advertise: None,
            clock: Arc::new(SystemClock::new()),
            patience: Patience::default(),
        }
    }
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, advertise, .. } = self;
        f.debug_struct("Setup")
            .field("settings", settings)
            .field("advertise", advertise)
            .finish_non_exhaustive()
    }
}

/// A broker that serves clients until it is dropped, which stops it in order.
///
/// Its functions panic where something fails, as it is for tests only.
pub struct TestBroker<S: Storage = MemoryStorage> {
    broker: Arc<Broker<S>>,
    address: SocketAddr,
    /// These are there until the drop.
    server: Option<Server>,
    groups: Option<Groups<S>>,
    owner: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl TestBroker {
    /// A broker that keeps everything in memory, with these settings, each as `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        let storage = MemoryStorage::new(MemoryOptions::default());
        Self::over(storage, &Setup { settings, ..Setup::default() })
    }
}

impl TestBroker<LocalStorage> {
    /// A broker with its data in `dir`, with these settings, each as `name=value`.
    pub fn in_directory(dir: &Path, settings: &[&str]) -> Self {
        Self::in_directory_with(dir, &Setup { settings, ..Setup::default() })
    }

    /// A broker with its data in `dir`.
    pub fn in_directory_with(dir: &Path, setup: &Setup<'_>) -> Self {
        let disk = RealDisk::probe(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let world = World {
            disk: Arc::new(disk),
            clock: setup.clock.clone(),
            random: Arc::new(SystemRandom::open().expect("/dev/urandom opens")),
            faults: Arc::new(|fault: &str| eprintln!("storage failed: {fault}")),
        };
        let options = Options { arena_bytes: 16 << 20, wal_max: Some(64 << 20), ..Options::default() };
        let storage = LocalStorage::open(world, dir, &options)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Self::over(storage, setup)
    }
}

impl<S: Storage> TestBroker<S> {
    /// A broker over a storage of the test's own.
    pub fn over(storage: S, setup: &Setup<'_>) -> Self {
        let settings = parse(setup.settings);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let random = Arc::new(SeededRandom::new(1));
        let broker = Broker::start(storage, settings, setup.clock.clone(), random);
        let broker = Arc::new(runtime.block_on(broker).expect("the broker starts"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let config = config(broker.settings(), setup);
        let (groups, owner) = start_groups(&broker);
        let server = Server::start(&broker, &groups, vec![listener], &config).expect("the server starts");
        Self { broker, address, server: Some(server), groups: Some(groups), owner: Some(owner), runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    pub fn client(&self) -> TestClient {
        TestClient::connect(self.address)
    }

    /// Its inside: topics, settings.
    pub fn broker(&self) -> &Broker<S> {
        &self.broker
    }

    /// What it stores in.
    pub fn storage(&self) -> &S {
        self.broker.storage()
    }
}

impl<S: Storage> Drop for TestBroker<S> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown();
        }
        // Nobody can ask the groups any more, so their owner ends.
        self.groups = None;
        if let Some(owner) = self.owner.take()
            && owner.join().is_err()
        {
            eprintln!("the owner of the groups panicked");
        }
        if let Err(error) = self.runtime.block_on(self.broker.storage().close()) {
            eprintln!("the storage did not close: {error}");
        }
    }
}

impl<S: Storage> fmt::Debug for TestBroker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBroker").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The groups of a broker, whose owner runs on a thread of its own until nobody can ask it.
fn start_groups<S: Storage>(broker: &Arc<Broker<S>>) -> (Groups<S>, JoinHandle<()>) {
    let (loaded, groups) = mpsc::channel();
    let settings = GroupSettings::new(broker.settings(), subscription_topics);
    let broker = broker.clone();
    let run = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
        runtime.block_on(async move {
            let (owner, groups) = Owner::load(broker, settings).await.expect("groups are read");
            loaded.send(groups).expect("the test waits for the groups");
            owner.run().await;
        });
    };
    let owner = thread::Builder::new().name("groups".into()).spawn(run).expect("a thread starts");
    (groups.recv().expect("groups are read"), owner)
}

fn parse(given: &[&str]) -> BrokerSettings {
    let mut settings = BrokerSettings::default();
    for setting in given {
        let (name, value) = setting.split_once('=').unwrap_or_else(|| panic!("{setting} is no name=value"));
        settings.apply(name, value).unwrap_or_else(|error| panic!("{error}"));
    }
    settings
}

fn config(settings: &BrokerSettings, setup: &Setup<'_>) -> ServerConfig {
    ServerConfig {
        identity: Identity {
            node_id: settings.node_id,
            advertise: setup.advertise.map(|(host, port)| (host.to_owned(), port)),
        },
        threads: THREADS,
        memory: usize::try_from(settings.memory_budget).unwrap_or(usize::MAX),
        fetch_sessions_max: settings.fetch_sessions_max as usize,
        request_bytes_max: settings.socket_request_max_bytes as usize,
        connections_max_idle: settings.connections_max_idle,
        connections_max: settings.max_connections as usize,
        patience: setup.patience,
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{
        ErrorCode,
        messages::{api_versions::ApiVersionsRequest, describe_cluster::DescribeClusterRequest},
    };

    use super::*;

    fn check<S: Storage>(broker: &TestBroker<S>) {
        let mut client = broker.client();
        // Two at a time: answers come in the order of the requests.
        let versions = client.send(0, &ApiVersionsRequest::default());
        let cluster = client.send(0, &DescribeClusterRequest::default());
        assert_eq!(client.receive(versions).error_code, ErrorCode::NONE);
        let cluster = client.receive(cluster);
        assert_eq!(cluster.brokers[0].port, i32::from(broker.address().port()));
        assert_eq!(cluster.brokers[0].broker_id, 7);
    }

    #[test]
    fn a_broker_answers_and_starts_again() {
        check(&TestBroker::start(&["node.id=7"]));
        let dir = tempfile::tempdir().unwrap();
        check(&TestBroker::in_directory(dir.path(), &["node.id=7"]));
        check(&TestBroker::in_directory(dir.path(), &["node.id=7"]));
    }
}
