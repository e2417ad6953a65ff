//! Looking at a state database that may be damaged.

use std::{collections::HashSet, fmt};

use ottla_storage::{TopicRow, TopicState};
use rusqlite::Connection;

use super::{error::Trouble, topics};

/// Something in the state database that is not as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateProblem {
    /// What it is.
    pub what: String,
}

impl fmt::Display for StateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Everything that is wrong. What cannot be read is a problem too, and hides those behind it.
pub(super) fn problems(db: &Connection) -> Vec<StateProblem> {
    let mut found = Vec::new();
    for check in [integrity, foreign_keys, invariants] {
        match check(db) {
            Ok(problems) => found.extend(problems),
            Err(trouble) => found.push(trouble.to_string()),
        }
    }
    found.into_iter().map(|what| StateProblem { what }).collect()
}

/// SQLite's own check of pages, rows, indexes and constraints.
fn integrity(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut check = db.prepare("PRAGMA integrity_check")?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn foreign_keys(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut check = db.prepare("PRAGMA foreign_key_check")?;
    let orphan = |row: &rusqlite::Row<'_>| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of table {table} refers to a row that table {parent} lacks"))
    };
    Ok(check.query_map([], orphan)?.collect::<Result<_, _>>()?)
}

/// What holds between rows and no constraint says.
fn invariants(db: &Connection) -> Result<Vec<String>, Trouble> {
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
    Ok(problems)
}
