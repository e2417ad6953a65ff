//! Groups and committed offsets over real files.

use std::collections::BTreeMap;

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use ottla_storage::{
    GroupChange, GroupKind, GroupRow, GroupStore, MemberRow, OffsetKey, OffsetRow, OffsetStore,
};

use super::*;

fn offset(topic: u32, partition: i32, offset: i64) -> OffsetRow {
    let topic = numbered(topic, 1);
    OffsetRow {
        key: OffsetKey { topic: topic.id, partition: PartitionIndex(partition) },
        topic_name: topic.name.into(),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: String::new(),
        committed_at: TimestampMs(1_700_000_000_000),
        expires_at: None,
    }
}

fn group(id: &str) -> GroupRow {
    GroupRow {
        id: id.into(),
        kind: GroupKind::Classic,
        epoch: 3,
        protocol_type: "consumer".into(),
        state: vec![1, 2, 3].into(),
        empty_since: None,
    }
}

fn member(id: &str) -> MemberRow {
    MemberRow {
        member_id: id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        state: vec![4, 5].into(),
    }
}

/// A topic with three partitions, a group with two members, and offsets of both that and a simple consumer.
async fn fill(db: &StateDb) {
    db.create(numbered(1, 3)).await.unwrap();
    let put = |id: &str| GroupChange::PutMember { group: "group".into(), member: member(id) };
    let changes = vec![GroupChange::PutGroup(group("group")), put("one"), put("two")];
    db.change_groups(changes).await.unwrap();
    db.commit_offsets("group", vec![offset(1, 0, 10), offset(1, 2, 20)]).await.unwrap();
    db.commit_offsets("simple", vec![offset(1, 1, 30)]).await.unwrap();
}

#[test]
fn groups_conform() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(conformance::groups(&*db));
    db.close();
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn format_1_is_brought_up_to_date() {
    let fixture = Fixture::new();
    fixture.shell(include_str!("../fixture-v1.sql"));
    let topics = StateDb::read_topics(&fixture.path()).unwrap();
    assert_eq!(StateDb::check(&fixture.path()).unwrap(), [], "before");
    for life in 0..2 {
        let db = fixture.open();
        assert_eq!(run(db.load()).unwrap(), topics);
        run(async {
            assert_eq!(db.list_groups(None, 10).await.unwrap().len(), life);
            let mut row = offset(1, 0, 5);
            row.key.topic = topics[0].id;
            row.topic_name = topics[0].name.as_str().into();
            db.commit_offsets("group", vec![row]).await.unwrap();
        });
        db.close();
        assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
    }
    let db = Connection::open(fixture.path()).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}

#[test]
fn a_step_that_fails_leaves_format_1() {
    let fixture = Fixture::new();
    fixture.shell(include_str!("../fixture-v1.sql"));
    // The last table that the step makes.
    fixture.shell("CREATE TABLE group_offsets (in_the_way TEXT)");
    let refused = fixture.try_open().unwrap_err();
    assert!(
        matches!(&refused, StateError::Database { error, .. } if error.contains("group_offsets")),
        "{refused}"
    );
    let db = Connection::open(fixture.path()).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('groups', 'group_members', 'offset_topics')";
    let made: i64 = db.query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!((version, made), (1, 0));
    fixture.shell("DROP TABLE group_offsets");
    fixture.open().close();
}

