//! Damaged segments and indexes: the rest of a log stays readable, and indexes come back.

mod fixture;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fixture::{BATCHES, FIRST, RECORDS, batch, build, copy, files_of, open, read, settings};
use ottla_records::{BatchHeader, LogId, Offset, TopicId};
use ottla_storage::{ReadError, Storage, TopicStore};
use ottla_storage_local::{LocalLog, LocalStorage, inspect};
use tempfile::TempDir;

/// A small answer, and one that spans batches.
const SIZES: [usize; 2] = [1, 20_000];

struct Whole(TempDir);

impl Whole {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path()).await;
        Self(dir)
    }

    fn copy(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(self.0.path(), dir.path());
        dir
    }
}

fn open_first(dir: &Path) -> (LocalStorage, Arc<LocalLog>) {
    let store = open(dir);
    let log = store.open_log(FIRST, settings());
    (store, log)
}

/// The batches of a segment file: position, base offset, length.
fn batches(path: &Path) -> Vec<(usize, i64, usize)> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        found.push((at, header.base_offset.0, header.length));
        at += header.length;
    }
    found
}

/// Positions that the index of a segment names.
fn indexed(log: &Path) -> Vec<usize> {
    let bytes = fs::read(log.with_extension("index")).unwrap();
    let position = |entry: &[u8; 8]| u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]) as usize;
    bytes.as_chunks().0.iter().map(position).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Whatever is read from an offset on begins with the batch that holds it and goes on without a gap.
async fn assert_readable(log: &Arc<LocalLog>, offset: i64, what: &str) {
    for size in SIZES {
        let bases = read(log, offset, size).await.unwrap_or_else(|error| panic!("{what}: {offset}: {error}"));
        let first = offset / RECORDS * RECORDS;
        let expected: Vec<i64> = (0..bases.len() as i64).map(|i| first + i * RECORDS).collect();
        assert!(!bases.is_empty() && bases == expected, "{what}: {offset}: {bases:?}");
    }
}

/// What cannot be read is said to be damaged, with the offset to go on at.
async fn assert_damaged(log: &Arc<LocalLog>, offset: i64, what: &str) -> Option<i64> {
    let error = read(log, offset, 1).await.expect_err(&format!("{what}: {offset} was read"));
    let ReadError::Damaged { offset: at, detail } = &error else { panic!("{what}: {error}") };
    assert_eq!(*at, Offset(offset), "{what}");
    assert!(detail.contains("of log 1, position "), "{what}: {detail}");
    let readable = detail.split_once("seek to offset ")?.1.split_once(' ')?.0;
    Some(readable.parse().unwrap())
}

