//! The small state of groups: which there are, and their members.
//!
//! What a group or a member must remember beyond the columns here is a versioned document of the caller's, kept
//! as bytes. Committed offsets are a store of their own ([`OffsetStore`](crate::OffsetStore)): they outlive the
//! group's row, and simple consumers have them without one.
//!
//! Every change is durable when its call is answered, and the changes of one call are one transaction.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use ottla_records::TimestampMs;

use crate::StateStoreError;

/// By which protocol a group's members are coordinated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GroupKind {
    /// JoinGroup and SyncGroup: a member assigns.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): the broker assigns.
    Consumer,
}

impl GroupKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Classic, Self::Consumer];

    /// Its name in rows and where people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A group as it is stored, without its members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupRow {
    /// Its name.
    pub id: Arc<str>,
    /// Its protocol.
    pub kind: GroupKind,
    /// The generation of a classic group, the group epoch of a KIP-848 group.
    pub epoch: i32,
    /// What its members call their protocol, such as `consumer` or `connect`; empty where none was given.
    pub protocol_type: String,
    /// The rest, in a form of the caller's.
    pub state: Bytes,
    /// Since when it has had no members, if its offsets expire by that (KIP-211). Kafka counts so for classic
    /// groups; the offsets of a KIP-848 group count from their commits, so that its row has none.
    pub empty_since: Option<TimestampMs>,
}

/// A member of a group as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRow {
    /// Its name within the group.
    pub member_id: Arc<str>,
    /// The name that it keeps over its restarts (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// The rest, in a form of the caller's.
    pub state: Bytes,
}

/// A group with its members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredGroup {
    /// The group.
    pub row: GroupRow,
    /// Its members, in the order of their ids.
    pub members: Vec<MemberRow>,
}

/// What a list of groups tells of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupListing {
    /// Its name.
    pub id: Arc<str>,
    /// Its protocol; `None` where only offsets were committed in its name.
    pub kind: Option<GroupKind>,
    /// What its members call their protocol; empty where there is none.
    pub protocol_type: String,
    /// Whether members are stored.
    pub has_members: bool,
}

/// A change of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupChange {
    /// Stores the row, in place of one of the same id. Members stay as they are.
    PutGroup(GroupRow),
    /// Drops the row and all members, if there are any. Committed offsets stay.
    DeleteGroup {
        /// The group.
        group: Arc<str>,
    },
    /// Stores the member, in place of one of the same id. The group must have a row.
    PutMember {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: MemberRow,
    },
    /// Drops the member, if it is there.
    DeleteMember {
        /// The group.
        group: Arc<str>,
        /// The member.
        member_id: Arc<str>,
    },
    /// Stores these members in place of all that are there. The group must have a row.
    ReplaceMembers {
        /// The group.
        group: Arc<str>,
        /// Its members, each id once.
        members: Vec<MemberRow>,
    },
}

/// The store of groups.
///
/// A read sees all that was answered before it was asked for, and need not wait for changes under way.
pub trait GroupStore: Send + Sync + 'static {
    /// The groups that have members, in the order of their ids: the next ones behind `after`, at most `max`, and
    /// fewer where they are large. An empty answer is the end.
    fn load_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<StoredGroup>, StateStoreError>> + Send;

    /// A group, if it has a row.
    fn load_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<Option<StoredGroup>, StateStoreError>> + Send;

    /// Makes these changes in their order, all or none. Calls take effect in the order in which they were made,
    /// whenever their futures are polled, and also where those are dropped.
    fn change_groups(
        &self,
        changes: Vec<GroupChange>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<Self>;

    /// All groups, those in whose name only offsets were committed too, in the order of their ids: the next ones
    /// behind `after`, at most `max`.
    fn list_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<GroupListing>, StateStoreError>> + Send;
}
