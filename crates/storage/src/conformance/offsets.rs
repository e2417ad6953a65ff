//! The promises of a store of committed offsets.

use std::{collections::BTreeMap, future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};

use super::groups::{assert_refused, group};
use crate::{
    Expirable, Expiry, GroupChange, GroupRow, GroupStore, MemberRow, OffsetCursor, OffsetKey, OffsetRow,
    OffsetStore,
};

/// Checks a store in which nothing is.
pub(super) async fn offsets<S: GroupStore + OffsetStore>(store: &S) {
    what_was_committed_is_read(store).await;
    the_last_commit_counts(store).await;
    a_refused_commit_changes_nothing(store).await;
    pages_hold_each_offset_once(store).await;
    deleted_offsets_are_gone(store).await;
    expiry_by_the_table(store).await;
    expiry_goes_step_by_step(store).await;
    many_callers_do_not_disturb_each_other(store).await;
}

/// A topic's id and name come from its number.
pub(super) fn row(topic: u8, partition: i32, offset: i64) -> OffsetRow {
    OffsetRow {
        key: key(topic, partition),
        topic_name: format!("topic-{topic}").into(),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: String::new(),
        committed_at: TimestampMs(1_700_000_000_000),
        expires_at: None,
    }
}

fn key(topic: u8, partition: i32) -> OffsetKey {
    OffsetKey { topic: TopicId([topic; 16]), partition: PartitionIndex(partition) }
}

/// All offsets of a group, by topic id and partition.
pub(super) async fn all<S: OffsetStore>(store: &S, group: &str) -> Vec<OffsetRow> {
    let mut rows = pages(store, group, 10_000).await.concat();
    rows.sort_by_key(|row| row.key);
    rows
}

async fn pages<S: OffsetStore>(store: &S, group: &str, max: usize) -> Vec<Vec<OffsetRow>> {
    let (mut pages, mut from): (Vec<_>, Option<OffsetCursor>) = (Vec::new(), None);
    loop {
        let page = store.read_offset_page(group, from, max).await.unwrap();
        assert!(page.rows.len() <= max, "a page of {} is longer than {max}", page.rows.len());
        pages.push(page.rows);
        from = page.next;
        if from.is_none() {
            return pages;
        }
    }
}

/// The group's offsets as numbers: topic, partition, offset.
async fn numbers<S: OffsetStore>(store: &S, group: &str) -> Vec<(u8, i32, i64)> {
    let rows = all(store, group).await;
    assert_eq!(store.has_offsets(group).await.unwrap(), !rows.is_empty());
    rows.iter().map(|row| (row.key.topic.0[0], row.key.partition.0, row.offset.0)).collect()
}

async fn is_listed<S: GroupStore>(store: &S, group: &str) -> bool {
    store.list_groups(None, 10_000).await.unwrap().iter().any(|listing| &*listing.id == group)
}

