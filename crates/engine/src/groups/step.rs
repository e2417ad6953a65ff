//! A request at work on its group.

use std::time::Duration;

use ottla_coordinator::{
    Effects, InstanceId, Token,
    assignor::TopicPartition,
    classic::{self, Claim, ClassicEffects, Joining, Leaving, Syncing},
    consumer::{self, Pattern, Topics as _},
};
use ottla_records::TopicId;
use ottla_storage::{
    Expirable, Expired, Expiry, OffsetKey, OffsetRow, OffsetStore, StateStoreError, Storage,
};
use tokio::sync::oneshot;

use super::{
    error::GroupError,
    group::{CommitClaim, FetchClaim, Group, GroupDescription, Outcome, Protocol},
    memory::Short,
    settling::Told,
    tools::{Answered, Tools},
};

/// Expired offsets that are deleted in one transaction.
const EXPIRED_AT_ONCE: usize = 1000;
/// About what a member takes beside what it says of itself.
const MEMBER_BYTES: usize = 512;

/// A request at work on its group.
pub(super) struct Step<'a, S: Storage> {
    group: &'a mut Group,
    tools: &'a mut Tools<S>,
    outcome: Outcome,
}

impl<'a, S: Storage> Step<'a, S> {
    pub(super) fn new(group: &'a mut Group, tools: &'a mut Tools<S>) -> Self {
        Self { group, tools, outcome: Outcome::default() }
    }

    /// What the step comes to.
    pub(super) fn into_outcome(self) -> Outcome {
        self.outcome
    }

    pub(super) fn join(&mut self, joining: Joining, answer: oneshot::Sender<Answered>) {
        let brought = joining_bytes(&joining);
        self.classic(brought, answer, |group, token, now| group.join(token, joining, now));
    }

    pub(super) fn sync(&mut self, syncing: Syncing<'_>, answer: oneshot::Sender<Answered>) {
        let brought = syncing.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        self.classic(brought, answer, |group, token, now| group.sync(token, syncing, now));
    }

