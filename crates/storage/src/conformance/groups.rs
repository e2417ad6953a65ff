//! The promises of a store of groups and their offsets.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use ottla_records::{Offset, TimestampMs};

use super::offsets;
use crate::{
    GroupChange, GroupKind, GroupListing, GroupRow, GroupStore, MemberRow, OffsetRow, OffsetStore,
    StateStoreError, StoredGroup,
};

/// Checks a store in which nothing is yet.
///
/// # Panics
/// Where the store breaks a promise.
pub async fn groups<S: GroupStore + OffsetStore>(store: &S) {
    assert_eq!(group_snapshot(store).await, GroupSnapshot::default(), "a new store is empty");
    assert_eq!(store.load_group("none").await.unwrap(), None);
    groups_are_loaded_with_their_members(store).await;
    changes_take_effect_in_their_order(store).await;
    a_refused_call_changes_nothing(store).await;
    offsets_outlive_the_row(store).await;
    large_groups_are_loaded_whole(store).await;
    clear(store).await;
    offsets::offsets(store).await;
    clear(store).await;
    assert_eq!(group_snapshot(store).await, GroupSnapshot::default(), "something was left behind");
}

/// All that a store of groups holds.
#[derive(Debug, Default, PartialEq)]
pub struct GroupSnapshot {
    list: Vec<GroupListing>,
    with_members: Vec<StoredGroup>,
    rows: Vec<StoredGroup>,
    offsets: Vec<(Arc<str>, Vec<OffsetRow>)>,
}

/// Reads all, in pages of different sizes, and checks that the reads agree with each other.
///
/// # Panics
/// Where they do not.
pub async fn group_snapshot<S: GroupStore + OffsetStore>(store: &S) -> GroupSnapshot {
    let mut snapshot = GroupSnapshot::default();
    let mut after: Option<Arc<str>> = None;
    loop {
        let page = store.list_groups(after.as_deref(), 3).await.unwrap();
        assert!(page.len() <= 3, "{page:?} is longer than asked for");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        snapshot.list.extend(page);
    }
    assert_eq!(store.list_groups(None, 1000).await.unwrap(), snapshot.list);
    assert!(snapshot.list.is_sorted_by(|a, b| a.id < b.id), "{:?} is out of order", snapshot.list);
    let mut after: Option<Arc<str>> = None;
    loop {
        let page = store.load_groups(after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2, "{page:?} is longer than asked for");
        let Some(last) = page.last() else { break };
        after = Some(last.row.id.clone());
        snapshot.with_members.extend(page);
    }
    for listing in &snapshot.list {
        let group = store.load_group(&listing.id).await.unwrap();
        let members = group.as_ref().map_or(0, |group| group.members.len());
        assert_eq!(listing.has_members, members > 0, "{listing:?}");
        assert_eq!(listing.kind, group.as_ref().map(|group| group.row.kind));
        let protocol_type = group.as_ref().map_or("", |group| &group.row.protocol_type);
        assert_eq!(listing.protocol_type, protocol_type);
        snapshot.rows.extend(group);
        let rows = offsets::all(store, &listing.id).await;
        assert!(listing.kind.is_some() || !rows.is_empty(), "{listing:?} is nothing");
        snapshot.offsets.push((listing.id.clone(), rows));
    }
    let has_members = |group: &&StoredGroup| !group.members.is_empty();
    let expected: Vec<_> = snapshot.rows.iter().filter(has_members).cloned().collect();
    assert_eq!(snapshot.with_members, expected, "of all groups, those with members are loaded, in order");
    snapshot
}

/// Puts some of everything into a store.
pub(super) async fn fill<S: GroupStore + OffsetStore>(store: &S) {
    for number in 0..5 {
        let row = group(&format!("group-{number}"), number);
        let id = row.id.clone();
        let members = (0..number).map(|member| member_of(&id, member)).collect();
        let changes = vec![GroupChange::PutGroup(row), GroupChange::ReplaceMembers { group: id, members }];
        store.change_groups(changes).await.unwrap();
    }
    for (group, topic) in [("group-1", 1), ("group-1", 2), ("simple", 2)] {
        let rows = (0..10).map(|partition| offsets::row(topic, partition, 100 + i64::from(partition)));
        store.commit_offsets(group, rows.collect()).await.unwrap();
    }
}

/// Deletes all groups and their offsets.
async fn clear<S: GroupStore + OffsetStore>(store: &S) {
    for GroupListing { id, .. } in store.list_groups(None, 10_000).await.unwrap() {
        store.change_groups(vec![GroupChange::DeleteGroup { group: id.clone() }]).await.unwrap();
        store.delete_offsets_of_group(&id).await.unwrap();
    }
}

