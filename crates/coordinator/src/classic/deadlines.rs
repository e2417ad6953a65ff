//! The passing of time: the waits of the states, and sessions that end.

use std::time::Duration;

use super::{Cause, ClassicEffects, ClassicGroup, Phase, Preparing, Rebalance, Refusal};
use crate::MemberId;

/// The earliest thing that is due.
enum Due {
    /// The wait of the state the group is in is over.
    Phase,
    /// The session of a member has ended.
    Session(MemberId),
}

impl ClassicGroup {
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

    /// When [`tick`](Self::tick) is to be called next; none while only requests can change anything. Heartbeats do
    /// not change it, and other steps do. It can be earlier than what happens next: then that tick does nothing.
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
