//! What a handler has at hand.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use ottla_engine::{Broker, Door, groups::Groups};
use ottla_protocol::{RequestHeader, Str};
use ottla_storage::Storage;
use tokio::sync::watch;

use crate::{fetch_session::FetchSessions, memory::Memory};

/// Who this broker says it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its node id, which is the controller's too.
    pub node_id: i32,
    /// The address to advertise; `None`: the one that the client dialled.
    pub advertise: Option<(String, u16)>,
}

/// What a handler has at hand.
pub(crate) struct Context<S: Storage> {
    pub(crate) door: Rc<Door<S>>,
    pub(crate) groups: Rc<Groups<S>>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) sessions: Arc<FetchSessions>,
    pub(crate) memory: Memory,
    /// Becomes true when the broker stops.
    pub(crate) stopping: watch::Receiver<bool>,
    /// This end of the connection.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) peer: SocketAddr,
}

impl<S: Storage> Clone for Context<S> {
    fn clone(&self) -> Self {
        let Self { door, groups, identity, sessions, memory, stopping, local, peer } = self;
        Self {
            door: door.clone(),
            groups: groups.clone(),
            identity: identity.clone(),
            sessions: sessions.clone(),
            memory: memory.clone(),
            stopping: stopping.clone(),
            local: *local,
            peer: *peer,
        }
    }
}

impl<S: Storage> Context<S> {
    pub(crate) fn broker(&self) -> &Arc<Broker<S>> {
        self.door.broker()
    }

    /// The host and port under which clients reach this broker.
    pub(crate) fn advertised(&self) -> (Str, i32) {
        match &self.identity.advertise {
            Some((host, port)) => (host.as_str().into(), i32::from(*port)),
            None => (self.local.ip().to_canonical().to_string().into(), i32::from(self.local.port())),
        }
    }
}

/// The part of a request header that the answer needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

impl From<&RequestHeader> for Call {
    fn from(header: &RequestHeader) -> Self {
        Self { version: header.api_version, correlation_id: header.correlation_id }
    }
}
