//! A rebalance: from the join that begins it to the generation that ends it.

use std::{sync::Arc, time::Duration};

use super::{
    Answer, Change, ClassicEffects, ClassicGroup, Joined, Phase, Refusal, RosterEntry, Synced, member::Member,
};
use crate::{Generation, MemberId};

/// Where no member has joined by the end of a rebalance, it is tried again after the longest rebalance time-out, and
/// not before this long: members ask for any time-out, even for none.
const TRY_AGAIN_AFTER_MIN: Duration = Duration::from_millis(100);

/// How many characters of a client's reason are kept: as many as clients send.
const REASON_LEN_MAX: usize = 255;

/// Why a rebalance began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// What happened.
    pub cause: Cause,
    /// What the client said, at most 255 characters of it (KIP-800).
    pub client_reason: Option<Arc<str>>,
}

/// What makes a group rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A new member joined.
    MemberJoined(MemberId),
    /// The leader joined again, as it does when there is other work to assign.
    LeaderRejoined(MemberId),
    /// A member joined again and says other things in its protocols.
    MetadataChanged(MemberId),
    /// A static member came back while the leader was assigning, or changed the protocol to use.
    StaticMemberReplaced(MemberId),
    /// So many members left.
    MembersLeft(usize),
    /// A member's session ended.
    SessionEnded(MemberId),
    /// So many members had joined and did not ask for their assignments in time.
    SyncsMissing(usize),
    /// The group that was restored has more members than it may have.
    OverCapacity,
}

impl Rebalance {
    /// A rebalance, with what the client said about it.
    pub(super) fn new(cause: Cause, reason: Option<&str>) -> Self {
        let short = |reason: &str| reason.chars().take(REASON_LEN_MAX).collect::<String>().into();
        Self { cause, client_reason: reason.map(short) }
    }
}

/// A group that waits for joins.
#[derive(Debug)]
pub(super) struct Preparing {
    /// It waits until then.
    pub(super) ends: Duration,
    /// The group was empty before: it waits for members that nobody knows yet.
    pub(super) initial: Option<Initial>,
}

/// The wait for the first members of a group.
#[derive(Debug)]
pub(super) struct Initial {
    /// How long the wait is that ends at [`Preparing::ends`].
    delay: Duration,
    /// How much longer it may become.
    remaining: Duration,
    /// Members have come in it.
    pub(super) has_grown: bool,
}

impl ClassicGroup {
    /// Begins a rebalance, or completes it if one is under way and all have joined.
    pub(super) fn rebalance_or_complete(
        &mut self,
        why: Rebalance,
        now: Duration,
        effects: &mut ClassicEffects,
    ) {
        match self.phase {
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => {
                self.prepare_rebalance(why, now, effects);
            }
            Phase::Preparing(_) => self.complete_if_all_joined(now, effects),
            Phase::Dead => {}
        }
    }

    /// Begins a rebalance.
    pub(super) fn prepare_rebalance(&mut self, why: Rebalance, now: Duration, effects: &mut ClassicEffects) {
        if let Phase::Completing { .. } = self.phase {
            self.members.clear_assignments();
            self.answer_syncs(Err(Refusal::RebalanceInProgress), now, effects);
        }
        self.members.forgive_syncs();
        self.last_rebalance = Some(why);
        let longest = self.members.rebalance_timeout();
        if let Phase::Empty = self.phase {
            let delay = self.settings.initial_rebalance_delay;
            let initial = Initial { delay, remaining: longest.saturating_sub(delay), has_grown: false };
            self.phase =
                Phase::Preparing(Preparing { ends: now.saturating_add(delay), initial: Some(initial) });
            return;
        }
        self.phase = Phase::Preparing(Preparing { ends: now.saturating_add(longest), initial: None });
        self.complete_if_all_joined(now, effects);
    }

    /// Completes the rebalance if all members have joined, unless the wait for the first members goes on.
    pub(super) fn complete_if_all_joined(&mut self, now: Duration, effects: &mut ClassicEffects) {
        if matches!(&self.phase, Phase::Preparing(Preparing { initial: None, .. })) && self.all_have_joined()
        {
            self.complete_join(now, effects);
        }
    }

