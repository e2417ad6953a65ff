//! The promises of logs and appenders within one life of the store.

use std::{future::poll_fn, sync::Arc, task::Poll};

use ottla_records::{LeaderEpoch, Offset, TimestampMs, TimestampType};

use super::{
    harness::{CREATED, User, batch, batches, bytes, contents, from, new_log, read},
    idempotence::idempotence,
};
use crate::{AppendError, Appender, EpochEnd, Log, LogSettings, ReadError, ReadRequest, Stamp, Storage};

/// Checks a store in which nothing is yet, and which commits by itself.
///
/// # Panics
/// Where the store breaks a promise.
pub async fn logs<S: Storage>(store: &S) {
    let user = &mut User::new(store);
    an_empty_log_has_nothing_to_read(&new_log(store, 1).await).await;
    what_is_appended_is_read_again(user, &new_log(store, 2).await).await;
    a_read_keeps_its_limit(user, &new_log(store, 3).await).await;
    tickets_are_answered_in_order(user, &new_log(store, 4).await).await;
    appenders_share_a_log(store, user, &new_log(store, 5).await).await;
    stamps_are_written(user, &new_log(store, 6).await).await;
    watchers_hear_of_advances(store, user, &new_log(store, 7).await).await;
    epochs_have_ends(user, &new_log(store, 8).await).await;
    segments_do_not_show(user, &new_log(store, 9).await).await;
    a_dropped_ticket_changes_nothing(user, &new_log(store, 10).await).await;
    a_deleted_log_is_gone(store, user, [&new_log(store, 11).await, &new_log(store, 12).await]).await;
    idempotence(user, &new_log(store, 13).await).await;
}

async fn an_empty_log_has_nothing_to_read<L: Log>(log: &Arc<L>) {
    let bounds = log.bounds();
    assert_eq!((bounds.log_start, bounds.high_watermark), (Offset(0), Offset(0)));
    let nothing = read(log, from(0)).await.unwrap();
    assert_eq!((nothing.bytes(), nothing.bounds), (0, bounds));
    assert_out_of_range(log, -1).await;
    assert_out_of_range(log, 1).await;
    assert_eq!(log.end_of_epoch(LeaderEpoch(0)), None);
}

async fn what_is_appended_is_read_again<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    let mut written = Vec::new();
    let mut next = 0;
    for (i, records) in [1, 3, 100, 1, 2].into_iter().enumerate() {
        let value = format!("batch {i}");
        let appended = user.append(log, batch(&value, records as usize)).await.unwrap();
        assert_eq!(appended.base_offset, Offset(next), "offsets are dense");
        assert_eq!(appended.log_start, Offset(0));
        assert_eq!(appended.append_time, None);
        assert!(!appended.duplicate);
        written.push((next, records, value));
        next += i64::from(records);
        assert_eq!(log.bounds().high_watermark, Offset(next), "what is answered may be read");
    }
    assert_eq!(contents(log, 0).await, written);
    for stored in batches(log, 0).await {
        assert_eq!(stored.header().leader_epoch, log.bounds().leader_epoch);
    }
    // An offset in the middle of the batch of 100 gives that batch whole.
    assert_eq!(contents(log, 50).await, written[2..]);
    assert_eq!(read(log, from(next)).await.unwrap().bytes(), 0);
    assert_out_of_range(log, next + 1).await;
}

async fn a_read_keeps_its_limit<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    for i in 0..20 {
        user.append(log, batch(&"x".repeat(100 * (i + 1)), 1)).await.unwrap();
    }
    let all: Vec<u8> = batches(log, 0).await.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let first = batches(log, 0).await[0].bytes().len();
    for max_bytes in [0, 1, first - 1, first, first + 1, all.len() / 2, all.len() - 1, all.len(), usize::MAX]
    {
        let limited = ReadRequest { offset: Offset(0), max_bytes, at_least_one: false };
        let given = bytes(&read(log, limited).await.unwrap());
        assert!(given.len() <= max_bytes, "{} bytes for a limit of {max_bytes}", given.len());
        assert!(all.starts_with(&given));
        let given = bytes(&read(log, ReadRequest { at_least_one: true, ..limited }).await.unwrap());
        assert!(given.len() <= max_bytes.max(first), "{} bytes for a limit of {max_bytes}", given.len());
        assert!(given.len() >= first, "the first batch comes whole");
        assert!(all.starts_with(&given));
    }
}

async fn tickets_are_answered_in_order<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    let tickets: Vec<_> = (0..200).map(|i| user.start(log, batch(&i.to_string(), 2))).collect();
    for (i, ticket) in (0..).zip(tickets) {
        assert_eq!(user.finish(ticket).await.unwrap().base_offset, Offset(2 * i));
    }
    let expected: Vec<_> = (0..200).map(|i| (2 * i, 2, i.to_string())).collect();
    assert_eq!(contents(log, 0).await, expected);
}

