//! The promises that outlive a restart.

use ottla_records::{LogId, Offset};

use super::{
    groups::{fill, group_snapshot},
    harness::{User, batch, batch_of, contents, topic},
    idempotence::assert_out_of_order,
    topics::rows,
};
use crate::{
    AppendError, EpochEnd, GroupChange, GroupStore, Log, LogSettings, OffsetStore, Storage, TopicState,
    TopicStore,
};

/// Checks that what a store has acknowledged is there after it was closed and opened again. `open` opens the
/// same store each time, which is empty at first; the one before is closed when it is called again.
///
/// # Panics
/// Where the store breaks a promise.
pub async fn reopening<S: Storage>(mut open: impl AsyncFnMut() -> S) {
    let store = open().await;
    let kept = store.topics().create(topic(1, 2)).await.unwrap();
    let deleted = store.topics().create(topic(2, 1)).await.unwrap();
    let cluster_id = store.topics().cluster_id("first").await.unwrap();
    let block = store.topics().reserve_producer_ids(10).await.unwrap();
    let mut written = Vec::new();
    let user = &mut User::new(&store);
    let log = store.open_log(kept.logs[0], LogSettings::default());
    for i in 0..10 {
        let value = format!("first life {i}");
        user.append(&log, batch(&value, 2)).await.unwrap();
        written.push((2 * i, 2, value));
    }
    let idempotent = store.open_log(kept.logs[1], LogSettings::default());
    for i in 0..3 {
        user.append(&idempotent, batch_of((1, 0), i, 1)).await.unwrap();
    }
    let doomed = store.open_log(deleted.logs[0], LogSettings::default());
    user.append(&doomed, batch("x", 1)).await.unwrap();
    assert!(store.topics().mark_deleting(deleted.id).await.unwrap());
    store.delete_log(&doomed).await.unwrap();
    let first_epoch = log.bounds().leader_epoch;
    fill(store.groups()).await;
    let groups = group_snapshot(store.groups()).await;
    let in_flight = user.start(&log, batch("in flight", 1));
    store.close().await.unwrap();
    let last = user.finish(in_flight).await.expect("a store in order makes durable what it was given");
    written.push((last.base_offset.0, 1, "in flight".into()));
    let late = user.append(&log, batch("late", 1)).await;
    assert!(matches!(late, Err(AppendError::Failed(_))), "a closed store answered {late:?}");
    drop((log, idempotent, doomed, store));

    let store = open().await;
    let live: Vec<_> =
        rows(store.topics()).await.into_iter().filter(|row| row.state == TopicState::Live).collect();
    assert_eq!(live, std::slice::from_ref(&kept));
    assert_eq!(store.topics().cluster_id("second").await.unwrap(), cluster_id);
    let next = store.topics().reserve_producer_ids(1).await.unwrap();
    assert!(next.first.0 >= block.first.0 + i64::from(block.count), "producer ids were given again");
    assert_eq!(group_snapshot(store.groups()).await, groups);
    store.groups().delete_offsets_of_group("simple").await.unwrap();
    store.groups().change_groups(vec![GroupChange::DeleteGroup { group: "group-4".into() }]).await.unwrap();
    let groups = group_snapshot(store.groups()).await;
    let newer = store.topics().create(topic(3, 1)).await.unwrap();
    let used: Vec<LogId> = kept.logs.iter().chain(&deleted.logs).copied().collect();
    assert!(!used.contains(&newer.logs[0]), "a log id was given again");

    let user = &mut User::new(&store);
    let log = store.open_log(kept.logs[0], LogSettings::default());
    let end = log.bounds().high_watermark;
    assert_eq!(contents(&log, 0).await, written);
    assert_eq!(user.append(&log, batch("second life", 1)).await.unwrap().base_offset, end);
    let epoch = log.bounds().leader_epoch;
    assert!(epoch >= first_epoch, "the leader epoch went back");
    let newest = EpochEnd { epoch, end_offset: Offset(end.0 + 1) };
    assert_eq!(log.end_of_epoch(epoch), Some(newest));
    if epoch > first_epoch {
        let first = EpochEnd { epoch: first_epoch, end_offset: end };
        assert_eq!(log.end_of_epoch(first_epoch), Some(first));
    }

    let idempotent = store.open_log(kept.logs[1], LogSettings::default());
    for i in 0..3 {
        let again = user.append(&idempotent, batch_of((1, 0), i, 1)).await.unwrap();
        assert_eq!((again.base_offset, again.duplicate), (Offset(i.into()), true));
    }
    assert_out_of_order(user.append(&idempotent, batch_of((1, 0), 9, 1)).await, 3);
    user.append(&idempotent, batch_of((1, 0), 3, 1)).await.unwrap();
    store.close().await.unwrap();
    drop((log, idempotent, store));

    let store = open().await;
    assert_eq!(group_snapshot(store.groups()).await, groups);
    store.close().await.unwrap();
}
