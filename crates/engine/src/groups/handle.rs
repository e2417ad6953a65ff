//! What doors ask of groups.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use ottla_coordinator::{
    Generation, MemberId,
    classic::{self, Claim, Joining, Leaving, Syncing},
    consumer,
};
use ottla_storage::{
    Expirable, Expiry, GroupStore, OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetStore, Storage,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    error::GroupError,
    group::{Answer, CommitClaim, FetchClaim, GroupDescription, GroupOverview},
    shared::{Job, Shared},
    step::Step,
    table::Work,
};
use crate::broker::Broker;

/// Groups that are read from the store at a time.
const LIST_PAGE: usize = 1000;

/// The groups of a broker, as doors see them.
pub struct Groups<S: Storage> {
    // Goes before the way to ask: the owner finds nobody else at the groups when nobody can ask any more.
    shared: Arc<Shared<S>>,
    jobs: mpsc::UnboundedSender<Job<S>>,
}

impl<S: Storage> Clone for Groups<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), jobs: self.jobs.clone() }
    }
}

/// The same, for one whose interest does not keep the owner alive.
pub(super) struct WeakGroups<S: Storage> {
    shared: Weak<Shared<S>>,
    jobs: mpsc::WeakUnboundedSender<Job<S>>,
    broker: Arc<Broker<S>>,
}

impl<S: Storage> Clone for WeakGroups<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), jobs: self.jobs.clone(), broker: self.broker.clone() }
    }
}

impl<S: Storage> WeakGroups<S> {
    /// The groups, while others can ask for them.
    pub(super) fn upgrade(&self) -> Option<Groups<S>> {
        let jobs = self.jobs.upgrade()?;
        Some(Groups { shared: self.shared.upgrade()?, jobs })
    }

    /// The broker whose groups they are.
    pub(super) fn broker(&self) -> &Broker<S> {
        &self.broker
    }
}

impl<S: Storage> std::fmt::Debug for Groups<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

/// Who a request says that it comes from.
#[derive(Clone, Debug)]
pub struct Member {
    /// The id of the member; empty where there is none.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation that it is in.
    pub generation: i32,
}

impl Member {
    fn claim(&self) -> Claim<'_> {
        Claim {
            member_id: &self.member_id,
            instance_id: self.instance_id.as_deref(),
            generation: Generation(self.generation),
        }
    }
}

/// A member asks for its assignment, and the leader brings those of all.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Who asks.
    pub member: Member,
    /// The protocol type that it takes the group to have.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that it takes the group to have chosen.
    pub protocol: Option<Arc<str>>,
    /// What the leader gives to each.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member that leaves, or is made to.
#[derive(Clone, Debug)]
pub struct LeavingMember {
    /// Its id; empty where it is named by its instance id.
    pub member_id: Arc<str>,
    /// Its instance id.
    pub instance_id: Option<Arc<str>>,
    /// Why, in the client's words.
    pub reason: Option<Arc<str>>,
}

impl<S: Storage> Groups<S> {
    pub(super) fn new(jobs: mpsc::UnboundedSender<Job<S>>, shared: Arc<Shared<S>>) -> Self {
        Self { shared, jobs }
    }

    pub(super) fn downgrade(&self) -> WeakGroups<S> {
        let (shared, jobs) = (Arc::downgrade(&self.shared), self.jobs.downgrade());
        WeakGroups { shared, jobs, broker: self.shared.broker.clone() }
    }

    fn store(&self) -> &S::Groups {
        self.shared.broker.storage().groups()
    }