async fn appenders_share_a_log<S: Storage>(store: &S, user: &mut User<S>, log: &Arc<S::Log>) {
    let mut other = User::new(store);
    assert_ne!(user.appender.number(), other.appender.number());
    let tickets: Vec<_> = (0..100)
        .map(|i| (user.start(log, batch(&format!("a{i}"), 1)), other.start(log, batch(&format!("b{i}"), 3))))
        .collect();
    let mut expected = Vec::new();
    let (mut last_a, mut last_b) = (-1, -1);
    for (i, (a, b)) in tickets.into_iter().enumerate() {
        let (a, b) =
            (user.finish(a).await.unwrap().base_offset.0, other.finish(b).await.unwrap().base_offset.0);
        assert!(a > last_a && b > last_b, "an appender's own order is kept");
        (last_a, last_b) = (a, b);
        expected.extend([(a, 1, format!("a{i}")), (b, 3, format!("b{i}"))]);
    }
    expected.sort_unstable();
    assert_eq!(contents(log, 0).await, expected);
    assert_eq!(log.bounds().high_watermark, Offset(400));
}

async fn stamps_are_written<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    let time = TimestampMs(CREATED.0 + 5000);
    let appended = user.append_stamped(log, batch("a", 2), Stamp::AppendTime(time)).await.unwrap();
    assert_eq!(appended.append_time, Some(time));
    let appended = user.append_stamped(log, batch("b", 2), Stamp::MaxTimestamp(time)).await.unwrap();
    assert_eq!(appended.append_time, None);
    user.append_stamped(log, batch("c", 2), Stamp::Keep).await.unwrap();
    let stored = batches(log, 0).await;
    let stamps: Vec<_> =
        stored.iter().map(|batch| (batch.header().timestamp_type(), batch.header().max_timestamp)).collect();
    let expected = [
        (TimestampType::AppendTime, time),
        (TimestampType::CreateTime, time),
        (TimestampType::CreateTime, CREATED),
    ];
    assert_eq!(stamps, expected);
}

async fn watchers_hear_of_advances<S: Storage>(store: &S, user: &mut User<S>, log: &Arc<S::Log>) {
    let mut watcher = User::new(store);
    log.watch(watcher.appender.number());
    for i in 1..=3 {
        user.append(log, batch("x", 1)).await.unwrap();
        watcher.hear(log.id()).await;
        assert_eq!(log.bounds().high_watermark, Offset(i), "the advance may be seen when it is heard of");
    }
    log.unwatch(watcher.appender.number());
    // When the second one is answered, the commit of the first has told everybody.
    user.append(log, batch("x", 1)).await.unwrap();
    user.append(log, batch("x", 1)).await.unwrap();
    poll_fn(|context| {
        watcher.take_deliveries(context);
        Poll::Ready(())
    })
    .await;
    assert!(!watcher.advanced.contains(&log.id()), "an unwatched log was reported");

    log.watch(user.appender.number());
    user.append(log, batch("x", 1)).await.unwrap();
    user.hear(log.id()).await;
    log.unwatch(user.appender.number());
}

async fn epochs_have_ends<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    user.append(log, batch("x", 5)).await.unwrap();
    let epoch = log.bounds().leader_epoch;
    assert!(epoch > LeaderEpoch::NONE);
    assert_eq!(log.end_of_epoch(epoch), Some(EpochEnd { epoch, end_offset: Offset(5) }));
    assert_eq!(log.end_of_epoch(LeaderEpoch(epoch.0 + 1)), None);
}

async fn segments_do_not_show<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    log.set_settings(LogSettings { segment_bytes: 16 << 10, ..LogSettings::default() });
    let value = "y".repeat(10_000);
    let tickets: Vec<_> = (0..100).map(|_| user.start(log, batch(&value, 1))).collect();
    for ticket in tickets {
        user.finish(ticket).await.unwrap();
    }
    let expected: Vec<_> = (0..100).map(|i| (i, 1, value.clone())).collect();
    assert_eq!(contents(log, 0).await, expected);
    assert_eq!(contents(log, 60).await, expected[60..]);
}

async fn a_dropped_ticket_changes_nothing<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    drop(user.start(log, batch("nobody waits", 1)));
    assert_eq!(user.append(log, batch("x", 1)).await.unwrap().base_offset, Offset(1));
    let expected = [(0, 1, "nobody waits".to_owned()), (1, 1, "x".to_owned())];
    assert_eq!(contents(log, 0).await, expected);
}

async fn a_deleted_log_is_gone<S: Storage>(
    store: &S,
    user: &mut User<S>,
    [doomed, other]: [&Arc<S::Log>; 2],
) {
    for log in [doomed, other] {
        user.append(log, batch("x", 1)).await.unwrap();
    }
    store.delete_log(doomed).await.unwrap();
    assert_eq!(user.append(doomed, batch("y", 1)).await, Err(AppendError::Deleted));
    let refused = read(doomed, from(0)).await;
    assert!(matches!(refused, Err(ReadError::Deleted)), "{refused:?}");
    assert_eq!(user.append(other, batch("y", 1)).await.unwrap().base_offset, Offset(1));
    assert_eq!(contents(other, 0).await.len(), 2);
}

async fn assert_out_of_range<L: Log>(log: &Arc<L>, wanted: i64) {
    match read(log, from(wanted)).await {
        Err(ReadError::OutOfRange { offset, bounds }) => {
            assert_eq!((offset, bounds), (Offset(wanted), log.bounds()));
        }
        other => panic!("a read at {wanted} of {:?} gave {other:?}", log.bounds()),
    }
}