async fn what_was_committed_is_read<S: GroupStore + OffsetStore>(store: &S) {
    let odd = OffsetRow {
        leader_epoch: LeaderEpoch(i32::MAX),
        metadata: "it's \"odd\"\0 \u{1F9A6}\n".repeat(200),
        expires_at: Some(TimestampMs(i64::MAX)),
        ..row(1, i32::MAX, i64::MAX)
    };
    let early = OffsetRow {
        leader_epoch: LeaderEpoch(0),
        committed_at: TimestampMs(-1),
        expires_at: Some(TimestampMs(0)),
        ..row(2, 0, 0)
    };
    // The topic of this name that there was before.
    let before = OffsetRow { topic_name: "topic-2".into(), ..row(3, 0, -1) };
    let rows = vec![odd.clone(), early.clone(), before.clone(), row(2, 1, 7)];
    for group in ["", "group", "group's\0 \u{1F9A6}"] {
        store.commit_offsets(group, rows.clone()).await.unwrap();
        let mut expected = rows.clone();
        expected.sort_by_key(|row| row.key);
        assert_eq!(all(store, group).await, expected);
        let keys = vec![key(3, 0), key(9, 0), key(1, i32::MAX), key(2, 5), key(2, 0), key(3, 0)];
        let found = store.read_offsets(group, keys).await.unwrap();
        assert_eq!(found, [before.clone(), odd.clone(), early.clone(), before.clone()]);
        let topics = store.offset_topics(Some(group)).await.unwrap();
        let mut topics: Vec<_> = topics.iter().map(|topic| (topic.id.0[0], &*topic.name)).collect();
        topics.sort_unstable();
        assert_eq!(topics, [(1, "topic-1"), (2, "topic-2"), (3, "topic-2")]);
        assert_eq!(store.read_offsets("another", vec![key(2, 0)]).await.unwrap(), []);
        store.delete_offsets_of_group(group).await.unwrap();
        assert_eq!(numbers(store, group).await, []);
        assert_eq!(store.offset_topics(Some(group)).await.unwrap(), []);
    }
    store.commit_offsets("nothing", Vec::new()).await.unwrap();
    assert!(!is_listed(store, "nothing").await);
}

async fn the_last_commit_counts<S: OffsetStore>(store: &S) {
    let twice = vec![row(1, 0, 1), row(1, 1, 1), row(1, 0, 2)];
    store.commit_offsets("group", twice).await.unwrap();
    assert_eq!(numbers(store, "group").await, [(1, 0, 2), (1, 1, 1)]);
    store.commit_offsets("group", vec![row(1, 0, 0)]).await.unwrap();
    assert_eq!(numbers(store, "group").await, [(1, 0, 0), (1, 1, 1)], "a group may go back");
    let plain = row(1, 0, 3);
    let rich = OffsetRow { metadata: "x".repeat(4096), expires_at: Some(TimestampMs(5)), ..plain.clone() };
    for row in [rich, plain] {
        store.commit_offsets("group", vec![row.clone()]).await.unwrap();
        assert_eq!(store.read_offsets("group", vec![key(1, 0)]).await.unwrap(), [row]);
    }

    let mut commits: Vec<_> =
        (0..100).map(|offset| store.commit_offsets("group", vec![row(1, 0, offset)])).collect();
    // The last one first, and some not at all.
    while let Some(commit) = commits.pop() {
        commit.await.unwrap();
        commits.pop();
    }
    assert_eq!(numbers(store, "group").await[0], (1, 0, 99), "a commit went back by reordering");
    let deleted = store.delete_offsets("group", vec![key(1, 0)]);
    let again = store.commit_offsets("group", vec![row(1, 0, 5)]);
    let deleted_again = store.delete_offsets("group", vec![key(1, 1)]);
    deleted_again.await.unwrap();
    assert_eq!(numbers(store, "group").await, [(1, 0, 5)]);
    again.await.unwrap();
    deleted.await.unwrap();
    let deleted = store.delete_offsets_of_group("group");
    store.commit_offsets("group", vec![row(1, 7, 7)]).await.unwrap();
    deleted.await.unwrap();
    assert_eq!(numbers(store, "group").await, [(1, 7, 7)]);
    store.delete_offsets_of_group("group").await.unwrap();
}

async fn a_refused_commit_changes_nothing<S: GroupStore + OffsetStore>(store: &S) {
    store.commit_offsets("group", vec![row(1, 0, 1)]).await.unwrap();
    let (beside, refused, behind) = (
        store.commit_offsets("group", vec![row(1, 1, 1)]),
        store.commit_offsets("group", vec![row(1, 0, 2), row(2, -1, 2), row(1, 3, 2)]),
        store.commit_offsets("group", vec![row(1, 2, 1)]),
    );
    let nobody = store.commit_offsets("nobody", vec![row(1, i32::MIN, 2)]);
    assert_refused(&refused.await);
    assert_refused(&nobody.await);
    beside.await.unwrap();
    behind.await.unwrap();
    assert_eq!(numbers(store, "group").await, [(1, 0, 1), (1, 1, 1), (1, 2, 1)]);
    assert!(!is_listed(store, "nobody").await);
    store.delete_offsets_of_group("group").await.unwrap();
}

