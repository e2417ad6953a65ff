//! The requests of the topic store as SQL: each function does one inside of a transaction of the caller's.

use std::collections::{BTreeMap, HashMap};

use ottla_records::{LogId, ProducerId, TopicId};
use ottla_storage::{NewTopic, ProducerIdBlock, TopicRow, TopicState};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Trouble;

const NEXT_LOG_ID: &str = "next_log_id";
const NEXT_PRODUCER_ID: &str = "next_producer_id";
pub(super) const CLUSTER_ID: &str = "cluster_id";

/// All topics, in the order of their ids.
pub(super) fn load(db: &Connection) -> Result<Vec<TopicRow>, Trouble> {
    let mut rows = topics(db)?;
    let places: HashMap<TopicId, usize> = rows.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    add_logs(db, &mut rows, &places)?;
    add_settings(db, &mut rows, &places)?;
    Ok(rows)
}

/// Stores a new topic; `None` where a live one has the name.
pub(super) fn create(db: &Connection, topic: &NewTopic) -> Result<Option<TopicRow>, Trouble> {
    let taken = db
        .prepare_cached("SELECT 1 FROM topics WHERE name = ?1 AND state = 'live'")?
        .exists([&topic.name])?;
    if taken {
        return Ok(None);
    }
    let first = take_ids(db, NEXT_LOG_ID, topic.partitions)?;
    db.prepare_cached("INSERT INTO topics (id, name, state) VALUES (?1, ?2, 'live')")?
        .execute(params![topic.id.0, topic.name])?;
    let mut insert =
        db.prepare_cached("INSERT INTO partitions (topic, partition_index, log_id) VALUES (?1, ?2, ?3)")?;
    let mut logs = Vec::new();
    for partition in 0..topic.partitions {
        let log = first + i64::from(partition);
        insert.execute(params![topic.id.0, partition, log])?;
        logs.push(log_id(log)?);
    }
    let mut insert =
        db.prepare_cached("INSERT INTO topic_settings (topic, name, value) VALUES (?1, ?2, ?3)")?;
    for (name, value) in &topic.settings {
        insert.execute(params![topic.id.0, name, value])?;
    }
    Ok(Some(TopicRow {
        id: topic.id,
        name: topic.name.clone(),
        logs,
        settings: topic.settings.clone(),
        state: TopicState::Live,
    }))
}

/// Marks a live topic as deleted; false where there is none.
pub(super) fn mark_deleting(db: &Connection, id: TopicId) -> Result<bool, Trouble> {
    let marked = db
        .prepare_cached("UPDATE topics SET state = 'deleting' WHERE id = ?1 AND state = 'live'")?
        .execute([id.0])?;
    Ok(marked > 0)
}

/// Drops a topic that was marked, with its partitions and settings.
pub(super) fn drop_deleted(db: &Connection, id: TopicId) -> Result<(), Trouble> {
    db.prepare_cached("DELETE FROM topics WHERE id = ?1 AND state = 'deleting'")?.execute([id.0])?;
    Ok(())
}

/// Nothing on disk names this log any more: takes it from its topic if that was marked, and drops the topic
/// with the last of its logs.
pub(super) fn log_is_gone(db: &Connection, log: LogId) -> Result<(), Trouble> {
    let topic: Option<[u8; 16]> = db
        .prepare_cached(
            "SELECT topic FROM partitions JOIN topics ON topics.id = topic
             WHERE log_id = ?1 AND state = 'deleting'",
        )?
        .query_row([number(log)?], |row| row.get(0))
        .optional()?;
    let Some(topic) = topic else { return Ok(()) };
    db.prepare_cached("DELETE FROM partitions WHERE log_id = ?1")?.execute([number(log)?])?;
    let left = db.prepare_cached("SELECT 1 FROM partitions WHERE topic = ?1")?.exists([topic])?;
    if left { Ok(()) } else { drop_deleted(db, TopicId(topic)) }
}

/// Sets producer ids aside.
pub(super) fn reserve_producer_ids(db: &Connection, count: u32) -> Result<ProducerIdBlock, Trouble> {
    Ok(ProducerIdBlock { first: ProducerId(take_ids(db, NEXT_PRODUCER_ID, count)?), count })
}

