//! Why a classic group refuses a request.

use thiserror::Error;

use crate::MemberId;

/// Why a request to a classic group is refused: every reason there is. The door gives each Kafka's code of the
/// same name, where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The group has no such member or static member: it never was one, has left, was expelled because its
    /// session ended or because it missed a rebalance, or joined in a generation that a restart has lost. A
    /// commit that names no member to a group that has members is refused with it too. The member joins anew.
    #[error("the group has no such member")]
    UnknownMember,
    /// The member speaks of another generation than the current one. It joins again.
    #[error("this is not the group's current generation")]
    IllegalGeneration,
    /// A rebalance has begun, and the member is to join again. A commit in the time between a rebalance's joins
    /// and its assignments is refused with it too, and so is a join or sync whose member sent another while it
    /// waited (Kafka leaves that one without an answer).
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The joining member names no protocol type or no protocols, another protocol type than the group has, or
    /// no protocol that all members support; or the syncing member names another protocol type or protocol than
    /// was chosen.
    #[error("the group cannot work with the protocol type or protocols of this member")]
    InconsistentProtocol,
    /// The member is to join again, with this id (KIP-394): it named none, and its request is of a version that
    /// must know one.
    #[error("the member is to join with the id {0}")]
    MemberIdRequired(MemberId),
    /// Another member has taken over this static member's instance id (KIP-345). The client ends.
    #[error("another member has the instance id of this one")]
    FencedInstance,
    /// The group has `group.max.size` members.
    #[error("the group has as many members as it may have")]
    GroupMaxSizeReached,
    /// The session time-out is not within `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    #[error("the session time-out is too short or too long")]
    InvalidSessionTimeout,
    /// So many members have been given an id and have not joined with it that no more ids are given out. Kafka
    /// has no such limit; the code that makes a client wait and try again is COORDINATOR_LOAD_IN_PROGRESS.
    #[error("too many members were given an id and have not joined")]
    TooManyPendingMembers,
    /// The group is dead: it was deleted, or its state machine was closed. The client looks for the coordinator
    /// and tries again.
    #[error("the group is dead")]
    CoordinatorNotAvailable,
    /// The request was waiting when the group was closed.
    #[error("the group is not coordinated here any more")]
    NotCoordinator,
    /// The group is to be deleted and is not empty.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// The group is to be deleted and is dead already: GROUP_ID_NOT_FOUND.
    #[error("there is no such group")]
    GroupNotFound,
}