#[test]
fn reads_do_not_wait_for_a_long_transaction() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(async {
        fill(&db).await;
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let busy = db.request(move |_| {
            let _ = wait.lock().recv();
            Ok(())
        });
        let behind = db.commit_offsets("group", vec![offset(1, 0, 11)]);
        let key = offset(1, 0, 0).key;
        let read = db.read_offsets("group", vec![key]).await.unwrap();
        assert_eq!(read[0].offset, Offset(10), "what is not durable yet was read");
        assert_eq!(db.load_groups(None, 10).await.unwrap().len(), 1);
        assert_eq!(db.list_groups(None, 10).await.unwrap().len(), 2);
        drop(go);
        busy.await.unwrap();
        behind.await.unwrap();
        assert_eq!(db.read_offsets("group", vec![key]).await.unwrap()[0].offset, Offset(11));
    });
    db.close();
    assert!(
        matches!(run(db.has_offsets("group")), Err(StateStoreError::Failed(_))),
        "it answered when closed"
    );
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn damage_met_by_a_read_stops_it_for_good() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(fill(&db));
    fixture.shell("DELETE FROM offset_topics");
    let refused = run(db.read_offset_page("group", None, 10));
    assert!(matches!(refused, Err(StateStoreError::Failed(_))), "{refused:?}");
    let refused = run(db.commit_offsets("group", vec![offset(1, 0, 11)]));
    assert!(matches!(refused, Err(StateStoreError::Failed(_))), "{refused:?}");
    let refused = run(db.has_offsets("group"));
    assert!(matches!(refused, Err(StateStoreError::Failed(_))), "{refused:?}");
    db.close();
    let faults = fixture.faults();
    assert!(
        matches!(&faults[..], [fault] if fault.contains("which table offset_topics lacks")),
        "{faults:?}"
    );
}

#[test]
fn a_check_finds_what_does_not_fit_together() {
    for (sql, what, is_unused) in [
        ("DELETE FROM groups WHERE id = 'group'", "group_members has 2 rows of group 1", true),
        ("DELETE FROM groups WHERE id = 'group'", "group_offsets has 2 rows of group 1", true),
        (
            "UPDATE groups SET kind = NULL, epoch = NULL, protocol_type = NULL, state = NULL WHERE id = 'group'",
            "group_members has 2 rows of group 1",
            true,
        ),
        ("DELETE FROM group_offsets WHERE group_number = 2", "\"simple\" is of no kind", true),
        ("PRAGMA foreign_keys = ON; DELETE FROM topics", "3 offsets are committed for topic topic-1", true),
        ("UPDATE offset_topics SET name = 'other'", "whose name is topic-1", true),
        (
            "UPDATE group_offsets SET partition_index = 3 WHERE offset = 20",
            "topic topic-1, which has 3",
            true,
        ),
        ("DELETE FROM offset_topics", "names topic 1, which table offset_topics lacks", false),
        ("UPDATE group_offsets SET partition_index = -1 WHERE offset = 20", "has partition -1", false),
        (
            "UPDATE group_offsets SET partition_index = 1 << 40 WHERE offset = 20",
            "has partition 1099511627776",
            false,
        ),
        ("UPDATE group_offsets SET leader_epoch = 1 << 40 WHERE offset = 20", "out of range", false),
        ("UPDATE groups SET epoch = 1 << 40 WHERE id = 'group'", "out of range", false),
        ("UPDATE groups SET kind = 'share' WHERE id = 'group'", "has kind \"share\"", false),
        ("UPDATE groups SET state = NULL WHERE id = 'group'", "state", false),
    ] {
        let fixture = Fixture::new();
        let db = fixture.open();
        run(fill(&db));
        db.close();
        assert_eq!(StateDb::check(&fixture.path()).unwrap(), []);
        fixture.shell(&format!("PRAGMA ignore_check_constraints = ON; {sql}"));
        let problems = StateDb::check(&fixture.path()).unwrap();
        let found = problems.iter().find(|problem| problem.what.contains(what));
        let Some(found) = found else { panic!("{sql}: {problems:?}") };
        assert_eq!(found.is_unused, is_unused, "{sql}: {problems:?}");
    }
}

