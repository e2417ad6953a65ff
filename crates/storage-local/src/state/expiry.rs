//! Which committed offsets have expired, in SQL (KIP-211; [`Expiry`] is the rule).

use std::collections::BTreeSet;

use ottla_records::{PartitionIndex, TopicId};
use ottla_storage::{Expirable, Expired, ExpiringGroups, Expiry, OffsetKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    error::Trouble,
    groups::{behind, limit, number},
    offsets::delete_of,
};

/// Looks at some of the groups without members behind `after` for expired offsets.
pub(super) fn find(
    db: &Connection,
    expiry: Expiry,
    after: Option<&str>,
    max: usize,
) -> Result<ExpiringGroups, Trouble> {
    let mut select = behind!(
        db,
        after,
        "SELECT id, EXISTS (SELECT 1 FROM group_offsets WHERE group_number = number
         AND coalesce(expires_at <= ?2, coalesce(empty_since, committed_at) <= ?3)) FROM groups",
        "AND NOT EXISTS (SELECT 1 FROM group_members WHERE group_number = number) ORDER BY id LIMIT ?4"
    )?;
    let after = after.unwrap_or_default();
    let mut rows = select.query(params![after, expiry.now.0, expiry.cutoff().0, limit(max)])?;
    let (mut found, mut looked_at) = (ExpiringGroups::default(), 0);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let has_expired = row.get(1)?;
        if looked_at == max {
            found.next = Some(row.get(0)?);
        }
        if has_expired {
            found.groups.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Deletes some of a group's expired offsets.
pub(super) fn expire(
    db: &Connection,
    group: &str,
    which: &Expirable,
    expiry: Expiry,
    max: usize,
) -> Result<Expired, Trouble> {
    let mut expired = match which {
        Expirable::OfMemberless => of_memberless(db, group, expiry, max)?,
        Expirable::OfTopics(topics) => of_topics(db, group, topics, expiry, max)?,
    };
    let more = expired.len() > max;
    expired.truncate(max);
    if let (Some(number), false) = (number(db, group)?, expired.is_empty()) {
        delete_of(db, number, &expired)?;
    }
    Ok(Expired { deleted: expired, more })
}

/// One more than `max`, where there are so many.
fn of_memberless(
    db: &Connection,
    group: &str,
    expiry: Expiry,
    max: usize,
) -> Result<Vec<OffsetKey>, Trouble> {
    let mut select = db.prepare_cached(
        "SELECT number, empty_since FROM groups WHERE id = ?1
         AND NOT EXISTS (SELECT 1 FROM group_members WHERE group_number = number)",
    )?;
    let found = select.query_row([group], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((number, empty_since)): Option<(i64, Option<i64>)> = found else { return Ok(Vec::new()) };
    let mut select = db.prepare_cached(
        "SELECT id, partition_index FROM group_offsets CROSS JOIN offset_topics ON number = topic_number
         WHERE group_number = ?1 AND coalesce(expires_at <= ?2, coalesce(?4, committed_at) <= ?3) LIMIT ?5",
    )?;
    let limit = limit(max.saturating_add(1));
    let keys = select
        .query_map(params![number, expiry.now.0, expiry.cutoff().0, empty_since, limit], |row| {
            Ok(OffsetKey { topic: TopicId(row.get(0)?), partition: PartitionIndex(row.get(1)?) })
        })?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// One more than `max`, where there are so many.
fn of_topics(
    db: &Connection,
    group: &str,
    topics: &[TopicId],
    expiry: Expiry,
    max: usize,
) -> Result<Vec<OffsetKey>, Trouble> {
    let mut expired = Vec::new();
    let Some(group) = number(db, group)? else { return Ok(expired) };
    let mut select = db.prepare_cached(
        "SELECT partition_index FROM group_offsets WHERE group_number = ?1
         AND topic_number = (SELECT number FROM offset_topics WHERE id = ?2)
         AND coalesce(expires_at <= ?3, committed_at <= ?4) LIMIT ?5",
    )?;
    for topic in topics.iter().collect::<BTreeSet<_>>() {
        let limit = limit((max - expired.len()).saturating_add(1));
        let (now, cutoff) = (expiry.now.0, expiry.cutoff().0);
        let keys = select.query_map(params![group, topic.0, now, cutoff, limit], |row| {
            Ok(OffsetKey { topic: *topic, partition: PartitionIndex(row.get(0)?) })
        })?;
        for key in keys {
            expired.push(key?);
        }
        if expired.len() > max {
            break;
        }
    }
    Ok(expired)
}
