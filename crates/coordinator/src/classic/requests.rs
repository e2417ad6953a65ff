//! What members ask of a classic group.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Generation, InstanceId, MemberId};

/// A way to assign work that a member supports, with what the member says in it. The group looks at the name
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Arc<str>,
    /// What the member tells the leader in it, such as the topics it wants.
    pub metadata: Bytes,
}

/// A member wants to join, or to join again (JoinGroup).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The id that the member was given; none (in the protocol: empty) for a new member and for a static member
    /// that was started again.
    pub member_id: Option<MemberId>,
    /// An id that no member ever had, for the case that the group has to give one. Kafka makes it of the
    /// instance id, or else of the client id, a `-`, and a random UUID.
    pub fresh_id: MemberId,
    /// The instance id of a static member (KIP-345).
    pub instance_id: Option<InstanceId>,
    /// The name that the client has given itself.
    pub client_id: Arc<str>,
    /// Where the client's connection comes from.
    pub client_host: Arc<str>,
    /// The kind of group, such as `consumer` or `connect`.
    pub protocol_type: Arc<str>,
    /// The protocols that the member supports, those it likes best first. Of a name that comes twice the first
    /// counts.
    pub protocols: Vec<Protocol>,
    /// The member is expelled after this long without a heartbeat.
    pub session_timeout: Duration,
    /// How long a rebalance waits for this member. JoinGroup 0 has none: it is the session time-out then.
    pub rebalance_timeout: Duration,
    /// Whether a new dynamic member is told its id first and has to join with it (KIP-394): from JoinGroup 4 on.
    pub requires_member_id: bool,
    /// Whether a leader can be told that it need not assign anything (KIP-814): from JoinGroup 9 on.
    pub skips_assignment: bool,
    /// Why the client joins, in its own words (KIP-800).
    pub reason: Option<Arc<str>>,
}

/// Who a request says that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The id of the member; empty where there is none.
    pub member_id: &'a str,
    /// The instance id of a static member.
    pub instance_id: Option<&'a str>,
    /// The generation that the member is in; -1 for a commit that comes from no member.
    pub generation: Generation,
}

/// A member asks for its assignment, and the leader brings the assignments of all (SyncGroup).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syncing<'a> {
    /// Who asks.
    pub claim: Claim<'a>,
    /// The protocol type that the member takes the group to have: from SyncGroup 5 on.
    pub protocol_type: Option<&'a str>,
    /// The protocol that the member takes the group to have chosen: from SyncGroup 5 on.
    pub protocol: Option<&'a str>,
    /// What the leader gives to each member; of a member that comes twice the last counts, and members that the
    /// group does not have are passed over. Nobody but the leader is listened to.
    pub assignments: &'a [(MemberId, Bytes)],
}

/// A member that leaves or is made to leave (LeaveGroup).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving<'a> {
    /// Its id; empty where a static member is named by its instance id alone.
    pub member_id: &'a str,
    /// Its instance id (KIP-345).
    pub instance_id: Option<&'a str>,
    /// Why it leaves, in the client's own words (KIP-800).
    pub reason: Option<&'a str>,
}

/// The protocols as a group keeps them: each name once, and the metadata in memory of its own, because the bytes
/// that came may hold the whole request.
pub(super) fn kept(protocols: Vec<Protocol>, name_of: impl Fn(&Arc<str>) -> Arc<str>) -> Arc<[Protocol]> {
    let mut seen = BTreeSet::new();
    protocols
        .into_iter()
        .filter(|protocol| seen.insert(protocol.name.clone()))
        .map(|protocol| Protocol {
            name: name_of(&protocol.name),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
