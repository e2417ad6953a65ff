//! Classic groups: the protocol of JoinGroup, SyncGroup, Heartbeat and LeaveGroup, in which one of the members
//! assigns the work.
//!
//! [`ClassicGroup`] is one group. It behaves as the classic groups of Apache Kafka 4.x do, for any protocol type;
//! what members say and what they are assigned stays opaque. KIPs in it: 62 (heartbeats beside the work), 134
//! (a delay of the first rebalance), 345 (static members), 394 (new members are told their id first), 559
//! (syncs name the protocol), 800 (reasons), 814 (a leader that need not assign).
//!
//! | module | what it holds |
//! |---|---|
//! | `requests`, `answers`, `refusal` | what members ask, what they are answered, and why not |
//! | `settings` | what an operator can set |
//! | `members`, `member` | the members and what is counted over them |
//! | `joining` | joins: new members, known members, static members that come back |
//! | `rebalance` | from the first join of a rebalance to the next generation |
//! | `syncing` | the leader's assignments, and members that do not ask for theirs |
//! | `leaving` | members that leave |
//! | `heartbeats` | heartbeats, and commits, which count as such |
//! | `deadlines`, `sessions` | the passing of time; when members' sessions end |
//! | `stored` | what survives a restart |
//! | `describe` | what others are told of the group, deletion, closing |
//! | `memory` | how much memory a group holds |
//!
//! Invariants:
//! - A request is answered once: at once, or when what it waits for has come, or when its member is expelled, or
//!   when the group is closed. A join waits only in `PreparingRebalance`, and a sync only in `CompletingRebalance`.
//! - Each generation has one leader and one protocol, which all its members support, and its assignments are
//!   stored before anybody is told of them. For this the caller gives the answers of a group in the order of its
//!   steps: also those that come with no change wait for the changes of the steps before.
//! - Where there are members, one of them is the leader.
//! - After a tick no deadline is in the past.
//! - A step takes at most n log n time for n members and their protocols; a heartbeat takes log n.
//!
//! Where this differs from Kafka:
//! - A join or sync that is sent again while the first waits: Kafka never answers the first, which here is
//!   refused. The same goes for the sync of a member that leaves while it waits.
//! - A name that somebody joined and that never had a generation is not stored: Kafka writes a record for each.
//! - All protocols of a member survive a restart, where Kafka keeps the chosen one alone: a restart makes no member
//!   incompatible, and no unchanged join a change.
//! - A static member that was replaced before it had synced: Kafka waits for the sync of the old one in vain and
//!   then rebalances; here the new one owes it.
//! - The wait for the first members is longer only for members that came in it: Kafka forgets to forget those of an
//!   earlier wait.
//! - Ids that were given out and not joined with are limited, and a rebalance that nobody joins is tried again after
//!   100 ms at the earliest.
//! - Where Kafka takes any one, which the order in a hash map decides, this takes the first in the order of ids or
//!   names: the next leader, and the protocol if several have most votes.
#![doc = include_str!("states.md")]

mod answers;
mod deadlines;
mod describe;
mod heartbeats;
mod joining;
mod leaving;
mod member;
mod members;
mod memory;
mod rebalance;
mod refusal;
mod requests;
mod sessions;
mod settings;
mod stored;
mod syncing;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub use answers::{Answer, ClassicEffects, Joined, RosterEntry, Synced};
pub use describe::{DescribedMember, Description};
pub use rebalance::{Cause, Rebalance};
pub use refusal::Refusal;
pub use requests::{Claim, Joining, Leaving, Protocol, Syncing};
pub use settings::ClassicSettings;
pub use stored::{Change, InvalidStored, Stored, StoredMember};

use self::{
    members::Members,
    rebalance::Preparing,
    sessions::{Pending, Sessions},
};
use crate::{Generation, MemberId};

/// Where a classic group is: what Kafka calls its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no members.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// A generation has begun, and it waits for the leader's assignments.
    CompletingRebalance,
    /// The members have their assignments, or can have them.
    Stable,
    /// It was deleted or closed.
    Dead,
}

