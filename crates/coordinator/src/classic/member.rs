//! One member of a classic group.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Protocol, sessions::Expiry};
use crate::{InstanceId, Token};

/// A member that has joined. Its id is the key under which [`Members`](super::members::Members) holds it.
#[derive(Debug)]
pub(super) struct Member {
    /// The name of a static member.
    pub(super) instance_id: Option<InstanceId>,
    /// The name that its client gave itself.
    pub(super) client_id: Arc<str>,
    /// Where its client's connection came from.
    pub(super) client_host: Arc<str>,
    /// How long it may be silent.
    pub(super) session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub(super) rebalance_timeout: Duration,
    /// The protocols it supports, those it likes best first, each name once.
    pub(super) protocols: Arc<[Protocol]>,
    /// What the leader gave it last.
    pub(super) assignment: Bytes,
    /// Its join that waits for the rebalance to complete.
    pub(super) awaiting_join: Option<Token>,
    /// Its sync that waits for the leader's.
    pub(super) awaiting_sync: Option<Token>,
    /// It has joined the current generation, or was carried into it, and has not synced.
    pub(super) owes_sync: bool,
    /// It has not been in a generation yet. Waiting does not keep a new member alive: its client may have gone
    /// before it ever learned of its place.
    pub(super) is_new: bool,
    /// When its session ends.
    pub(super) expiry: Expiry,
}

impl Member {
    /// What the member says in a protocol; nothing where it does not support it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let mut protocols = self.protocols.iter();
        protocols.find(|own| &*own.name == protocol).map(|own| own.metadata.clone()).unwrap_or_default()
    }

    /// Whether the group is what the member waits for, so that its silence says nothing.
    pub(super) fn waits_for_group(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
