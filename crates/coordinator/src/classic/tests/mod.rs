//! Tests of classic groups, over a group that keeps a clock, numbers its requests, collects the answers, and checks
//! all invariants after each step.

mod commits;
mod dutiful;
mod joins;
mod large;
mod leaves;
mod model;
mod sessions;
mod states;
mod statics;
mod stored;
mod syncs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{InstanceId, Token};

/// The session time-out of members, where a test does not say otherwise.
const SESSION: Duration = Duration::from_secs(10);
/// The rebalance time-out of members, where a test does not say otherwise.
const REBALANCE: Duration = Duration::from_secs(60);
/// The delay of the first rebalance.
const DELAY: Duration = Duration::from_secs(3);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn protocols(all: &[(&str, &str)]) -> Vec<Protocol> {
    all.iter().map(|(name, metadata)| Protocol { name: (*name).into(), metadata: text(metadata) }).collect()
}

/// The join of a new dynamic member, which is going to have this id.
fn new(id: &str) -> Joining {
    Joining {
        member_id: None,
        fresh_id: id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        protocol_type: "consumer".into(),
        protocols: protocols(&[("range", id)]),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        requires_member_id: false,
        skips_assignment: true,
        reason: None,
    }
}

/// The join of a static member without an id, which is going to have this one.
fn new_static(id: &str, instance: &str) -> Joining {
    Joining { instance_id: Some(instance.into()), protocols: protocols(&[("range", instance)]), ..new(id) }
}

/// The join of a member that has this id.
fn known(id: &str) -> Joining {
    Joining { member_id: Some(id.into()), fresh_id: "never-used".into(), ..new(id) }
}

/// A group with its clock and its requests.
struct Bench {
    group: ClassicGroup,
    now: Duration,
    requests: u64,
    /// Answers that no test has looked at.
    answers: BTreeMap<Token, Answer>,
    answered: BTreeSet<Token>,
    stored: Vec<Stored>,
}

impl Bench {
    fn new() -> Self {
        Self::with(ClassicSettings::default())
    }

    fn with(settings: ClassicSettings) -> Self {
        Self::over(ClassicGroup::new(Arc::new(settings)), secs(1000))
    }

    fn over(group: ClassicGroup, now: Duration) -> Self {
        Self {
            group,
            now,
            requests: 0,
            answers: BTreeMap::new(),
            answered: BTreeSet::new(),
            stored: Vec::new(),
        }
    }

    /// A stable group of these members, the first of which leads. Assignments are `for` and the member's id.
    fn stable(ids: &[&str]) -> Self {
        let mut bench = Self::completing(ids);
        bench.sync_all(ids);
        bench
    }

    /// A group of these members in the time between joins and assignments.
    fn completing(ids: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.join_all(ids.iter().map(|id| new(id)).collect());
        bench
    }

    /// Lets new members join an empty group; the first leads.
    fn join_all(&mut self, all: Vec<Joining>) {
        let tokens: Vec<_> = all.into_iter().map(|joining| self.join(joining)).collect();
        self.pass(DELAY * 2);
        for token in tokens {
            self.joined(token);
        }
        assert_eq!(self.group.state(), State::CompletingRebalance);
    }

    /// Lets all members sync, the leader last.
    fn sync_all(&mut self, ids: &[&str]) {
        let assignments: Vec<_> = ids.iter().map(|id| (*id, format!("for {id}"))).collect();
        let assignments: Vec<_> = assignments.iter().map(|(id, text)| (*id, text.as_str())).collect();
        let leader = self.leader();
        let followers: Vec<_> =
            ids.iter().filter(|id| **id != leader).map(|id| (*id, self.sync(id, &[]))).collect();
        let token = self.sync(&leader, &assignments);
        for (id, token) in followers.into_iter().chain([(leader.as_str(), token)]) {
            assert_eq!(self.synced(token).assignment, text(&format!("for {id}")));
        }
        assert_eq!(self.group.state(), State::Stable);
    }

