//! Storage in memory, by the conformance suite and by what is its own.

use std::{cell::RefCell, sync::Arc};

use ottla_records::{BatchBuilder, BatchHeader, NewRecord, Offset, TimestampMs};

use super::*;
use crate::{Log, Read, ReadError, ReadRequest, Stamp, TopicStore, conformance};

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

fn store(commits: Commits) -> MemoryStorage {
    MemoryStorage::new(MemoryOptions { commits, ..MemoryOptions::default() })
}

fn batch(records: usize) -> Produced {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        let value = Some(&b"value"[..]);
        builder.push(&NewRecord { timestamp: TimestampMs(1), key: None, value, headers: &[] }).unwrap();
    }
    let bytes = builder.build().unwrap();
    Produced { header: BatchHeader::parse(&bytes).unwrap(), bytes, stamp: Stamp::Keep }
}

/// Passes on what was delivered; which logs have advanced.
fn deliver(deliveries: &mut DeliveryReceiver) -> Vec<LogId> {
    let mut advanced = Vec::new();
    while let Ok(delivery) = deliveries.try_recv() {
        for (ticket, answer) in delivery.answers {
            let _ = ticket.send(answer);
        }
        advanced.extend(delivery.advanced);
    }
    advanced
}

fn read(log: &MemoryLog, offset: i64) -> Result<Option<Read>, ReadError> {
    log.read_now(ReadRequest { offset: Offset(offset), max_bytes: 1 << 20, at_least_one: true })
}

#[test]
fn topics_conform() {
    run(async { conformance::topics(&MemoryTopics::default()).await });
}

#[test]
fn groups_conform() {
    run(async { conformance::groups(&MemoryGroups::default()).await });
}

#[test]
fn logs_conform() {
    run(async { conformance::logs(&store(Commits::AtOnce)).await });
}

#[test]
fn restarts_conform() {
    run(async {
        let lives = RefCell::new(vec![store(Commits::AtOnce)]);
        let open = async || {
            let next = lives.borrow().last().unwrap().restart();
            let handle = MemoryStorage {
                shared: next.shared.clone(),
                topics: next.topics.clone(),
                groups: next.groups.clone(),
            };
            lives.borrow_mut().push(next);
            handle
        };
        conformance::reopening(open).await;
    });
}

#[test]
fn nothing_is_there_before_the_commit() {
    run(async {
        let store = store(Commits::Manual);
        let log = store.open_log(LogId(1), LogSettings::default());
        let (appender, mut deliveries) = store.appender();
        log.watch(appender.number());
        let (first, second) = (appender.append(&log, batch(2)), appender.append(&log, batch(1)));
        assert_eq!(deliver(&mut deliveries), []);
        assert_eq!(log.bounds().high_watermark, Offset(0));
        assert_eq!(store.waiting(), 2);
        store.commit();
        assert_eq!(deliver(&mut deliveries), [LogId(1)], "one commit, one report");
        assert_eq!(first.await.unwrap().base_offset, Offset(0));
        assert_eq!(second.await.unwrap().base_offset, Offset(2));
        assert_eq!(log.bounds().high_watermark, Offset(3));
    });
}

#[test]
fn a_failed_commit_leaves_no_gap() {
    run(async {
        let store = store(Commits::Manual);
        let log = store.open_log(LogId(1), LogSettings::default());
        let (appender, mut deliveries) = store.appender();
        let failed = appender.append(&log, batch(2));
        store.fail(&AppendError::DiskFull);
        let passed = appender.append(&log, batch(1));
        store.commit();
        deliver(&mut deliveries);
        assert_eq!(failed.await, Err(AppendError::DiskFull));
        assert_eq!(passed.await.unwrap().base_offset, Offset(0));
    });
}

#[test]
fn a_restart_loses_what_was_not_committed() {
    run(async {
        let store = store(Commits::Manual);
        let log = store.open_log(LogId(1), LogSettings::default());
        let (appender, mut deliveries) = store.appender();
        let kept = appender.append(&log, batch(1));
        store.commit();
        let lost = appender.append(&log, batch(1));
        let store = store.restart();
        deliver(&mut deliveries);
        assert!(kept.await.is_ok());
        assert!(matches!(lost.await, Err(AppendError::Failed(_))));
        let late = appender.append(&log, batch(1)).await;
        assert!(matches!(late, Err(AppendError::Failed(_))));
        let log = store.open_log(LogId(1), LogSettings::default());
        assert_eq!(log.bounds().high_watermark, Offset(1));
        assert!(store.topics().load().await.unwrap().is_empty());
    });
}

#[test]
fn the_log_start_moves_and_cold_logs_wait() {
    run(async {
        let store = store(Commits::AtOnce);
        let log = store.open_log(LogId(1), LogSettings::default());
        let (appender, _deliveries) = store.appender();
        for _ in 0..3 {
            drop(appender.append(&log, batch(2)));
        }
        log.set_log_start(Offset(3));
        assert_eq!(log.bounds().log_start, Offset(3));
        assert!(matches!(read(&log, 2), Err(ReadError::OutOfRange { .. })));
        let two = read(&log, 3).unwrap().unwrap();
        assert_eq!(two.pieces.len(), 2, "the batch that holds offset 3, and the one behind it");
        log.set_log_start(Offset(1));
        log.set_log_start(Offset(100));
        assert_eq!(log.bounds().log_start, Offset(6));

        drop(appender.append(&log, batch(1)));
        log.set_cold(true);
        assert!(read(&log, 6).unwrap().is_none());
        assert!(read(&log, 7).unwrap().is_some(), "at the end there is nothing to wait for");
        let request = ReadRequest { offset: Offset(6), max_bytes: 0, at_least_one: true };
        assert_eq!(log.read(request).await.unwrap().pieces.len(), 1);
    });
}

#[test]
fn a_batch_past_the_limit_is_refused() {
    run(async {
        let store = MemoryStorage::new(MemoryOptions { max_batch: 10, ..MemoryOptions::default() });
        let log: Arc<MemoryLog> = store.open_log(LogId(1), LogSettings::default());
        let (appender, _deliveries) = store.appender();
        let refused = appender.append(&log, batch(1)).await;
        assert!(matches!(refused, Err(AppendError::TooLarge { limit: 10, .. })), "{refused:?}");
    });
}
