//! The store over a real file system: what is acknowledged is there, also after a restart.

mod harness;

use harness::{Store, batch};
use ottla_records::Offset;
use ottla_storage::{AppendError, Log, LogSettings, ReadError, ReadRequest};

fn all(offset: i64) -> ReadRequest {
    ReadRequest { offset: Offset(offset), max_bytes: 100 << 20, at_least_one: true }
}

#[tokio::test]
async fn what_is_appended_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    assert_eq!(store.append(&log, batch("a", 3)).await.unwrap().base_offset, Offset(0));
    assert_eq!(store.append(&log, batch("b", 2)).await.unwrap().base_offset, Offset(3));
    assert_eq!(log.bounds().high_watermark, Offset(5));
    assert_eq!(store.read_all(&log).await, [(0, "a", 3), (3, "b", 2)].map(harness::expected));
    store.close();
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for life in 0..4 {
        let mut store = Store::open(dir.path(), &[1, 2]);
        for id in [1, 2] {
            let log = store.log(id);
            assert_eq!(log.bounds().high_watermark, Offset(life * 20));
            assert_eq!(store.read_all(&log).await, written, "log {id} in life {life}");
        }
        for i in 0..10 {
            for id in [1, 2] {
                let log = store.log(id);
                store.append(&log, batch(&format!("{life}-{i}"), 2)).await.unwrap();
            }
            written.push((life * 20 + i * 2, format!("{life}-{i}"), 2));
        }
        store.close();
    }
}

#[tokio::test]
async fn much_data_goes_round_the_ring() {
    let dir = tempfile::tempdir().unwrap();
    let big = "x".repeat(200_000);
    let mut written = 0;
    for life in 0..2 {
        let mut store = Store::open(dir.path(), &[1, 2, 3]);
        let settings = LogSettings { segment_bytes: 4 << 20, ..LogSettings::default() };
        for i in 0..300_i64 {
            let log = store.log((i % 3).cast_unsigned() + 1);
            log.set_settings(settings.clone());
            store.append(&log, batch(&format!("{i:05}{big}"), 1)).await.unwrap();
            written += 1;
        }
        for id in 1..=3 {
            let log = store.log(id);
            assert_eq!(log.bounds().high_watermark, Offset(written / 3));
            let read = store.read_all(&log).await;
            assert_eq!(read.len(), usize::try_from(written / 3).unwrap(), "life {life}");
        }
        store.close();
    }
    let wal: u64 = std::fs::read_dir(dir.path().join("wal"))
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum();
    assert!(wal <= 64 << 20, "the ring grew to {wal} bytes");
    let segments = std::fs::read_dir(dir.path().join("logs/1")).unwrap().count();
    assert!(segments >= 3 * 4, "{segments} files");
}

#[tokio::test]
async fn a_record_larger_than_a_wal_file_passes() {
    let dir = tempfile::tempdir().unwrap();
    let huge = "y".repeat(20 << 20);
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    store.append(&log, batch(&huge, 1)).await.unwrap();
    store.append(&log, batch("small", 1)).await.unwrap();
    store.close();
    let store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    assert_eq!(store.read_all(&log).await, [(0, huge, 1), (1, "small".into(), 1)]);
    store.close();
}

#[tokio::test]
async fn reads_outside_are_refused_and_bounds_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    store.append(&log, batch("a", 3)).await.unwrap();
    assert!(matches!(log.read_now(all(4)), Err(ReadError::OutOfRange { .. })));
    assert!(log.read_now(all(3)).unwrap().unwrap().pieces.is_empty());
    let small = ReadRequest { offset: Offset(0), max_bytes: 10, at_least_one: false };
    assert!(log.read_now(small).unwrap().unwrap().pieces.is_empty());
    let small = ReadRequest { at_least_one: true, ..small };
    assert!(log.read_now(small).unwrap().unwrap().bytes() > 10);
    store.close();
}

#[tokio::test]
async fn a_deleted_log_takes_nothing_and_its_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    let big = "x".repeat(300_000);
    for _ in 0..10 {
        store.append(&log, batch(&big, 1)).await.unwrap();
    }
    store.wait_until(|| dir.path().join("logs/1").exists()).await;
    store.delete(&log).await;
    assert_eq!(store.append(&log, batch("a", 1)).await, Err(AppendError::Deleted));
    assert!(matches!(log.read_now(all(0)), Err(ReadError::Deleted)));
    // The directory is renamed first, and then emptied.
    store.wait_until(|| std::fs::read_dir(dir.path().join("logs")).unwrap().count() == 0).await;
    store.close();
}

#[tokio::test]
async fn old_segments_go_and_the_log_start_moves() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    let settings =
        LogSettings { segment_bytes: 1 << 20, retention_bytes: Some(3 << 20), ..LogSettings::default() };
    log.set_settings(settings);
    let big = "x".repeat(100_000);
    for _ in 0..200 {
        store.append(&log, batch(&big, 1)).await.unwrap();
    }
    store.wait_until(|| log.bounds().log_start >= Offset(100)).await;
    let log_start = log.bounds().log_start;
    assert!(matches!(log.read_now(all(0)), Err(ReadError::OutOfRange { .. })));
    store.close();
    let store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    assert!(log.bounds().log_start >= log_start);
    assert_eq!(log.bounds().high_watermark, Offset(200));
    store.close();
}

#[tokio::test]
async fn a_segment_ends_with_a_whole_batch_once_nothing_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &[1]);
    let log = store.log(1);
    // Runs that fill blocks end within a batch.
    let big = "x".repeat(100_001);
    for _ in 0..50 {
        store.append(&log, batch(&big, 1)).await.unwrap();
    }
    let whole = batch(&big, 1).len() as u64;
    let file = dir.path().join("logs/1/00000000000000000000.log");
    let len = || std::fs::metadata(&file).map_or(0, |file| file.len());
    store.wait_until(|| len() > 0 && len().is_multiple_of(whole)).await;
    assert_eq!(store.read_all(&log).await.len(), 50);
    store.close();
}