/// Numbers are given again, so a row that stayed behind would come to another group or topic.
#[test]
fn nothing_comes_to_a_later_group_or_topic() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(async {
        for name in ["first", "second", "third"] {
            let changes = vec![
                GroupChange::PutGroup(group(name)),
                GroupChange::PutMember { group: name.into(), member: member(name) },
            ];
            db.change_groups(changes).await.unwrap();
            let only = db.load_group(name).await.unwrap().unwrap().members;
            assert_eq!(only, [member(name)]);
            db.commit_offsets(name, vec![offset(2, 0, 1)]).await.unwrap();
            db.commit_offsets(name, vec![offset(3, 0, 1)]).await.unwrap();
            db.delete_offsets_of_topic(numbered(2, 1).id).await.unwrap();
            db.delete_offsets_of_topic(numbered(3, 1).id).await.unwrap();
            db.commit_offsets(name, vec![offset(4, 0, 1)]).await.unwrap();
            let rows = db.read_offset_page(name, None, 10).await.unwrap().rows;
            assert_eq!(rows, [offset(4, 0, 1)]);
            db.delete_offsets_of_group(name).await.unwrap();
            db.change_groups(vec![GroupChange::DeleteGroup { group: name.into() }]).await.unwrap();
        }
    });
    db.close();
    let tables = Connection::open(fixture.path()).unwrap();
    for table in ["groups", "group_members", "group_offsets"] {
        let rows: i64 =
            tables.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

/// More groups than are gone through in one transaction.
#[test]
fn a_topics_offsets_are_deleted_from_many_groups() {
    let fixture = Fixture::new();
    let db = fixture.open();
    run(async {
        let many = 2 * offsets::GROUPS_STEP + 5;
        let commits: Vec<_> = (0..many)
            .map(|number| {
                let mut rows = vec![offset(1, 0, 1)];
                rows.extend((number % 2 == 0).then(|| offset(2, 0, 1)));
                db.commit_offsets(&format!("group-{number}"), rows)
            })
            .collect();
        for commit in commits {
            commit.await.unwrap();
        }
        db.delete_offsets_of_topic(numbered(1, 1).id).await.unwrap();
        let left = db.list_groups(None, 10_000).await.unwrap();
        assert_eq!(left.len() as i64, many / 2 + 1, "groups without offsets are gone");
        let topics = db.offset_topics(None).await.unwrap();
        assert!(topics.iter().map(|topic| topic.id).eq([numbered(2, 1).id]), "{topics:?}");
    });
    db.close();
    assert_eq!(fixture.faults(), [""; 0]);
}

#[test]
fn acknowledged_offsets_survive_a_kill() {
    if let Some(dir) = in_child() {
        return commit_until_killed(dir);
    }
    let fixture = Fixture::new();
    let mut acknowledged: BTreeMap<i32, i64> = BTreeMap::new();
    for life in 0..5 {
        let name = "groups::acknowledged_offsets_survive_a_kill";
        let mut child = again(name, &fixture.dir).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut fresh = 0;
        for line in lines.map_while(Result::ok) {
            let Some(committed) = committed(&line) else { continue };
            acknowledged.insert(committed.0, committed.1);
            fresh += 1;
            if fresh == 500 + 137 * life {
                // What was said before the kill counts too, but for a last line that may be cut off.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(fresh >= 500, "the child ended after {fresh} commits");
        assert_eq!(
            StateDb::check(&fixture.path()).unwrap().iter().filter(|found| !found.is_unused).count(),
            0
        );
        let db = fixture.open();
        for (caller, acknowledged) in &acknowledged {
            let there = run(stored(&db, *caller));
            // The answer to the last commit may not have been heard.
            assert!(
                [*acknowledged, *acknowledged + 1].contains(&there),
                "{there} of {caller} in life {life}"
            );
        }
        db.close();
    }
    assert_eq!(fixture.faults(), [""; 0]);
}

fn committed(line: &str) -> Option<(i32, i64)> {
    let (caller, offset) = line.strip_prefix("committed ")?.strip_suffix('.')?.split_once(' ')?;
    Some((caller.parse().ok()?, offset.parse().ok()?))
}

async fn stored(db: &StateDb, caller: i32) -> i64 {
    let rows = db.read_offsets(&format!("group-{caller}"), vec![offset(1, caller, 0).key]).await.unwrap();
    rows.first().map_or(0, |row| row.offset.0)
}

fn commit_until_killed(dir: PathBuf) {
    let db =
        Arc::new(StateDb::open(&dir.join("state.db"), Arc::new(|fault: &str| panic!("{fault}"))).unwrap());
    run(async {
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let db = db.clone();
            callers.spawn(async move {
                let first = stored(&db, caller).await + 1;
                // It would end by itself, should nobody kill it.
                for number in first..first + 20_000 {
                    let rows = vec![offset(1, caller, number)];
                    db.commit_offsets(&format!("group-{caller}"), rows).await.unwrap();
                    println!("committed {caller} {number}.");
                }
            });
        }
        callers.join_all().await;
    });
}
