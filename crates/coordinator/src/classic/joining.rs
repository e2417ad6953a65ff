//! Joins.
//!
//! A join is checked in this order, which decides what a request is told that is wrong in more than one way: session
//! time-out, room in the group, protocols, and then who it comes from. A member that was let in waits until the
//! rebalance completes; one that changes nothing is told at once where it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Answer, Cause, Change, ClassicEffects, ClassicGroup, Joining, Phase, Preparing, Protocol, Rebalance,
    Refusal, State, member::Member, requests, sessions::Expiry,
};
use crate::{MemberId, Token};

impl ClassicGroup {
    /// A member joins, or joins again.
    ///
    /// A join that names a member of a group which is not there creates none: it is refused as
    /// [`Refusal::UnknownMember`] without coming here.
    pub fn join(&mut self, token: Token, joining: Joining, now: Duration) -> ClassicEffects {
        let mut effects = ClassicEffects::default();
        if let Err(refusal) = self.try_join(token, joining, now, &mut effects) {
            effects.answer(token, Answer::Refused(refusal));
        }
        effects
    }

    fn try_join(
        &mut self,
        token: Token,
        joining: Joining,
        now: Duration,
        effects: &mut ClassicEffects,
    ) -> Result<(), Refusal> {
        let session_timeouts = self.settings.session_timeout_min..=self.settings.session_timeout_max;
        if !session_timeouts.contains(&joining.session_timeout) {
            return Err(Refusal::InvalidSessionTimeout);
        }
        let named = joining.member_id.clone();
        if !self.has_room_for(named.as_ref()) {
            self.drop_rejected(named.as_ref(), effects);
            return Err(Refusal::GroupMaxSizeReached);
        }
        if self.state() == State::Dead {
            return Err(Refusal::CoordinatorNotAvailable);
        }
        if !self.can_work_with(&joining.protocol_type, &joining.protocols) {
            return Err(Refusal::InconsistentProtocol);
        }
        match named {
            Some(id) => self.join_known(id, token, joining, now, effects),
            None => self.join_new(token, joining, now, effects),
        }
    }

