//! Dump and check: what they show and find, that they change nothing, and that no file makes them fail.

mod fixture;

use std::{
    fs,
    path::{Path, PathBuf},
};

use fixture::{FIRST, build, contents, copy, files_of, open, try_open};
use ottla_storage::{Random, SeededRandom, Storage};
use ottla_storage_local::inspect::{Impact, InspectError, Problem, Summary, check, dump};

fn checked(dir: &Path) -> (Summary, Vec<Problem>) {
    let mut problems = Vec::new();
    let summary = check(dir, &mut |problem| problems.push(problem.clone())).unwrap();
    assert_eq!(summary.problems, problems.len() as u64);
    (summary, problems)
}

fn dumped(path: &Path) -> String {
    let mut out = Vec::new();
    dump(path, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn newest(dir: &Path) -> PathBuf {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.pop().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_whole_directory_passes_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path()).await;
    let before = contents(dir.path());
    let (summary, problems) = checked(dir.path());
    assert_eq!(problems, []);
    assert!(
        summary.topics == 1 && summary.groups == 2 && summary.segments >= 4 && summary.replayed > 0,
        "{summary:?}"
    );
    let shown = dumped(dir.path());
    for part in [
        "data directory, not in use",
        "cluster_id=a-cluster",
        "topic name=\"orders\" id=CQkJCQkJCQkJCQkJCQkJCQ state=live logs=1,2 segment.bytes=\"65536\"",
        "  group id=\"simple\" kind=none\n    offset topic=\"orders\" topic_id=CQkJCQkJCQkJCQkJCQkJCQ partition=1 \
         offset=42 leader_epoch=0 committed_at=1700000000000 expires_at=none metadata=\"a remark\"\n",
        "  group id=\"workers\" kind=consumer epoch=5 protocol_type=\"consumer\" empty_since=none state_size=5\n",
        "    member id=\"member-1\" instance_id=\"instance-1\" client_id=\"client\" client_host=\"/127.0.0.1\" \
         state_size=10\n",
        "log=1 log_start=0 flushed_end=300 active=",
        "producer_id=7 producer_epoch=0",
        "/00000000000000000000.log: segment, ",
        "  batch position=0 base_offset=0 last_offset=2 count=3 leader_epoch=0 producer_id=7 producer_epoch=0 \
         base_sequence=0 timestamps=1700000000000..1700000000002 create_time codec=none size=3",
        "crc=ok",
        ".index: offset index, ",
        "  entry offset=",
        ".timeindex: time index, ",
        "  entry timestamp=17000000000",
        "write-ahead log, sequence=",
        "    append log=2 position=",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    for part in ["damaged", "crc=bad", "unreadable", "no known kind"] {
        assert!(!shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(contents(dir.path()), before);
}

#[tokio::test]
async fn a_running_broker_is_shown_and_not_checked() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path()).await;
    let store = open(dir.path());
    let refused = check(dir.path(), &mut |problem| panic!("{problem}")).unwrap_err();
    assert!(matches!(&refused, InspectError::InUse { .. }), "{refused}");
    let shown = dumped(dir.path());
    assert!(shown.contains("in use by a broker") && shown.contains("topic name=\"orders\""), "{shown}");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_killed_broker_has_a_whole_directory() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path()).await;
    let store = open(dir.path());
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    let before = contents(copied.path());
    assert_eq!(checked(copied.path()).1, []);
    // The shared index of the -wal file need not survive a power cut.
    let index = copied.path().join("state.db-shm");
    fs::remove_file(&index).unwrap();
    assert_eq!(checked(copied.path()).1, []);
    assert!(dumped(copied.path()).contains("topic name=\"orders\""));
    let mut expected = before;
    expected.remove(&index);
    assert_eq!(contents(copied.path()), expected);
    store.close().await.unwrap();
}

type Damage = fn(&Path);

/// Each kind of damage: what it is, and what the check must say of it.
fn damages() -> Vec<(&'static str, Damage, Impact)> {
    fn segment(dir: &Path, suffix: &str) -> PathBuf {
        files_of(dir, FIRST, suffix).remove(0)
    }
    fn active(dir: &Path, suffix: &str) -> PathBuf {
        files_of(dir, FIRST, suffix).pop().unwrap()
    }
    fn shell(dir: &Path, sql: &str) {
        rusqlite::Connection::open(dir.join("state.db")).unwrap().execute_batch(sql).unwrap();
    }
    fn cut(path: &Path, by: u64) {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - by).unwrap();
    }
    vec![
        ("a flipped bit in a batch", |dir| flip(&segment(dir, "log"), 5000), Impact::Unreadable),
        ("a flipped bit in a batch header", |dir| flip(&segment(dir, "log"), 10), Impact::Unreadable),
        ("a cut segment", |dir| cut(&segment(dir, "log"), 100), Impact::Unreadable),
        ("a cut active segment", |dir| cut(&active(dir, "log"), 1), Impact::RefusesStart),
        ("a missing segment", |dir| fs::remove_file(segment(dir, "log")).unwrap(), Impact::RefusesStart),
        (
            "a missing active segment",
            |dir| fs::remove_file(active(dir, "log")).unwrap(),
            Impact::RefusesStart,
        ),
        ("a missing index", |dir| fs::remove_file(segment(dir, "index")).unwrap(), Impact::Rebuilt),
        ("a missing active index", |dir| fs::remove_file(active(dir, "index")).unwrap(), Impact::Rebuilt),
        ("a cut index", |dir| cut(&segment(dir, "index"), 8), Impact::Rebuilt),
        ("an index that ends within an entry", |dir| cut(&segment(dir, "index"), 3), Impact::Rebuilt),
        ("a flipped bit in an index offset", |dir| flip(&segment(dir, "index"), 3), Impact::Rebuilt),
        ("a flipped bit in an index position", |dir| flip(&segment(dir, "index"), 6), Impact::Rebuilt),
        ("a missing time index", |dir| fs::remove_file(segment(dir, "timeindex")).unwrap(), Impact::Rebuilt),
        ("a flipped bit in a time index", |dir| flip(&segment(dir, "timeindex"), 5), Impact::Rebuilt),
        (
            "a flipped bit in the checkpoint",
            |dir| flip(&newest(&dir.join("checkpoint")), 40),
            Impact::RefusesStart,
        ),
        (
            "no write-ahead log",
            |dir| {
                for path in contents(&dir.join("wal")).keys() {
                    fs::remove_file(path).unwrap();
                }
            },
            Impact::RefusesStart,
        ),
        ("no state database", |dir| fs::remove_file(dir.join("state.db")).unwrap(), Impact::RefusesStart),
        (
            "a zeroed state database",
            |dir| fs::write(dir.join("state.db"), [0; 8192]).unwrap(),
            Impact::RefusesStart,
        ),
        (
            "a member of no group",
            |dir| {
                shell(dir, "DELETE FROM groups WHERE id = 'workers'");
                shell(dir, "DELETE FROM group_offsets WHERE group_number NOT IN (SELECT number FROM groups)");
            },
            Impact::Unused,
        ),
        (
            "offsets of a topic that is gone",
            |dir| shell(dir, "UPDATE offset_topics SET id = randomblob(16)"),
            Impact::Unused,
        ),
        (
            "an offset of no partition",
            |dir| shell(dir, "UPDATE group_offsets SET partition_index = 2"),
            Impact::Unused,
        ),
        ("a stranger", |dir| fs::write(dir.join("logs/1/notes.txt"), "x").unwrap(), Impact::Unused),
        ("an unknown log", |dir| fs::create_dir(dir.join("logs/77")).unwrap(), Impact::Unused),
    ]
}

