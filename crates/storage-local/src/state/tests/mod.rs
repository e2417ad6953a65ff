//! The state database over real files.

mod groups;
mod model;

use std::{
    collections::{BTreeSet, HashSet},
    env, fs,
    future::Future,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use ottla_records::{LogId, TopicId};
use ottla_storage::{CreateTopicError, NewTopic, TopicState, TopicStore, conformance};
use rusqlite::types::ToSql;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;

/// A database in a directory of its own, and the faults that it reported.
struct Fixture {
    dir: TempDir,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), faults: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    fn try_open(&self) -> Result<Arc<StateDb>, StateError> {
        let heard = self.faults.clone();
        StateDb::open(&self.path(), Arc::new(move |fault: &str| heard.lock().push(fault.to_owned())))
            .map(Arc::new)
    }

    fn open(&self) -> Arc<StateDb> {
        self.try_open().unwrap()
    }

    fn faults(&self) -> Vec<String> {
        self.faults.lock().clone()
    }

    /// Does something to the file behind the database's back.
    fn shell(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// The message with which the file is refused; it must name the file and leave it as it is.
    fn refusal(&self) -> String {
        let before = fs::read(self.path()).unwrap();
        let refused = self.try_open().unwrap_err().to_string();
        assert_eq!(fs::read(self.path()).unwrap(), before, "a file that was refused was changed");
        assert!(refused.contains(self.path().to_str().unwrap()), "{refused}");
        let checked = StateDb::check(&self.path()).unwrap_err().to_string();
        assert_eq!(checked, refused);
        refused
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A topic with this number as its id and name.
fn numbered(number: u32, partitions: u32) -> NewTopic {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    NewTopic { id: TopicId(id), name: format!("topic-{number}"), partitions, settings: [].into() }
}

fn set(db: &Connection, pragma: &str, value: impl ToSql) -> Result<(), Trouble> {
    Ok(db.pragma_update_and_check(None, pragma, value, |_| Ok(()))?)
}

/// Sends the requests while the writer is busy, so that it takes them together.
async fn together<F: Future<Output = T> + Send + 'static, T: Send + 'static>(
    db: &Arc<StateDb>,
    requests: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let busy = db.request(move |_| {
        // It ends when the sender is dropped; when the batch is done again, it does not wait.
        let _ = wait.lock().recv();
        Ok(())
    });
    let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    tokio::task::yield_now().await;
    drop(go);
    busy.await.unwrap();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[test]
fn it_conforms() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(conformance::topics(&*db));
    db.close();
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn a_restart_keeps_everything() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let before = run(async {
        db.create(numbered(1, 3)).await.unwrap();
        db.create(numbered(2, 1)).await.unwrap();
        db.mark_deleting(numbered(2, 1).id).await.unwrap();
        db.cluster_id("the one").await.unwrap();
        db.load().await.unwrap()
    });
    assert_eq!(StateDb::read_topics(&fixture.path()).unwrap(), before);
    db.close();
    assert!(matches!(run(db.load()), Err(StateStoreError::Failed(_))), "a closed database answered");
    assert_eq!(StateDb::read_topics(&fixture.path()).unwrap(), before);
    let db = fixture.open();
    assert_eq!(run(db.load()).unwrap(), before);
    assert_eq!(run(db.cluster_id("another")).unwrap(), "the one");
    assert_eq!(run(db.create(numbered(3, 1))).unwrap().logs, [LogId(5)]);
    db.close();
}

#[test]
fn format_1_is_read() {
    let fixture = Fixture::new();
    fixture.shell(include_str!("../fixture-v1.sql"));
    let db = fixture.open();
    let rows = run(db.load()).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].name.as_str(), rows[0].state), ("orders", TopicState::Live));
    assert_eq!(rows[0].logs, [LogId(7), LogId(8)]);
    assert_eq!(rows[0].settings["retention.ms"], "-1");
    assert_eq!((rows[1].name.as_str(), rows[1].state), ("orders", TopicState::Deleting));
    assert_eq!(run(db.create(numbered(3, 1))).unwrap().logs, [LogId(9)]);
    assert_eq!(run(db.reserve_producer_ids(1)).unwrap().first.0, 3000);
    assert_eq!(run(db.cluster_id("another")).unwrap(), "T3R0bGEtZml4dHVyZS0wMQ");
    db.close();
}

