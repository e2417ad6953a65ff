//! Records that were given once and not kept are read again, wherever they have moved meanwhile.

mod harness;

use std::sync::Arc;

use harness::{Store, batch};
use ottla_records::Offset;
use ottla_storage::{Log, LogSettings};
use ottla_storage_local::LocalLog;

/// Reads everything from the batch with `offset` on, in pieces of `step` bytes.
async fn reread(log: &Arc<LocalLog>, offset: i64, skip: usize, len: usize, step: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let most = step.min(len - all.len());
        let read = log.read_again(Offset(offset), (skip + all.len()) as u64, most).await.unwrap();
        assert!(!read.is_empty() && read.len() <= most, "{} of {most}", read.len());
        all.extend_from_slice(&read);
    }
    all
}

#[tokio::test]
async fn bytes_are_the_same_in_tail_and_segments_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogSettings { segment_bytes: 1 << 20, ..LogSettings::default() };
    let mut store = Store::open(dir.path(), &[1]);
    let mut log = store.log(1);
    log.set_settings(settings.clone());
    let (mut all, mut starts) = (Vec::new(), Vec::new());
    for number in 0..120 {
        let batch = batch(&format!("{number:05}{}", "x".repeat(number * 577 % 90_000)), 1);
        let offset = store.append(&log, batch.clone()).await.unwrap().base_offset;
        starts.push(all.len());
        all.extend_from_slice(&batch);
        let at = starts[number];
        all[at..at + 8].copy_from_slice(&offset.0.to_be_bytes());
    }
    let segments = || std::fs::read_dir(dir.path().join("logs/1")).map_or(0, |files| files.count() / 3);
    store.wait_until(|| segments() >= 3).await;

    for life in 0..2 {
        let epoch = &reread(&log, 0, 0, all.len(), usize::MAX).await[12..16];
        for start in &starts {
            all[start + 12..start + 16].copy_from_slice(epoch);
        }
        for step in [usize::MAX, 300_000, 4096 * 7 + 1] {
            assert!(reread(&log, 0, 0, all.len(), step).await == all, "life {life}, step {step}");
        }
        for (offset, skip, len) in [(7, 0, 61), (60, 100, 800_000), (0, starts[119], 61), (119, 20, 41)] {
            let from = starts[offset] + skip;
            let again = reread(&log, offset as i64, skip, len, 50_000).await;
            assert!(again == all[from..from + len], "life {life}, offset {offset}");
        }
        assert!(log.read_again(Offset(0), all.len() as u64, 1).await.is_err());
        assert!(log.read_again(Offset(120), 0, 1).await.is_err());
        if life == 0 {
            store.close();
            store = Store::open(dir.path(), &[1]);
            log = store.log(1);
        }
    }
    store.close();
}
