//! What doors ask of groups.

use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::{
    Generation, MemberId,
    classic::{self, Claim, Joining, Leaving, Syncing},
    consumer,
};
use ottla_storage::{OffsetRow, StateStoreError, Storage};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{
    UnreadableGroup,
    group::{Answer, CommitClaim, GroupDescription},
    owner::{Job, Step, Work},
};

/// Why a request to a group is refused.
#[derive(Clone, Debug, Error)]
pub enum GroupError {
    /// A classic group says no.
    #[error(transparent)]
    Classic(#[from] classic::Refusal),
    /// A group of KIP-848 says no.
    #[error(transparent)]
    Consumer(#[from] consumer::Refusal),
    /// A group of KIP-848 refuses a commit.
    #[error(transparent)]
    Offset(#[from] consumer::OffsetRefusal),
    /// The group has members that use the other protocol.
    #[error("the group has members that use the other group protocol")]
    OtherProtocol,
    /// What is stored of the group cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableGroup),
    /// The store failed; nothing has changed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// What an answer comes as, or why there is none.
pub(super) type Answered = Result<Answer, GroupError>;

/// The groups of a broker, as doors see them.
pub struct Groups<S: Storage> {
    jobs: mpsc::UnboundedSender<Job<S>>,
}

impl<S: Storage> Clone for Groups<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
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
    pub(super) fn new(jobs: mpsc::UnboundedSender<Job<S>>) -> Self {
        Self { jobs }
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
        self.call(group, move |step| step.heartbeat(&member.claim())).await
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
        self.ask(group, move |step, answer| step.commit(&claim, offsets, answer)).await
    }

    /// Describes a group (DescribeGroups, ConsumerGroupDescribe). One that nobody knows is an empty classic group
    /// without a generation.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn describe(&self, group: &str) -> Result<GroupDescription, GroupError> {
        self.call(group, |step| Ok(step.describe())).await
    }

    /// Deletes a group that has no members, with its offsets (DeleteGroups).
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn delete(&self, group: &str) -> Result<(), GroupError> {
        self.ask(group, |step, answer| step.delete(answer)).await
    }

    /// For what is answered at once.
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
        self.jobs.send(Job { group: group.into(), work }).map_err(|_| GroupError::Stopping)?;
        answered.await.unwrap_or(Err(GroupError::Stopping))
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
