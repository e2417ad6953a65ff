//! `ottla serve`: puts the broker together, says what it is, and ends it in order.

use std::{
    fs,
    io::{self, IsTerminal},
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread,
};

use ottla_engine::{
    Broker, StartError,
    groups::{GroupError, GroupSettings, Owner},
};
use ottla_kafka::{Identity, Patience, Server, ServerConfig, subscription_topics};
use ottla_storage::{Storage, SystemClock, SystemRandom};
use ottla_storage_local::{LocalStorage, LocalStorageError, Options, RealDisk, World};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::config::{Config, Listener};

/// Segment files that are worth keeping open, however many the system allows.
const OPEN_FILES_MAX: usize = 16_384;

/// Why the broker ended, other than by being asked to. Each has an exit code of its own.
#[derive(Debug, Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}; give another with --listen, or stop what uses it")]
    Listen(SocketAddr, io::Error),
    /// The data directory cannot be made or written.
    #[error("cannot write to the data directory {}: {error}; give another with --data, or make it writable (a read-only or full file system, or missing rights)", dir.display())]
    Data {
        /// The data directory.
        dir: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// What is in the data directory cannot be used.
    #[error("{0}")]
    Open(#[from] LocalStorageError),
    /// Topics could not be loaded.
    #[error("{0}")]
    Start(#[from] StartError),
    /// Groups could not be loaded.
    #[error("{0}")]
    Groups(#[from] GroupError),
    /// The machine refuses threads, signals or entropy.
    #[error("the system refused what a broker needs: {0}")]
    System(io::Error),
    /// Storage failed while running.
    #[error("stopped, because {0}; what was acknowledged is in the data directory")]
    Fault(String),
}

impl ServeError {
    /// The exit code, as the README documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(..) => 3,
            Self::Data { .. } | Self::Open(_) | Self::Start(_) | Self::Groups(_) => 4,
            Self::Fault(_) => 5,
            Self::System(_) => 1,
        }
    }
}

/// Runs the broker until it is told to stop (SIGTERM, SIGINT) or storage fails.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(config: &Config) -> Result<(), ServeError> {
    start_logs();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::System)?;
    runtime.block_on(run(config))
}

async fn run(config: &Config) -> Result<(), ServeError> {
    let listeners = listen(&config.listeners)?;
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<_>>()
        .map_err(ServeError::System)?;
    fs::create_dir_all(&config.data).map_err(|error| ServeError::Data { dir: config.data.clone(), error })?;
    let disk = RealDisk::probe(&config.data)
        .map_err(|error| ServeError::Data { dir: config.data.clone(), error })?;
    let direct = disk.is_direct();
    let (clock, random) = (Arc::new(SystemClock::new()), SystemRandom::open().map_err(ServeError::System)?);
    let random = Arc::new(random);
    let (faults, mut fault) = mpsc::unbounded_channel();
    let world = World {
        disk: Arc::new(disk),
        clock: clock.clone(),
        random: random.clone(),
        faults: Arc::new(move |what: &str| {
            let _ = faults.send(what.to_owned());
        }),
    };
    let settings = &config.settings;
    let storage = LocalStorage::open(world, &config.data, &options(config))?;
    let replayed = storage.logs().replayed();
    let broker = Arc::new(Broker::start(storage, settings.clone(), clock, random).await?);
    let (owner, groups) =
        Owner::load(broker.clone(), GroupSettings::new(settings, subscription_topics)).await?;
    let owner = tokio::spawn(owner.run());
    let memory = usize::try_from(settings.memory_budget).unwrap_or(usize::MAX);
    let server = ServerConfig {
        identity: Identity {
            node_id: settings.node_id,
            advertise: config.advertise.as_ref().map(|at| (at.host.clone(), at.port)),
        },
        threads: settings
            .network_threads
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1))),
        memory,
        fetch_sessions_max: settings.fetch_sessions_max as usize,
        request_bytes_max: settings.socket_request_max_bytes as usize,
        connections_max_idle: settings.connections_max_idle,
        connections_max: settings.max_connections as usize,
        patience: Patience::default(),
    };
    // From here on they end it in order: whoever has read that it listens may send one.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;
    let server = Server::start(&broker, &groups, listeners, &server).map_err(ServeError::System)?;
    show(config, &addresses, direct, &broker, replayed);

    let fault = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        fault = fault.recv() => fault,
    };
    if let Some(fault) = &fault {
        tracing::error!("storage failed: {fault}");
    } else {
        tracing::info!("stopping");
    }
    // What is in flight may wait for a group, so the groups' owner goes on until the server has ended.
    let ended = tokio::task::spawn_blocking(move || server.shutdown()).await;
    drop(groups);
    for ended in [ended, owner.await] {
        if let Err(error) = ended {
            tracing::error!("a part of the broker did not end in order: {error}");
        }
    }
    let closed = broker.storage().close().await;
    match (fault, closed) {
        (Some(fault), _) => Err(ServeError::Fault(fault)),
        (None, Err(error)) => Err(ServeError::Fault(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

/// How the store is set up for this memory budget.
fn options(config: &Config) -> Options {
    let settings = &config.settings;
    let memory = usize::try_from(settings.memory_budget).unwrap_or(usize::MAX);
    Options {
        // A part for what waits for the disk; connections and responses have the rest.
        arena_bytes: memory / 8 * 3,
        wal_max: settings.wal_max,
        retention_interval: settings.retention_check_interval,
        producer_expiration: settings.producer_id_expiration,
        max_open_files: open_files(),
        max_batch: memory / 4,
        ..Options::default()
    }
}

/// How many segment files may be open: half of what the system allows, which is raised as far as it goes. The
/// other half is for connections.
fn open_files() -> NonZeroUsize {
    let limit = getrlimit(Resource::Nofile);
    // Where this fails, the limit stays what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(allowed / 2).unwrap_or(usize::MAX);
    NonZeroUsize::new(files.min(OPEN_FILES_MAX)).unwrap_or(NonZeroUsize::MIN)
}

fn listen(wanted: &[Listener]) -> Result<Vec<TcpListener>, ServeError> {
    let mut listeners = Vec::new();
    for listener in wanted {
        match TcpListener::bind(listener.address) {
            Ok(bound) => listeners.push(bound),
            // A host without IPv6.
            Err(error) if listener.optional && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(ServeError::Listen(listener.address, error)),
        }
    }
    Ok(listeners)
}

fn show<S: Storage>(
    config: &Config,
    addresses: &[SocketAddr],
    direct: bool,
    broker: &Broker<S>,
    replayed: u64,
) {
    let way = if direct { "past the page cache" } else { "through the page cache, each write synced" };
    println!("ottla {}", env!("CARGO_PKG_VERSION"));
    for address in addresses {
        println!("  listening on {address}");
    }
    match &config.advertise {
        Some(advertise) => println!("  advertised   {advertise}"),
        None if in_container() => {
            println!("  advertised   the address that a client dials; this is a container: if its ports are");
            println!("               published, clients outside need --advertise HOST:PORT");
        }
        None => {}
    }
    println!("  data         {}", config.data.display());
    println!("  durability   {} ({way})", config.settings.durability);
    println!("  memory       {} MiB", config.settings.memory_budget >> 20);
    println!("  topics       {}", broker.topics().all().count());
    if replayed > 0 {
        println!("  replayed     {replayed} batches of the write-ahead log");
    }
    for reduced in config.settings.reduced() {
        println!("  note         {reduced}");
    }
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| fs::exists(mark).unwrap_or(false))
}

fn start_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OTTLA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Colours are for people: a file or a journal gets plain text.
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(io::stderr).init();
}
