//! What others are told of a classic group, and its end.

use std::sync::Arc;

use bytes::Bytes;

use super::{Answer, ClassicEffects, ClassicGroup, Phase, Refusal, State, member::Member};
use crate::{Generation, InstanceId, MemberId};

/// A group, as DescribeGroups tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its state.
    pub state: State,
    /// Its generation.
    pub generation: Generation,
    /// The kind of group, of its members or its last ones.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol in use: while the group is stable.
    pub protocol: Option<Arc<str>>,
    /// The leader.
    pub leader: Option<MemberId>,
    /// Its members, in the order of their ids.
    pub members: Vec<DescribedMember>,
}

/// A member, as DescribeGroups tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its instance id, for a static member.
    pub instance_id: Option<InstanceId>,
    /// The name that its client gave itself.
    pub client_id: Arc<str>,
    /// Where its client's connection came from. (A static member that was started again keeps both, as with Kafka.)
    pub client_host: Arc<str>,
    /// What it says in the chosen protocol: while the group is stable.
    pub metadata: Bytes,
    /// Its last assignment.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// Describes the group.
    pub fn describe(&self) -> Description {
        let protocol = self.protocol.clone().filter(|_| self.state() == State::Stable);
        let member = |(id, member): (&MemberId, &Member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.as_deref().map(|name| member.metadata(name)).unwrap_or_default(),
            assignment: member.assignment.clone(),
        };
        Description {
            state: self.state(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            leader: self.leader.clone(),
            members: self.members.iter().map(member).collect(),
            protocol,
        }
    }

    /// Deletes the group, if it is empty: it is dead then, and what is stored of it is to be removed. Nobody waits
    /// for an empty group.
    ///
    /// # Errors
    /// [`Refusal::NonEmptyGroup`], or [`Refusal::GroupNotFound`] for one that is dead.
    pub fn delete(&mut self) -> Result<(), Refusal> {
        match self.state() {
            State::Empty => {
                self.die();
                Ok(())
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                Err(Refusal::NonEmptyGroup)
            }
            State::Dead => Err(Refusal::GroupNotFound),
        }
    }

    /// Ends the work of this state machine: it is dead, and all that wait are told so. What is stored stays.
    pub fn close(&mut self) -> ClassicEffects {
        let mut effects = ClassicEffects::default();
        let syncs = self.members.take_syncs().into_iter().map(|(_, token)| token);
        for token in self.members.take_joins().into_iter().chain(syncs) {
            effects.answer(token, Answer::Refused(Refusal::NotCoordinator));
        }
        self.die();
        effects
    }

    fn die(&mut self) {
        self.phase = Phase::Dead;
        self.pending.clear();
        self.sessions.clear();
    }
}