async fn pages_hold_each_offset_once<S: OffsetStore>(store: &S) {
    // In an order that is not theirs.
    for topic in [3, 1, 2] {
        let rows = (0..50).rev().map(|partition| row(topic, partition, i64::from(partition)));
        store.commit_offsets("paged", rows.collect()).await.unwrap();
        store.commit_offsets("another", vec![row(topic, 0, 0)]).await.unwrap();
    }
    let whole = pages(store, "paged", 1000).await;
    assert_eq!(whole.len(), 1);
    for max in [1, 7, 50, 149, 150] {
        let pages = pages(store, "paged", max).await;
        assert_eq!(pages.len(), 150_usize.div_ceil(max));
        assert_eq!(pages.concat(), whole[0], "in pages of {max}");
    }
    let topics: Vec<_> = whole[0].chunk_by(|a, b| a.key.topic == b.key.topic).collect();
    assert_eq!(topics.len(), 3, "topic after topic");
    assert!(topics.iter().all(|rows| rows.is_sorted_by_key(|row| row.key.partition)));

    // What is deleted meanwhile does not move the others.
    let page = store.read_offset_page("paged", None, 60).await.unwrap();
    store.delete_offsets_of_topic(page.rows[59].key.topic).await.unwrap();
    let rest = store.read_offset_page("paged", page.next, 1000).await.unwrap();
    let expected: Vec<_> = whole[0][100..].to_vec();
    assert_eq!((rest.rows, rest.next), (expected, None));
    store.delete_offsets_of_group("paged").await.unwrap();
    store.delete_offsets_of_group("another").await.unwrap();
}

async fn deleted_offsets_are_gone<S: OffsetStore>(store: &S) {
    for group in ["one", "two", "three"] {
        let rows = vec![row(1, 0, 1), row(1, 1, 1), row(2, 0, 1)];
        store.commit_offsets(group, rows).await.unwrap();
    }
    store.delete_offsets("one", vec![key(1, 0), key(1, 0), key(9, 9)]).await.unwrap();
    store.delete_offsets("nobody", vec![key(1, 0)]).await.unwrap();
    assert_eq!(numbers(store, "one").await, [(1, 1, 1), (2, 0, 1)]);
    store.delete_offsets_of_topic(TopicId([1; 16])).await.unwrap();
    store.delete_offsets_of_topic(TopicId([77; 16])).await.unwrap();
    for group in ["one", "two", "three"] {
        assert_eq!(numbers(store, group).await, [(2, 0, 1)]);
    }
    let topics = store.offset_topics(None).await.unwrap();
    assert!(topics.iter().all(|topic| topic.id != TopicId([1; 16])), "{topics:?}");
    assert!(topics.iter().any(|topic| topic.id == TopicId([2; 16])), "{topics:?}");
    store.delete_offsets_of_group("one").await.unwrap();
    store.delete_offsets_of_group("nobody").await.unwrap();
    store.delete_offsets("two", vec![key(2, 0)]).await.unwrap();
    assert_eq!(numbers(store, "one").await, []);
    assert_eq!(numbers(store, "two").await, []);
    assert_eq!(numbers(store, "three").await, [(2, 0, 1)]);
    store.delete_offsets_of_topic(TopicId([2; 16])).await.unwrap();
    assert_eq!(numbers(store, "three").await, []);
}

/// Who has a group, and by what its offsets' time counts.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Nobody,
    /// A row, since then empty.
    Empty(Option<i64>),
    Members,
}

