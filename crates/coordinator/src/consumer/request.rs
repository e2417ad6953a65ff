//! What members send, and what they are answered.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::settings::ConsumerSettings;
use crate::{
    InstanceId, MemberEpoch, MemberId,
    assignor::{Assignment, Assignor},
};

/// A heartbeat: how members join, stay and leave. Where an `Option` is `None`, the member says that nothing has
/// changed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The member id as it was sent, which may be empty.
    pub member_id: MemberId,
    /// In version 0 of the request, the id for a member that joins without one. From version 1 on members
    /// choose their ids (KIP-1082), and this is `None`.
    pub fresh_member_id: Option<MemberId>,
    /// The epoch that the member is in, or one of the constants that join and leave.
    pub member_epoch: MemberEpoch,
    /// The name that a static member keeps.
    pub instance_id: Option<InstanceId>,
    /// Where the member runs.
    pub rack: Option<Arc<str>>,
    /// How long the member may take to give up partitions.
    pub rebalance_timeout: Option<Duration>,
    /// The topics that the member subscribes to by name.
    pub topics: Option<Vec<Arc<str>>>,
    /// The regular expression that the member subscribes to besides.
    pub pattern: Option<Pattern>,
    /// The name of the assignor that the member asks for.
    pub assignor: Option<Arc<str>>,
    /// The partitions that the member has.
    pub owned: Option<Assignment>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where the client connects from.
    pub client_host: Arc<str>,
}

/// A regular expression in a subscription. The door compiles it and looks which topics it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The member does not subscribe to one any more: the text was empty.
    None,
    /// It can be compiled.
    Resolved {
        /// Its text.
        text: Arc<str>,
        /// The names of the topics that it stands for.
        topics: Vec<Arc<str>>,
    },
    /// It cannot be compiled.
    Refused {
        /// Its text.
        text: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
}

/// What a heartbeat is answered.
pub type Answer = Result<Accepted, Refusal>;

/// A heartbeat was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The member's id.
    pub member_id: MemberId,
    /// The epoch that the member is in now, or the one with which it has left.
    pub member_epoch: MemberEpoch,
    /// When the member is to send its next heartbeat; zero for one that has left.
    pub heartbeat_interval: Duration,
    /// All that the member may use: it gives up what it has besides. `None` where it knows that already.
    pub assignment: Option<Assignment>,
}

/// Why a heartbeat is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The request contradicts itself or lacks something (INVALID_REQUEST).
    #[error("{0}")]
    Invalid(Invalid),
    /// There is no such assignor, or it is not to be used (UNSUPPORTED_ASSIGNOR).
    #[error("the assignor {assignor} is not supported; these are: {}", names(.supported))]
    UnsupportedAssignor {
        /// What the member asked for.
        assignor: Arc<str>,
        /// What it could have asked for.
        supported: Vec<Assignor>,
    },
    /// There are as many members as there may be (GROUP_MAX_SIZE_REACHED).
    #[error("the group has {max_size} members already, and no more may join")]
    GroupFull {
        /// How many there may be.
        max_size: usize,
    },
    /// Nobody in the group has this member id: the session may have ended (UNKNOWN_MEMBER_ID).
    #[error("{member_id} is not a member of the group")]
    UnknownMember {
        /// The id.
        member_id: MemberId,
    },
    /// Nobody in the group has this instance id (UNKNOWN_MEMBER_ID).
    #[error("the group has no static member {instance_id}")]
    UnknownInstance {
        /// The instance id.
        instance_id: InstanceId,
    },
    /// The member is not in the epoch that it says, and must begin anew (FENCED_MEMBER_EPOCH).
    #[error(
        "the member says that it is in epoch {received} but is in {current}; it must give up all partitions and join again"
    )]
    FencedEpoch {
        /// What it says.
        received: MemberEpoch,
        /// Where it is.
        current: MemberEpoch,
    },
    /// The static member that joins is there already, under another member id, and has not left
    /// (UNRELEASED_INSTANCE_ID).
    #[error("the instance id {instance_id} belongs to the member {owner}, which has not left")]
    UnreleasedInstance {
        /// The instance id.
        instance_id: InstanceId,
        /// Who has it.
        owner: MemberId,
    },
    /// Another member has taken the place of this static member (FENCED_INSTANCE_ID).
    #[error("the instance id {instance_id} belongs to the member {owner} now")]
    FencedInstance {
        /// The instance id.
        instance_id: InstanceId,
        /// Who has it.
        owner: MemberId,
    },
    /// The regular expression cannot be compiled (INVALID_REGULAR_EXPRESSION).
    #[error("the regular expression `{text}` is not valid: {reason}")]
    InvalidPattern {
        /// Its text.
        text: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// The group has been deleted (GROUP_ID_NOT_FOUND).
    #[error("the group has been deleted")]
    Dead,
}