/// The cluster id: the stored one, or else this one, which is stored.
pub(super) fn cluster_id(db: &Connection, proposed: &str) -> Result<String, Trouble> {
    let stored = db
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([CLUSTER_ID], |row| row.get(0))
        .optional()?;
    if let Some(stored) = stored {
        return Ok(stored);
    }
    db.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2)")?.execute([CLUSTER_ID, proposed])?;
    Ok(proposed.to_owned())
}

/// The id that the next log will get.
pub(super) fn next_log_id(db: &Connection) -> Result<i64, Trouble> {
    next_id(db, NEXT_LOG_ID)
}

/// The id that the next producer will get.
pub(super) fn next_producer_id(db: &Connection) -> Result<i64, Trouble> {
    next_id(db, NEXT_PRODUCER_ID)
}

/// Takes `count` numbers that follow each other from a counter that only rises, and returns the first.
fn take_ids(db: &Connection, counter: &str, count: u32) -> Result<i64, Trouble> {
    let first = next_id(db, counter)?;
    let next = first
        .checked_add(count.into())
        .ok_or_else(|| Trouble::Refused(format!("all numbers of {counter} are used up")))?;
    db.prepare_cached("UPDATE meta SET value = ?2 WHERE key = ?1")?.execute(params![counter, next])?;
    Ok(first)
}

fn next_id(db: &Connection, counter: &str) -> Result<i64, Trouble> {
    let next: Option<i64> = db
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([counter], |row| row.get(0))
        .optional()?;
    match next {
        Some(next) if next >= 0 => Ok(next),
        Some(next) => Err(Trouble::damage(format!("{counter} in table meta is {next}, below zero"))),
        None => Err(Trouble::damage(format!("{counter} is missing from table meta"))),
    }
}

fn topics(db: &Connection) -> Result<Vec<TopicRow>, Trouble> {
    let mut select = db.prepare_cached("SELECT id, name, state FROM topics ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut topics = Vec::new();
    while let Some(row) = rows.next()? {
        let state: String = row.get(2)?;
        let state = match state.as_str() {
            "live" => TopicState::Live,
            "deleting" => TopicState::Deleting,
            other => return Err(Trouble::damage(format!("a row of table topics has state {other:?}"))),
        };
        topics.push(TopicRow {
            id: TopicId(row.get(0)?),
            name: row.get(1)?,
            logs: Vec::new(),
            settings: BTreeMap::new(),
            state,
        });
    }
    Ok(topics)
}

fn add_logs(
    db: &Connection,
    topics: &mut [TopicRow],
    places: &HashMap<TopicId, usize>,
) -> Result<(), Trouble> {
    let mut select = db.prepare_cached(
        "SELECT topic, partition_index, log_id FROM partitions ORDER BY topic, partition_index",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let topic = place(topics, places, TopicId(row.get(0)?), "partitions")?;
        let index: i64 = row.get(1)?;
        // Of a topic that was marked, some may be gone already.
        if topic.state == TopicState::Live && usize::try_from(index) != Ok(topic.logs.len()) {
            let missing = topic.logs.len();
            return Err(Trouble::damage(format!("partition {missing} of topic {} is missing", topic.name)));
        }
        topic.logs.push(log_id(row.get(2)?)?);
    }
    Ok(())
}

fn add_settings(
    db: &Connection,
    topics: &mut [TopicRow],
    places: &HashMap<TopicId, usize>,
) -> Result<(), Trouble> {
    let mut select = db.prepare_cached("SELECT topic, name, value FROM topic_settings")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let topic = place(topics, places, TopicId(row.get(0)?), "topic_settings")?;
        topic.settings.insert(row.get(1)?, row.get(2)?);
    }
    Ok(())
}

fn place<'a>(
    topics: &'a mut [TopicRow],
    places: &HashMap<TopicId, usize>,
    id: TopicId,
    table: &str,
) -> Result<&'a mut TopicRow, Trouble> {
    let topic = places.get(&id).and_then(|at| topics.get_mut(*at));
    topic.ok_or_else(|| Trouble::damage(format!("table {table} names topic {id}, which table topics lacks")))
}

fn log_id(number: i64) -> Result<LogId, Trouble> {
    let id = u64::try_from(number).ok().filter(|id| *id > 0);
    id.map(LogId).ok_or_else(|| Trouble::damage(format!("table partitions has log id {number}")))
}

fn number(log: LogId) -> Result<i64, Trouble> {
    i64::try_from(log.0).map_err(|_| Trouble::Refused(format!("log id {log} was never given")))
}