impl State {
    /// Kafka's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A state with what is known in it alone.
#[derive(Debug)]
enum Phase {
    Empty,
    Preparing(Preparing),
    Completing {
        /// Who has not synced by then is expelled.
        syncs_end: Duration,
    },
    Stable {
        /// The same, while a member has not synced.
        syncs_end: Option<Duration>,
    },
    Dead,
}

/// One classic group.
///
/// `now` is the time since an arbitrary start that never changes and never goes back: that of the process.
#[derive(Debug)]
pub struct ClassicGroup {
    settings: Arc<ClassicSettings>,
    phase: Phase,
    generation: Generation,
    /// That of the members, or of the last ones.
    protocol_type: Option<Arc<str>>,
    /// That of the current generation.
    protocol: Option<Arc<str>>,
    leader: Option<MemberId>,
    members: Members,
    /// Ids that were given out (KIP-394) and not joined with.
    pending: Pending,
    sessions: Sessions,
    last_rebalance: Option<Rebalance>,
}

impl ClassicGroup {
    /// A group that nobody has joined.
    pub fn new(settings: Arc<ClassicSettings>) -> Self {
        Self {
            settings,
            phase: Phase::Empty,
            generation: Generation(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            pending: Pending::new(),
            sessions: Sessions::default(),
            last_rebalance: None,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing(_) => State::PreparingRebalance,
            Phase::Completing { .. } => State::CompletingRebalance,
            Phase::Stable { .. } => State::Stable,
            Phase::Dead => State::Dead,
        }
    }

    /// The current generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The kind of group, of its members or its last ones; none for a group that only commits are made to.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Why the last rebalance began, if there was one since the start.
    pub fn last_rebalance(&self) -> Option<&Rebalance> {
        self.last_rebalance.as_ref()
    }

    /// Whether the group is as new, so that to forget it loses nothing.
    pub fn is_blank(&self) -> bool {
        self.state() == State::Empty && self.generation == Generation(0) && self.pending.is_empty()
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// How many ids were given out that nobody has joined with yet (KIP-394).
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Settings that hold from now on. What waits goes on with those that it began with.
    pub fn set_settings(&mut self, settings: Arc<ClassicSettings>) {
        self.settings = settings;
    }

    /// Checks that a request comes from a member of the group.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), Refusal> {
        if let Some(instance) = instance_id {
            let owner = self.members.static_id(instance).ok_or(Refusal::UnknownMember)?;
            if owner.as_str() != member_id {
                return Err(Refusal::FencedInstance);
            }
        }
        if self.members.contains(member_id) { Ok(()) } else { Err(Refusal::UnknownMember) }
    }

    /// Checks that a request comes from a member of the current generation.
    fn check_claim(&self, claim: &Claim<'_>) -> Result<(), Refusal> {
        if self.state() == State::Dead {
            return Err(Refusal::CoordinatorNotAvailable);
        }
        self.check_member(claim.member_id, claim.instance_id)?;
        if claim.generation == self.generation { Ok(()) } else { Err(Refusal::IllegalGeneration) }
    }

    /// Begins a member's session anew.
    fn renew_session(&mut self, id: &str, now: Duration) {
        let Some(member) = self.members.get(id) else { return };
        let ends = now.saturating_add(member.session_timeout);
        self.end_session_at(id, ends);
    }

    /// Lets a member's session end at `ends`.
    fn end_session_at(&mut self, id: &str, ends: Duration) {
        let Some((id, expiry)) = self.members.expiry_mut(id) else { return };
        self.sessions.schedule(id, expiry, ends);
        self.sessions.tidy(&mut self.members, &mut self.pending);
    }

    /// Takes a member out of the group, refuses what it waits for, and makes another the leader if it was that.
    fn expel(&mut self, id: &str, refusal: &Refusal, effects: &mut ClassicEffects) {
        let Some(member) = self.members.remove(id) else { return };
        for token in member.awaiting_join.into_iter().chain(member.awaiting_sync) {
            effects.answer(token, Answer::Refused(refusal.clone()));
        }
        if self.leader.as_ref().is_some_and(|leader| leader.as_str() == id) {
            self.leader = self.members.first().cloned();
        }
        self.sessions.tidy(&mut self.members, &mut self.pending);
    }

    /// Forgets an id that was given out; false if it was not.
    fn forget_pending(&mut self, id: &str) -> bool {
        let was_there = self.pending.remove(id).is_some();
        if was_there {
            self.sessions.tidy(&mut self.members, &mut self.pending);
        }
        was_there
    }
}

#[cfg(test)]
impl ClassicGroup {
    /// Panics where an invariant does not hold.
    fn check(&self) {
        self.members.check();
        for (id, member) in self.members.iter() {
            assert!(
                member.awaiting_join.is_none() || self.state() == State::PreparingRebalance,
                "{id} waits"
            );
            assert!(
                member.awaiting_sync.is_none() || self.state() == State::CompletingRebalance,
                "{id} waits"
            );
            assert!(!member.owes_sync || member.awaiting_sync.is_none(), "{id} owes what it has sent");
        }
        for id in self.pending.keys() {
            assert!(!self.members.contains(id.as_str()), "{id} has joined");
        }
        if self.state() != State::Dead {
            let members =
                self.members.iter().map(|(id, member)| (id, &member.expiry, member.waits_for_group()));
            let pending = self.pending.iter().map(|(id, expiry)| (id, expiry, false));
            self.sessions.check(members.chain(pending));
        }
        let is_led = self.leader.as_ref().is_some_and(|leader| self.members.contains(leader.as_str()));
        assert_eq!(is_led, !self.members.is_empty(), "the leader is a member");
        let bound = 2 * (self.members.len() + self.pending.len()) + 16;
        assert!(self.sessions.len() <= bound, "too many entries");
        match self.state() {
            State::Empty => assert!(self.members.is_empty()),
            State::Stable | State::CompletingRebalance => {
                let protocol = self.protocol.as_deref().expect("a protocol");
                assert!(!self.members.is_empty(), "no members");
                for (id, member) in self.members.iter() {
                    assert!(
                        member.protocols.iter().any(|own| &*own.name == protocol),
                        "{id} lacks {protocol}"
                    );
                }
            }
            State::PreparingRebalance | State::Dead => {}
        }
    }
}
