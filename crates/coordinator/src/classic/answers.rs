//! What a classic group answers.

use std::sync::Arc;

use bytes::Bytes;

use super::Refusal;
use crate::{Effects, Generation, InstanceId, MemberId};

use super::Change;

/// What a step of a classic group wants done.
pub type ClassicEffects = Effects<Change, Answer>;

/// The answer to a request that has waited, or could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a join: the member is in a generation.
    Joined(Joined),
    /// To a sync: the member's assignment.
    Synced(Synced),
    /// To a leave: what became of each member, in the order of the request.
    Left(Vec<Result<(), Refusal>>),
    /// To any of them: no.
    Refused(Refusal),
}

/// A member has joined a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: MemberId,
    /// The generation.
    pub generation: Generation,
    /// The kind of group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// Who assigns. A static member that took over the leader's place over a JoinGroup before version 9 is told
    /// the id before its own: it must not assign, since nobody is going to ask for assignments.
    pub leader: Option<MemberId>,
    /// The leader need not assign anything: the assignments of this generation are there (KIP-814).
    pub skip_assignment: bool,
    /// For the leader: all members. Empty for the others.
    pub members: Vec<RosterEntry>,
}

/// A member, as the leader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Its id.
    pub member_id: MemberId,
    /// Its instance id, for a static member.
    pub instance_id: Option<InstanceId>,
    /// What it said in the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The kind of group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave to this member: empty where it gave nothing.
    pub assignment: Bytes,
}
