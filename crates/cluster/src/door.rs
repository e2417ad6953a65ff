//! A port of the loopback interface that can be closed and opened again, and the connections that came through it.
//!
//! A closed port stays ours: a socket is bound to it on which nobody listens, so that connections are refused and
//! nobody else gets it.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// How many connections the system may accept before we do: as many are accepted while a broker is frozen.
const BACKLOG: u32 = 1024;

/// How long nothing is accepted after the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// The port.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    state: DoorState,
}

#[derive(Debug)]
enum DoorState {
    Closed(TcpSocket),
    Open {
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    },
    /// Between the two.
    Moving,
}

impl Door {
    /// A closed door at a free port.
    pub(crate) fn new() -> Self {
        let socket = reserve((Ipv4Addr::LOCALHOST, 0).into());
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { address, state: DoorState::Closed(socket) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens. `serve` gets each connection, in a task of its own; while `paused`, the system alone accepts.
    pub(crate) fn open<F>(
        &mut self,
        paused: watch::Receiver<bool>,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        match std::mem::replace(&mut self.state, DoorState::Moving) {
            DoorState::Closed(socket) => {
                let listener = socket.listen(BACKLOG).expect("a port that is bound can be listened on");
                let (stop, stopped) = oneshot::channel();
                let accept = accept(listener, paused, serve);
                let task = tokio::spawn(async move {
                    tokio::select! {
                        // The sender is dropped, never used.
                        _ = stopped => {}
                        () = accept => {}
                    }
                });
                self.state = DoorState::Open { stop, task };
            }
            open => self.state = open,
        }
    }

    /// Stops listening. Connections that were accepted stay.
    pub(crate) async fn close(&mut self) {
        match std::mem::replace(&mut self.state, DoorState::Moving) {
            DoorState::Open { stop, task } => {
                drop(stop);
                // It has no result, and ends with the listener closed even if it panicked.
                let _ = task.await;
                self.state = DoorState::Closed(reserve(self.address));
            }
            closed => self.state = closed,
        }
    }
}

/// A socket that is bound to an address and does not listen.
fn reserve(address: SocketAddr) -> TcpSocket {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        // What connections of before leave behind must not keep the port from us.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().unwrap_or_else(|error| panic!("cannot bind {address}: {error}"))
}

async fn accept<F>(
    listener: TcpListener,
    mut paused: watch::Receiver<bool>,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        until(&mut paused, false).await;
        tokio::select! {
            biased;
            () = until(&mut paused, true) => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream));
                }
                // The peer has gone, or there are no file descriptors left: others may still get in.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// Waits until a flag has a value; forever where nobody can set it any more.
pub(crate) async fn until(flag: &mut watch::Receiver<bool>, wanted: bool) {
    let gone = flag.wait_for(|value| *value == wanted).await.is_err();
    if gone {
        std::future::pending().await
    }
}

/// A way to end all connections of a kind at once.
#[derive(Clone, Debug)]
pub(crate) struct Cutter(Arc<Mutex<watch::Sender<bool>>>);

impl Cutter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(watch::Sender::new(false))))
    }

    /// What a connection holds as long as it lives, and that tells it to end.
    pub(crate) fn subscribe(&self) -> Cut {
        Cut(self.0.lock().subscribe())
    }

    /// Ends the connections of this moment, and waits until they have ended.
    pub(crate) async fn cut(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), watch::Sender::new(false));
        before.send_replace(true);
        before.closed().await;
    }
}

/// See [`Cutter::subscribe`].
#[derive(Debug)]
pub(crate) struct Cut(watch::Receiver<bool>);

impl Cut {
    /// Waits for the moment to end.
    pub(crate) async fn wait(&mut self) {
        // Without a sender nobody can cut any more, and then everything ends.
        let _ = self.0.wait_for(|cut| *cut).await;
    }
}
