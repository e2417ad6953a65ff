//! Data directories that earlier versions of the formats have written: they open, they read as they did, and they
//! are shown as they were. Byte for byte, the formats are compared in `src/golden.rs`.
//!
//! | in `tests/golden` | what is new there |
//! |---|---|
//! | `v1` | version 1 of each format |
//! | `v2` | version 2 of the state database, with groups and committed offsets |
//!
//! A change of a format gets a directory of its own beside them, which this writes:
//! `OTTLA_GOLDEN=tests/golden/v3 cargo test -p ottla-storage-local --test golden -- --ignored`

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
    BatchBuilder, LeaderEpoch, LogId, NewRecord, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence,
    TimestampMs, TopicId,
};
use ottla_storage::{
    GroupChange, GroupKind, GroupRow, GroupStore, Log, LogSettings, MemberRow, NewTopic, OffsetKey,
    OffsetRow, OffsetStore, Storage, StoredGroup, TopicState, TopicStore,
};
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

const VERSIONS: [&str; 2] = ["v1", "v2"];

#[tokio::test]
async fn what_earlier_versions_have_written_is_read() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        copy(&golden().join(version), dir.path());
        check_logs(dir.path()).await;
        check_groups(dir.path(), version).await;
    }
}

async fn check_logs(dir: &Path) {
    let summary = inspect::check(dir, &mut |problem| panic!("{problem}")).unwrap();
    assert!(summary.replayed > 0 && summary.segments > 4, "{summary}");

    let store = open(dir);
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

/// Groups and offsets, of which version 1 had none.
async fn check_groups(dir: &Path, version: &str) {
    let store = open(dir);
    let groups = store.groups();
    let listed = groups.list_groups(None, 10).await.unwrap();
    if version == "v1" {
        assert_eq!(listed, []);
    } else {
        let ids: Vec<_> = listed.iter().map(|listing| (&*listing.id, listing.kind)).collect();
        assert_eq!(ids, [("simple", None), ("workers", Some(GroupKind::Classic))]);
        let group = groups.load_group("workers").await.unwrap().unwrap();
        assert_eq!(group, StoredGroup { row: group_row(), members: vec![member_row()] });
        let page = groups.read_offset_page("workers", None, 10).await.unwrap();
        assert_eq!(page.rows, [offset_row(0, 40), offset_row(1, 44)]);
        let page = groups.read_offset_page("simple", None, 10).await.unwrap();
        assert_eq!(page.rows, [offset_row(1, 7)]);
    }
    groups.commit_offsets("another", vec![offset_row(0, 1)]).await.unwrap();
    assert_eq!(groups.list_groups(None, 10).await.unwrap().len(), listed.len() + 1);
    store.close().await.unwrap();
}

fn group_row() -> GroupRow {
    GroupRow {
        id: "workers".into(),
        kind: GroupKind::Classic,
        epoch: 12,
        protocol_type: "consumer".into(),
        state: Bytes::from_static(b"the state of a group"),
        empty_since: Some(TimestampMs(1_760_000_000_000)),
    }
}

fn member_row() -> MemberRow {
    MemberRow {
        member_id: "worker-1-8d7f".into(),
        instance_id: Some("worker-1".into()),
        client_id: "worker".into(),
        client_host: "/127.0.0.1".into(),
        state: Bytes::from_static(b"the state of a member"),
    }
}

fn offset_row(partition: i32, offset: i64) -> OffsetRow {
    OffsetRow {
        key: OffsetKey { topic: TopicId([7; 16]), partition: PartitionIndex(partition) },
        topic_name: "orders".into(),
        offset: Offset(offset),
        leader_epoch: if partition == 0 { LeaderEpoch::NONE } else { LeaderEpoch(0) },
        metadata: if partition == 0 { String::new() } else { "a remark".into() },
        committed_at: TimestampMs(1_760_000_000_000 + offset),
        expires_at: (partition == 1).then_some(TimestampMs(1_770_000_000_000)),
    }
}

#[test]
fn it_is_shown_as_it_was() {
    for version in VERSIONS {
        let mut shown = Vec::new();
        inspect::dump(&golden().join(version), &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap().replace(golden().to_str().unwrap(), "");
        let expected = fs::read_to_string(golden().join(format!("{version}.txt"))).unwrap();
        assert!(shown == expected, "{version} is shown in another way:\n{shown}");
    }
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
    let member = GroupChange::PutMember { group: "workers".into(), member: member_row() };
    store.groups().change_groups(vec![GroupChange::PutGroup(group_row()), member]).await.unwrap();
    store.groups().commit_offsets("workers", vec![offset_row(0, 40), offset_row(1, 44)]).await.unwrap();
    store.groups().commit_offsets("simple", vec![offset_row(1, 7)]).await.unwrap();
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
