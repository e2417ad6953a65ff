//! A TCP proxy that does to connections what networks do.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    door::{Cut, Cutter, Door},
    thread::Thread,
};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How many reads of a direction may wait for their delay; what comes then waits in the sender's system.
const WAITING_MAX: usize = 256;
/// A limited direction writes so often in a second, so that it flows evenly.
const STEPS_PER_SECOND: u32 = 50;
/// A timer that is late by no more than this is made up for, so that a limit is what flows.
const LATE_MAX: Duration = Duration::from_millis(5);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client that connected to the proxy.
    ToServer,
    /// Back to it.
    ToClient,
}

/// A TCP proxy on a port of 127.0.0.1. What it does to connections can be changed at any time; at first it passes
/// everything. Dropping it resets its connections.
///
/// To put it before a node, tell clients its address:
///
/// ```
/// use std::time::Duration;
/// use ottla_testing::{Cluster, Direction, Proxy};
///
/// let cluster = Cluster::builder().nodes(3).start();
/// let proxy = Proxy::to(cluster.address(2));
/// cluster.advertise(2, proxy.address());
/// proxy.delay(Direction::ToClient, Duration::from_millis(200));
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Arc<tokio::sync::Mutex<Door>>,
    /// The port is never paused.
    paused: watch::Sender<bool>,
    thread: Thread,
}

/// What a [`Proxy`] has passed since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProxyCounts {
    /// How many connections were accepted.
    pub connections_opened: u64,
    /// How many of them are open now.
    pub connections_open: u64,
    /// How many bytes were passed to the server.
    pub bytes_to_server: u64,
    /// How many bytes were passed to clients.
    pub bytes_to_client: u64,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    swallow: watch::Sender<bool>,
    to_server: Flow,
    to_client: Flow,
    cutter: Cutter,
    connections_opened: AtomicU64,
    connections_open: AtomicU64,
}

/// What is done to one direction.
#[derive(Debug)]
struct Flow {
    mode: Mutex<Mode>,
    /// How often connections were closed half.
    half_closes: watch::Sender<u64>,
    bytes: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    delay: Duration,
    bytes_per_second: Option<u64>,
    write_bytes_max: Option<usize>,
    corrupt_at: Option<u64>,
}

impl Proxy {
    /// Starts a proxy that passes connections on to an address.
    pub fn to(server: SocketAddr) -> Self {
        let thread = Thread::start("proxy");
        let flow =
            || Flow { mode: Mutex::default(), half_closes: watch::Sender::new(0), bytes: AtomicU64::new(0) };
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            swallow: watch::Sender::new(false),
            to_server: flow(),
            to_client: flow(),
            cutter: Cutter::new(),
            connections_opened: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
        });
        let door = thread.run(async { Door::new() });
        let address = door.address();
        let door = Arc::new(tokio::sync::Mutex::new(door));
        let proxy = Self { address, shared, door, paused: watch::Sender::new(false), thread };
        proxy.accept();
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes new connections on to another address, such as that of a server which was started again; those that are
    /// there stay.
    pub fn set_server(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }

    /// Resets all connections of this moment, on both sides.
    pub fn cut(&self) {
        let cutter = self.shared.cutter.clone();
        self.thread.run(async move { cutter.cut().await });
    }

    /// Refuses new connections; those that are there stay.
    pub fn refuse(&self) {
        let door = self.door.clone();
        self.thread.run(async move { door.lock().await.close().await });
    }

    /// Accepts connections again after [`Proxy::refuse`].
    pub fn accept(&self) {
        let (door, shared, paused) = (self.door.clone(), self.shared.clone(), self.paused.subscribe());
        self.thread.run(async move {
            door.lock().await.open(paused, move |stream| {
                let cut = shared.cutter.subscribe();
                serve(shared.clone(), stream, cut)
            });
        });
    }

    /// Swallows what comes from now on, from both sides, and passes nothing; connections are accepted, and the server
    /// hears nothing of them. When it is turned off again, the connections of that time are reset, as bytes of theirs
    /// are missing.
    pub fn swallow(&self, swallow: bool) {
        let before = self.shared.swallow.send_replace(swallow);
        if before && !swallow {
            self.cut();
        }
    }

    /// Delays what goes one way, by this time from when it came.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.flow(direction).mode.lock().delay = delay;
    }

    /// Passes at most so many bytes per second and connection one way; `None` for as many as come.
    ///
    /// # Panics
    /// The limit is 0; see [`Proxy::swallow`].
    #[track_caller]
    pub fn limit(&self, direction: Direction, bytes_per_second: Option<u64>) {
        assert_ne!(bytes_per_second, Some(0), "a limit of 0 passes nothing: use `swallow`");
        self.shared.flow(direction).mode.lock().bytes_per_second = bytes_per_second;
    }

    /// Passes what goes one way in writes of at most so many bytes; `None` for writes as they come.
    ///
    /// # Panics
    /// The limit is 0; see [`Proxy::swallow`].
    #[track_caller]
    pub fn chop(&self, direction: Direction, write_bytes_max: Option<usize>) {
        assert_ne!(write_bytes_max, Some(0), "writes of 0 bytes pass nothing: use `swallow`");
        self.shared.flow(direction).mode.lock().write_bytes_max = write_bytes_max;
    }

    /// Inverts the byte at this offset of each connection's stream one way, counted from its beginning; `None` for no
    /// byte. A stream that is past it is not changed.
    pub fn corrupt(&self, direction: Direction, offset: Option<u64>) {
        self.shared.flow(direction).mode.lock().corrupt_at = offset;
    }

    /// Ends the connections of this moment one way, as if who sends there had closed its side; the other way goes on.
    pub fn half_close(&self, direction: Direction) {
        self.shared.flow(direction).half_closes.send_modify(|times| *times += 1);
    }

    /// What it has passed since its start.
    pub fn counts(&self) -> ProxyCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyCounts {
            connections_opened: load(&self.shared.connections_opened),
            connections_open: load(&self.shared.connections_open),
            bytes_to_server: load(&self.shared.to_server.bytes),
            bytes_to_client: load(&self.shared.to_client.bytes),
        }
    }
}

