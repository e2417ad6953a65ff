//! Syncs: the leader brings the assignments, the others fetch theirs.

use std::time::Duration;

use super::{
    Answer, Cause, Change, ClassicEffects, ClassicGroup, Phase, Rebalance, Refusal, Syncing,
    joining::supersede,
};
use crate::Token;

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings those of all.
    pub fn sync(&mut self, token: Token, syncing: Syncing<'_>, now: Duration) -> ClassicEffects {
        let mut effects = ClassicEffects::default();
        if let Err(refusal) = self.try_sync(token, syncing, now, &mut effects) {
            effects.answer(token, Answer::Refused(refusal));
        }
        effects
    }

    fn try_sync(
        &mut self,
        token: Token,
        syncing: Syncing<'_>,
        now: Duration,
        effects: &mut ClassicEffects,
    ) -> Result<(), Refusal> {
        self.check_claim(&syncing.claim)?;
        let differs =
            |named: Option<&str>, own: Option<&str>| named.zip(own).is_some_and(|(named, own)| named != own);
        if differs(syncing.protocol_type, self.protocol_type())
            || differs(syncing.protocol, self.protocol.as_deref())
        {
            return Err(Refusal::InconsistentProtocol);
        }
        let id = syncing.claim.member_id;
        match self.phase {
            Phase::Empty | Phase::Dead => return Err(Refusal::UnknownMember),
            Phase::Preparing(_) => return Err(Refusal::RebalanceInProgress),
            Phase::Completing { syncs_end } => {
                supersede(self.members.await_sync(id, token), effects);
                self.members.settle_sync(id);
                if self.leader.as_ref().is_some_and(|leader| leader.as_str() == id) {
                    self.members.assign(syncing.assignments);
                    self.phase = Phase::Stable { syncs_end: Some(syncs_end) };
                    effects.change(Change::Store(self.snapshot()));
                    self.answer_syncs(Ok(()), now, effects);
                }
            }
            Phase::Stable { .. } => {
                self.members.settle_sync(id);
                effects.answer(token, Answer::Synced(self.synced(id)));
            }
        }
        if let Phase::Stable { syncs_end } = &mut self.phase
            && !self.members.any_owes_sync()
        {
            *syncs_end = None;
        }
        Ok(())
    }

    /// The time for syncs is over: who has not asked for its assignment is expelled, and the group rebalances.
    pub(super) fn syncs_end(&mut self, now: Duration, effects: &mut ClassicEffects) {
        let missing = self.members.ids_where(|member| member.owes_sync);
        for id in &missing {
            self.expel(id.as_str(), &Refusal::UnknownMember, effects);
        }
        let why = Rebalance::new(Cause::SyncsMissing(missing.len()), None);
        self.prepare_rebalance(why, now, effects);
    }
}