    /// A member joins a classic group, or joins it again (JoinGroup). The answer comes when the rebalance is
    /// complete.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn join(&self, group: &str, joining: Joining) -> Result<classic::Joined, GroupError> {
        let answer = self.ask(group, move |step, answer| step.join(joining, answer)).await?;
        match answer {
            Answer::Classic(classic::Answer::Joined(joined)) => Ok(joined),
            other => Err(unexpected(other)),
        }
    }

    /// A member of a classic group asks for its assignment (SyncGroup).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn sync(&self, group: &str, request: SyncRequest) -> Result<classic::Synced, GroupError> {
        let answer = self.ask(group, move |step, answer| {
            let SyncRequest { member, protocol_type, protocol, assignments } = &request;
            let syncing = Syncing {
                claim: member.claim(),
                protocol_type: protocol_type.as_deref(),
                protocol: protocol.as_deref(),
                assignments,
            };
            step.sync(syncing, answer);
        });
        match answer.await? {
            Answer::Classic(classic::Answer::Synced(synced)) => Ok(synced),
            other => Err(unexpected(other)),
        }
    }

    /// Members leave a classic group, or are made to (LeaveGroup): what became of each, in their order.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn leave(
        &self,
        group: &str,
        members: Vec<LeavingMember>,
    ) -> Result<Vec<Result<(), classic::Refusal>>, GroupError> {
        let answer = self.ask(group, move |step, answer| {
            let leaving: Vec<Leaving<'_>> = members
                .iter()
                .map(|member| Leaving {
                    member_id: &member.member_id,
                    instance_id: member.instance_id.as_deref(),
                    reason: member.reason.as_deref(),
                })
                .collect();
            step.leave(&leaving, answer);
        });
        match answer.await? {
            Answer::Classic(classic::Answer::Left(outcomes)) => Ok(outcomes),
            other => Err(unexpected(other)),
        }
    }

    /// A member of a classic group says that it is there (Heartbeat).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn heartbeat(&self, group: &str, member: Member) -> Result<(), GroupError> {
        self.call_at_once(group, move |step| step.heartbeat(&member.claim())).await
    }

    /// A member of a KIP-848 group joins, stays or leaves (ConsumerGroupHeartbeat).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn consumer_heartbeat(
        &self,
        group: &str,
        heartbeat: consumer::Heartbeat,
    ) -> Result<consumer::Accepted, GroupError> {
        let answer = self.ask(group, move |step, answer| step.consumer_heartbeat(&heartbeat, answer)).await?;
        match answer {
            Answer::Consumer(answer) => Ok(answer?),
            other => Err(unexpected(other)),
        }
    }

    /// Commits offsets (OffsetCommit): they are durable when this returns.
    ///
    /// # Errors
    /// See [`GroupError`]; none is committed then.
    pub async fn commit(
        &self,
        group: &str,
        claim: CommitClaim,
        offsets: Vec<OffsetRow>,
    ) -> Result<(), GroupError> {
        let stored = self.call_at_once(group, move |step| step.commit(&claim, offsets)).await?;
        Ok(stored.await?)
    }

    /// Which topics a regular expression in a subscription stands for now (KIP-848). Anchors are not needed: the whole
    /// name of a topic is matched.
    pub async fn resolve(&self, pattern: &str) -> consumer::Pattern {
        self.shared.resolver.resolve(&self.shared.broker, pattern).await
    }

    /// The group's offsets of these partitions (OffsetFetch), in the order of `keys`; those that it has none of are
    /// left out. Who names itself by `claim` must be a member in its epoch.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn fetch_offsets(
        &self,
        group: &str,
        claim: Option<FetchClaim>,
        keys: Vec<OffsetKey>,
    ) -> Result<Vec<OffsetRow>, GroupError> {
        self.may_fetch_offsets(group, claim).await?;
        Ok(self.store().read_offsets(group, keys).await?)
    }

    /// All of the group's offsets, page by page: the next ones from `from` on, at most `max`.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn fetch_offset_page(
        &self,
        group: &str,
        claim: Option<FetchClaim>,
        from: Option<OffsetCursor>,
        max: usize,
    ) -> Result<OffsetPage, GroupError> {
        self.may_fetch_offsets(group, claim).await?;
        Ok(self.store().read_offset_page(group, from, max).await?)
    }

    async fn may_fetch_offsets(&self, group: &str, claim: Option<FetchClaim>) -> Result<(), GroupError> {
        match claim {
            Some(claim) if claim.member_id.is_some() || claim.epoch.0 >= 0 => {
                self.call_at_once(group, move |step| step.may_fetch_offsets(&claim)).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes the group's offsets of these partitions (OffsetDelete): says of each, in their order, whether it did.
    /// Those of a topic that a member subscribes to stay.
    ///
    /// # Errors
    /// See [`GroupError`]; none is deleted then.
    pub async fn delete_offsets(&self, group: &str, keys: Vec<OffsetKey>) -> Result<Vec<bool>, GroupError> {
        if !self.is_there(group).await? {
            return Err(GroupError::NotFound);
        }
        let (deleted, stored) = self.call(group, move |step| step.delete_offsets(keys)).await?;
        stored.await?;
        Ok(deleted)
    }

    /// Describes a group (DescribeGroups, ConsumerGroupDescribe), if it is there. One that only offsets were committed
    /// for is an empty classic group.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn describe(&self, group: &str) -> Result<Option<GroupDescription>, GroupError> {
        if let Some(described) = self.call(group, |step| Ok(step.describe())).await? {
            return Ok(Some(described));
        }
        let has_offsets = self.store().has_offsets(group).await?;
        Ok(has_offsets.then(GroupDescription::of_offsets_alone))
    }

    /// All groups, by their names (ListGroups).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn list(&self) -> Result<Vec<GroupOverview>, GroupError> {
        let mut groups = BTreeMap::new();
        let mut last: Option<Arc<str>> = None;
        loop {
            let page = self.store().list_groups(last.as_deref(), LIST_PAGE).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.id.clone());
            groups.extend(page.into_iter().map(|listing| (listing.id.clone(), GroupOverview::of(listing))));
        }
        groups.extend(self.in_memory().await?.into_iter().map(|group| (group.id.clone(), group)));
        Ok(groups.into_values().collect())
    }

    /// The groups that are in memory, all that have members among them.
    pub(super) async fn in_memory(&self) -> Result<Vec<GroupOverview>, GroupError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::All(answer))?;
        answered.await.map_err(|_| GroupError::Stopping)
    }

    /// Deletes a group that has no members, with its offsets (DeleteGroups).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn delete(&self, group: &str) -> Result<(), GroupError> {
        if !self.is_there(group).await? {
            return Err(GroupError::NotFound);
        }
        self.ask(group, |step, answer| step.delete(answer)).await
    }

    async fn is_there(&self, group: &str) -> Result<bool, GroupError> {
        let is_known = self.call(group, |step| Ok(step.is_known())).await?;
        Ok(is_known || self.store().has_offsets(group).await?)
    }

    /// Deletes offsets of the group that have expired, if any may.
    pub(super) async fn expire(
        &self,
        group: &str,
        which: Expirable,
        expiry: Expiry,
    ) -> Result<(), GroupError> {
        loop {
            let which = which.clone();
            let expiring = self.call(group, move |step| Ok(step.expire(which, expiry))).await?;
            let Some(expiring) = expiring else { return Ok(()) };
            if !expiring.await?.more {
                return Ok(());
            }
        }
    }

    /// Forgets a group that was found to have neither members nor offsets.
    pub(super) async fn forget(&self, group: &str) -> Result<(), GroupError> {
        self.call(group, |step| {
            step.forget();
            Ok(())
        })
        .await
    }

    /// For what is brief: it is done on the spot where nobody is at work on groups, since a task that has to be woken
    /// costs more than the work.
    async fn call_at_once<T: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut Step<'_, S>) -> Result<T, GroupError> + Send + 'static,
    ) -> Result<T, GroupError> {
        match self.shared.at_once(group, work) {
            Ok(done) => done,
            Err(work) => self.call(group, work).await,
        }
    }

    /// For what is answered when the owner has done it.
    async fn call<T: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut Step<'_, S>) -> Result<T, GroupError> + Send + 'static,
    ) -> Result<T, GroupError> {
        // Who asked may have gone.
        self.ask(group, |step, answer| drop(answer.send(work(step)))).await
    }

    /// Has the owner do something with a group, which answers by itself; where the group cannot be had, that is the
    /// answer.
    async fn ask<T: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut Step<'_, S>, oneshot::Sender<Result<T, GroupError>>) + Send + 'static,
    ) -> Result<T, GroupError> {
        let (answer, answered) = oneshot::channel();
        let work: Work<S> = Box::new(move |step| match step {
            Ok(step) => work(step, answer),
            Err(error) => drop(answer.send(Err(error))),
        });
        self.send(Job::One(group.into(), work))?;
        answered.await.unwrap_or(Err(GroupError::Stopping))
    }

    fn send(&self, job: Job<S>) -> Result<(), GroupError> {
        self.shared.queue();
        self.jobs.send(job).map_err(|_| GroupError::Stopping)
    }
}

/// The error in an answer that is not what was asked for.
fn unexpected(answer: Answer) -> GroupError {
    match answer {
        Answer::Classic(classic::Answer::Refused(refusal)) => refusal.into(),
        Answer::Consumer(Err(refusal)) => refusal.into(),
        // A state machine answers a token with what was asked under it.
        _ => GroupError::Stopping,
    }
}