impl Shared {
    fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections_opened.fetch_add(1, Ordering::Relaxed);
        shared.connections_open.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(shared: Arc<Shared>, client: TcpStream, mut cut: Cut) {
    let open = Open::new(&shared);
    // Whatever ends it but the orderly end of both sides resets it.
    let mut client = Side::new(client);
    tokio::select! {
        biased;
        () = cut.wait() => {}
        () = join(&shared, &mut client) => {}
    }
    // The connection ends before its end is counted, and before the cut is over.
    drop(client);
    drop(open);
    drop(cut);
}

/// One side of a connection, which is reset when it is dropped unless both sides have ended in order.
struct Side {
    stream: TcpStream,
    orderly: bool,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        // A socket that refuses this is one whose peer has gone.
        let _ = stream.set_nodelay(true);
        Self { stream, orderly: false }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if !self.orderly {
            // A socket that refuses this is one whose peer has gone.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Joins a client to the server until both have ended, or one has failed.
async fn join(shared: &Shared, client: &mut Side) {
    if *shared.swallow.borrow() {
        return swallow(client).await;
    }
    let server = *shared.server.lock();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let mut server = Side::new(server);
    let (from_client, to_client) = client.stream.split();
    let (from_server, to_server) = server.stream.split();
    let forth = pump(shared, &shared.to_server, from_client, to_server);
    let back = pump(shared, &shared.to_client, from_server, to_client);
    let orderly = tokio::try_join!(forth, back).is_ok();
    (client.orderly, server.orderly) = (orderly, orderly);
}

async fn swallow(client: &mut Side) {
    let mut buffer = vec![0; READ_BYTES];
    while client.stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
    client.orderly = true;
}

/// Passes what one side sends to the other, until the one has ended.
async fn pump(shared: &Shared, flow: &Flow, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
    let half_closes = flow.half_closes.subscribe();
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::try_join!(receive(shared, flow, from, sender), send(flow, half_closes, receiver, to))?;
    Ok(())
}

async fn receive(
    shared: &Shared,
    flow: &Flow,
    mut from: ReadHalf<'_>,
    waiting: mpsc::Sender<(Instant, Vec<u8>)>,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        let due = Instant::now() + flow.mode.lock().delay;
        if !*shared.swallow.borrow() && waiting.send((due, buffer[..bytes].to_vec())).await.is_err() {
            return Ok(());
        }
    }
}

async fn send(
    flow: &Flow,
    mut half_closes: watch::Receiver<u64>,
    mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let pass = async {
        let (mut offset, mut paced) = (0, Instant::now());
        while let Some((due, bytes)) = waiting.recv().await {
            sleep_until(due).await;
            write(flow, &mut to, bytes, &mut offset, &mut paced).await?;
        }
        Ok::<_, io::Error>(())
    };
    let passed = tokio::select! {
        passed = pass => passed.map(|()| true),
        // The sender is there as long as the flow.
        _ = half_closes.changed() => Ok(false),
    };
    let all = passed?;
    to.shutdown().await?;
    if !all {
        while waiting.recv().await.is_some() {}
    }
    Ok(())
}

/// Writes bytes as the mode of the moment says; `offset` is that of the first in the stream, and not before `paced` may a
/// limited stream go on.
async fn write(
    flow: &Flow,
    to: &mut WriteHalf<'_>,
    mut bytes: Vec<u8>,
    offset: &mut u64,
    paced: &mut Instant,
) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let mode = *flow.mode.lock();
        let at = mode.corrupt_at.and_then(|at| usize::try_from(at.checked_sub(*offset)?).ok());
        let mut len = (bytes.len() - written).min(mode.write_bytes_max.unwrap_or(usize::MAX));
        if let Some(rate) = mode.bytes_per_second {
            len = len.min(usize::try_from(rate / u64::from(STEPS_PER_SECOND)).unwrap_or(usize::MAX).max(1));
        }
        let piece = &mut bytes[written..written + len];
        if let Some(byte) = at.and_then(|at| piece.get_mut(at)) {
            *byte = !*byte;
        }
        // Whoever has received them finds them counted.
        flow.bytes.fetch_add(len as u64, Ordering::Relaxed);
        to.write_all(piece).await?;
        written += len;
        *offset += len as u64;
        match mode.bytes_per_second {
            Some(rate) => {
                let now = Instant::now();
                let earliest = now.checked_sub(LATE_MAX).unwrap_or(now);
                *paced = (*paced).max(earliest) + Duration::from_secs_f64(len as f64 / rate as f64);
                sleep_until(*paced).await;
            }
            // Lets the other side read, so that small writes come as small reads.
            None if mode.write_bytes_max.is_some() => tokio::task::yield_now().await,
            None => {}
        }
    }
    Ok(())
}