    /// Completes the rebalance if it waits for nobody: after one that it waited for has gone, even in the wait for
    /// the first members.
    pub(super) fn complete_without_the_gone(&mut self, now: Duration, effects: &mut ClassicEffects) {
        if matches!(self.phase, Phase::Preparing(_)) && self.all_have_joined() {
            self.complete_join(now, effects);
        }
    }

    /// The wait for joins is over: it goes on if the group is new and grows, or else the rebalance completes.
    pub(super) fn joins_end(&mut self, now: Duration, effects: &mut ClassicEffects) {
        let delay_max = self.settings.initial_rebalance_delay;
        if let Phase::Preparing(Preparing { ends, initial: Some(initial) }) = &mut self.phase
            && initial.has_grown
            && !initial.remaining.is_zero()
        {
            let delay = delay_max.min(initial.remaining);
            let remaining = initial.remaining.saturating_sub(initial.delay);
            *initial = Initial { delay, remaining, has_grown: false };
            *ends = now.saturating_add(delay);
            return;
        }
        self.complete_join(now, effects);
    }

    fn all_have_joined(&self) -> bool {
        self.members.awaiting_joins() == self.members.len() && self.pending.is_empty()
    }

    /// Begins the next generation with those that have joined, and with static members.
    fn complete_join(&mut self, now: Duration, effects: &mut ClassicEffects) {
        let is_late = |member: &Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        for id in self.members.ids_where(is_late) {
            self.expel(id.as_str(), &Refusal::UnknownMember, effects);
        }
        if self.members.is_empty() || self.elect_leader() {
            self.begin_generation(now, effects);
            return;
        }
        // Static members alone, and none has joined: their sessions decide.
        let longest = self.members.rebalance_timeout().max(TRY_AGAIN_AFTER_MIN);
        if let Phase::Preparing(preparing) = &mut self.phase {
            preparing.ends = now.saturating_add(longest);
        }
    }

    /// Makes one of those that have joined the leader, unless the leader has. False where nobody has joined.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id.as_str()));
        if leader.is_some_and(|leader| leader.awaiting_join.is_some()) {
            return true;
        }
        let Some(joined) = self.members.first_awaiting_join() else { return false };
        self.leader = Some(joined.clone());
        true
    }

    fn begin_generation(&mut self, now: Duration, effects: &mut ClassicEffects) {
        // After the last number comes 1, which no member of this long-lived group can still be in.
        self.generation = Generation(self.generation.0.checked_add(1).unwrap_or(1));
        self.protocol = self.members.elect_protocol();
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            effects.change(Change::Store(self.snapshot()));
            return;
        }
        self.phase = Phase::Completing { syncs_end: now.saturating_add(self.members.rebalance_timeout()) };
        for (id, token) in self.members.enter_generation() {
            effects.answer(token, Answer::Joined(self.joined(id)));
        }
        for (id, timeout, expiry) in self.members.expiries_mut() {
            self.sessions.schedule(id, expiry, now.saturating_add(timeout));
        }
        self.sessions.tidy(&mut self.members, &mut self.pending);
    }

    /// What a member of the current generation is told when it joins.
    pub(super) fn joined(&self, member_id: MemberId) -> Joined {
        let leads = self.leader.as_ref() == Some(&member_id);
        Joined {
            member_id,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment: false,
            members: if leads { self.roster() } else { Vec::new() },
        }
    }

    /// What the leader is told of the members.
    fn roster(&self) -> Vec<RosterEntry> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let entry = |(id, member): (&MemberId, &Member)| RosterEntry {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(entry).collect()
    }

    /// Answers the syncs that wait, with the assignments or a refusal, and begins the sessions of those members anew:
    /// some may have ended while the members waited.
    pub(super) fn answer_syncs(
        &mut self,
        outcome: Result<(), Refusal>,
        now: Duration,
        effects: &mut ClassicEffects,
    ) {
        for (id, token) in self.members.take_syncs() {
            let answer = match &outcome {
                Ok(()) => Answer::Synced(self.synced(id.as_str())),
                Err(refusal) => Answer::Refused(refusal.clone()),
            };
            effects.answer(token, answer);
            self.renew_session(id.as_str(), now);
        }
    }

    /// What a member of the current generation is told when it syncs.
    pub(super) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
