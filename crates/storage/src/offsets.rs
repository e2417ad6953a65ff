//! Committed offsets: how far each group has come in each partition.
//!
//! An offset belongs to a topic id, so that what was committed for a topic is never taken for one of the same
//! name that was created later. The store knows neither topics nor logs: whoever deletes a topic deletes its
//! offsets too ([`OffsetStore::delete_offsets_of_topic`]).
//!
//! Every change is durable when its call is answered, and each call is one transaction where nothing else is
//! said.

use std::{future::Future, sync::Arc};

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};

use crate::StateStoreError;

/// Which partition an offset is of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OffsetKey {
    /// The topic.
    pub topic: TopicId,
    /// Its partition, from 0 on.
    pub partition: PartitionIndex,
}

/// A committed offset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OffsetRow {
    /// The partition.
    pub key: OffsetKey,
    /// The name of the topic. That of a topic id never changes.
    pub topic_name: Arc<str>,
    /// The offset of the next record to be consumed.
    pub offset: Offset,
    /// The leader epoch of the last record that was consumed; [`LeaderEpoch::NONE`] where the client told none.
    pub leader_epoch: LeaderEpoch,
    /// The client's own remark.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: TimestampMs,
    /// When it expires, where an old client has said so (OffsetCommit versions 2 to 4, `retention_time_ms`).
    pub expires_at: Option<TimestampMs>,
}

/// A topic that offsets are committed for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OffsetTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
}

/// Where a page of a group's offsets ended. What its numbers mean is the business of the store that gave it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetCursor {
    /// Which topic.
    pub topic: u128,
    /// Which partition of it.
    pub partition: PartitionIndex,
}

/// Some of a group's offsets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OffsetPage {
    /// The offsets: topic after topic, in the order of their partitions.
    pub rows: Vec<OffsetRow>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<OffsetCursor>,
}

/// When an offset has expired (KIP-211).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expiry {
    /// The time.
    pub now: TimestampMs,
    /// How long an offset is kept, in milliseconds (`offsets.retention.minutes`).
    pub retention_ms: i64,
}

impl Expiry {
    /// An offset whose time counts from then or before has expired, if it has no time of its own.
    #[must_use]
    pub fn cutoff(self) -> TimestampMs {
        TimestampMs(self.now.0.saturating_sub(self.retention_ms))
    }

    /// Whether an offset has expired whose time counts from `since`. A time that an old client gave with it
    /// is what counts then.
    #[must_use]
    pub fn is_over(self, since: TimestampMs, expires_at: Option<TimestampMs>) -> bool {
        expires_at.map_or(since <= self.cutoff(), |at| at <= self.now)
    }
}

/// Which offsets of a group may expire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expirable {
    /// All of a group without members, and none where members are stored. The time counts from
    /// [`GroupRow::empty_since`](crate::GroupRow::empty_since), or else from the commit.
    OfMemberless,
    /// Those of these topics, whether the group has members or not: it does not subscribe to them any more. The
    /// time counts from the commit.
    OfTopics(Vec<TopicId>),
}

/// Some of the groups in which offsets have expired.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExpiringGroups {
    /// The groups, in the order of their ids.
    pub groups: Vec<Arc<str>>,
    /// Behind which group the search goes on; `None` at the end.
    pub next: Option<Arc<str>>,
}

/// What a step of [`OffsetStore::expire_offsets`] has done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expired {
    /// The offsets that are gone.
    pub deleted: Vec<OffsetKey>,
    /// Whether others may have expired too: the next step tells.
    pub more: bool,
}

/// The store of committed offsets.
///
/// A read sees all that was answered before it was asked for, and need not wait for changes under way.
pub trait OffsetStore: Send + Sync + 'static {
    /// Stores offsets of a group, each in place of an earlier one of its partition; of several for one
    /// partition, the last. Calls take effect in the order in which they were made, whenever their futures are
    /// polled, and also where those are dropped.
    fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetRow>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<Self>;

    /// The group's offsets of these partitions, in the order of `keys`; those that it has none of are left out.
    fn read_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> impl Future<Output = Result<Vec<OffsetRow>, StateStoreError>> + Send;

    /// All of the group's offsets, page by page: the next ones from `from` on, at most `max`. What is there all
    /// the time is on one page, and one only.
    fn read_offset_page(
        &self,
        group: &str,
        from: Option<OffsetCursor>,
        max: usize,
    ) -> impl Future<Output = Result<OffsetPage, StateStoreError>> + Send;

    /// Whether the group has an offset.
    fn has_offsets(&self, group: &str) -> impl Future<Output = Result<bool, StateStoreError>> + Send;

    /// The topics that the group has offsets of; without a group, those that any may have offsets of. A start
    /// deletes the offsets of topics that are gone, which the last life may not have come to.
    fn offset_topics(
        &self,
        group: Option<&str>,
    ) -> impl Future<Output = Result<Vec<OffsetTopic>, StateStoreError>> + Send;

    /// Deletes the group's offsets of these partitions. Takes effect in order, as a commit does.
    fn delete_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<Self>;

    /// Deletes all offsets of the group. Takes effect in order, as a commit does.
    fn delete_offsets_of_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<Self>;

    /// Deletes the topic's offsets in all groups, in several transactions where they are many. Nobody commits
    /// for the topic any more.
    fn delete_offsets_of_topic(
        &self,
        topic: TopicId,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send;

    /// Looks at the groups without members, in the order of their ids: the next ones behind `after`, at most
    /// `max`, for those in which offsets have expired ([`Expirable::OfMemberless`]). Nothing is deleted: who
    /// coordinates the group decides whether it has members by now, and calls
    /// [`expire_offsets`](Self::expire_offsets).
    fn groups_with_expired_offsets(
        &self,
        expiry: Expiry,
        after: Option<&str>,
        max: usize,
    ) -> impl Future<Output = Result<ExpiringGroups, StateStoreError>> + Send;

    /// Deletes at most `max` of the group's offsets that have expired. Takes effect in order, as a commit does:
    /// what is committed later is safe.
    fn expire_offsets(
        &self,
        group: &str,
        which: Expirable,
        expiry: Expiry,
        max: usize,
    ) -> impl Future<Output = Result<Expired, StateStoreError>> + Send + 'static + use<Self>;
}
