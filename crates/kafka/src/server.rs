//! The server: accepts connections and spreads them over network threads.
//!
//! Each network thread runs a tokio runtime of its own with the tasks of its connections, and has one door
//! into the broker. The listeners run on the first of them.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ottla_engine::{Broker, Door, groups::Groups};
use ottla_storage::Storage;
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
    time::{sleep, timeout},
};

use crate::{
    connection::{Limits, Patience, serve},
    context::{Context, Identity},
    fetch_session::FetchSessions,
    memory::Memory,
};

/// How long requests in flight may take to be answered at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// After so much silence the system asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Fetch sessions may hold one partition for so many bytes of memory: about a sixteenth of it.
const SESSION_PARTITION_SHARE: usize = 4 << 10;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Who the broker says it is.
    pub identity: Identity,
    /// How many network threads.
    pub threads: usize,
    /// The memory budget of the whole broker in bytes, of which connections take five eighths.
    pub memory: usize,
    /// How many fetch sessions are kept (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions_max: usize,
    /// The largest request frame in bytes.
    pub request_bytes_max: usize,
    /// How long a connection may be silent (`connections.max.idle.ms`).
    pub connections_max_idle: Option<Duration>,
    /// How many connections there may be (`max.connections`).
    pub connections_max: usize,
    /// How long clients that do not get on are waited for.
    pub patience: Patience,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// A connection on its way to its thread.
type Accepted = std::net::TcpStream;

impl Server {
    /// Serves `broker` and its groups on listeners that are bound already.
    ///
    /// # Errors
    /// Where a thread cannot be started, or a listener cannot be used.
    pub fn start<S: Storage>(
        broker: &Arc<Broker<S>>,
        groups: &Groups<S>,
        listeners: Vec<StdListener>,
        config: &ServerConfig,
    ) -> io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let open = Arc::new(AtomicUsize::new(0));
        let memory = Memory::new(config.memory, config.request_bytes_max, broker.memory().clone());
        let sessions = Arc::new(FetchSessions::new(
            broker.random().clone(),
            config.fetch_sessions_max,
            config.memory / SESSION_PARTITION_SHARE,
        ));
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..config.threads.max(1)).map(|_| mpsc::unbounded_channel::<Accepted>()).unzip();
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let mut listeners = Some(listeners);
        let mut threads = Vec::new();
        for (number, connections) in receivers.into_iter().enumerate() {
            let thread = NetworkThread {
                broker: broker.clone(),
                groups: groups.clone(),
                config: config.clone(),
                stopping: stopping.clone(),
                open: open.clone(),
                memory: memory.clone(),
                sessions: sessions.clone(),
            };
            let listeners = listeners.take().unwrap_or_default();
            let senders = senders.clone();
            let run = move || thread.run(connections, listeners, senders);
            threads.push(thread::Builder::new().name(format!("network-{number}")).spawn(run)?);
        }
        Ok(Self { threads, stop })
    }

    /// Stops accepting and reading, answers what is in flight, and ends the threads, which let go of the groups
    /// then. Waits for them: not to be called on one of them, nor where the owner of the groups runs.
    pub fn shutdown(self) {
        let _ = self.stop.send(true);
        for thread in self.threads {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

struct NetworkThread<S: Storage> {
    broker: Arc<Broker<S>>,
    groups: Groups<S>,
    config: ServerConfig,
    stopping: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
    memory: Memory,
    sessions: Arc<FetchSessions>,
}

impl<S: Storage> NetworkThread<S> {
    fn run(
        self,
        connections: mpsc::UnboundedReceiver<Accepted>,
        listeners: Vec<StdListener>,
        senders: Vec<mpsc::UnboundedSender<Accepted>>,
    ) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("a network thread cannot start: {error}");
                return;
            }
        };
        let local = LocalSet::new();
        local.block_on(&runtime, self.serve(connections, listeners, senders));
    }

    async fn serve(
        self,
        mut connections: mpsc::UnboundedReceiver<Accepted>,
        listeners: Vec<StdListener>,
        senders: Vec<mpsc::UnboundedSender<Accepted>>,
    ) {
        let (door, advances) = Door::open(self.broker.clone());
        let door = Rc::new(door);
        tokio::task::spawn_local(advances.run());
        for listener in listeners {
            let (broker, senders, open) = (self.broker.clone(), senders.clone(), self.open.clone());
            let accepting = accept(broker, listener, senders, open, self.config.connections_max);
            tokio::task::spawn_local(accepting);
        }
        drop(senders);
        let (identity, groups) = (Arc::new(self.config.identity.clone()), Rc::new(self.groups.clone()));
        let limits = Limits {
            idle: self.config.connections_max_idle,
            memory: self.memory.clone(),
            patience: self.config.patience,
        };
        let mut stopping = self.stopping.clone();
        // Each connection holds a sender: when all are gone, so are they.
        let (alive, mut ended) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                accepted = connections.recv() => accepted,
                _ = stopping.wait_for(|stop| *stop) => None,
            };
            let Some(accepted) = accepted else { break };
            let served = self.connection(accepted, &door, &groups, &identity);
            match served {
                Ok((stream, context)) => {
                    let (alive, open, limits) = (alive.clone(), self.open.clone(), limits.clone());
                    let mut stopping = self.stopping.clone();
                    tokio::task::spawn_local(async move {
                        let stopped = async {
                            let _ = stopping.wait_for(|stop| *stop).await;
                        };
                        serve(stream, context, limits, stopped).await;
                        open.fetch_sub(1, Ordering::Relaxed);
                        drop(alive);
                    });
                }
                Err(error) => {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    tracing::debug!("a connection ended before it began: {error}");
                }
            }
        }
        drop(alive);
        let _ = timeout(LAST_ANSWERS, ended.recv()).await;
    }

    fn connection(
        &self,
        accepted: Accepted,
        door: &Rc<Door<S>>,
        groups: &Rc<Groups<S>>,
        identity: &Arc<Identity>,
    ) -> io::Result<(TcpStream, Context<S>)> {
        let stream = TcpStream::from_std(accepted)?;
        stream.set_nodelay(true)?;
        // A peer that vanished without a word is noticed, also while an answer waits for it.
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        let (local, peer): (SocketAddr, SocketAddr) = (stream.local_addr()?, stream.peer_addr()?);
        let context = Context {
            door: door.clone(),
            groups: groups.clone(),
            identity: identity.clone(),
            sessions: self.sessions.clone(),
            memory: self.memory.clone(),
            stopping: self.stopping.clone(),
            local,
            peer,
        };
        Ok((stream, context))
    }
}

async fn accept<S: Storage>(
    broker: Arc<Broker<S>>,
    listener: StdListener,
    senders: Vec<mpsc::UnboundedSender<Accepted>>,
    open: Arc<AtomicUsize>,
    connections_max: usize,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("a listener cannot be used: {error}");
            return;
        }
    };
    let mut turn = 0;
    loop {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                if open.fetch_add(1, Ordering::Relaxed) >= connections_max {
                    open.fetch_sub(1, Ordering::Relaxed);
                    let why = format!("there are {connections_max} (max.connections)");
                    broker.notices().failed("accepting one more connection", &why);
                    continue;
                }
                turn = (turn + 1) % senders.len();
                if senders[turn].send(stream).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: it would fail again at once.
                broker.notices().failed("accepting a connection", &error);
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
