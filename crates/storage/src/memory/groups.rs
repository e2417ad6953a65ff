//! Groups and committed offsets in memory.
//!
//! Everything happens when the method is called, so that calls take effect in their order whenever the futures
//! that they return are polled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::{Future, ready},
    ops::Bound,
    sync::Arc,
};

use ottla_records::TopicId;
use parking_lot::Mutex;

use crate::{
    Expirable, Expired, ExpiringGroups, Expiry, GroupChange, GroupListing, GroupRow, GroupStore, MemberRow,
    OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetStore, OffsetTopic, StateStoreError, StoredGroup,
};

/// A [`GroupStore`] and [`OffsetStore`] in memory. Its clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct MemoryGroups {
    groups: Arc<Mutex<Groups>>,
    failure: Arc<Mutex<Option<Failure>>>,
}

/// Why calls fail now.
#[derive(Clone, Debug)]
struct Failure {
    error: StateStoreError,
    /// Only changes fail.
    of_changes: bool,
}

impl MemoryGroups {
    /// From now on every call fails with this error, and changes nothing; `None` lets calls succeed again.
    pub fn fail(&self, error: Option<StateStoreError>) {
        *self.failure.lock() = error.map(|error| Failure { error, of_changes: false });
    }

    /// From now on every change fails with this error, and is not made, while what is there can be read, as on a full
    /// disk; `None` lets changes succeed again.
    pub fn fail_changes(&self, error: Option<StateStoreError>) {
        *self.failure.lock() = error.map(|error| Failure { error, of_changes: true });
    }

    /// Makes a change, unless it is to fail.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Groups) -> Result<T, StateStoreError>,
    ) -> Result<T, StateStoreError> {
        match self.failure.lock().clone() {
            Some(failure) => Err(failure.error),
            None => change(&mut self.groups.lock()),
        }
    }

    /// Reads something, unless that is to fail.
    fn read<T>(&self, read: impl FnOnce(&Groups) -> T) -> Result<T, StateStoreError> {
        match self.failure.lock().clone() {
            Some(Failure { error, of_changes: false }) => Err(error),
            _ => Ok(read(&self.groups.lock())),
        }
    }
}

/// Groups by their ids. One without a row and without offsets is not kept.
#[derive(Debug, Default)]
struct Groups(BTreeMap<Arc<str>, Group>);

#[derive(Debug, Default)]
struct Group {
    row: Option<GroupRow>,
    members: BTreeMap<Arc<str>, MemberRow>,
    offsets: BTreeMap<OffsetKey, OffsetRow>,
}

impl Group {
    fn stored(&self) -> Option<StoredGroup> {
        let row = self.row.clone()?;
        Some(StoredGroup { row, members: self.members.values().cloned().collect() })
    }

    /// The offsets that have expired.
    fn expired(&self, which: &Expirable, expiry: Expiry) -> impl Iterator<Item = OffsetKey> {
        let empty_since = match which {
            Expirable::OfMemberless => self.row.as_ref().and_then(|row| row.empty_since),
            Expirable::OfTopics(_) => None,
        };
        let may_expire = |key: OffsetKey| match which {
            Expirable::OfMemberless => self.members.is_empty(),
            Expirable::OfTopics(topics) => topics.contains(&key.topic),
        };
        let is_over =
            move |row: &&OffsetRow| expiry.is_over(empty_since.unwrap_or(row.committed_at), row.expires_at);
        self.offsets.values().filter(move |row| may_expire(row.key)).filter(is_over).map(|row| row.key)
    }
}

impl Groups {
    /// Why these changes cannot be made in this order, if they cannot.
    fn refusal(&self, changes: &[GroupChange]) -> Option<StateStoreError> {
        let refused = |why: String| Some(StateStoreError::Refused(why.into()));
        // What the changes before do to the rows that there are.
        let mut has_row: HashMap<&str, bool> = HashMap::new();
        for change in changes {
            let (group, members): (&Arc<str>, &[MemberRow]) = match change {
                GroupChange::PutGroup(row) => {
                    has_row.insert(&row.id, true);
                    continue;
                }
                GroupChange::DeleteGroup { group } => {
                    has_row.insert(group, false);
                    continue;
                }
                GroupChange::DeleteMember { .. } => continue,
                GroupChange::PutMember { group, .. } => (group, &[]),
                GroupChange::ReplaceMembers { group, members } => (group, members),
            };
            let is_there = || self.0.get(group).is_some_and(|group| group.row.is_some());
            if !has_row.get(&**group).copied().unwrap_or_else(is_there) {
                return refused(format!("there is no group {group}"));
            }
            let ids: HashSet<&str> = members.iter().map(|member| &*member.member_id).collect();
            if ids.len() < members.len() {
                return refused(format!("a member of group {group} is named twice"));
            }
        }
        None
    }

