//! Looking at a state database that may be damaged.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use ottla_records::TopicId;
use ottla_storage::{OffsetTopic, TopicRow, TopicState};
use rusqlite::Connection;

use super::{error::Trouble, offsets::topic_numbered, topics};

/// Something in the state database that is not as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateProblem {
    /// What it is.
    pub what: String,
    /// Whether the broker goes on as if it were not there.
    pub is_unused: bool,
}

impl fmt::Display for StateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Everything that is wrong. What cannot be read is a problem too, and hides those behind it.
pub(super) fn problems(db: &Connection, version: usize) -> Vec<StateProblem> {
    let mut checks: Vec<Check> = vec![integrity, foreign_keys, invariants];
    if version >= 2 {
        checks.extend([members as Check, offsets, leftovers]);
    }
    let mut found = Vec::new();
    for check in checks {
        let problems = check(db).unwrap_or_else(|trouble| vec![harmful(trouble.to_string())]);
        found.extend(problems);
    }
    found
}

type Check = fn(&Connection) -> Result<Vec<StateProblem>, Trouble>;

fn harmful(what: String) -> StateProblem {
    StateProblem { what, is_unused: false }
}

fn unused(what: String) -> StateProblem {
    StateProblem { what, is_unused: true }
}

/// SQLite's own check of pages, rows and indexes. It knows nothing of CHECK constraints in a database that is
/// open for reading only.
fn integrity(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let mut check = db.prepare("PRAGMA integrity_check")?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").map(harmful).collect())
}

fn foreign_keys(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let mut check = db.prepare("PRAGMA foreign_key_check")?;
    let orphan = |row: &rusqlite::Row<'_>| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(harmful(format!("a row of table {table} refers to a row that table {parent} lacks")))
    };
    Ok(check.query_map([], orphan)?.collect::<Result<_, _>>()?)
}

/// What holds between rows and no constraint says.
fn invariants(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let rows = topics::load(db)?;
    let next_log_id = topics::next_log_id(db)?;
    topics::next_producer_id(db)?;
    let mut problems: Vec<String> = rows
        .iter()
        .filter(|row| row.state == TopicState::Live && row.logs.is_empty())
        .map(|row| format!("topic {} has no partitions", row.name))
        .collect();
    let mut seen = HashSet::new();
    for (row, log) in rows.iter().flat_map(|row| row.logs.iter().map(move |log| (row, log))) {
        if !seen.insert(*log) {
            problems.push(format!("log id {log} of topic {} is another partition's too", row.name));
        }
        if i64::try_from(log.0).is_ok_and(|id| id >= next_log_id) {
            problems.push(format!(
                "log id {log} of topic {} is not below next_log_id {next_log_id} and would be given again",
                row.name
            ));
        }
    }
    let mut names = HashSet::new();
    let live = rows.iter().filter(|row: &&TopicRow| row.state == TopicState::Live);
    problems.extend(
        live.filter(|row| !names.insert(&row.name))
            .map(|row| format!("two live topics are named {}", row.name)),
    );
    Ok(problems.into_iter().map(harmful).collect())
}

/// Members of no group.
fn members(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let mut select = db.prepare(
        "SELECT group_number, count(*) FROM group_members WHERE NOT EXISTS
         (SELECT 1 FROM groups WHERE number = group_number AND kind IS NOT NULL) GROUP BY group_number",
    )?;
    let problem = |row: &rusqlite::Row<'_>| {
        let (group, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(unused(format!("table group_members has {count} rows of group {group}, which table groups lacks")))
    };
    Ok(select.query_map([], problem)?.collect::<Result<_, _>>()?)
}

/// Offsets of what is not there.
fn offsets(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let mut problems = Vec::new();
    let mut select = db.prepare(
        "SELECT group_number, count(*) FROM group_offsets
         WHERE group_number NOT IN (SELECT number FROM groups) GROUP BY group_number",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (group, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        problems.push(unused(format!(
            "table group_offsets has {count} rows of group {group}, which table groups lacks"
        )));
    }
    let there: HashMap<TopicId, TopicRow> = topics::load(db)?.into_iter().map(|row| (row.id, row)).collect();
    let mut select = db.prepare(
        "SELECT topic_number, count(*), min(partition_index), max(partition_index) FROM group_offsets
         GROUP BY topic_number",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (number, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (least, greatest): (i64, i64) = (row.get(2)?, row.get(3)?);
        if let Some(partition) = [least, greatest].into_iter().find(|number| !is_partition(*number)) {
            problems.push(harmful(format!("a row of table group_offsets has partition {partition}")));
            continue;
        }
        let OffsetTopic { id, name } = match topic_numbered(db, number) {
            Ok(topic) => topic,
            // Who reads such an offset takes it for damage.
            Err(trouble) => {
                problems.push(harmful(trouble.to_string()));
                continue;
            }
        };
        match there.get(&id) {
            None => problems.push(unused(format!(
                "{count} offsets are committed for topic {name} ({id}), which is not there"
            ))),
            Some(topic) if topic.name != *name => problems.push(unused(format!(
                "{count} offsets are committed for topic {name} ({id}), whose name is {}",
                topic.name
            ))),
            Some(topic) if topic.state == TopicState::Live && !has_partition(topic, greatest) => {
                problems.push(unused(format!(
                    "an offset is committed for partition {greatest} of topic {name}, which has {}",
                    topic.logs.len()
                )));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

fn is_partition(number: i64) -> bool {
    (0..=i64::from(i32::MAX)).contains(&number)
}

fn has_partition(topic: &TopicRow, partition: i64) -> bool {
    usize::try_from(partition).is_ok_and(|partition| partition < topic.logs.len())
}

/// Groups in whose name there is nothing.
fn leftovers(db: &Connection) -> Result<Vec<StateProblem>, Trouble> {
    let mut select = db.prepare(
        "SELECT id FROM groups WHERE kind IS NULL
         AND NOT EXISTS (SELECT 1 FROM group_offsets WHERE group_number = number)",
    )?;
    let problem = |row: &rusqlite::Row<'_>| {
        let id: String = row.get(0)?;
        Ok(unused(format!("group {id:?} is of no kind, and has no offsets")))
    };
    Ok(select.query_map([], problem)?.collect::<Result<_, _>>()?)
}