#[test]
fn a_newer_format_is_refused() {
    let fixture = Fixture::new();
    fixture.open().close();
    fixture.shell("PRAGMA user_version = 99");
    let refused = fixture.refusal();
    assert!(refused.contains("format 99; this version knows up to 2"), "{refused}");
    assert!(refused.contains("start that version again"), "{refused}");
}

#[test]
fn other_files_are_refused() {
    let fixture = Fixture::new();
    fixture.shell("CREATE TABLE recipes (name TEXT)");
    assert!(fixture.refusal().contains("is not a state database of ottla"));

    let fixture = Fixture::new();
    fs::write(fixture.path(), "this is no database, but a text of some length".repeat(100)).unwrap();
    assert!(fixture.refusal().contains("is damaged"));

    let fixture = Fixture::new();
    let missing = StateDb::check(&fixture.path()).unwrap_err();
    assert!(matches!(missing, StateError::Database { .. }), "{missing}");
    assert!(!fixture.path().exists(), "looking created a file");
}

#[test]
fn damage_stops_it_for_good() {
    for (sql, what) in [
        ("DELETE FROM meta WHERE key = 'next_log_id'", "next_log_id is missing"),
        ("UPDATE meta SET value = -5 WHERE key = 'next_log_id'", "below zero"),
        ("UPDATE meta SET value = 'many' WHERE key = 'next_log_id'", "value"),
    ] {
        let fixture = Fixture::new();
        fixture.open().close();
        fixture.shell(sql);
        let db = fixture.open();
        let refused = run(db.create(numbered(1, 1)));
        assert!(matches!(refused, Err(CreateTopicError::Store(StateStoreError::Failed(_)))), "{refused:?}");
        assert!(matches!(run(db.load()), Err(StateStoreError::Failed(_))), "it went on");
        db.close();
        let faults = fixture.faults();
        assert!(matches!(&faults[..], [fault] if fault.contains(what)), "{faults:?}");
        let problems = StateDb::check(&fixture.path()).unwrap();
        assert!(problems.iter().any(|problem| problem.what.contains(what)), "{problems:?}");
    }
}

#[test]
fn a_fault_met_elsewhere_stops_the_writer_too() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(db.create(numbered(1, 1))).unwrap();
    db.faults.report("a checkpoint failed");
    let refused = run(db.create(numbered(2, 1)));
    assert!(
        matches!(&refused, Err(CreateTopicError::Store(StateStoreError::Failed(why))) if &**why == "a checkpoint failed"),
        "{refused:?}"
    );
    db.close();
    assert_eq!(StateDb::read_topics(&fixture.path()).unwrap().len(), 1, "it was written after the fault");
}

#[test]
fn a_deleted_topic_goes_with_its_last_log() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let logs = run(db.create(numbered(1, 3))).unwrap().logs;
    db.log_is_gone(logs[0]);
    assert_eq!(run(db.load()).unwrap()[0].logs, logs, "a live topic keeps its logs");
    run(db.mark_deleting(numbered(1, 3).id)).unwrap();
    db.log_is_gone(LogId(99));
    for gone in [1, 0] {
        db.log_is_gone(logs[gone]);
        let left = run(db.load()).unwrap().remove(0).logs;
        assert!(!left.contains(&logs[gone]) && left.contains(&logs[2]), "{left:?}");
        assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
    }
    db.log_is_gone(logs[2]);
    assert_eq!(run(db.load()).unwrap(), []);
    db.close();
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn a_check_finds_what_no_constraint_forbids() {
    for (sql, what) in [
        ("UPDATE meta SET value = 2 WHERE key = 'next_log_id'", "would be given again"),
        ("DELETE FROM partitions WHERE partition_index = 0", "partition 0 of topic topic-1 is missing"),
        ("DELETE FROM partitions", "has no partitions"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM topics", "that table topics lacks"),
        ("DELETE FROM meta WHERE key = 'next_producer_id'", "next_producer_id is missing"),
    ] {
        let fixture = Fixture::new();
        let db = fixture.open();
        run(db.create(numbered(1, 3))).unwrap();
        db.close();
        assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
        fixture.shell(sql);
        let problems = StateDb::check(&fixture.path()).unwrap();
        assert!(problems.iter().any(|problem| problem.what.contains(what)), "{sql}: {problems:?}");
    }
}

#[test]
fn a_damaged_page_is_found() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(db.create(numbered(1, 2000))).unwrap();
    db.close();
    let mut file = fs::read(fixture.path()).unwrap();
    assert!(file.len() > 10 * 4096);
    // The first pages hold the roots of tables and indexes; what comes then is rows of partitions.
    file[10 * 4096..].fill(0xee);
    fs::write(fixture.path(), file).unwrap();
    assert_ne!(StateDb::check(&fixture.path()).unwrap(), []);
    let db = fixture.open();
    assert!(matches!(run(db.load()), Err(StateStoreError::Failed(_))));
    db.close();
    assert_eq!(fixture.faults().len(), 1);
}

