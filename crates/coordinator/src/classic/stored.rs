//! What of a classic group survives a restart.
//!
//! Stored is what Kafka writes in its group metadata record: when the leader's assignments have come, when the group
//! has become empty, and when a static member has been replaced. Neither joins nor sessions are: a rebalance that
//! was under way is lost. Members that it took into a generation that was not stored are told so and join again,
//! and to the others nothing has happened.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use super::{
    Cause, ClassicEffects, ClassicGroup, ClassicSettings, Phase, Protocol, Rebalance, member::Member,
    requests, sessions::Expiry,
};
use crate::{Generation, InstanceId, MemberId};

/// What is to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The group as it is now, in the place of what was stored of it before.
    Store(Stored),
}

/// A group, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its generation.
    pub generation: Generation,
    /// The kind of group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol of the generation; none where there are no members.
    pub protocol: Option<Arc<str>>,
    /// The leader; none where there are no members.
    pub leader: Option<MemberId>,
    /// The members.
    pub members: Vec<StoredMember>,
}

/// A member, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its instance id, for a static member.
    pub instance_id: Option<InstanceId>,
    /// The name that its client gave itself.
    pub client_id: Arc<str>,
    /// Where its client's connection came from.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// The protocols that it supports, those it likes best first.
    pub protocols: Arc<[Protocol]>,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Why something cannot be a group that was stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidStored {
    /// The generation is negative.
    #[error("a stored group has generation {0}")]
    Generation(Generation),
    /// There are members, and no protocol type or no protocol.
    #[error("a stored group has members and lacks a protocol type or protocol")]
    NoProtocol,
    /// The leader is not a member, or there is none for members.
    #[error("the leader of a stored group is not one of its members")]
    Leader,
    /// Two members have the same id.
    #[error("a stored group has two members {0}")]
    Member(MemberId),
    /// Two members have the same instance id.
    #[error("a stored group has two members with the instance id {0}")]
    Instance(InstanceId),
    /// A member does not support the group's protocol.
    #[error("member {0} of a stored group does not support its protocol")]
    Unsupported(MemberId),
}

impl ClassicGroup {
    /// A group as it was stored, with what is to be done at once: the sessions of all members begin anew, and they go
    /// on with their next heartbeat. If there are more of them than there may be, then they are to join again.
    ///
    /// # Errors
    /// Where this is not what a group stores.
    pub fn restore(
        stored: Stored,
        settings: Arc<ClassicSettings>,
        now: Duration,
    ) -> Result<(Self, ClassicEffects), InvalidStored> {
        let mut group = Self::new(settings);
        if stored.generation < Generation(0) {
            return Err(InvalidStored::Generation(stored.generation));
        }
        group.generation = stored.generation;
        group.protocol_type = stored.protocol_type;
        let mut effects = ClassicEffects::default();
        if stored.members.is_empty() {
            return Ok((group, effects));
        }
        group.phase = Phase::Stable { syncs_end: None };
        group.protocol = stored.protocol;
        group.leader = stored.leader;
        stored.members.into_iter().try_for_each(|member| group.restore_member(member, now))?;
        if !group.leader.as_ref().is_some_and(|leader| group.members.contains(leader.as_str())) {
            return Err(InvalidStored::Leader);
        }
        if group.members.len() > group.settings.group_size_max {
            group.prepare_rebalance(Rebalance::new(Cause::OverCapacity, None), now, &mut effects);
        }
        Ok((group, effects))
    }

    fn restore_member(&mut self, stored: StoredMember, now: Duration) -> Result<(), InvalidStored> {
        let id = stored.member_id;
        let (Some(protocol), Some(_)) = (&self.protocol, &self.protocol_type) else {
            return Err(InvalidStored::NoProtocol);
        };
        if self.members.contains(id.as_str()) {
            return Err(InvalidStored::Member(id));
        }
        if let Some(instance) =
            stored.instance_id.as_ref().filter(|it| self.members.static_id(it.as_str()).is_some())
        {
            return Err(InvalidStored::Instance(instance.clone()));
        }
        if !stored.protocols.iter().any(|own| own.name == *protocol) {
            return Err(InvalidStored::Unsupported(id));
        }
        let member = Member {
            instance_id: stored.instance_id,
            client_id: stored.client_id,
            client_host: stored.client_host,
            session_timeout: stored.session_timeout,
            rebalance_timeout: stored.rebalance_timeout,
            protocols: requests::kept(stored.protocols.to_vec(), |name| self.members.name_of(name)),
            assignment: Bytes::copy_from_slice(&stored.assignment),
            awaiting_join: None,
            awaiting_sync: None,
            owes_sync: false,
            is_new: false,
            expiry: Expiry::default(),
        };
        self.members.add(id.clone(), member);
        self.renew_session(id.as_str(), now);
        Ok(())
    }

    /// What is stored of the group as it is now.
    pub(super) fn snapshot(&self) -> Stored {
        let member = |(id, member): (&MemberId, &Member)| StoredMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        };
        Stored {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.iter().map(member).collect(),
        }
    }
}
