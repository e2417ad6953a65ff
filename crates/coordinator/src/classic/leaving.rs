//! Members that leave.

use std::time::Duration;

use super::{Answer, Cause, ClassicEffects, ClassicGroup, Leaving, Rebalance, Refusal, State};
use crate::{MemberId, Token};

impl ClassicGroup {
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
}
