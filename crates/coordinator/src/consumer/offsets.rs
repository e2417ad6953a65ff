//! Who may commit and fetch offsets.

use thiserror::Error;

use super::group::{ConsumerGroup, Member};
use crate::{InstanceId, MemberEpoch, MemberId, assignor::TopicPartition};

/// Why offsets are not committed or fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OffsetRefusal {
    /// Nobody in the group has this member id (UNKNOWN_MEMBER_ID).
    #[error("{member_id} is not a member of the group")]
    UnknownMember {
        /// The id.
        member_id: MemberId,
    },
    /// The member is in another epoch (STALE_MEMBER_EPOCH).
    #[error("the member says that it is in epoch {received} but is in {current}")]
    StaleEpoch {
        /// What it says.
        received: MemberEpoch,
        /// Where it is.
        current: MemberEpoch,
    },
    /// The member is past that epoch, and did not have the partition in it or does not have it any more
    /// (STALE_MEMBER_EPOCH).
    #[error("in epoch {received}, the member did not have a partition that it has now")]
    StalePartition {
        /// In which epoch it says that it is.
        received: MemberEpoch,
    },
    /// A member of this protocol must commit with version 9 of OffsetCommit or a later one
    /// (UNSUPPORTED_VERSION).
    #[error("members of a consumer group must use version 9 of OffsetCommit or a later one")]
    OldVersion,
}

/// With what a commit comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitVia {
    /// OffsetCommit from version 9 on, which tells member epochs.
    Commit,
    /// OffsetCommit before version 9.
    OldCommit,
    /// TxnOffsetCommit.
    Transaction,
}

/// Who commits may do so; what remains is to ask for each partition.
#[derive(Debug)]
pub struct Commits<'a> {
    /// A member that is past the epoch that it says, and which one that is.
    lagging: Option<(&'a Member, MemberEpoch)>,
}

impl Commits<'_> {
    /// Whether an offset of this partition may be committed. One partition that may not refuses the whole
    /// commit.
    ///
    /// # Errors
    /// [`OffsetRefusal::StalePartition`]: the commit may be from before another member had the partition
    /// (KIP-1251).
    pub fn check(&self, partition: TopicPartition) -> Result<(), OffsetRefusal> {
        let Some((member, received)) = self.lagging else { return Ok(()) };
        let current = &member.current;
        let since = current.assigned.get(partition).or_else(|| current.pending.get(partition));
        match since.is_some_and(|since| since <= received) {
            true => Ok(()),
            false => Err(OffsetRefusal::StalePartition { received }),
        }
    }
}

impl ConsumerGroup {
    /// Whether offsets may be committed by this member, in the epoch that it says it is in. Who is not a member
    /// commits with a negative epoch, and only while the group is empty; a transaction may also come without
    /// any of the three.
    ///
    /// # Errors
    /// Nobody has that id, it is in an earlier epoch, or its version is too old.
    pub fn may_commit(
        &self,
        member_id: &MemberId,
        instance_id: Option<&InstanceId>,
        member_epoch: MemberEpoch,
        via: CommitVia,
    ) -> Result<Commits<'_>, OffsetRefusal> {
        let anonymous = member_id.as_str().is_empty() && instance_id.is_none() && member_epoch.0 == -1;
        let outside = member_epoch.0 < 0 && self.members.is_empty();
        if outside || (via == CommitVia::Transaction && anonymous) {
            return Ok(Commits { lagging: None });
        }
        let member = self.member(member_id)?;
        if via == CommitVia::OldCommit {
            return Err(OffsetRefusal::OldVersion);
        }
        let current = member.current.epoch;
        match member_epoch.cmp(&current) {
            std::cmp::Ordering::Equal => Ok(Commits { lagging: None }),
            std::cmp::Ordering::Greater => Err(OffsetRefusal::StaleEpoch { received: member_epoch, current }),
            std::cmp::Ordering::Less => Ok(Commits { lagging: Some((member, member_epoch)) }),
        }
    }

    /// Whether offsets may be fetched by this member, in the epoch that it says it is in. Without a member id
    /// and with a negative epoch anybody may.
    ///
    /// # Errors
    /// Nobody has that id, or it is in another epoch.
    pub fn may_fetch_offsets(
        &self,
        member_id: Option<&MemberId>,
        member_epoch: MemberEpoch,
    ) -> Result<(), OffsetRefusal> {
        let nobody = MemberId::from("");
        let member_id = match member_id {
            None if member_epoch.0 < 0 => return Ok(()),
            None => &nobody,
            Some(member_id) => member_id,
        };
        let current = self.member(member_id)?.current.epoch;
        match member_epoch == current {
            true => Ok(()),
            false => Err(OffsetRefusal::StaleEpoch { received: member_epoch, current }),
        }
    }

    fn member(&self, id: &MemberId) -> Result<&Member, OffsetRefusal> {
        self.members.get(id).ok_or_else(|| OffsetRefusal::UnknownMember { member_id: id.clone() })
    }
}