    pub(super) fn leave(&mut self, leaving: &[Leaving<'_>], answer: oneshot::Sender<Answered>) {
        self.classic(0, answer, |group, token, now| group.leave(token, leaving, now));
    }

    /// A step of a classic group that answers under a token, and brings so many bytes.
    fn classic(
        &mut self,
        brought: usize,
        answer: oneshot::Sender<Answered>,
        step: impl FnOnce(&mut classic::ClassicGroup, Token, Duration) -> ClassicEffects,
    ) {
        let (now, wall) = (self.tools.now(), self.tools.broker.clock().wall());
        let room = self.make_room(brought);
        match room.and_then(|()| self.group.as_classic(&self.tools.settings)) {
            Ok(classic) => {
                let effects = step(classic, self.tools.token(answer), now);
                self.outcome = Outcome { brought, ..self.group.classic_outcome(effects, wall) };
            }
            // Who asked may have gone.
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    pub(super) fn heartbeat(&mut self, claim: &Claim<'_>) -> Result<(), GroupError> {
        let now = self.tools.now();
        match &mut self.group.protocol {
            Protocol::Classic(group) => Ok(group.heartbeat(claim, now)?),
            // No member of it sends these.
            Protocol::Consumer(_) => Err(classic::Refusal::UnknownMember.into()),
        }
    }

    pub(super) fn consumer_heartbeat(
        &mut self,
        heartbeat: &consumer::Heartbeat,
        answer: oneshot::Sender<Answered>,
    ) {
        let (now, topics) = (self.tools.now(), self.tools.topics());
        let brought = heartbeat_bytes(heartbeat);
        let room = self.make_room(brought);
        match room.and_then(|()| self.group.as_consumer(&self.tools.settings)) {
            Ok(consumer) => {
                let token = self.tools.token(answer);
                let effects: Effects<_, _> = consumer.heartbeat(token, heartbeat, &topics, now);
                self.outcome = Outcome { brought, ..self.group.consumer_outcome(effects) };
            }
            // Who asked may have gone.
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    /// Begins to store offsets, in the order of commits. Who asked waits for the end of it, so that a commit comes by
    /// this task once.
    pub(super) fn commit(
        &mut self,
        claim: &CommitClaim,
        offsets: Vec<OffsetRow>,
    ) -> Result<impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<S>, GroupError> {
        let now = self.tools.now();
        let partitions = offsets.iter().map(|row| TopicPartition::new(row.key.topic, row.key.partition));
        self.group.may_commit(claim, partitions, now)?;
        Ok(self.tools.broker.storage().groups().commit_offsets(&self.group.id(), offsets))
    }

    /// Whether a member may fetch offsets.
    pub(super) fn may_fetch_offsets(&self, claim: &FetchClaim) -> Result<(), GroupError> {
        match &self.group.protocol {
            // They ask nobody who they are, as Kafka does not.
            Protocol::Classic(_) => Ok(()),
            Protocol::Consumer(group) => Ok(group.may_fetch_offsets(claim.member_id.as_ref(), claim.epoch)?),
        }
    }

    /// Begins to delete offsets of topics that no member subscribes to: says of each whether it does.
    pub(super) fn delete_offsets(
        &mut self,
        keys: Vec<OffsetKey>,
    ) -> Result<
        (Vec<bool>, impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<S>),
        GroupError,
    > {
        if self.group.has_members() && !self.group.is_of_consumers() {
            return Err(classic::Refusal::NonEmptyGroup.into());
        }
        let subscription = self.group.subscription(self.tools.settings.subscription_topics);
        let topics = self.tools.topics();
        let is_free =
            |key: &OffsetKey| topics.name(key.topic).is_none_or(|name| !subscription.may_have(&name));
        let deleted: Vec<bool> = keys.iter().map(is_free).collect();
        let free = keys.into_iter().zip(&deleted).filter(|(_, is_free)| **is_free).map(|(key, _)| key);
        let groups = self.tools.broker.storage().groups();
        let stored = groups.delete_offsets(&self.group.id(), free.collect());
        Ok((deleted, stored))
    }

    /// Begins to delete offsets of the group that have expired; `None` where none may: those that expire because
    /// nobody subscribes to their topic only while there are members, and the others only while there are none.
    pub(super) fn expire(
        &self,
        which: Expirable,
        expiry: Expiry,
    ) -> Option<impl Future<Output = Result<Expired, StateStoreError>> + Send + 'static + use<S>> {
        let which = match which {
            Expirable::OfMemberless if !self.group.has_members() => Expirable::OfMemberless,
            Expirable::OfTopics(topics) if self.group.has_members() => {
                let subscription = self.group.subscription(self.tools.settings.subscription_topics);
                let view = self.tools.topics();
                let is_free = |id: &TopicId| view.name(*id).is_some_and(|name| !subscription.may_have(&name));
                Expirable::OfTopics(topics.into_iter().filter(is_free).collect())
            }
            _ => return None,
        };
        let groups = self.tools.broker.storage().groups();
        Some(groups.expire_offsets(&self.group.id(), which, expiry, EXPIRED_AT_ONCE))
    }

    /// Forgets a group that has neither members nor offsets, as was found; offsets that were committed since stay.
    pub(super) fn forget(&mut self) {
        if !self.group.has_members()
            && let Ok(outcome) = self.group.delete()
        {
            self.outcome = outcome;
        }
    }

    /// Whether more is known of the group than offsets may tell.
    pub(super) fn is_known(&self) -> bool {
        !self.group.is_blank()
    }

    /// The group, if it is known.
    pub(super) fn describe(&self) -> Option<GroupDescription> {
        self.is_known().then(|| self.group.describe(&self.tools.topics()))
    }

    /// Whether a request may make the group hold so much more.
    fn make_room(&mut self, bytes: usize) -> Result<(), GroupError> {
        self.tools.share.check(bytes).map_err(|short| match short {
            Short::Full => GroupError::NoMemory,
            Short::ForNow => {
                self.tools.ask_for_memory(bytes);
                GroupError::Busy
            }
        })
    }

    pub(super) fn delete(&mut self, answer: oneshot::Sender<Result<(), GroupError>>) {
        match self.group.delete() {
            Ok(outcome) => {
                // Its offsets go first: a group that is left without them by a crash can be deleted again.
                let offsets = self.tools.broker.storage().groups().delete_offsets_of_group(&self.group.id());
                self.outcome =
                    Outcome { before: Some(Box::pin(offsets)), told: vec![tell(answer)], ..outcome };
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }
}

fn tell(answer: oneshot::Sender<Result<(), GroupError>>) -> Told {
    Box::new(move |result| {
        // Who asked may have gone.
        let _ = answer.send(result.clone().map_err(GroupError::from));
    })
}

/// About how much a member that joins makes its group hold.
fn joining_bytes(joining: &Joining) -> usize {
    let protocols = joining.protocols.iter().map(|own| 64 + own.name.len() + own.metadata.len());
    let texts = [&*joining.client_id, &*joining.client_host, joining.fresh_id.as_str()];
    let instance = joining.instance_id.as_ref().map_or(0, |instance| instance.as_str().len());
    MEMBER_BYTES + protocols.sum::<usize>() + texts.into_iter().map(str::len).sum::<usize>() + instance
}

/// About how much a heartbeat makes its group hold: nothing, where it says nothing new.
fn heartbeat_bytes(heartbeat: &consumer::Heartbeat) -> usize {
    let named = heartbeat.topics.iter().flatten().map(|name| 64 + name.len()).sum::<usize>();
    let stood_for = match &heartbeat.pattern {
        Some(Pattern::Resolved { text, topics }) => text.len() + 128 * topics.len(),
        _ => 0,
    };
    let says_all = heartbeat.rebalance_timeout.is_some();
    let texts = [Some(&*heartbeat.client_id), Some(&*heartbeat.client_host), heartbeat.rack.as_deref()];
    let of_member = || {
        let instance =
            heartbeat.instance_id.as_ref().map_or(0, |instance: &InstanceId| instance.as_str().len());
        MEMBER_BYTES + instance + texts.into_iter().flatten().map(str::len).sum::<usize>()
    };
    named + stood_for + if says_all { of_member() } else { 0 }
}