async fn expiry_by_the_table<S: GroupStore + OffsetStore>(store: &S) {
    use Owner::{Empty, Members, Nobody};
    let expiry = Expiry { now: TimestampMs(10_000), retention_ms: 1000 };
    // Whose the group is, when the offset was committed, when its client says that it expires; whether it has
    // expired for a group without members, and for one that no longer subscribes to its topic.
    for (owner, committed, expires, memberless, unsubscribed) in [
        (Nobody, 9000, None, true, true),
        (Nobody, 9001, None, false, false),
        (Nobody, 8999, None, true, true),
        (Nobody, i64::MIN, None, true, true),
        (Nobody, i64::MAX, None, false, false),
        (Nobody, 1, Some(10_001), false, false),
        (Nobody, 9999, Some(10_000), true, true),
        (Empty(Some(9000)), 9999, None, true, false),
        (Empty(Some(9001)), 1, None, false, true),
        (Empty(Some(9000)), 9999, Some(10_001), false, false),
        (Empty(Some(9001)), 9999, Some(10_000), true, true),
        (Empty(None), 9000, None, true, true),
        (Empty(None), 9001, None, false, false),
        (Members, 1, None, false, true),
        (Members, 9001, None, false, false),
        (Members, 9999, Some(10_000), false, true),
        (Members, 1, Some(10_001), false, false),
    ] {
        let case = format!("{owner:?}, committed at {committed}, expires at {expires:?}");
        let offset = OffsetRow {
            committed_at: TimestampMs(committed),
            expires_at: expires.map(TimestampMs),
            ..row(1, 0, 5)
        };
        let put = async || {
            store.change_groups(rows_of(owner)).await.unwrap();
            store.commit_offsets("group", vec![offset.clone(), row(2, 0, 5)]).await.unwrap();
        };
        // The offset of the other topic never expires here.
        assert!(!expiry.is_over(row(2, 0, 5).committed_at, None));
        put().await;
        let found = store.groups_with_expired_offsets(expiry, None, 100).await.unwrap();
        assert_eq!(found.next, None);
        let other_expires = matches!(owner, Empty(Some(..=9000)));
        assert_eq!(!found.groups.is_empty(), memberless || other_expires, "{case}");
        let mut expired = store.expire_offsets("group", Expirable::OfMemberless, expiry, 10).await.unwrap();
        expired.deleted.sort_unstable();
        let mut expected = if memberless { vec![key(1, 0)] } else { vec![] };
        expected.extend(other_expires.then_some(key(2, 0)));
        assert_eq!((expired.deleted, expired.more), (expected, false), "{case}");
        let left = store.read_offsets("group", vec![key(1, 0)]).await.unwrap();
        assert_eq!(left.is_empty(), memberless, "{case}");

        put().await;
        let of_topic = Expirable::OfTopics(vec![TopicId([1; 16]), TopicId([9; 16])]);
        let expired = store.expire_offsets("group", of_topic, expiry, 10).await.unwrap();
        let expected = if unsubscribed { vec![key(1, 0)] } else { vec![] };
        assert_eq!((expired.deleted, expired.more), (expected, false), "{case}");
        assert_eq!(store.read_offsets("group", vec![key(2, 0)]).await.unwrap().len(), 1, "{case}");
        store.delete_offsets_of_group("group").await.unwrap();
        store.change_groups(vec![GroupChange::DeleteGroup { group: "group".into() }]).await.unwrap();
    }
}

fn rows_of(owner: Owner) -> Vec<GroupChange> {
    let empty_since = match owner {
        Owner::Nobody => return Vec::new(),
        Owner::Empty(since) => since.map(TimestampMs),
        // It is what the members keep from counting.
        Owner::Members => Some(TimestampMs(0)),
    };
    let id: Arc<str> = "group".into();
    let mut changes = vec![GroupChange::PutGroup(GroupRow { empty_since, ..group(&id, 1) })];
    if matches!(owner, Owner::Members) {
        let member = MemberRow {
            member_id: "member".into(),
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            state: Default::default(),
        };
        changes.push(GroupChange::PutMember { group: id, member });
    }
    changes
}