#[test]
fn a_refused_request_does_not_spoil_its_neighbours() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let answers = run(async {
        let same_id = NewTopic { name: "another".into(), ..numbered(1, 1) };
        let requests = [numbered(1, 1), same_id, numbered(2, 1), numbered(2, 1), numbered(3, 1)];
        let create = |topic| {
            let db = db.clone();
            async move { db.create(topic).await }
        };
        together(&db, requests.map(create)).await
    });
    let [Ok(one), Err(refused), Ok(two), Err(CreateTopicError::Exists(_)), Ok(three)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert!(matches!(refused, CreateTopicError::Store(StateStoreError::Refused(_))), "{refused}");
    let logs: Vec<_> = [one, two, three].iter().flat_map(|row| row.logs.clone()).collect();
    assert_eq!(logs, [1, 2, 3].map(LogId), "what was refused left something");
    assert_eq!(run(db.load()).unwrap(), [one.clone(), two.clone(), three.clone()]);
    db.close();
    assert_eq!(fixture.faults(), [""; 0]);
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
}

#[test]
fn a_full_disk_changes_nothing_and_passes() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(db.create(numbered(0, 1))).unwrap();
    let answers = run(async {
        let pages =
            db.request(|db| Ok(db.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))?));
        let pages = pages.await.unwrap();
        db.request(move |db| set(db, "max_page_count", pages + 4)).await.unwrap();
        let create = |number| {
            let db = db.clone();
            // Every other one has no room.
            async move { db.create(numbered(number, if number % 2 == 0 { 5 } else { 5000 })).await }
        };
        together(&db, (1..=6).map(create)).await
    });
    let passed: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [false, true, false, true, false, true], "{answers:?}");
    let full = |error: &CreateTopicError| matches!(error, CreateTopicError::Store(StateStoreError::DiskFull));
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(full), "{answers:?}");
    let names: Vec<_> = run(db.load()).unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["topic-0", "topic-2", "topic-4", "topic-6"]);
    run(db.request(|db| set(db, "max_page_count", 1 << 30))).unwrap();
    run(db.create(numbered(1, 5000))).expect("there is room again");
    db.close();
    assert_eq!(fixture.faults(), [""; 0]);
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
}

