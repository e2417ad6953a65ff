//! The form of the state database: how it is opened and recognised, and the steps that bring an older one up
//! to date.
//!
//! The format is `application_id` and `user_version` in the file's header; the version is the number of steps
//! of [`MIGRATIONS`] that were made. A step that was released is never changed: what comes later is a step of
//! its own.

use std::{fs::File, io, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StateError;

/// "Ottl": tells our files from other SQLite databases.
const APPLICATION_ID: i32 = 0x4f74_746c;
/// How long a lock of another program, such as a shell that somebody left open, is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS: usize = 64;

/// The steps from an empty database to the newest format, each one transaction.
const MIGRATIONS: [&str; 2] = [TOPICS, GROUPS];

/// Version 1.
const TOPICS: &str = "
    CREATE TABLE meta (
        key TEXT NOT NULL PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE topics (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        name TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('live', 'deleting'))
    ) STRICT, WITHOUT ROWID;

    CREATE UNIQUE INDEX live_topic_names ON topics (name) WHERE state = 'live';

    CREATE TABLE partitions (
        topic BLOB NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
        partition_index INTEGER NOT NULL CHECK (partition_index >= 0),
        log_id INTEGER NOT NULL UNIQUE CHECK (log_id > 0),
        PRIMARY KEY (topic, partition_index)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE topic_settings (
        topic BLOB NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (topic, name)
    ) STRICT, WITHOUT ROWID;

    INSERT INTO meta (key, value) VALUES ('next_log_id', 1), ('next_producer_id', 0);
";

/// Version 2. Between these tables there are no foreign keys: they would cost each commit of an offset a second
/// search for its row, and the check looks for what they would forbid.
const GROUPS: &str = "
    CREATE TABLE groups (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT CHECK (kind IN ('classic', 'consumer')),
        epoch INTEGER CHECK (epoch BETWEEN -2147483648 AND 2147483647),
        protocol_type TEXT,
        state BLOB,
        empty_since INTEGER,
        CHECK ((kind IS NULL) = (epoch IS NULL)),
        CHECK ((kind IS NULL) = (protocol_type IS NULL)),
        CHECK ((kind IS NULL) = (state IS NULL))
    ) STRICT;

    CREATE TABLE group_members (
        group_number INTEGER NOT NULL,
        member_id TEXT NOT NULL,
        instance_id TEXT,
        client_id TEXT NOT NULL,
        client_host TEXT NOT NULL,
        state BLOB NOT NULL,
        UNIQUE (group_number, member_id)
    ) STRICT;

    CREATE TABLE offset_topics (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
        name TEXT NOT NULL
    ) STRICT;

    CREATE TABLE group_offsets (
        group_number INTEGER NOT NULL,
        topic_number INTEGER NOT NULL,
        partition_index INTEGER NOT NULL CHECK (partition_index BETWEEN 0 AND 2147483647),
        offset INTEGER NOT NULL,
        leader_epoch INTEGER CHECK (leader_epoch BETWEEN -2147483648 AND 2147483647),
        metadata TEXT NOT NULL,
        committed_at INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (group_number, topic_number, partition_index)
    ) STRICT, WITHOUT ROWID;

    CREATE VIEW committed_offsets AS
        SELECT groups.id AS group_id, offset_topics.name AS topic, partition_index, offset, leader_epoch, metadata,
            datetime(committed_at / 1000, 'unixepoch') AS committed_at
        FROM group_offsets JOIN groups ON groups.number = group_number
            JOIN offset_topics ON offset_topics.number = topic_number;
";

/// The newest format version.
const NEWEST: usize = MIGRATIONS.len();

/// Opens the database for writing, creates it where there is none, and brings its format up to date. The
/// directory entry of a new file is durable when this returns.
pub(super) fn open(path: &Path) -> Result<Connection, StateError> {
    let mut db = connect(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let failed = |error| StateError::of(path, &error);
    let version = version(&db, path)?;
    make_durable(&db, path)?;
    for (sql, version) in MIGRATIONS.iter().zip(1_i64..).skip(version) {
        let transaction = db.transaction().map_err(failed)?;
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    sync_parent(path).map_err(|error| StateError::Io { path: path.to_path_buf(), error })?;
    Ok(db)
}

/// Opens another connection to a database that [`open`] has opened.
pub(super) fn open_second(path: &Path) -> Result<Connection, StateError> {
    let db = connect(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    make_durable(&db, path)?;
    Ok(db)
}

/// Opens another connection, which changes nothing.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StateError> {
    let db = open_second(path)?;
    db.pragma_update(None, "query_only", true).map_err(|error| StateError::of(path, &error))?;
    Ok(db)
}

/// Connects to what SQLite finds under `name`, which is that of the file `path`.
pub(super) fn connect(name: &Path, path: &Path, flags: OpenFlags) -> Result<Connection, StateError> {
    // Each connection stays on one thread, so SQLite need not lock it.
    let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let db = connection.map_err(|error| StateError::of(path, &error))?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(|error| StateError::of(path, &error))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// The format version, which this program knows: 0 for a file in which nothing is yet.
pub(super) fn version(db: &Connection, path: &Path) -> Result<usize, StateError> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let look = || {
        let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((number("application_id")?, number("user_version")?, tables))
    };
    let (application, version, tables) = look().map_err(|error| StateError::of(path, &error))?;
    match usize::try_from(version) {
        Ok(0) if application == 0 && tables == 0 => Ok(0),
        Ok(version) if application == APPLICATION_ID && version > NEWEST => {
            Err(StateError::Newer { path: path.to_path_buf(), version, newest: NEWEST })
        }
        Ok(version) if application == APPLICATION_ID && version > 0 => Ok(version),
        _ => Err(StateError::Foreign { path: path.to_path_buf() }),
    }
}

/// Sets what makes a commit durable, and reads back that it is set: SQLite answers a pragma that it cannot
/// follow with what it does instead.
fn make_durable(db: &Connection, path: &Path) -> Result<(), StateError> {
    let failed = |error| StateError::of(path, &error);
    let unsafe_setting = |setting: &'static str, value: String| StateError::NotDurable {
        path: path.to_path_buf(),
        setting,
        value,
    };
    let mode: String =
        db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(unsafe_setting("journal_mode", mode));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(failed)?;
    if synchronous != 2 {
        return Err(unsafe_setting("synchronous", synchronous.to_string()));
    }
    // The -wal file keeps its length, so that commits overwrite what is allocated already; the checkpoints
    // that let it begin anew are our own.
    let set = |pragma: &str, value: i64| {
        db.pragma_update_and_check(None, pragma, value, |row| row.get::<_, i64>(0)).map_err(failed)
    };
    set("journal_size_limit", -1)?;
    set("wal_autocheckpoint", 0)?;
    db.pragma_update(None, "foreign_keys", true).map_err(failed)
}

/// Makes the creation of the file durable, which SQLite does for its journals only.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Whether the error is that of a file that is there, but is not a whole database.
pub(super) fn is_damage(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}