    fn token(&mut self) -> Token {
        self.requests += 1;
        Token(self.requests)
    }

    fn take(&mut self, effects: ClassicEffects) {
        self.group.check();
        self.stored.extend(effects.changes.into_iter().map(|Change::Store(stored)| stored));
        for (token, answer) in effects.answers {
            assert!(token.0 <= self.requests, "{token:?} was never asked");
            assert!(self.answered.insert(token), "{token:?} is answered twice");
            self.answers.insert(token, answer);
        }
    }

    fn join(&mut self, joining: Joining) -> Token {
        let token = self.token();
        let effects = self.group.join(token, joining, self.now);
        self.take(effects);
        token
    }

    /// A sync in the current generation.
    fn sync(&mut self, id: &str, assignments: &[(&str, &str)]) -> Token {
        let syncing =
            Syncing { claim: self.claim(id), protocol_type: None, protocol: None, assignments: &[] };
        self.sync_as(syncing, assignments)
    }

    fn sync_as(&mut self, syncing: Syncing<'_>, assignments: &[(&str, &str)]) -> Token {
        let token = self.token();
        let assignments: Vec<_> =
            assignments.iter().map(|(id, assignment)| (MemberId::from(*id), text(assignment))).collect();
        let effects = self.group.sync(token, Syncing { assignments: &assignments, ..syncing }, self.now);
        self.take(effects);
        token
    }

    fn heartbeat(&mut self, id: &str) -> Result<(), Refusal> {
        let outcome = self.group.heartbeat(&self.claim(id), self.now);
        self.group.check();
        outcome
    }

    fn leave(&mut self, ids: &[&str]) -> Vec<Result<(), Refusal>> {
        let leaving: Vec<_> =
            ids.iter().map(|id| Leaving { member_id: id, instance_id: None, reason: None }).collect();
        self.leave_as(&leaving)
    }

    fn leave_as(&mut self, leaving: &[Leaving<'_>]) -> Vec<Result<(), Refusal>> {
        let token = self.token();
        let effects = self.group.leave(token, leaving, self.now);
        self.take(effects);
        match self.answers.remove(&token) {
            Some(Answer::Left(outcomes)) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass; the group is told at its deadlines.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.tick();
        }
        self.now = until;
    }

    fn tick(&mut self) {
        let effects = self.group.tick(self.now);
        self.take(effects);
        assert!(
            self.group.next_deadline().is_none_or(|deadline| deadline > self.now),
            "a deadline has passed"
        );
    }

    /// A group of the same name in a new process, some time later.
    fn restart(self) -> Self {
        let stored = self.stored.last().cloned().expect("something stored");
        let now = secs(5);
        let (group, effects) = ClassicGroup::restore(stored, self.group.settings.clone(), now).unwrap();
        let mut bench = Self::over(group, now);
        bench.take(effects);
        bench
    }

    fn claim<'a>(&self, id: &'a str) -> Claim<'a> {
        Claim { member_id: id, instance_id: None, generation: self.group.generation() }
    }

    fn leader(&self) -> String {
        self.group.leader.as_ref().expect("a leader").to_string()
    }

    fn ids(&self) -> Vec<String> {
        self.group.members.iter().map(|(id, _)| id.to_string()).collect()
    }

    fn waits(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    fn joined(&mut self, token: Token) -> Joined {
        match self.answers.remove(&token) {
            Some(Answer::Joined(joined)) => joined,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn synced(&mut self, token: Token) -> Synced {
        match self.answers.remove(&token) {
            Some(Answer::Synced(synced)) => synced,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn refused(&mut self, token: Token) -> Refusal {
        match self.answers.remove(&token) {
            Some(Answer::Refused(refusal)) => refusal,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    /// What a join is refused as, at once.
    fn refused_join(&mut self, joining: Joining) -> Refusal {
        let token = self.join(joining);
        self.refused(token)
    }
}
