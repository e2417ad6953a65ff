//! The requests of the group store as SQL: each function does one inside of a transaction of the caller's.
//!
//! Table `groups` gives each group a number, by which the other tables name it. A group in whose name only
//! offsets were committed has a row too, of no kind; it goes with the last of them.

use std::collections::HashSet;

use bytes::Bytes;
use ottla_records::TimestampMs;
use ottla_storage::{GroupChange, GroupKind, GroupListing, GroupRow, MemberRow, StoredGroup};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::Trouble;

/// A page of groups holds no more bytes than that, but for its last group.
const PAGE_BYTES: usize = 4 << 20;

/// Behind which group a statement goes on: each statement has a form for the beginning and one for the rest,
/// so that both are ranges of the index.
macro_rules! behind {
    ($db:expr, $after:expr, $columns:literal, $rest:literal) => {
        match $after {
            None => $db.prepare_cached(concat!($columns, " WHERE groups.id >= ?1 ", $rest)),
            Some(_) => $db.prepare_cached(concat!($columns, " WHERE groups.id > ?1 ", $rest)),
        }
    };
}
pub(super) use behind;

/// The number of a group, of whatever kind.
pub(super) fn number(db: &Connection, group: &str) -> Result<Option<i64>, Trouble> {
    let mut select = db.prepare_cached("SELECT number FROM groups WHERE id = ?1")?;
    Ok(select.query_row([group], |row| row.get(0)).optional()?)
}

/// The number of a group, which is given one where it has none.
pub(super) fn number_or_new(db: &Connection, group: &str) -> Result<i64, Trouble> {
    if let Some(number) = number(db, group)? {
        return Ok(number);
    }
    Ok(db.prepare_cached("INSERT INTO groups (id) VALUES (?1)")?.insert([group])?)
}

/// Drops the row of a group in whose name there is nothing.
pub(super) fn forget_if_nothing_is_left(db: &Connection, number: i64) -> Result<(), Trouble> {
    let mut delete = db.prepare_cached(
        "DELETE FROM groups WHERE number = ?1 AND kind IS NULL
         AND NOT EXISTS (SELECT 1 FROM group_offsets WHERE group_number = ?1)",
    )?;
    delete.execute([number])?;
    Ok(())
}

/// Makes the changes in their order.
pub(super) fn change(db: &Connection, changes: &[GroupChange]) -> Result<(), Trouble> {
    changes.iter().try_for_each(|change| match change {
        GroupChange::PutGroup(row) => put_group(db, row),
        GroupChange::DeleteGroup { group } => delete_group(db, group),
        GroupChange::PutMember { group, member } => put_member(db, number_of_row(db, group)?, member),
        GroupChange::DeleteMember { group, member_id } => delete_member(db, group, member_id),
        GroupChange::ReplaceMembers { group, members } => replace_members(db, group, members),
    })
}

/// The groups with members behind `after`, at most `max`, and fewer where they are large.
pub(super) fn load_page(
    db: &Connection,
    after: Option<&str>,
    max: usize,
) -> Result<Vec<StoredGroup>, Trouble> {
    let mut select = behind!(
        db,
        after,
        "SELECT groups.id, kind, epoch, protocol_type, groups.state, empty_since, member_id, instance_id,
         client_id, client_host, members.state
         FROM groups CROSS JOIN group_members AS members ON members.group_number = groups.number",
        "AND kind IS NOT NULL ORDER BY groups.id, member_id"
    )?;
    let mut rows = select.query([after.unwrap_or_default()])?;
    let mut groups: Vec<StoredGroup> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if groups.last().is_none_or(|group| *group.row.id != *id) {
            if groups.len() >= max || bytes > PAGE_BYTES {
                break;
            }
            groups.push(StoredGroup { row: group_row(row)?, members: Vec::new() });
        }
        let member = member_row(row, 6)?;
        bytes += member.state.len() + member.client_id.len() + member.client_host.len();
        if let Some(group) = groups.last_mut() {
            group.members.push(member);
        }
    }
    Ok(groups)
}

/// A group with its members, if it has a row.
pub(super) fn load_one(db: &Connection, group: &str) -> Result<Option<StoredGroup>, Trouble> {
    let mut select = db.prepare_cached(
        "SELECT id, kind, epoch, protocol_type, state, empty_since, number FROM groups
         WHERE id = ?1 AND kind IS NOT NULL",
    )?;
    let mut rows = select.query([group])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (group, number) = (group_row(row)?, row.get::<_, i64>(6)?);
    let mut select = db.prepare_cached(
        "SELECT member_id, instance_id, client_id, client_host, state FROM group_members
         WHERE group_number = ?1 ORDER BY member_id",
    )?;
    let mut rows = select.query([number])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push(member_row(row, 0)?);
    }
    Ok(Some(StoredGroup { row: group, members }))
}

