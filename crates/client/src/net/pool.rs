//! The connections of a client, opened when they are used.
//!
//! A request that a broker may hold shares no connection with another kind: what waits behind it would wait as long.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use super::{
    address::Address,
    connection::{Connection, ConnectionSettings, State},
};
use crate::{
    config::ClientConfig,
    error::{Error, ErrorKind},
    jitter::Jitter,
};

/// Whom a connection leads to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Peer {
    /// Whoever answers at an address that the user gave.
    Seed(Address),
    /// The broker with this id.
    Broker(i32),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Purpose {
    /// All requests that a broker answers at once.
    Calls,
    /// What producers send.
    Produce,
    /// What the consumer with this number reads.
    Fetch(u64),
}

/// There is no connection, and none is made until a backoff is over.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    /// Why the last attempt failed.
    pub(crate) error: Error,
    /// When the next one may be made; `None` where the broker's address is not known.
    pub(crate) again_at: Option<Instant>,
}

impl From<Unavailable> for Error {
    fn from(Unavailable { error, .. }: Unavailable) -> Self {
        error
    }
}

/// The connections of a client.
pub(crate) struct Pool {
    runtime: Handle,
    settings: ConnectionSettings,
    config: Arc<ClientConfig>,
    open: Mutex<Open>,
}

struct Open {
    connections: HashMap<(Peer, Purpose), Kept>,
    /// Where the brokers of the cluster are.
    addresses: BTreeMap<i32, Address>,
    jitter: Jitter,
}

/// A connection, and how often in a row it could not be made.
struct Kept {
    connection: Connection,
    address: Address,
    failures: u32,
    /// Not before then is it tried again.
    again_at: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(runtime: Handle, config: Arc<ClientConfig>, jitter: Jitter) -> Self {
        let settings = ConnectionSettings {
            client_id: config.client_id.as_str().into(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            max_idle: config.connections_max_idle,
        };
        let open = Open { connections: HashMap::new(), addresses: BTreeMap::new(), jitter };
        Self { runtime, settings, config, open: Mutex::new(open) }
    }

    /// A connection, which may still be on its way. Where one could not be made a moment ago, that is the answer until
    /// the backoff is over.
    ///
    /// # Errors
    /// Nobody knows the broker's address, or it cannot be connected to at the moment.
    pub(crate) fn connection(
        &self,
        peer: &Peer,
        purpose: Purpose,
        now: Instant,
    ) -> Result<Connection, Unavailable> {
        let mut open = self.open.lock();
        let Open { connections, addresses, jitter } = &mut *open;
        let (address, name) = match peer {
            Peer::Seed(address) => (address.clone(), address.to_string()),
            Peer::Broker(id) => {
                let address = addresses.get(id).ok_or_else(|| unknown(*id))?;
                (address.clone(), format!("broker {id} ({address})"))
            }
        };
        let open_new = || Connection::open(&self.runtime, address.clone(), name, self.settings.clone());
        let key = (peer.clone(), purpose);
        let Some(kept) = connections.get_mut(&key).filter(|kept| kept.address == address) else {
            let connection = open_new();
            let kept = Kept { connection: connection.clone(), address, failures: 0, again_at: None };
            connections.insert(key, kept);
            return Ok(connection);
        };
        match kept.connection.state() {
            State::Connecting => {}
            State::Up(_) => kept.failures = 0,
            State::Down { was_up: true, .. } => {
                kept.failures = 0;
                kept.connection = open_new();
            }
            State::Down { error, at, was_up: false } => {
                let again_at = kept.again_at.get_or_insert_with(|| {
                    kept.failures += 1;
                    let (least, most) = (self.config.retry_backoff, self.config.retry_backoff_max);
                    at + jitter.backoff(kept.failures, least, most)
                });
                if now < *again_at {
                    return Err(Unavailable { error, again_at: Some(*again_at) });
                }
                kept.again_at = None;
                kept.connection = open_new();
            }
        }
        Ok(kept.connection.clone())
    }

    /// Whether there is a connection that can be used at once.
    pub(crate) fn is_up(&self, peer: &Peer, purpose: Purpose) -> bool {
        let open = self.open.lock();
        let kept = open.connections.get(&(peer.clone(), purpose));
        kept.is_some_and(|kept| matches!(kept.connection.state(), State::Up(_)))
    }

    /// Lets go of the connections for a purpose that is over: they end when what is under way on them is answered.
    pub(crate) fn forget(&self, purpose: Purpose) {
        self.open.lock().connections.retain(|(_, for_what), _| *for_what != purpose);
    }

    /// Takes note of where the cluster's brokers are. Connections to brokers that are no longer there, or elsewhere, and to
    /// addresses that the user gave, which are of no more use then, end when what is under way on them is answered.
    pub(crate) fn set_brokers(&self, addresses: BTreeMap<i32, Address>) {
        let mut open = self.open.lock();
        open.connections.retain(|(peer, _), kept| match peer {
            Peer::Seed(_) => false,
            Peer::Broker(id) => addresses.get(id) == Some(&kept.address),
        });
        open.addresses = addresses;
    }
}

fn unknown(id: i32) -> Unavailable {
    let what = format!("the cluster does not tell where broker {id} is; it may be down");
    Unavailable { error: Error::new(ErrorKind::Retriable, what), again_at: None }
}
