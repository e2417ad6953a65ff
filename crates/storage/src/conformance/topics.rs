//! The promises of a store of topics.

use std::collections::{BTreeMap, HashSet};

use ottla_records::{LogId, TopicId};

use super::topic;
use crate::{CreateTopicError, TopicRow, TopicState, TopicStore};

/// Checks a store in which nothing is yet.
///
/// # Panics
/// Where the store breaks a promise.
pub async fn topics<T: TopicStore>(store: &T) {
    assert_eq!(rows(store).await, [], "a new store is empty");
    let ids = created_topics_are_loaded(store).await;
    names_of_live_topics_are_unique(store).await;
    deletion_has_two_steps(store, ids).await;
    producer_ids_are_given_once(store).await;
    the_first_cluster_id_stays(store).await;
}

/// All rows in the order of their ids.
pub(super) async fn rows<T: TopicStore>(store: &T) -> Vec<TopicRow> {
    let mut rows = store.load().await.unwrap();
    rows.sort_by_key(|row| row.id);
    rows
}

/// Creates topics 1 to 3 and returns the log ids they got.
async fn created_topics_are_loaded<T: TopicStore>(store: &T) -> HashSet<LogId> {
    let mut created = Vec::new();
    for (number, partitions) in [(1, 1), (2, 50), (3, 3)] {
        let mut new = topic(number, partitions);
        let settings =
            [("retention.ms", "-1"), ("cleanup.policy", "compact,delete"), ("odd", "\u{1F9A6} '\n")];
        new.settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let row = store.create(new.clone()).await.unwrap();
        assert_eq!((row.id, &row.name, &row.settings), (new.id, &new.name, &new.settings));
        assert_eq!(row.state, TopicState::Live);
        assert_eq!(row.logs.len(), partitions as usize);
        created.push(row);
    }
    let ids: HashSet<LogId> = created.iter().flat_map(|row| row.logs.iter().copied()).collect();
    assert_eq!(ids.len(), 54, "each partition has a log of its own");
    assert!(!ids.contains(&LogId(0)), "log ids start at 1");
    assert_eq!(rows(store).await, created);
    ids
}

async fn names_of_live_topics_are_unique<T: TopicStore>(store: &T) {
    let before = rows(store).await;
    let again = crate::NewTopic { id: TopicId([9; 16]), ..topic(1, 1) };
    let refused = store.create(again.clone()).await;
    assert!(matches!(&refused, Err(CreateTopicError::Exists(name)) if *name == again.name), "{refused:?}");
    assert_eq!(rows(store).await, before);

    let upper = crate::NewTopic { id: TopicId([8; 16]), name: again.name.to_uppercase(), ..again };
    store.create(upper).await.expect("names differ by case");
    assert!(store.mark_deleting(TopicId([8; 16])).await.unwrap());
    store.drop_deleted(TopicId([8; 16])).await.unwrap();

    let same_id = crate::NewTopic { name: "another".into(), ..topic(1, 1) };
    let refused = store.create(same_id).await;
    assert!(matches!(refused, Err(CreateTopicError::Store(_))), "a topic id was given twice");
    assert_eq!(rows(store).await, before);
}

async fn deletion_has_two_steps<T: TopicStore>(store: &T, mut used: HashSet<LogId>) {
    let [one, two, unknown] = [topic(1, 1), topic(2, 1), topic(7, 1)];
    assert!(!store.mark_deleting(unknown.id).await.unwrap(), "there is no such topic");
    store.drop_deleted(two.id).await.unwrap();
    assert_eq!(state(store, two.id).await, Some(TopicState::Live), "only what is marked is dropped");

    assert!(store.mark_deleting(one.id).await.unwrap());
    assert!(!store.mark_deleting(one.id).await.unwrap(), "it is no longer live");
    assert_eq!(state(store, one.id).await, Some(TopicState::Deleting));
    let successor = crate::NewTopic { id: TopicId([77; 16]), ..one.clone() };
    let successor = store.create(successor).await.expect("the name is free");
    assert!(successor.logs.iter().all(|log| used.insert(*log)), "a log id was given again");
    assert_eq!(state(store, one.id).await, Some(TopicState::Deleting));

    store.drop_deleted(one.id).await.unwrap();
    store.drop_deleted(one.id).await.unwrap();
    assert_eq!(state(store, one.id).await, None);
    assert!(store.mark_deleting(successor.id).await.unwrap());
    store.drop_deleted(successor.id).await.unwrap();
    let last = store.create(topic(4, 5)).await.unwrap();
    assert!(last.logs.iter().all(|log| used.insert(*log)), "the log id of a dropped topic was given again");
    assert_eq!(last.settings, BTreeMap::new(), "settings of a dropped topic came back");
}

async fn producer_ids_are_given_once<T: TopicStore>(store: &T) {
    let mut next = 0;
    for count in [1, 1000, 1, 0, u32::MAX, 1000] {
        let block = store.reserve_producer_ids(count).await.unwrap();
        assert_eq!(block.count, count);
        assert!(block.first.0 >= next, "{block:?} overlaps with the ones before, which end at {next}");
        next = block.first.0 + i64::from(count);
    }
}

async fn the_first_cluster_id_stays<T: TopicStore>(store: &T) {
    assert_eq!(store.cluster_id("first").await.unwrap(), "first");
    assert_eq!(store.cluster_id("second").await.unwrap(), "first");
}

async fn state<T: TopicStore>(store: &T, id: TopicId) -> Option<TopicState> {
    rows(store).await.iter().find(|row| row.id == id).map(|row| row.state)
}