    /// Makes a change that is not refused.
    fn change(&mut self, change: GroupChange) {
        match change {
            GroupChange::PutGroup(row) => {
                let group = self.0.entry(row.id.clone()).or_default();
                group.row = Some(row);
            }
            GroupChange::DeleteGroup { group } => self.update(&group, |group| {
                group.row = None;
                group.members.clear();
            }),
            GroupChange::PutMember { group, member } => self.update(&group, |group| {
                group.members.insert(member.member_id.clone(), member);
            }),
            GroupChange::DeleteMember { group, member_id } => self.update(&group, |group| {
                group.members.remove(&member_id);
            }),
            GroupChange::ReplaceMembers { group, members } => self.update(&group, |group| {
                group.members =
                    members.into_iter().map(|member| (member.member_id.clone(), member)).collect();
            }),
        }
    }

    /// Changes a group that is there, and forgets it where nothing is left.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.0.get_mut(id) {
            change(group);
            if group.row.is_none() && group.offsets.is_empty() {
                self.0.remove(id);
            }
        }
    }

    fn commit(&mut self, group: &str, offsets: Vec<OffsetRow>) -> Result<(), StateStoreError> {
        if let Some(row) = offsets.iter().find(|row| row.key.partition.0 < 0) {
            let why = format!("there is no partition {}", row.key.partition);
            return Err(StateStoreError::Refused(why.into()));
        }
        if !offsets.is_empty() {
            let group = self.0.entry(group.into()).or_default();
            group.offsets.extend(offsets.into_iter().map(|row| (row.key, row)));
        }
        Ok(())
    }

    fn expire(&mut self, id: &str, which: &Expirable, expiry: Expiry, max: usize) -> Expired {
        let Some(group) = self.0.get(id) else { return Expired::default() };
        let mut deleted: Vec<OffsetKey> = group.expired(which, expiry).take(max.saturating_add(1)).collect();
        let more = deleted.len() > max;
        deleted.truncate(max);
        self.update(id, |group| {
            for key in &deleted {
                group.offsets.remove(key);
            }
        });
        Expired { deleted, more }
    }

    /// The groups behind `after`.
    fn behind(&self, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<str, _>((from, Bound::Unbounded))
    }

    fn page(&self, group: &str, from: Option<OffsetCursor>, max: usize) -> OffsetPage {
        let from = from.map_or(Bound::Unbounded, |from| Bound::Included(key(from)));
        let Some(group) = self.0.get(group) else { return OffsetPage { rows: Vec::new(), next: None } };
        let mut rest = group.offsets.range((from, Bound::Unbounded));
        let rows = rest.by_ref().take(max).map(|(_, row)| row.clone()).collect();
        OffsetPage { rows, next: rest.next().map(|(key, _)| cursor(*key)) }
    }

    fn topics(&self, group: Option<&str>) -> Vec<OffsetTopic> {
        let all = self.0.iter().filter(|(id, _)| group.is_none_or(|group| &***id == group));
        let rows = all.flat_map(|(_, group)| group.offsets.values());
        let topics: BTreeMap<TopicId, OffsetTopic> = rows
            .map(|row| (row.key.topic, OffsetTopic { id: row.key.topic, name: row.topic_name.clone() }))
            .collect();
        topics.into_values().collect()
    }
}

fn cursor(key: OffsetKey) -> OffsetCursor {
    OffsetCursor { topic: u128::from_be_bytes(key.topic.0), partition: key.partition }
}

fn key(cursor: OffsetCursor) -> OffsetKey {
    OffsetKey { topic: TopicId(cursor.topic.to_be_bytes()), partition: cursor.partition }
}

