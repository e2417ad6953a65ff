//! Heartbeats, and commits of offsets, which count as heartbeats.

use std::time::Duration;

use super::{Claim, ClassicGroup, Phase, Refusal, State};
use crate::Generation;

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
}
