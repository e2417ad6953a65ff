//! The members of a classic group, and what is counted over them.
//!
//! Invariants: `statics` holds exactly the instance ids of the members; `supported` says for each protocol name
//! how many members support it; `awaiting_joins` and `owing_syncs` are the numbers of members with a join that
//! waits, and with a sync that they owe. While there are members, at least one protocol is supported by all of
//! them: whoever joins or changes its protocols is checked first ([`Members::share_one_of`]). All loops go in
//! the order of member ids, so that the same inputs give the same effects.
//!
//! A member costs one allocation for itself and a place in a tree, so that ten thousand groups of two members
//! are small, and that joining and leaving stay cheap in a group of ten thousand.

use std::{collections::BTreeMap, ops::Bound::Included, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Protocol, member::Member, sessions::Expiry};
use crate::{InstanceId, MemberId, Token};

/// The members of one group.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<MemberId, Box<Member>>,
    statics: BTreeMap<InstanceId, MemberId>,
    supported: BTreeMap<Arc<str>, usize>,
    awaiting_joins: usize,
    owing_syncs: usize,
}

/// Requests that waited for something of their member that has gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Orphans {
    /// Its join.
    pub(super) join: Option<Token>,
    /// Its sync.
    pub(super) sync: Option<Token>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id).map(Box::as_ref)
    }

    /// When a member's session ends, with its id as it is held here.
    pub(super) fn expiry_mut(&mut self, id: &str) -> Option<(&MemberId, &mut Expiry)> {
        let mut range = self.by_id.range_mut::<str, _>((Included(id), Included(id)));
        range.next().map(|(id, member)| (id, &mut member.expiry))
    }

    /// All members with how long they may be silent, and when their sessions end.
    pub(super) fn expiries_mut(&mut self) -> impl Iterator<Item = (&MemberId, Duration, &mut Expiry)> {
        self.by_id.iter_mut().map(|(id, member)| (id, member.session_timeout, &mut member.expiry))
    }

    /// The member with this instance id.
    pub(super) fn static_id(&self, instance: &str) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    /// All members, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MemberId, &Member)> {
        self.by_id.iter().map(|(id, member)| (id, member.as_ref()))
    }

    /// The first member.
    pub(super) fn first(&self) -> Option<&MemberId> {
        self.by_id.keys().next()
    }

    /// The first member whose join waits.
    pub(super) fn first_awaiting_join(&self) -> Option<&MemberId> {
        self.iter().find(|(_, member)| member.awaiting_join.is_some()).map(|(id, _)| id)
    }

    /// How many joins wait.
    pub(super) fn awaiting_joins(&self) -> usize {
        self.awaiting_joins
    }

    /// Whether a member of the current generation has not synced.
    pub(super) fn any_owes_sync(&self) -> bool {
        self.owing_syncs > 0
    }

    /// The members that `wanted` is true for.
    pub(super) fn ids_where(&self, wanted: impl Fn(&Member) -> bool) -> Vec<MemberId> {
        self.iter().filter(|(_, member)| wanted(member)).map(|(id, _)| id.clone()).collect()
    }

    /// The longest rebalance time-out; zero where there are no members.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.iter().map(|(_, member)| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Adds a member, whose id and instance id must be new.
    pub(super) fn add(&mut self, id: MemberId, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.count_in(&member.protocols);
        self.awaiting_joins += usize::from(member.awaiting_join.is_some());
        self.owing_syncs += usize::from(member.owes_sync);
        self.by_id.insert(id, Box::new(member));
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Box<Member>> {
        let member = self.by_id.remove(id)?;
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        self.count_out(&member.protocols);
        self.awaiting_joins -= usize::from(member.awaiting_join.is_some());
        self.owing_syncs -= usize::from(member.owes_sync);
        Some(member)
    }

    /// Gives a static member a new id and nothing else but a session to be scheduled: what waited under the old
    /// id has to be answered, and a sync that the old id owed the new one owes.
    pub(super) fn rename(&mut self, id: &str, new_id: MemberId) -> Orphans {
        let Some(mut member) = self.remove(id) else { return Orphans::default() };
        let orphans = Orphans { join: member.awaiting_join.take(), sync: member.awaiting_sync.take() };
        member.is_new = false;
        member.expiry = Expiry::default();
        self.add(new_id, *member);
        orphans
    }

    /// Takes over what a member says of itself when it joins again.
    pub(super) fn update(
        &mut self,
        id: &str,
        protocols: Arc<[Protocol]>,
        session: Duration,
        rebalance: Duration,
    ) {
        let Some(member) = self.by_id.get_mut(id) else { return };
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        member.session_timeout = session;
        member.rebalance_timeout = rebalance;
        self.count_out(&before);
        self.count_in(&protocols);
    }

    /// Lets a member's join wait; gives back the join that waited before.
    pub(super) fn await_join(&mut self, id: &str, token: Token) -> Option<Token> {
        let before = self.by_id.get_mut(id)?.awaiting_join.replace(token);
        self.awaiting_joins += usize::from(before.is_none());
        before
    }

    /// Lets a member's sync wait; gives back the sync that waited before.
    pub(super) fn await_sync(&mut self, id: &str, token: Token) -> Option<Token> {
        self.by_id.get_mut(id)?.awaiting_sync.replace(token)
    }

    /// A member has synced.
    pub(super) fn settle_sync(&mut self, id: &str) {
        if let Some(member) = self.by_id.get_mut(id) {
            self.owing_syncs -= usize::from(std::mem::take(&mut member.owes_sync));
        }
    }

    /// Nobody owes a sync any more.
    pub(super) fn forgive_syncs(&mut self) {
        self.by_id.values_mut().for_each(|member| member.owes_sync = false);
        self.owing_syncs = 0;
    }

    /// All enter a generation: each owes a sync and is not new any more. Gives the joins that waited.
    pub(super) fn enter_generation(&mut self) -> Vec<(MemberId, Token)> {
        let mut joins = Vec::with_capacity(self.awaiting_joins);
        for (id, member) in &mut self.by_id {
            member.owes_sync = true;
            member.is_new = false;
            joins.extend(member.awaiting_join.take().map(|token| (id.clone(), token)));
        }
        self.awaiting_joins = 0;
        self.owing_syncs = self.by_id.len();
        joins
    }

    /// Takes the joins that wait.
    pub(super) fn take_joins(&mut self) -> Vec<Token> {
        self.awaiting_joins = 0;
        self.by_id.values_mut().filter_map(|member| member.awaiting_join.take()).collect()
    }

    /// Takes the syncs that wait.
    pub(super) fn take_syncs(&mut self) -> Vec<(MemberId, Token)> {
        let syncs = self.by_id.iter_mut();
        syncs.filter_map(|(id, member)| Some((id.clone(), member.awaiting_sync.take()?))).collect()
    }

    /// Takes their assignments from all members.
    pub(super) fn clear_assignments(&mut self) {
        self.by_id.values_mut().for_each(|member| member.assignment = Bytes::new());
    }

    /// Gives each member its assignment: those that are not named have none.
    pub(super) fn assign(&mut self, assignments: &[(MemberId, Bytes)]) {
        self.clear_assignments();
        for (id, assignment) in assignments {
            if let Some(member) = self.by_id.get_mut(id) {
                // In memory of its own: what came may hold the whole request.
                member.assignment = Bytes::copy_from_slice(assignment);
            }
        }
    }

    /// A protocol's name as the members already hold it, so that it is held once.
    pub(super) fn name_of(&self, name: &Arc<str>) -> Arc<str> {
        self.supported.get_key_value(name).map_or_else(|| name.clone(), |(known, _)| known.clone())
    }

    /// How many names of protocols the members have.
    pub(super) fn protocol_names(&self) -> usize {
        self.supported.len()
    }

    /// Whether all members support one of these protocols.
    pub(super) fn share_one_of(&self, protocols: &[Protocol]) -> bool {
        self.is_empty() && !protocols.is_empty() || protocols.iter().any(|own| self.all_support(&own.name))
    }

    /// The protocol to use: each member votes for the one it likes best of those that all support, and the one
    /// with the most votes wins; of several the one whose name comes first. None where there are no members.
    pub(super) fn elect_protocol(&self) -> Option<Arc<str>> {
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for (_, member) in self.iter() {
            if let Some(vote) = member.protocols.iter().find(|own| self.all_support(&own.name)) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        // Of equals, max_by_key takes the last.
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
    }

    fn all_support(&self, name: &str) -> bool {
        self.supported.get(name).is_some_and(|count| *count == self.by_id.len())
    }

    fn count_in(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn count_out(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }
}

#[cfg(test)]
impl Members {
    /// Panics where what is counted is not what is there.
    pub(super) fn check(&self) {
        let statics = self.iter().filter_map(|(id, member)| Some((member.instance_id.clone()?, id.clone())));
        assert_eq!(self.statics, statics.collect(), "instance ids");
        let mut supported = BTreeMap::new();
        for name in self.iter().flat_map(|(_, member)| member.protocols.iter().map(|own| own.name.clone())) {
            *supported.entry(name).or_default() += 1;
        }
        assert_eq!(self.supported, supported, "protocols");
        assert_eq!(
            self.awaiting_joins,
            self.ids_where(|member| member.awaiting_join.is_some()).len(),
            "joins"
        );
        assert_eq!(self.owing_syncs, self.ids_where(|member| member.owes_sync).len(), "syncs");
        assert!(self.is_empty() || self.elect_protocol().is_some(), "no protocol that all support");
    }
}