#[tokio::test]
async fn each_damage_is_found_and_its_impact_is_the_brokers() {
    let whole = tempfile::tempdir().unwrap();
    build(whole.path()).await;
    for (name, damage, impact) in damages() {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        damage(dir.path());
        let before = contents(dir.path());
        let (summary, problems) = checked(dir.path());
        assert!(problems.iter().any(|problem| problem.impact == impact), "{name}: {problems:#?}");
        let worst = if impact == Impact::RefusesStart { 3 } else { 1 };
        assert!(problems.len() <= worst, "{name}: {problems:#?}");
        assert_eq!(summary.refuses_start, impact == Impact::RefusesStart, "{name}");
        dumped(dir.path());
        assert_eq!(contents(dir.path()), before, "{name}");
        let opened = try_open(dir.path());
        assert_eq!(opened.is_err(), summary.refuses_start, "{name}: {opened:?} {problems:#?}");
        if let Ok(store) = opened {
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn no_bytes_make_them_fail() {
    let whole = tempfile::tempdir().unwrap();
    build(whole.path()).await;
    let random = SeededRandom::new(42);
    let below = |bound: usize| usize::try_from(random.next_u64() % bound.max(1) as u64).unwrap();
    let files: Vec<PathBuf> = contents(whole.path())
        .into_iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(path, _)| path)
        .collect();
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let path = &files[below(files.len())];
        let path = dir.path().join(path.strip_prefix(whole.path()).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        match round % 4 {
            0 => bytes.truncate(below(bytes.len())),
            1 => (0..8).for_each(|_| {
                let at = below(bytes.len());
                bytes[at] = random.next_u64() as u8;
            }),
            2 => {
                let from = below(bytes.len());
                let to = (from + 4096).min(bytes.len());
                bytes[from..to].fill(0xff);
            }
            _ => bytes.iter_mut().for_each(|byte| *byte = random.next_u64() as u8),
        }
        fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        let _ = dump(&path, &mut out);
        dump(dir.path(), &mut out).unwrap();
        // Whatever it says, it says it.
        if let Err(error) = check(dir.path(), &mut |problem| assert!(!problem.what.is_empty())) {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn what_is_no_data_directory_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let none = check(dir.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(none, InspectError::NoDataDirectory { .. }), "{none}");
    let missing = check(&dir.path().join("none"), &mut |_| {}).unwrap_err();
    assert!(matches!(missing, InspectError::Io { .. }), "{missing}");
    let file = dir.path().join("notes.txt");
    fs::write(&file, "nothing of ours").unwrap();
    let unknown = dump(&file, &mut Vec::new()).unwrap_err();
    assert!(matches!(unknown, InspectError::Unknown { .. }), "{unknown}");
    assert!(dumped(dir.path()).contains("of no known kind, 15 bytes"));
}
