//! A data directory that version 1 of each format has written, `tests/golden/v1`: it opens, it reads as it did,
//! and it is shown as it was. Byte for byte, the formats are compared in `src/golden.rs`.
//!
//! A change of a format gets a directory of its own beside it, which this writes:
//! `OTTLA_GOLDEN=tests/golden/v2 cargo test -p ottla-storage-local --test golden -- --ignored`

mod fixture;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use fixture::{Writer, copy, read, try_open_with};
use ottla_records::{
    BatchBuilder, LogId, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId,
};
use ottla_storage::{Log, LogSettings, NewTopic, Storage, TopicState, TopicStore};
use ottla_storage_local::{LocalStorage, Options, inspect};

/// Batches of the first partition. The second has as many, of which retention has taken the oldest.
const BATCHES: i64 = 44;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn open(dir: &Path) -> LocalStorage {
    let options = Options {
        arena_bytes: 4 << 20,
        wal_max: Some(96 << 10),
        wal_file_bytes: 32 << 10,
        checkpoint_interval: Duration::ZERO,
        retention_interval: Duration::from_millis(1),
        ..Options::default()
    };
    try_open_with(dir, &options).unwrap()
}

fn settings(log: LogId) -> LogSettings {
    LogSettings {
        segment_bytes: 8 << 10,
        index_interval_bytes: 1024,
        retention_bytes: (log == LogId(2)).then_some(8 << 10),
        ..LogSettings::default()
    }
}

/// The batch with this number, of two records, as it is sent.
fn batch(log: LogId, number: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    if log == LogId(1) {
        let sequence = Sequence(i32::try_from(number * 2).unwrap());
        builder = builder.producer(ProducerId(5), ProducerEpoch(1), sequence);
    }
    push(&mut builder, log, number);
    builder.build().unwrap()
}

/// The same, as it is stored.
fn stored(log: LogId, number: i64) -> Bytes {
    let mut bytes = batch(log, number).to_vec();
    bytes[..8].copy_from_slice(&(number * 2).to_be_bytes());
    bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
    bytes.into()
}

fn push(builder: &mut BatchBuilder, log: LogId, number: i64) {
    for record in 0..2 {
        let timestamp = TimestampMs(1_760_000_000_000 + number * 1000 + record);
        let value = format!("log {log}, batch {number}, record {record}: ").repeat(10);
        let key = format!("key {record}");
        let record =
            NewRecord { timestamp, key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] };
        builder.push(&record).unwrap();
    }
}

#[tokio::test]
async fn what_version_1_has_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden().join("v1"), dir.path());
    let summary = inspect::check(dir.path(), &mut |problem| panic!("{problem}")).unwrap();
    assert!(summary.replayed > 0 && summary.segments > 4, "{summary}");

    let store = open(dir.path());
    let topics = store.topics().load().await.unwrap();
    let [topic] = topics.as_slice() else { panic!("{topics:?}") };
    assert_eq!((topic.name.as_str(), topic.id, topic.state), ("orders", TopicId([7; 16]), TopicState::Live));
    assert_eq!(topic.logs, [LogId(1), LogId(2)]);
    let expected = BTreeMap::from([("segment.bytes".to_owned(), "8192".to_owned())]);
    assert_eq!(topic.settings, expected);
    assert_eq!(store.topics().cluster_id("another").await.unwrap(), "golden-cluster");
    assert_eq!(store.topics().reserve_producer_ids(1).await.unwrap().first, ProducerId(1000));

    let mut writer = Writer::new(&store);
    for id in [LogId(1), LogId(2)] {
        let log = store.open_log(id, settings(id));
        let bounds = log.bounds();
        assert_eq!(bounds.high_watermark, Offset(BATCHES * 2));
        assert_eq!(bounds.log_start > Offset(0), id == LogId(2), "{bounds:?}");
        for number in bounds.log_start.0 / 2..BATCHES {
            assert_eq!(read(&log, number * 2, 1).await.unwrap(), [number * 2]);
            assert_eq!(fixture::read_bytes(&log, number * 2, 1).await.unwrap(), stored(id, number));
        }
        // The producer is known: what it sends again is not written again.
        if id == LogId(1) {
            assert_eq!(writer.write(&log, batch(id, BATCHES - 1)).await, Offset((BATCHES - 1) * 2));
        }
        assert_eq!(writer.write(&log, batch(id, BATCHES)).await, Offset(BATCHES * 2));
    }
    store.close().await.unwrap();
}

#[test]
fn it_is_shown_as_it_was() {
    let mut shown = Vec::new();
    inspect::dump(&golden().join("v1"), &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap().replace(golden().to_str().unwrap(), "");
    let expected = fs::read_to_string(golden().join("v1.txt")).unwrap();
    assert!(shown == expected, "it is shown in another way:\n{shown}");
}

#[tokio::test]
#[ignore = "writes a new directory"]
async fn write_another() {
    let dir =
        PathBuf::from(env::var("OTTLA_GOLDEN").expect("OTTLA_GOLDEN names a directory that is not there"));
    fs::create_dir(&dir).unwrap();
    let store = open(&dir);
    let topic = NewTopic {
        id: TopicId([7; 16]),
        name: "orders".into(),
        partitions: 2,
        settings: BTreeMap::from([("segment.bytes".into(), "8192".into())]),
    };
    store.topics().create(topic).await.unwrap();
    store.topics().cluster_id("golden-cluster").await.unwrap();
    store.topics().reserve_producer_ids(1000).await.unwrap();
    let logs = [LogId(1), LogId(2)].map(|id| store.open_log(id, settings(id)));
    let mut writer = Writer::new(&store);
    for number in 0..BATCHES {
        // The log start moves before the last batches, so that the write-ahead log keeps an entry of it.
        while number == BATCHES - 2 && logs[1].bounds().log_start == Offset(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for log in &logs {
            assert_eq!(writer.write(log, batch(log.id(), number)).await, Offset(number * 2));
        }
    }
    store.close().await.unwrap();
    let mut shown = Vec::new();
    inspect::dump(&dir, &mut shown).unwrap();
    let parent = dir.canonicalize().unwrap().parent().unwrap().to_path_buf();
    let shown = String::from_utf8(shown)
        .unwrap()
        .replace(&format!("{}/", dir.display()), &format!("/{}/", dir.file_name().unwrap().display()));
    let shown =
        shown.replace(&format!("{}:", dir.display()), &format!("/{}:", dir.file_name().unwrap().display()));
    fs::write(parent.join(format!("{}.txt", dir.file_name().unwrap().display())), shown).unwrap();
}