#[test]
fn a_lock_of_another_program_is_waited_out() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let shell = Connection::open(fixture.path()).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = run(async {
        let waiting = tokio::spawn({
            let db = db.clone();
            async move { db.create(numbered(1, 1)).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        shell.execute_batch("COMMIT").unwrap();
        waiting.await.unwrap()
    });
    waiting.unwrap();

    run(db.request(|db| Ok(db.busy_timeout(std::time::Duration::ZERO)?))).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = run(db.create(numbered(2, 1)));
    assert!(matches!(refused, Err(CreateTopicError::Store(StateStoreError::Refused(_)))), "{refused:?}");
    shell.execute_batch("COMMIT").unwrap();
    run(db.create(numbered(2, 1))).unwrap();
    db.close();
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn the_wal_file_is_written_again_from_its_beginning() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let wal = fixture.path().with_extension("db-wal");
    let mut longest = 0;
    run(async {
        for number in 0..250 {
            let id = db.create(numbered(number, 2000)).await.unwrap().id;
            db.mark_deleting(id).await.unwrap();
            db.drop_deleted(id).await.unwrap();
            let len = fs::metadata(&wal).unwrap().len();
            assert!(len >= longest, "the file was cut");
            longest = len;
        }
    });
    assert!(longest < 20 << 20, "the file has grown to {longest} bytes");
    assert!(longest >= 4 << 20, "{longest} bytes do not show that it is not cut");
    // The header counts how often the file was begun anew.
    let header = fs::read(&wal).unwrap();
    let begun = u32::from_be_bytes(header[12..16].try_into().unwrap());
    assert!(begun >= 2, "the file was begun anew {begun} times");
    db.close();
    assert!(!wal.exists(), "the last connection takes the file with it");
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
}

/// Runs the test of this name again in a process of its own, which finds `dir` in the environment.
fn again(test: &str, dir: &TempDir) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([&format!("state::tests::{test}"), "--exact", "--nocapture"]).env(CHILD_DIR, dir.path());
    child
}

const CHILD_DIR: &str = "OTTLA_STATE_TEST_DIR";

/// The directory, in a process that [`again`] has started.
fn in_child() -> Option<PathBuf> {
    env::var_os(CHILD_DIR).map(PathBuf::from)
}

#[test]
fn acknowledged_topics_survive_a_kill() {
    if let Some(dir) = in_child() {
        return create_until_killed(dir);
    }
    let fixture = Fixture::new();
    let mut acknowledged = HashSet::new();
    for life in 0..5 {
        let mut child =
            again("acknowledged_topics_survive_a_kill", &fixture.dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut fresh = 0;
        for line in lines.by_ref() {
            fresh += usize::from(note(&line.unwrap(), &mut acknowledged));
            if fresh == 100 + 37 * life {
                break;
            }
        }
        assert!(fresh >= 100, "the child ended after {fresh} topics");
        child.kill().unwrap();
        child.wait().unwrap();
        // What was said before the kill counts too, but for a last line that may be cut off.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acknowledged);
        }
        assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
        let db = fixture.open();
        let there: HashSet<String> = run(db.load()).unwrap().into_iter().map(|row| row.name).collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert_eq!(lost, [""; 0], "life {life}");
        db.close();
    }
    assert_eq!(fixture.faults(), [""; 0]);
}

/// Notes a topic that a line of the child acknowledges.
fn note(line: &str, acknowledged: &mut HashSet<String>) -> bool {
    let name = line.strip_prefix("created ").and_then(|rest| rest.strip_suffix('.'));
    name.is_some_and(|name| acknowledged.insert(name.to_owned()))
}

fn create_until_killed(dir: PathBuf) {
    let db =
        Arc::new(StateDb::open(&dir.join("state.db"), Arc::new(|fault: &str| panic!("{fault}"))).unwrap());
    run(async {
        let first = u32::try_from(db.load().await.unwrap().len()).unwrap();
        let mut tasks = JoinSet::new();
        // It would end by itself, should nobody kill it.
        for number in first..first + 20_000 {
            let db = db.clone();
            tasks.spawn(async move { db.create(numbered(number, 3)).await.unwrap().name });
            if tasks.len() >= 16 {
                println!("created {}.", tasks.join_next().await.unwrap().unwrap());
            }
        }
    });
}

#[test]
fn a_failed_write_stops_it_for_good() {
    if let Some(dir) = in_child() {
        return write_until_it_fails(dir);
    }
    let fixture = Fixture::new();
    let output = again("a_failed_write_stops_it_for_good", &fixture.dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let created: BTreeSet<String> =
        said.lines().filter_map(|line| Some(line.strip_prefix("created ")?.to_owned())).collect();
    assert_eq!(created.len(), 20, "{said}");
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
    let db = fixture.open();
    let there: BTreeSet<String> = run(db.load()).unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(there, created);
    db.close();
}

/// Lets no file of this process grow any more, and sees what the database makes of that.
fn write_until_it_fails(dir: PathBuf) {
    let fixture = Fixture { dir: tempfile::tempdir().unwrap(), faults: Arc::default() };
    let heard = fixture.faults.clone();
    let handler = Arc::new(move |fault: &str| heard.lock().push(fault.to_owned()));
    let db = StateDb::open(&dir.join("state.db"), handler).unwrap();
    run(async {
        for number in 0..20 {
            println!("created {}", db.create(numbered(number, 1)).await.unwrap().name);
        }
        let wal = fs::metadata(dir.join("state.db-wal")).unwrap().len();
        // SAFETY: ignoring a signal needs nothing of this process.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let limit = rustix::process::Rlimit { current: Some(wal), maximum: Some(wal) };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
        for number in 20..25 {
            let refused = db.create(numbered(number, 1)).await;
            assert!(
                matches!(refused, Err(CreateTopicError::Store(StateStoreError::Failed(_)))),
                "{refused:?}"
            );
        }
        assert!(matches!(db.load().await, Err(StateStoreError::Failed(_))));
    });
    db.close();
    let faults = fixture.faults();
    assert!(matches!(&faults[..], [fault] if fault.contains("disk I/O error")), "{faults:?}");
}