#[tokio::test]
async fn a_batch_that_is_damaged_is_the_only_one_lost() {
    let whole = Whole::new().await;
    let log = files_of(whole.0.path(), FIRST, "log").remove(0);
    for (number, (at, base, len)) in batches(&log).into_iter().enumerate().step_by(3) {
        let dir = whole.copy();
        let path = files_of(dir.path(), FIRST, "log").remove(0);
        change(&path, |bytes| bytes[at + len / 2] ^= 1);
        let (store, log) = open_first(dir.path());
        let what = format!("batch {number}");
        for other in (0..BATCHES).filter(|other| *other != number as i64) {
            assert_readable(&log, other * RECORDS + 1, &what).await;
        }
        let readable = assert_damaged(&log, base + 1, &what).await;
        let next = base + RECORDS;
        let ends_segment = !path.parent().unwrap().join(format!("{next:020}.log")).exists();
        assert_eq!(readable, ends_segment.then_some(next), "{what}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_index_leads_past_a_header_that_is_damaged() {
    let whole = Whole::new().await;
    let log = files_of(whole.0.path(), FIRST, "log").remove(0);
    let (all, indexed) = (batches(&log), indexed(&log));
    type Damage = fn(&mut [u8]);
    let damages: [(&str, Damage); 4] = [
        ("a zeroed header", |header| header.fill(0)),
        ("another length", |header| header[10] ^= 0x40),
        ("another base offset", |header| header[7] ^= 1),
        ("another last offset", |header| header[26] ^= 0x20),
    ];
    for (name, damage) in damages {
        for (number, &(at, base, _)) in all.iter().enumerate().step_by(4) {
            let dir = whole.copy();
            let path = files_of(dir.path(), FIRST, "log").remove(0);
            change(&path, |bytes| damage(&mut bytes[at..at + 61]));
            let (store, log) = open_first(dir.path());
            let what = format!("{name} of batch {number}");
            // From the next batch on that the index names, or the next segment.
            let next = all[number + 1..].iter().find(|batch| indexed.contains(&batch.0));
            let reachable = next.map_or(all.len() as i64 * RECORDS, |batch| batch.1);
            for other in (0..base).chain(reachable..BATCHES * RECORDS).step_by(2) {
                assert_readable(&log, other, &what).await;
            }
            let readable = assert_damaged(&log, base, &what).await;
            assert_eq!(readable, next.map(|batch| batch.1), "{what}");
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_segment_that_was_cut_ends_early() {
    let whole = Whole::new().await;
    let dir = whole.copy();
    let path = files_of(dir.path(), FIRST, "log").remove(0);
    let all = batches(&path);
    let (at, base, _) = all[10];
    change(&path, |bytes| bytes.truncate(at + 30));
    let (store, log) = open_first(dir.path());
    for offset in (0..base).chain(all.len() as i64 * RECORDS..BATCHES * RECORDS) {
        assert_readable(&log, offset, "cut").await;
    }
    for offset in base..all.len() as i64 * RECORDS {
        assert_eq!(assert_damaged(&log, offset, "cut").await, None);
    }
    store.close().await.unwrap();
}

type IndexDamage = fn(&Path);

fn index_damages() -> Vec<(&'static str, IndexDamage)> {
    vec![
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| change(path, Vec::clear)),
        ("cut within an entry", |path| change(path, |bytes| bytes.truncate(bytes.len() - 1))),
        ("zeros", |path| change(path, |bytes| bytes.fill(0))),
        ("ones", |path| change(path, |bytes| bytes.fill(0xff))),
        ("noise", |path| {
            change(path, |bytes| {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = byte.wrapping_mul(31).wrapping_add(at as u8);
                }
            });
        }),
        ("cut by entries", |path| change(path, |bytes| bytes.truncate(bytes.len() / 24 * 8))),
        ("other positions", |path| {
            change(path, |bytes| bytes.iter_mut().skip(6).step_by(8).for_each(|b| *b ^= 3))
        }),
        ("other offsets", |path| {
            change(path, |bytes| bytes.iter_mut().skip(3).step_by(8).for_each(|b| *b ^= 5))
        }),
    ]
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it did not happen within a minute");
}

#[tokio::test]
async fn an_index_is_a_hint_and_comes_back() {
    let whole = Whole::new().await;
    for (name, damage) in index_damages() {
        for suffix in ["index", "timeindex"] {
            // Of a time index that nobody reads yet, only its length tells at the start.
            if suffix == "timeindex" && !["missing", "cut within an entry"].contains(&name) {
                continue;
            }
            let dir = whole.copy();
            let path = files_of(dir.path(), FIRST, suffix).remove(0);
            let before = fs::read(&path).unwrap();
            damage(&path);
            let (store, log) = open_first(dir.path());
            for offset in 0..BATCHES * RECORDS {
                assert_readable(&log, offset, name).await;
            }
            wait_until(name, || fs::read(&path).is_ok_and(|bytes| bytes == before)).await;
            for offset in 0..BATCHES * RECORDS {
                assert_readable(&log, offset, name).await;
            }
            store.close().await.unwrap();
            assert_well(dir.path(), name);
        }
    }
}

/// A broker whose active segment lost an index starts, goes on writing, and leaves everything in order.
#[tokio::test]
async fn the_active_segment_gets_its_index_back_at_the_start() {
    let whole = Whole::new().await;
    for (name, damage) in index_damages().into_iter().take(3) {
        for suffix in ["index", "timeindex"] {
            let dir = whole.copy();
            let active = |suffix| -> PathBuf { files_of(dir.path(), FIRST, suffix).pop().unwrap() };
            let path = active(suffix);
            let before = fs::read(&path).unwrap();
            assert!(!before.is_empty());
            damage(&path);
            let (store, log) = open_first(dir.path());
            assert_eq!(fs::read(&path).unwrap(), before, "{name}");
            let mut writer = fixture::Writer::new(&store);
            for number in BATCHES..2 * BATCHES {
                assert_eq!(writer.write(&log, batch(number)).await, Offset(number * RECORDS));
            }
            let second = store.open_log(LogId(2), settings());
            let mut number = 0;
            while active("log").with_extension(suffix) == path {
                writer.write(&second, fixture::plain(number)).await;
                number += 1;
                assert!(number < 100_000, "nothing was moved into segments");
            }
            for offset in 0..2 * BATCHES * RECORDS {
                assert_readable(&log, offset, name).await;
            }
            store.close().await.unwrap();
            assert_well(dir.path(), name);
        }
    }
}

/// A file of somebody else's in a log's directory outlives the log, and does not stop the broker.
#[tokio::test]
async fn a_stranger_does_not_stop_a_deletion() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path()).await;
    fs::write(dir.path().join("logs/1/notes.txt"), "mine").unwrap();
    let (store, log) = open_first(dir.path());
    let second = store.open_log(LogId(2), settings());
    assert!(store.topics().mark_deleting(TopicId([9; 16])).await.unwrap());
    store.delete_log(&log).await.unwrap();
    let left = || -> Vec<PathBuf> {
        let names = fs::read_dir(dir.path().join("logs/1.deleted")).into_iter().flatten();
        names.map(|entry| PathBuf::from(entry.unwrap().file_name())).collect()
    };
    wait_until("deletion", || left() == [PathBuf::from("notes.txt")]).await;
    let mut writer = fixture::Writer::new(&store);
    writer.write(&second, fixture::plain(1)).await;
    store.close().await.unwrap();
}

fn assert_well(dir: &Path, what: &str) {
    inspect::check(dir, &mut |problem| panic!("{what}: {problem}")).unwrap();
}