pub(super) fn group(id: &str, epoch: i32) -> GroupRow {
    let kind = if epoch % 2 == 0 { GroupKind::Classic } else { GroupKind::Consumer };
    GroupRow {
        id: id.into(),
        kind,
        epoch,
        protocol_type: "consumer".into(),
        state: Bytes::from(format!("state of {id} in {epoch}")),
        empty_since: (epoch % 2 == 0).then_some(TimestampMs(i64::from(epoch) * 1000)),
    }
}

fn member_of(group: &str, number: i32) -> MemberRow {
    MemberRow {
        member_id: format!("member-{number:03}").into(),
        instance_id: (number % 2 == 1).then(|| format!("instance-{number}").into()),
        client_id: format!("client of {group}"),
        client_host: "/127.0.0.1".into(),
        state: Bytes::from(vec![number as u8; number as usize]),
    }
}

fn put_member(group: &str, number: i32) -> GroupChange {
    GroupChange::PutMember { group: group.into(), member: member_of(group, number) }
}

async fn groups_are_loaded_with_their_members<S: GroupStore + OffsetStore>(store: &S) {
    let mut expected = Vec::new();
    let ids = ["", "A", "a", "a\0b", "a'; \u{1F9A6}\n", "b", "\u{1F9A6}"];
    for (id, epoch) in ids.into_iter().zip([0, i32::MAX, -1, i32::MIN, 4, 5, 6]) {
        let row = group(id, epoch);
        let mut changes = vec![GroupChange::PutGroup(row.clone())];
        changes.extend([2, 0, 1].into_iter().map(|number| put_member(id, number)));
        store.change_groups(changes).await.unwrap();
        expected.push(StoredGroup { row, members: (0..3).map(|number| member_of(id, number)).collect() });
    }
    store.change_groups(vec![GroupChange::PutGroup(group("lonely", 1))]).await.unwrap();
    let found = group_snapshot(store).await;
    assert_eq!(found.with_members, expected);
    assert_eq!(found.list.len(), ids.len() + 1);
    assert_eq!(store.load_groups(Some("a"), 1).await.unwrap(), expected[3..4]);
    assert_eq!(
        store.load_groups(Some("a\0"), 1).await.unwrap(),
        expected[3..4],
        "there need be no such group"
    );
    assert_eq!(store.load_groups(Some("\u{1F9A6}"), 10).await.unwrap(), []);
    assert_eq!(store.load_group("lonely").await.unwrap().unwrap().members, []);
    clear(store).await;
}

async fn changes_take_effect_in_their_order<S: GroupStore + OffsetStore>(store: &S) {
    let id: Arc<str> = "changing".into();
    let members = async || -> Vec<String> {
        let group = store.load_group("changing").await.unwrap();
        group.map_or(Vec::new(), |group| group.members.iter().map(|m| m.client_id.clone()).collect())
    };
    let named = |number: i32, name: &str| GroupChange::PutMember {
        group: id.clone(),
        member: MemberRow { client_id: name.into(), ..member_of("changing", number) },
    };
    let changes = vec![
        GroupChange::PutGroup(group(&id, 1)),
        named(1, "first"),
        named(2, "second"),
        GroupChange::PutGroup(group(&id, 2)),
        named(1, "first again"),
    ];
    store.change_groups(changes).await.unwrap();
    assert_eq!(members().await, ["first again", "second"], "a new row leaves members as they are");
    assert_eq!(store.load_group(&id).await.unwrap().unwrap().row, group(&id, 2));

    let gone = GroupChange::DeleteMember { group: id.clone(), member_id: "member-001".into() };
    store.change_groups(vec![gone.clone(), named(3, "third")]).await.unwrap();
    assert_eq!(members().await, ["second", "third"]);
    store.change_groups(vec![gone]).await.unwrap();

    let new = MemberRow { client_id: "new".into(), ..member_of("changing", 9) };
    let replaced = GroupChange::ReplaceMembers { group: id.clone(), members: vec![new] };
    store.change_groups(vec![named(4, "fourth"), replaced, named(5, "fifth")]).await.unwrap();
    assert_eq!(members().await, ["fifth", "new"]);

    let deleted = GroupChange::DeleteGroup { group: id.clone() };
    let again = GroupChange::PutGroup(group(&id, 7));
    store.change_groups(vec![deleted.clone(), again]).await.unwrap();
    assert_eq!(store.load_group(&id).await.unwrap().unwrap().row, group(&id, 7));
    assert_eq!(members().await, [""; 0], "members go with their group");

    let [one, two] = [vec![named(1, "older")], vec![named(1, "newer")]].map(|c| store.change_groups(c));
    two.await.unwrap();
    one.await.unwrap();
    assert_eq!(members().await, ["newer"], "calls take effect in the order in which they were made");
    drop(store.change_groups(vec![named(1, "newest")]));
    store.change_groups(vec![named(2, "last")]).await.unwrap();
    assert_eq!(members().await, ["newest", "last"], "nobody need wait for the answer");

    store.change_groups(vec![deleted.clone()]).await.unwrap();
    store.change_groups(vec![deleted]).await.unwrap();
    store.change_groups(Vec::new()).await.unwrap();
    assert_eq!(store.load_group(&id).await.unwrap(), None);
}