impl GroupStore for MemoryGroups {
    async fn load_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<StoredGroup>, StateStoreError> {
        self.read(|groups| {
            let with_members = groups.behind(after).filter(|(_, group)| !group.members.is_empty());
            with_members.filter_map(|(_, group)| group.stored()).take(max).collect()
        })
    }

    async fn load_group(&self, group: &str) -> Result<Option<StoredGroup>, StateStoreError> {
        self.read(|groups| groups.0.get(group).and_then(Group::stored))
    }

    fn change_groups(
        &self,
        changes: Vec<GroupChange>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        ready(self.change(|groups| match groups.refusal(&changes) {
            Some(refusal) => Err(refusal),
            None => {
                changes.into_iter().for_each(|change| groups.change(change));
                Ok(())
            }
        }))
    }

    async fn list_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<GroupListing>, StateStoreError> {
        let listing = |(id, group): (&Arc<str>, &Group)| GroupListing {
            id: id.clone(),
            kind: group.row.as_ref().map(|row| row.kind),
            protocol_type: group.row.as_ref().map(|row| row.protocol_type.clone()).unwrap_or_default(),
            has_members: !group.members.is_empty(),
        };
        self.read(|groups| groups.behind(after).take(max).map(listing).collect())
    }
}

impl OffsetStore for MemoryGroups {
    fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetRow>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        ready(self.change(|groups| groups.commit(group, offsets)))
    }

    async fn read_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> Result<Vec<OffsetRow>, StateStoreError> {
        self.read(|groups| {
            let Some(group) = groups.0.get(group) else { return Vec::new() };
            keys.iter().filter_map(|key| group.offsets.get(key)).cloned().collect()
        })
    }

    async fn read_offset_page(
        &self,
        group: &str,
        from: Option<OffsetCursor>,
        max: usize,
    ) -> Result<OffsetPage, StateStoreError> {
        self.read(|groups| groups.page(group, from, max))
    }

    async fn has_offsets(&self, group: &str) -> Result<bool, StateStoreError> {
        self.read(|groups| groups.0.get(group).is_some_and(|group| !group.offsets.is_empty()))
    }

    async fn offset_topics(&self, group: Option<&str>) -> Result<Vec<OffsetTopic>, StateStoreError> {
        self.read(|groups| groups.topics(group))
    }

    fn delete_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        ready(self.change(|groups| {
            groups.update(group, |group| group.offsets.retain(|key, _| !keys.contains(key)));
            Ok(())
        }))
    }

    fn delete_offsets_of_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        ready(self.change(|groups| {
            groups.update(group, |group| group.offsets.clear());
            Ok(())
        }))
    }

    async fn delete_offsets_of_topic(&self, topic: TopicId) -> Result<(), StateStoreError> {
        self.change(|groups| {
            for group in groups.0.values_mut() {
                group.offsets.retain(|key, _| key.topic != topic);
            }
            groups.0.retain(|_, group| group.row.is_some() || !group.offsets.is_empty());
            Ok(())
        })
    }

    async fn groups_with_expired_offsets(
        &self,
        expiry: Expiry,
        after: Option<&str>,
        max: usize,
    ) -> Result<ExpiringGroups, StateStoreError> {
        self.read(|groups| {
            let memberless = groups.behind(after).filter(|(_, group)| group.members.is_empty());
            let looked_at: Vec<_> = memberless.take(max).collect();
            let has_expired =
                |group: &Group| group.expired(&Expirable::OfMemberless, expiry).next().is_some();
            let found = looked_at
                .iter()
                .filter(|(_, group)| has_expired(group))
                .map(|(id, _)| (*id).clone())
                .collect();
            let next = looked_at.last().filter(|_| looked_at.len() == max).map(|(id, _)| (*id).clone());
            ExpiringGroups { groups: found, next }
        })
    }

    fn expire_offsets(
        &self,
        group: &str,
        which: Expirable,
        expiry: Expiry,
        max: usize,
    ) -> impl Future<Output = Result<Expired, StateStoreError>> + Send + 'static + use<> {
        ready(self.change(|groups| Ok(groups.expire(group, &which, expiry, max))))
    }
}
