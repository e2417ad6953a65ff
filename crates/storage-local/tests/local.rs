//! Local storage as a broker uses it: the conformance suite, and how logs and state database go together.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_records::{BatchBuilder, BatchHeader, NewRecord, Offset, TimestampMs, TopicId};
use ottla_storage::{
    Appended, Appender, DeliveryReceiver, Log, LogSettings, NewTopic, Produced, SeededRandom, Stamp, Storage,
    SystemClock, TopicRow, TopicState, TopicStore, conformance,
};
use ottla_storage_local::{
    LocalAppender, LocalLog, LocalStorage, LocalStorageError, Options, RealDisk, STATE_FILE, StateDb, World,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_max: Some(16 << 20),
        wal_file_bytes: 1 << 20,
        checkpoint_interval: Duration::from_millis(10),
        ..Options::default()
    }
}

fn try_open(dir: &Path) -> Result<LocalStorage, LocalStorageError> {
    let world = World {
        disk: Arc::new(RealDisk::probe(dir).unwrap()),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SeededRandom::new(1)),
        faults: Arc::new(|fault: &str| panic!("{fault}")),
    };
    LocalStorage::open(world, dir, &options())
}

fn open(dir: &Path) -> LocalStorage {
    try_open(dir).unwrap()
}

async fn create(store: &LocalStorage, number: u8, partitions: u32) -> TopicRow {
    store.topics().create(conformance::topic(number, partitions)).await.unwrap()
}

async fn states(store: &LocalStorage) -> Vec<(TopicId, TopicState)> {
    store.topics().load().await.unwrap().iter().map(|row| (row.id, row.state)).collect()
}

/// Appends batches of 100 kB, whose answers come through `deliveries`.
struct Writer {
    appender: LocalAppender,
    deliveries: DeliveryReceiver,
}

impl Writer {
    fn new(store: &LocalStorage) -> Self {
        let (appender, deliveries) = store.appender();
        Self { appender, deliveries }
    }

    async fn write(&mut self, log: &Arc<LocalLog>) -> Appended {
        let bytes = batch();
        self.appender.ready(bytes.len()).await;
        let header = BatchHeader::parse(&bytes).unwrap();
        let mut ticket = self.appender.append(log, Produced { bytes, header, stamp: Stamp::Keep });
        loop {
            tokio::select! {
                biased;
                answer = &mut ticket => return answer.unwrap(),
                delivery = self.deliveries.recv() => {
                    for (sender, answer) in delivery.unwrap().answers {
                        let _ = sender.send(answer);
                    }
                }
            }
        }
    }
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new();
    let value = vec![b'x'; 100_000];
    builder
        .push(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] })
        .unwrap();
    builder.build().unwrap()
}

#[tokio::test]
async fn topics_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    timeout(PATIENCE, conformance::topics(store.topics())).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn groups_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    timeout(PATIENCE, conformance::groups(store.groups())).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn logs_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    timeout(PATIENCE, conformance::logs(&store)).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn restarts_conform() {
    let dir = tempfile::tempdir().unwrap();
    timeout(PATIENCE, conformance::reopening(async || open(dir.path()))).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let refused = try_open(dir.path()).unwrap_err();
    assert!(matches!(refused, LocalStorageError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(dir.path().to_str().unwrap()), "{refused}");
    store.close().await.unwrap();
    open(dir.path()).close().await.unwrap();
}

#[tokio::test]
async fn the_row_of_a_deleted_topic_goes_after_its_last_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (doomed, other) = (create(&store, 1, 3).await, create(&store, 2, 1).await);
    let mut writer = Writer::new(&store);
    let logs: Vec<_> = doomed.logs.iter().map(|id| store.open_log(*id, LogSettings::default())).collect();
    for log in &logs {
        writer.write(log).await;
    }
    assert!(store.topics().mark_deleting(doomed.id).await.unwrap());
    for log in &logs {
        store.delete_log(log).await.unwrap();
    }
    assert_eq!(
        states(&store).await,
        [(doomed.id, TopicState::Deleting), (other.id, TopicState::Live)],
        "the write-ahead log still names the logs"
    );
    let log = store.open_log(other.logs[0], LogSettings::default());
    let gone = async {
        while states(&store).await.len() == 2 {
            writer.write(&log).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(states(&store).await, [(other.id, TopicState::Live)]);
    store.close().await.unwrap();

    let store = open(dir.path());
    let there = store.open_log(other.logs[0], LogSettings::default()).bounds().high_watermark;
    assert_eq!(there, log.bounds().high_watermark);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_a_stop_broke_off_is_finished_by_the_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (doomed, other) = (create(&store, 1, 2).await, create(&store, 2, 1).await);
    let mut writer = Writer::new(&store);
    for id in &doomed.logs {
        writer.write(&store.open_log(*id, LogSettings::default())).await;
    }
    assert!(store.topics().mark_deleting(doomed.id).await.unwrap());
    store.close().await.unwrap();

    let store = open(dir.path());
    assert_eq!(states(&store).await, [(doomed.id, TopicState::Deleting), (other.id, TopicState::Live)]);
    for id in &doomed.logs {
        assert!(!dir.path().join(format!("logs/{id}")).exists());
    }
    let mut writer = Writer::new(&store);
    let log = store.open_log(other.logs[0], LogSettings::default());
    let gone = async {
        while states(&store).await.len() == 2 {
            writer.write(&log).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(StateDb::check(&dir.path().join(STATE_FILE)).unwrap(), []);
}

#[tokio::test]
async fn a_lost_state_database_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let row = create(&store, 1, 1).await;
    let log = store.open_log(row.logs[0], LogSettings::default());
    assert_eq!(Writer::new(&store).write(&log).await.base_offset, Offset(0));
    store.close().await.unwrap();
    std::fs::remove_file(dir.path().join(STATE_FILE)).unwrap();
    let refused = try_open(dir.path()).unwrap_err();
    assert!(matches!(refused, LocalStorageError::StateMissing { .. }), "{refused}");
    // Nor is another one that was put in its place.
    let other = tempfile::tempdir().unwrap();
    open(other.path()).close().await.unwrap();
    std::fs::copy(other.path().join(STATE_FILE), dir.path().join(STATE_FILE)).unwrap();
    let refused = try_open(dir.path()).unwrap_err();
    assert!(refused.to_string().contains("never heard of"), "{refused}");
}

#[tokio::test]
async fn a_name_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = create(&store, 1, 1).await;
    let log = store.open_log(old.logs[0], LogSettings::default());
    let mut writer = Writer::new(&store);
    writer.write(&log).await;
    assert!(store.topics().mark_deleting(old.id).await.unwrap());
    store.delete_log(&log).await.unwrap();
    let new = NewTopic { id: TopicId([99; 16]), ..conformance::topic(1, 1) };
    let new = store.topics().create(new).await.unwrap();
    assert_eq!(new.name, old.name);
    let log = store.open_log(new.logs[0], LogSettings::default());
    assert_eq!(log.bounds().high_watermark, Offset(0));
    assert_eq!(writer.write(&log).await.base_offset, Offset(0));
    store.close().await.unwrap();
}
