//! Heartbeats, commits, leaving, and the passing of time.

use std::time::Duration;

use super::{
    Answer, Cause, Claim, ClassicEffects, ClassicGroup, Leaving, Phase, Preparing, Rebalance, Refusal, State,
};
use crate::{Generation, MemberId, Token};

/// The earliest thing that is due.
enum Due {
    /// The wait of the state the group is in is over.
    Phase,
    /// The session of a member has ended.
    Session(MemberId),
}

impl ClassicGroup {
    /// A member says that it is there.
    ///
    /// # Errors
    /// [`Refusal::RebalanceInProgress`] tells the member to join again, and counts as a heartbeat all the same.
    pub fn heartbeat(&mut self, claim: &Claim<'_>, now: Duration) -> Result<(), Refusal> {
        self.check_claim(claim)?;
        self.renew_session(claim.member_id, now);
        match self.phase {
            Phase::Preparing(_) => Err(Refusal::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
            Phase::Empty | Phase::Dead => Err(Refusal::UnknownMember),
        }
    }

    /// Whether offsets may be committed. A commit of a member counts as a heartbeat, one in a transaction does not.
    ///
    /// Members commit in their generation, until the next one begins. Without a generation (-1) anybody commits to a
    /// group that is empty, and in a transaction, where older versions name no member, to any group.
    ///
    /// # Errors
    /// Between the joins and the assignments of a generation, [`Refusal::RebalanceInProgress`], but not in a
    /// transaction.
    pub fn may_commit(
        &mut self,
        claim: &Claim<'_>,
        is_transactional: bool,
        now: Duration,
    ) -> Result<(), Refusal> {
        let is_empty = self.state() == State::Empty;
        let names_none = claim.member_id.is_empty() && claim.instance_id.is_none();
        let has_generation = claim.generation >= Generation(0);
        if self.state() == State::Dead {
            return Err(Refusal::CoordinatorNotAvailable);
        }
        if !has_generation && is_empty {
            return Ok(());
        }
        if has_generation || !names_none {
            self.check_claim(claim)?;
        } else if !is_transactional {
            return Err(Refusal::UnknownMember);
        }
        if is_transactional {
            return Ok(());
        }
        if let Phase::Completing { .. } = self.phase {
            return Err(Refusal::RebalanceInProgress);
        }
        self.renew_session(claim.member_id, now);
        Ok(())
    }

    /// Members leave, or are made to leave by someone who names their instance ids. One outcome for each, in this
    /// order.
    pub fn leave(&mut self, token: Token, leaving: &[Leaving<'_>], now: Duration) -> ClassicEffects {
        let mut effects = ClassicEffects::default();
        if self.state() == State::Dead {
            effects.answer(token, Answer::Refused(Refusal::CoordinatorNotAvailable));
            return effects;
        }
        let outcomes: Vec<_> = leaving.iter().map(|member| self.leave_one(member, &mut effects)).collect();
        let gone = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        if gone > 0 && self.state() != State::Empty {
            let first = leaving.iter().zip(&outcomes).find(|(_, outcome)| outcome.is_ok());
            let why = Rebalance::new(Cause::MembersLeft(gone), first.and_then(|(member, _)| member.reason));
            self.rebalance_or_complete(why, now, &mut effects);
        }
        effects.answer(token, Answer::Left(outcomes));
        effects
    }

    fn leave_one(&mut self, leaving: &Leaving<'_>, effects: &mut ClassicEffects) -> Result<(), Refusal> {
        let Leaving { member_id, instance_id, .. } = *leaving;
        let id = match instance_id {
            Some(instance) if member_id.is_empty() => {
                self.members.static_id(instance).cloned().ok_or(Refusal::UnknownMember)?
            }
            _ if self.forget_pending(member_id) => return Ok(()),
            _ => {
                self.check_member(member_id, instance_id)?;
                MemberId::from(member_id)
            }
        };
        self.expel(id.as_str(), &Refusal::UnknownMember, effects);
        Ok(())
    }

    /// Time has passed: what was due by `now` happens, in the order in which it was due.
    pub fn tick(&mut self, now: Duration) -> ClassicEffects {
        let mut effects = ClassicEffects::default();
        while let Some(due) = self.pop_due(now) {
            match due {
                Due::Phase => self.phase_ends(now, &mut effects),
                Due::Session(id) => self.session_ends(&id, now, &mut effects),
            }
        }
        effects
    }

    /// When [`tick`](Self::tick) is to be called next; none while only requests can change anything. It can be earlier
    /// than what happens next, and then that tick does nothing: heartbeats do not change it. Other steps do.
    pub fn next_deadline(&self) -> Option<Duration> {
        let phase = self.phase_deadline();
        self.sessions
            .earliest()
            .map_or(phase, |session| Some(phase.map_or(session, |phase| phase.min(session))))
    }

    fn phase_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Preparing(Preparing { ends, .. }) => Some(ends),
            Phase::Completing { syncs_end } => Some(syncs_end),
            Phase::Stable { syncs_end } => syncs_end,
            Phase::Empty | Phase::Dead => None,
        }
    }

    fn pop_due(&mut self, now: Duration) -> Option<Due> {
        let phase = self.phase_deadline().filter(|ends| *ends <= now);
        while let Some(session) = self.sessions.earliest().filter(|earliest| *earliest <= now) {
            if phase.is_some_and(|phase| phase < session) {
                break;
            }
            if let Some(id) = self.sessions.pop(&mut self.members, &mut self.pending) {
                return Some(Due::Session(id));
            }
        }
        phase.map(|_| Due::Phase)
    }

    fn phase_ends(&mut self, now: Duration, effects: &mut ClassicEffects) {
        match self.phase {
            Phase::Preparing(_) => self.joins_end(now, effects),
            Phase::Completing { .. } | Phase::Stable { .. } => self.syncs_end(now, effects),
            Phase::Empty | Phase::Dead => {}
        }
    }

    /// A member was silent for too long. One that waits for the group stays: it hears of the group first.
    fn session_ends(&mut self, id: &MemberId, now: Duration, effects: &mut ClassicEffects) {
        if self.forget_pending(id.as_str()) {
            self.complete_without_the_gone(now, effects);
            return;
        }
        if self.members.get(id.as_str()).is_none_or(|member| member.waits_for_group()) {
            return;
        }
        self.expel(id.as_str(), &Refusal::UnknownMember, effects);
        match self.phase {
            Phase::Preparing(_) => self.complete_without_the_gone(now, effects),
            _ => {
                let why = Rebalance::new(Cause::SessionEnded(id.clone()), None);
                self.rebalance_or_complete(why, now, effects);
            }
        }
    }
}