/// All groups behind `after`, at most `max`.
pub(super) fn list(db: &Connection, after: Option<&str>, max: usize) -> Result<Vec<GroupListing>, Trouble> {
    let mut select = behind!(
        db,
        after,
        "SELECT id, kind, coalesce(protocol_type, ''),
         EXISTS (SELECT 1 FROM group_members WHERE group_number = number) FROM groups",
        "ORDER BY id LIMIT ?2"
    )?;
    let mut rows = select.query(params![after.unwrap_or_default(), limit(max)])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: Option<String> = row.get(1)?;
        groups.push(GroupListing {
            id: row.get(0)?,
            kind: kind.as_deref().map(kind_of).transpose()?,
            protocol_type: row.get(2)?,
            has_members: row.get(3)?,
        });
    }
    Ok(groups)
}

/// A number of rows as SQLite takes it.
pub(super) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// The group that the first columns hold: id, kind, epoch, protocol type, state, since when it is empty.
pub(super) fn group_row(row: &Row<'_>) -> Result<GroupRow, Trouble> {
    let kind: String = row.get(1)?;
    Ok(GroupRow {
        id: row.get(0)?,
        kind: kind_of(&kind)?,
        epoch: row.get(2)?,
        protocol_type: row.get(3)?,
        state: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        empty_since: row.get::<_, Option<i64>>(5)?.map(TimestampMs),
    })
}

/// The member that the columns from `at` on hold: id, instance id, client id, host, state.
pub(super) fn member_row(row: &Row<'_>, at: usize) -> Result<MemberRow, Trouble> {
    Ok(MemberRow {
        member_id: row.get(at)?,
        instance_id: row.get(at + 1)?,
        client_id: row.get(at + 2)?,
        client_host: row.get(at + 3)?,
        state: Bytes::from(row.get::<_, Vec<u8>>(at + 4)?),
    })
}

fn kind_of(text: &str) -> Result<GroupKind, Trouble> {
    GroupKind::named(text).ok_or_else(|| Trouble::damage(format!("a row of table groups has kind {text:?}")))
}

fn put_group(db: &Connection, row: &GroupRow) -> Result<(), Trouble> {
    let mut put = db.prepare_cached(
        "INSERT INTO groups (id, kind, epoch, protocol_type, state, empty_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, epoch = excluded.epoch,
         protocol_type = excluded.protocol_type, state = excluded.state, empty_since = excluded.empty_since",
    )?;
    let empty_since = row.empty_since.map(TimestampMs::get);
    put.execute(params![&*row.id, row.kind.name(), row.epoch, row.protocol_type, &*row.state, empty_since])?;
    Ok(())
}

fn delete_group(db: &Connection, group: &str) -> Result<(), Trouble> {
    let Some(number) = number(db, group)? else { return Ok(()) };
    delete_members(db, number)?;
    let mut clear = db.prepare_cached(
        "UPDATE groups SET kind = NULL, epoch = NULL, protocol_type = NULL, state = NULL, empty_since = NULL
         WHERE number = ?1",
    )?;
    clear.execute([number])?;
    forget_if_nothing_is_left(db, number)
}

/// The number of a group that has a row of its own.
fn number_of_row(db: &Connection, group: &str) -> Result<i64, Trouble> {
    let mut select = db.prepare_cached("SELECT number FROM groups WHERE id = ?1 AND kind IS NOT NULL")?;
    let number = select.query_row([group], |row| row.get(0)).optional()?;
    number.ok_or_else(|| Trouble::Refused(format!("there is no group {group}")))
}

fn put_member(db: &Connection, group: i64, member: &MemberRow) -> Result<(), Trouble> {
    let mut put = db.prepare_cached(
        "INSERT INTO group_members (group_number, member_id, instance_id, client_id, client_host, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (group_number, member_id) DO UPDATE SET instance_id = excluded.instance_id,
         client_id = excluded.client_id, client_host = excluded.client_host, state = excluded.state",
    )?;
    let instance_id = member.instance_id.as_deref();
    put.execute(params![
        group,
        &*member.member_id,
        instance_id,
        member.client_id,
        member.client_host,
        &*member.state
    ])?;
    Ok(())
}

fn delete_member(db: &Connection, group: &str, member_id: &str) -> Result<(), Trouble> {
    let Some(number) = number(db, group)? else { return Ok(()) };
    let mut delete =
        db.prepare_cached("DELETE FROM group_members WHERE group_number = ?1 AND member_id = ?2")?;
    delete.execute(params![number, member_id])?;
    Ok(())
}

fn delete_members(db: &Connection, group: i64) -> Result<(), Trouble> {
    db.prepare_cached("DELETE FROM group_members WHERE group_number = ?1")?.execute([group])?;
    Ok(())
}

fn replace_members(db: &Connection, group: &str, members: &[MemberRow]) -> Result<(), Trouble> {
    let number = number_of_row(db, group)?;
    let ids: HashSet<&str> = members.iter().map(|member| &*member.member_id).collect();
    if ids.len() < members.len() {
        return Err(Trouble::Refused(format!("a member of group {group} is named twice")));
    }
    delete_members(db, number)?;
    members.iter().try_for_each(|member| put_member(db, number, member))
}