/// What is wrong with a heartbeat by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Invalid {
    /// A member id is needed.
    #[error("the member id must not be empty")]
    EmptyMemberId,
    /// An instance id of nothing or of blanks.
    #[error("the instance id must not be empty")]
    EmptyInstanceId,
    /// A rack of nothing or of blanks.
    #[error("the rack must not be empty")]
    EmptyRack,
    /// A member that joins must tell how long it may take to give up partitions.
    #[error("a member that joins must give its rebalance timeout")]
    NoRebalanceTimeout,
    /// A member that joins must say that it has no partitions.
    #[error("a member that joins must have no partitions, and say so")]
    OwnsPartitions,
    /// A member that joins must subscribe, be it to nothing.
    #[error("a member that joins must give topic names or a regular expression")]
    NoSubscription,
    /// Only a static member can leave for now.
    #[error("a member that leaves for now must give its instance id")]
    NoInstanceId,
    /// An epoch below all that have a meaning.
    #[error("there is no such member epoch")]
    UnknownEpoch,
    /// A member that is there joins under an instance id that is not its own.
    #[error("a member cannot change its instance id")]
    OtherInstanceId,
}

impl Heartbeat {
    /// Checks what can be checked without the group.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] and [`Refusal::UnsupportedAssignor`].
    pub(super) fn check(&self, settings: &ConsumerSettings) -> Result<(), Refusal> {
        self.reason_against().map_or(Ok(()), |reason| Err(Refusal::Invalid(reason)))?;
        match &self.assignor {
            Some(name) if settings.assignor(name).is_none() => Err(Refusal::UnsupportedAssignor {
                assignor: name.clone(),
                supported: settings.assignors.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn reason_against(&self) -> Option<Invalid> {
        let blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
        let joins = self.member_epoch == MemberEpoch::JOINS;
        let may_lack_id = joins && self.fresh_member_id.is_some();
        let nothing_owned = self.owned.as_ref().is_some_and(Assignment::is_empty);
        let reasons = [
            (!may_lack_id && blank(Some(self.member_id.as_str())), Invalid::EmptyMemberId),
            (blank(self.instance_id.as_ref().map(InstanceId::as_str)), Invalid::EmptyInstanceId),
            (blank(self.rack.as_deref()), Invalid::EmptyRack),
            (joins && self.rebalance_timeout.is_none(), Invalid::NoRebalanceTimeout),
            (joins && !nothing_owned, Invalid::OwnsPartitions),
            (joins && self.topics.is_none() && self.pattern.is_none(), Invalid::NoSubscription),
            (
                self.member_epoch == MemberEpoch::LEAVES_FOR_NOW && self.instance_id.is_none(),
                Invalid::NoInstanceId,
            ),
            (self.member_epoch < MemberEpoch::LEAVES_FOR_NOW, Invalid::UnknownEpoch),
        ];
        reasons.into_iter().find_map(|(applies, reason)| applies.then_some(reason))
    }

    /// Who sends this: the id that it gives, or the one that was made for it.
    pub(super) fn sender(&self) -> MemberId {
        match &self.fresh_member_id {
            Some(fresh) if self.member_id.as_str().is_empty() => fresh.clone(),
            _ => self.member_id.clone(),
        }
    }

    /// Whether the member tells all of itself, as it does when it joins and after an error.
    pub(super) fn is_full(&self) -> bool {
        self.rebalance_timeout.is_some()
            && (self.topics.is_some() || self.pattern.is_some())
            && self.owned.is_some()
    }
}

fn names(assignors: &[Assignor]) -> String {
    assignors.iter().map(|assignor| assignor.name()).collect::<Vec<_>>().join(", ")
}