/// Checks that a call was refused, and nothing else.
pub(super) fn assert_refused<T: Debug>(answer: &Result<T, StateStoreError>) {
    assert!(matches!(answer, Err(StateStoreError::Refused(_))), "{answer:?}");
}

async fn a_refused_call_changes_nothing<S: GroupStore + OffsetStore>(store: &S) {
    let put = |id: &str| GroupChange::PutGroup(group(id, 3));
    store.change_groups(vec![put("there"), put_member("there", 1)]).await.unwrap();
    store.commit_offsets("simple", vec![offsets::row(1, 0, 5)]).await.unwrap();
    let before = group_snapshot(store).await;
    let twice = vec![member_of("there", 1), member_of("there", 1)];
    for refused in [
        put_member("nowhere", 1),
        put_member("simple", 1),
        GroupChange::ReplaceMembers { group: "nowhere".into(), members: vec![] },
        GroupChange::ReplaceMembers { group: "there".into(), members: twice },
    ] {
        let gone = GroupChange::DeleteMember { group: "there".into(), member_id: "member-001".into() };
        let changes = vec![put("new"), put_member("new", 1), gone, refused, put("newer")];
        let (beside, refused, behind) = (
            store.change_groups(vec![put("beside")]),
            store.change_groups(changes),
            store.change_groups(vec![put("behind")]),
        );
        assert_refused(&refused.await);
        beside.await.unwrap();
        behind.await.unwrap();
        for id in ["beside", "behind"] {
            assert!(store.load_group(id).await.unwrap().is_some(), "{id} was lost with its neighbour");
            store.change_groups(vec![GroupChange::DeleteGroup { group: id.into() }]).await.unwrap();
        }
        assert_eq!(group_snapshot(store).await, before);
    }
    let deleted = GroupChange::DeleteGroup { group: "there".into() };
    assert_refused(&store.change_groups(vec![deleted, put_member("there", 2)]).await);
    assert_eq!(group_snapshot(store).await, before);
    clear(store).await;
}

async fn offsets_outlive_the_row<S: GroupStore + OffsetStore>(store: &S) {
    let listed = async || -> Vec<(String, Option<GroupKind>)> {
        let list = group_snapshot(store).await.list;
        list.iter().map(|listing| (listing.id.to_string(), listing.kind)).collect()
    };
    let named = |kind| vec![("group".to_owned(), kind)];
    store.commit_offsets("group", vec![offsets::row(1, 0, 42)]).await.unwrap();
    assert_eq!(listed().await, named(None), "a simple consumer's");
    let put = vec![GroupChange::PutGroup(group("group", 1)), put_member("group", 1)];
    store.change_groups(put).await.unwrap();
    assert_eq!(listed().await, named(Some(GroupKind::Consumer)));
    let deleted = vec![GroupChange::DeleteGroup { group: "group".into() }];
    store.change_groups(deleted.clone()).await.unwrap();
    assert_eq!(listed().await, named(None), "the offsets are there");
    assert_eq!(offsets::all(store, "group").await[0].offset, Offset(42));

    store.change_groups(vec![GroupChange::PutGroup(group("group", 0))]).await.unwrap();
    store.delete_offsets_of_group("group").await.unwrap();
    assert_eq!(listed().await, named(Some(GroupKind::Classic)), "the row outlives the offsets too");
    store.change_groups(deleted).await.unwrap();
    assert_eq!(listed().await, []);
}

/// Groups so large that a page cannot hold many of them.
async fn large_groups_are_loaded_whole<S: GroupStore + OffsetStore>(store: &S) {
    for number in 0..4 {
        let id: Arc<str> = format!("large-{number}").into();
        let large = |member| MemberRow { state: vec![7; 200_000].into(), ..member_of(&id, member) };
        let members = (0..12).map(large).collect();
        let row = GroupChange::PutGroup(group(&id, number));
        store.change_groups(vec![row, GroupChange::ReplaceMembers { group: id, members }]).await.unwrap();
    }
    let (mut after, mut found): (Option<Arc<str>>, Vec<StoredGroup>) = (None, Vec::new());
    loop {
        let page = store.load_groups(after.as_deref(), 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.row.id.clone());
        found.extend(page);
    }
    assert_eq!(found.len(), 4);
    for group in &found {
        assert_eq!(group.members.len(), 12, "{} is not whole", group.row.id);
        assert!(group.members.iter().all(|member| member.state.len() == 200_000));
    }
    clear(store).await;
}