async fn expiry_goes_step_by_step<S: GroupStore + OffsetStore>(store: &S) {
    let expiry = Expiry { now: TimestampMs(10_000), retention_ms: 1000 };
    let old = |topic, partition| OffsetRow { committed_at: TimestampMs(1), ..row(topic, partition, 5) };
    for number in 0..10 {
        // Every third group is still young.
        let mut rows: Vec<_> = (0..5).map(|partition| old(1, partition)).collect();
        if number % 3 == 0 {
            rows.iter_mut().for_each(|row| row.committed_at = expiry.now);
        }
        store.commit_offsets(&format!("group-{number}"), rows).await.unwrap();
    }
    let (mut found, mut after, mut steps): (Vec<Arc<str>>, Option<Arc<str>>, u32) = (Vec::new(), None, 0);
    loop {
        let step = store.groups_with_expired_offsets(expiry, after.as_deref(), 3).await.unwrap();
        assert!(step.groups.len() <= 3);
        found.extend(step.groups);
        steps += 1;
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert!(steps >= 4, "10 groups were looked at in {steps} steps of 3");
    assert!(found.iter().map(|id| &**id).eq([1, 2, 4, 5, 7, 8].map(|number| format!("group-{number}"))));

    let mut deleted = Vec::new();
    loop {
        let step = store.expire_offsets("group-1", Expirable::OfMemberless, expiry, 2).await.unwrap();
        assert!(step.deleted.len() <= 2, "{step:?}");
        deleted.extend(step.deleted);
        if !step.more {
            break;
        }
    }
    deleted.sort_unstable();
    assert_eq!(deleted, (0..5).map(|partition| key(1, partition)).collect::<Vec<_>>());
    assert_eq!(numbers(store, "group-1").await, []);
    assert!(!is_listed(store, "group-1").await, "a simple group goes with its last offset");

    // What is committed after the call is made is safe.
    let expiring = store.expire_offsets("group-2", Expirable::OfMemberless, expiry, 100);
    store.commit_offsets("group-2", vec![row(1, 0, 6)]).await.unwrap();
    assert_eq!(expiring.await.unwrap().deleted.len(), 5);
    assert_eq!(numbers(store, "group-2").await, [(1, 0, 6)]);
    let none = store.expire_offsets("nobody", Expirable::OfMemberless, expiry, 100).await.unwrap();
    assert_eq!((none.deleted, none.more), (vec![], false));
    for number in 0..10 {
        store.delete_offsets_of_group(&format!("group-{number}")).await.unwrap();
    }
}

/// Each caller commits to partitions of its own, one offset after the other, and reads what it has committed.
async fn many_callers_do_not_disturb_each_other<S: OffsetStore>(store: &S) {
    let caller = async |number: i32| {
        let group = format!("group-{}", number % 7);
        for offset in 0..20 {
            let rows = vec![row(1, number, offset), row(2, number, offset)];
            store.commit_offsets(&group, rows).await.unwrap();
            let found = store.read_offsets(&group, vec![key(2, number)]).await.unwrap();
            assert_eq!(found, [row(2, number, offset)], "an answered commit is read");
        }
    };
    let mut callers: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = Vec::new();
    for number in 0..64 {
        callers.push(Some(Box::pin(caller(number))));
    }
    poll_fn(|context| {
        for caller in &mut callers {
            if caller.as_mut().is_some_and(|caller| caller.as_mut().poll(context).is_ready()) {
                *caller = None;
            }
        }
        if callers.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let mut expected: BTreeMap<i32, Vec<(u8, i32, i64)>> = BTreeMap::new();
    for topic in [1, 2] {
        for number in 0..64 {
            expected.entry(number % 7).or_default().push((topic, number, 19));
        }
    }
    for (number, rows) in expected {
        let group = format!("group-{number}");
        assert_eq!(numbers(store, &group).await, rows);
        store.delete_offsets_of_group(&group).await.unwrap();
    }
}