    /// Whether the group may have the member. In a rebalance those that have joined count, so that the last to join
    /// are those that find no room, should the limit have been lowered.
    fn has_room_for(&self, id: Option<&MemberId>) -> bool {
        let member = id.and_then(|id| self.members.get(id.as_str()));
        let max = self.settings.group_size_max;
        match self.phase {
            Phase::Empty | Phase::Dead => true,
            Phase::Preparing(_) => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.members.awaiting_joins() < max
            }
            Phase::Completing { .. } | Phase::Stable { .. } => member.is_some() || self.members.len() < max,
        }
    }

    /// Forgets a member that found no room. If it was the last that a rebalance waited for, then the rebalance goes
    /// on to its time-out, as with Kafka.
    fn drop_rejected(&mut self, id: Option<&MemberId>, effects: &mut ClassicEffects) {
        let Some(id) = id else { return };
        self.forget_pending(id.as_str());
        self.expel(id.as_str(), &Refusal::GroupMaxSizeReached, effects);
    }

    /// Whether a member with this protocol type and these protocols can be in the group.
    fn can_work_with(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        match self.phase {
            Phase::Empty => !protocol_type.is_empty() && !protocols.is_empty(),
            _ => self.protocol_type() == Some(protocol_type) && self.members.share_one_of(protocols),
        }
    }

    /// Joins a member that names no id.
    fn join_new(
        &mut self,
        token: Token,
        joining: Joining,
        now: Duration,
        effects: &mut ClassicEffects,
    ) -> Result<(), Refusal> {
        let id = joining.fresh_id.clone();
        if let Some(instance) = &joining.instance_id {
            match self.members.static_id(instance.as_str()).cloned() {
                Some(old) => self.replace_static(&old, token, joining, now, effects),
                None => self.add_member(id, token, joining, now, effects),
            }
        } else if joining.requires_member_id {
            self.give_out(&id, joining.session_timeout, now)?;
            return Err(Refusal::MemberIdRequired(id));
        } else {
            self.add_member(id, token, joining, now, effects);
        }
        Ok(())
    }

    /// Remembers an id that a member is going to join with (KIP-394).
    fn give_out(&mut self, id: &MemberId, session: Duration, now: Duration) -> Result<(), Refusal> {
        if self.pending.len() >= self.settings.pending_members_max {
            return Err(Refusal::TooManyPendingMembers);
        }
        let expiry = self.pending.entry(id.clone()).or_default();
        self.sessions.schedule(id, expiry, now.saturating_add(session));
        self.sessions.tidy(&mut self.members, &mut self.pending);
        Ok(())
    }

    /// Joins a member that names its id.
    fn join_known(
        &mut self,
        id: MemberId,
        token: Token,
        joining: Joining,
        now: Duration,
        effects: &mut ClassicEffects,
    ) -> Result<(), Refusal> {
        // Ids are given out to dynamic members alone. (Kafka fails in an unforeseen way on a static one here.)
        if joining.instance_id.is_none() && self.pending.contains_key(&id) {
            self.add_member(id, token, joining, now, effects);
            return Ok(());
        }
        self.check_member(id.as_str(), joining.instance_id.as_ref().map(|instance| instance.as_str()))?;
        let leads = self.leader.as_ref() == Some(&id);
        let protocols = self.kept(joining.protocols);
        let changes = self.members.get(id.as_str()).is_some_and(|member| member.protocols != protocols);
        let cause = match self.phase {
            Phase::Empty | Phase::Dead => return Err(Refusal::UnknownMember),
            Phase::Stable { .. } if leads => Cause::LeaderRejoined(id.clone()),
            Phase::Completing { .. } | Phase::Stable { .. } if !changes => {
                // It may have missed the answer to its join.
                effects.answer(token, Answer::Joined(self.joined(id)));
                return Ok(());
            }
            Phase::Preparing(_) | Phase::Completing { .. } | Phase::Stable { .. } => {
                Cause::MetadataChanged(id.clone())
            }
        };
        let why = Rebalance::new(cause, joining.reason.as_deref());
        self.members.update(id.as_str(), protocols, joining.session_timeout, joining.rebalance_timeout);
        self.await_join(&id, token, effects);
        self.rebalance_or_complete(why, now, effects);
        Ok(())
    }

    /// Adds a member that waits for the rebalance to complete.
    fn add_member(
        &mut self,
        id: MemberId,
        token: Token,
        joining: Joining,
        now: Duration,
        effects: &mut ClassicEffects,
    ) {
        if let Phase::Preparing(Preparing { initial: Some(initial), .. }) = &mut self.phase {
            initial.has_grown = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(joining.protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        let protocols = self.kept(joining.protocols);
        let member = Member {
            instance_id: joining.instance_id,
            client_id: joining.client_id,
            client_host: joining.client_host,
            session_timeout: joining.session_timeout,
            rebalance_timeout: joining.rebalance_timeout,
            protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            owes_sync: false,
            is_new: true,
            expiry: Expiry::default(),
        };
        self.members.add(id.clone(), member);
        self.end_session_at(id.as_str(), now.saturating_add(self.settings.new_member_join_timeout));
        let why = Rebalance::new(Cause::MemberJoined(id), joining.reason.as_deref());
        self.rebalance_or_complete(why, now, effects);
    }

    /// A static member that was started again takes over its place, under a new id. What the old one waits for is
    /// refused: should it still be there, it ends.
    fn replace_static(
        &mut self,
        old: &MemberId,
        token: Token,
        joining: Joining,
        now: Duration,
        effects: &mut ClassicEffects,
    ) {
        let id = joining.fresh_id;
        let leader_before = self.leader.clone();
        let orphans = self.members.rename(old.as_str(), id.clone());
        for token in orphans.join.into_iter().chain(orphans.sync) {
            effects.answer(token, Answer::Refused(Refusal::FencedInstance));
        }
        if leader_before.as_ref() == Some(old) {
            self.leader = Some(id.clone());
        }
        self.renew_session(id.as_str(), now);
        let protocols = self.kept(joining.protocols);
        self.members.update(id.as_str(), protocols, joining.session_timeout, joining.rebalance_timeout);

        if let Phase::Stable { .. } = self.phase
            && self.members.elect_protocol() == self.protocol
        {
            effects.change(Change::Store(self.snapshot()));
            let mut joined = self.joined(id);
            if joining.skips_assignment {
                joined.skip_assignment = joined.leader.as_ref() == Some(&joined.member_id);
            } else {
                joined.leader = leader_before;
                joined.members.clear();
            }
            effects.answer(token, Answer::Joined(joined));
            return;
        }
        self.await_join(&id, token, effects);
        let why = Rebalance::new(Cause::StaticMemberReplaced(id), joining.reason.as_deref());
        self.rebalance_or_complete(why, now, effects);
    }

    /// Lets a member's join wait.
    fn await_join(&mut self, id: &MemberId, token: Token, effects: &mut ClassicEffects) {
        let before = self.members.await_join(id.as_str(), token);
        supersede(before, effects);
    }

    /// Protocols as the group keeps them.
    fn kept(&self, protocols: Vec<Protocol>) -> Arc<[Protocol]> {
        requests::kept(protocols, |name| self.members.name_of(name))
    }
}

/// A join or sync of the same member has come while one waited: only the last is going to be heard.
pub(super) fn supersede(before: Option<Token>, effects: &mut ClassicEffects) {
    if let Some(token) = before {
        effects.answer(token, Answer::Refused(Refusal::RebalanceInProgress));
    }
}
