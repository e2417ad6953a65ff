//! The requests of the offset store as SQL: each function does one inside of a transaction of the caller's.
//!
//! Groups and topics are named by numbers, which makes a row of `group_offsets` about 30 bytes long: more than a
//! hundred share a page, and what many groups commit at once dirties few of them.

use std::sync::Arc;

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetTopic};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::Trouble,
    groups::{forget_if_nothing_is_left, limit, number, number_or_new},
};

/// Groups from which the offsets of a topic are deleted in one transaction.
pub(super) const GROUPS_STEP: i64 = 1000;

/// Stores offsets of a group.
pub(super) fn commit(db: &Connection, group: &str, offsets: &[OffsetRow]) -> Result<(), Trouble> {
    let Some(first) = offsets.first() else { return Ok(()) };
    let group = number_or_new(db, group)?;
    let mut topic = (first.key.topic, topic_number_or_new(db, first)?);
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO group_offsets (group_number, topic_number, partition_index, offset, leader_epoch,
         metadata, committed_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in offsets {
        // A topic's partitions mostly follow each other.
        if topic.0 != row.key.topic {
            topic = (row.key.topic, topic_number_or_new(db, row)?);
        }
        put.execute(params![
            group,
            topic.1,
            row.key.partition.0,
            row.offset.0,
            (row.leader_epoch != LeaderEpoch::NONE).then_some(row.leader_epoch.0),
            row.metadata,
            row.committed_at.0,
            row.expires_at.map(TimestampMs::get),
        ])?;
    }
    Ok(())
}

/// A group's offsets of these partitions, in their order.
pub(super) fn read(db: &Connection, group: &str, keys: &[OffsetKey]) -> Result<Vec<OffsetRow>, Trouble> {
    let Some(group) = number(db, group)? else { return Ok(Vec::new()) };
    let mut select = db.prepare_cached(
        "SELECT offset, leader_epoch, metadata, committed_at, expires_at FROM group_offsets
         WHERE group_number = ?1 AND topic_number = ?2 AND partition_index = ?3",
    )?;
    let (mut last, mut topic): (Option<TopicId>, Option<(i64, Arc<str>)>) = (None, None);
    let mut found = Vec::new();
    for key in keys {
        if last != Some(key.topic) {
            (last, topic) = (Some(key.topic), topic_named(db, key.topic)?);
        }
        let Some((number, name)) = &topic else { continue };
        let mut rows = select.query(params![group, number, key.partition.0])?;
        if let Some(row) = rows.next()? {
            found.push(offset_row(*key, name.clone(), row, 0)?);
        }
    }
    Ok(found)
}

/// A page of a group's offsets.
pub(super) fn page(
    db: &Connection,
    group: &str,
    from: Option<OffsetCursor>,
    max: usize,
) -> Result<OffsetPage, Trouble> {
    let mut page = OffsetPage { rows: Vec::new(), next: None };
    let Some(group) = number(db, group)? else { return Ok(page) };
    let from = from.unwrap_or(OffsetCursor { topic: 0, partition: PartitionIndex(0) });
    // No topic has a number as large as a cursor that is not ours may name.
    let from = (i64::try_from(from.topic).unwrap_or(i64::MAX), from.partition.0);
    let mut select = db.prepare_cached(
        "SELECT topic_number, partition_index, offset, leader_epoch, metadata, committed_at, expires_at
         FROM group_offsets WHERE group_number = ?1 AND (topic_number, partition_index) >= (?2, ?3)
         ORDER BY topic_number, partition_index LIMIT ?4",
    )?;
    let mut rows = select.query(params![group, from.0, from.1, limit(max.saturating_add(1))])?;
    let mut topic: Option<(i64, OffsetTopic)> = None;
    while let Some(row) = rows.next()? {
        let (number, partition): (i64, i32) = (row.get(0)?, row.get(1)?);
        let partition = PartitionIndex(partition);
        if page.rows.len() == max {
            let topic = u128::try_from(number).unwrap_or_default();
            page.next = Some(OffsetCursor { topic, partition });
            break;
        }
        if topic.as_ref().is_none_or(|(last, _)| *last != number) {
            topic = Some((number, topic_numbered(db, number)?));
        }
        if let Some((_, OffsetTopic { id, name })) = &topic {
            let key = OffsetKey { topic: *id, partition };
            page.rows.push(offset_row(key, name.clone(), row, 2)?);
        }
    }
    Ok(page)
}

/// Whether a group has an offset.
pub(super) fn has_any(db: &Connection, group: &str) -> Result<bool, Trouble> {
    let mut select = db.prepare_cached(
        "SELECT 1 FROM groups JOIN group_offsets ON group_number = number WHERE groups.id = ?1",
    )?;
    Ok(select.exists([group])?)
}

/// The topics that a group has offsets of, or those that any may have offsets of.
pub(super) fn topics(db: &Connection, group: Option<&str>) -> Result<Vec<OffsetTopic>, Trouble> {
    let Some(group) = group else {
        let mut select = db.prepare_cached("SELECT id, name FROM offset_topics ORDER BY number")?;
        let topics =
            select.query_map([], |row| Ok(OffsetTopic { id: TopicId(row.get(0)?), name: row.get(1)? }))?;
        return Ok(topics.collect::<Result<_, _>>()?);
    };
    let mut topics = Vec::new();
    let Some(group) = number(db, group)? else { return Ok(topics) };
    // From topic to topic, past the partitions of each.
    let mut select = db.prepare_cached(
        "SELECT topic_number FROM group_offsets WHERE group_number = ?1 AND topic_number > ?2
         ORDER BY topic_number LIMIT 1",
    )?;
    let mut last = 0_i64;
    while let Some(number) = select.query_row([group, last], |row| row.get(0)).optional()? {
        topics.push(topic_numbered(db, number)?);
        last = number;
    }
    Ok(topics)
}

/// Deletes a group's offsets of these partitions.
pub(super) fn delete(db: &Connection, group: &str, keys: &[OffsetKey]) -> Result<(), Trouble> {
    let Some(group) = number(db, group)? else { return Ok(()) };
    delete_of(db, group, keys)
}

/// Deletes all offsets of a group.
pub(super) fn delete_of_group(db: &Connection, group: &str) -> Result<(), Trouble> {
    let Some(group) = number(db, group)? else { return Ok(()) };
    db.prepare_cached("DELETE FROM group_offsets WHERE group_number = ?1")?.execute([group])?;
    forget_if_nothing_is_left(db, group)
}

/// Deletes the offsets of a topic from some of the groups behind the one with number `after`: up to which one,
/// if others are left. With the last, the topic goes too.
pub(super) fn delete_of_topic(db: &Connection, topic: TopicId, after: i64) -> Result<Option<i64>, Trouble> {
    let Some(topic) = topic_number(db, topic)? else { return Ok(None) };
    let mut select = db.prepare_cached(
        "SELECT max(number) FROM (SELECT number FROM groups WHERE number > ?1 ORDER BY number LIMIT ?2)",
    )?;
    let Some(last) = select.query_row([after, GROUPS_STEP], |row| row.get::<_, Option<i64>>(0))? else {
        db.prepare_cached("DELETE FROM offset_topics WHERE number = ?1")?.execute([topic])?;
        return Ok(None);
    };
    // Group by group, so that the key finds the rows.
    let mut groups = db.prepare_cached(
        "SELECT number FROM groups WHERE number > ?1 AND number <= ?2 AND EXISTS
         (SELECT 1 FROM group_offsets WHERE group_number = number AND topic_number = ?3)",
    )?;
    let groups: Vec<i64> =
        groups.query_map([after, last, topic], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut delete =
        db.prepare_cached("DELETE FROM group_offsets WHERE group_number = ?1 AND topic_number = ?2")?;
    for group in groups {
        delete.execute([group, topic])?;
        forget_if_nothing_is_left(db, group)?;
    }
    Ok(Some(last))
}

/// Deletes offsets of the group with this number.
pub(super) fn delete_of(db: &Connection, group: i64, keys: &[OffsetKey]) -> Result<(), Trouble> {
    let mut delete = db.prepare_cached(
        "DELETE FROM group_offsets WHERE group_number = ?1 AND partition_index = ?3
         AND topic_number = (SELECT number FROM offset_topics WHERE id = ?2)",
    )?;
    for key in keys {
        delete.execute(params![group, key.topic.0, key.partition.0])?;
    }
    forget_if_nothing_is_left(db, group)
}

/// The offset whose columns from `at` on are offset, leader epoch, metadata, and the two times.
pub(super) fn offset_row(
    key: OffsetKey,
    topic_name: Arc<str>,
    row: &Row<'_>,
    at: usize,
) -> Result<OffsetRow, Trouble> {
    Ok(OffsetRow {
        key,
        topic_name,
        offset: Offset(row.get(at)?),
        leader_epoch: row.get::<_, Option<i32>>(at + 1)?.map_or(LeaderEpoch::NONE, LeaderEpoch),
        metadata: row.get(at + 2)?,
        committed_at: TimestampMs(row.get(at + 3)?),
        expires_at: row.get::<_, Option<i64>>(at + 4)?.map(TimestampMs),
    })
}

/// The topic with a number that an offset names.
pub(super) fn topic_numbered(db: &Connection, number: i64) -> Result<OffsetTopic, Trouble> {
    let mut select = db.prepare_cached("SELECT id, name FROM offset_topics WHERE number = ?1")?;
    let topic = select
        .query_row([number], |row| Ok(OffsetTopic { id: TopicId(row.get(0)?), name: row.get(1)? }))
        .optional()?;
    topic.ok_or_else(|| {
        Trouble::damage(format!("table group_offsets names topic {number}, which table offset_topics lacks"))
    })
}

fn topic_named(db: &Connection, id: TopicId) -> Result<Option<(i64, Arc<str>)>, Trouble> {
    let mut select = db.prepare_cached("SELECT number, name FROM offset_topics WHERE id = ?1")?;
    Ok(select.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn topic_number(db: &Connection, id: TopicId) -> Result<Option<i64>, Trouble> {
    let mut select = db.prepare_cached("SELECT number FROM offset_topics WHERE id = ?1")?;
    Ok(select.query_row([id.0], |row| row.get(0)).optional()?)
}

fn topic_number_or_new(db: &Connection, row: &OffsetRow) -> Result<i64, Trouble> {
    if let Some(number) = topic_number(db, row.key.topic)? {
        return Ok(number);
    }
    let mut insert = db.prepare_cached("INSERT INTO offset_topics (id, name) VALUES (?1, ?2)")?;
    Ok(insert.insert(params![row.key.topic.0, &*row.topic_name])?)
}
