//! Looking into a state database without changing anything: neither the file nor the journal beside it.
//!
//! SQLite writes even for a reader: an index of the `-wal` file where none is shared with it, and the files
//! themselves where they are missing. Which way around that there is depends on what lies beside the file.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ottla_storage::{GroupRow, MemberRow, OffsetRow, TopicRow};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{
    check::{self, StateProblem},
    error::{StateError, Trouble},
    groups, offsets, schema, topics,
};

/// What a state database holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Contents {
    /// Its format version.
    pub(crate) version: usize,
    /// The cluster id, once it was asked for.
    pub(crate) cluster_id: Option<String>,
    /// The id that the next log will get.
    pub(crate) next_log_id: i64,
    /// The first producer id that is in no block yet.
    pub(crate) next_producer_id: i64,
    /// All topics, by name.
    pub(crate) topics: Vec<TopicRow>,
}

/// What is shown of groups, one after the other: each group, then its members, then its offsets.
pub(crate) enum GroupPart<'a> {
    /// The next group, which may have no row of its own.
    Group(&'a str, Option<&'a GroupRow>),
    /// A member of it.
    Member(&'a MemberRow),
    /// An offset of it.
    Offset(&'a OffsetRow),
}

/// Groups, or offsets of one, that are read at a time.
const PAGE: usize = 1000;

/// A state database, open for looking only.
pub(crate) struct Look {
    path: PathBuf,
    db: Connection,
    version: usize,
    _copy: Option<Copy>,
}

impl Look {
    /// Opens it. A broker may be running.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let io = |error| StateError::Io { path: path.to_path_buf(), error };
        let exists = |suffix| fs::exists(beside(path, suffix)).map_err(io);
        // Without a -wal file nobody has it open, and all of it is in the one file. With both, the index of
        // the -wal file is that of a running broker, or one that SQLite makes in memory.
        let (way, copy) = match (exists("-wal")?, exists("-shm")?) {
            (false, _) => ("immutable=1", None),
            (true, true) => ("readonly_shm=1", None),
            (true, false) => ("readonly_shm=0", Some(Copy::of(path).map_err(io)?)),
        };
        let opened = copy.as_ref().map_or(path, |copy| &copy.file);
        let access =
            if copy.is_some() { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        let db = schema::connect(&uri(opened, way), path, access | OpenFlags::SQLITE_OPEN_URI)?;
        match schema::version(&db, path)? {
            0 => Err(StateError::Foreign { path: path.to_path_buf() }),
            version => Ok(Self { path: path.to_path_buf(), db, version, _copy: copy }),
        }
    }

    /// Everything that is in it.
    pub(crate) fn contents(&self) -> Result<Contents, StateError> {
        // One transaction, so that what a broker changes meanwhile is seen wholly or not at all.
        let read = self.db.unchecked_transaction().map_err(Trouble::from);
        let read = read.and_then(|db| {
            let mut topics = topics::load(&db)?;
            topics.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
            Ok(Contents {
                version: self.version,
                cluster_id: stored_cluster_id(&db)?,
                next_log_id: topics::next_log_id(&db)?,
                next_producer_id: topics::next_producer_id(&db)?,
                topics,
            })
        });
        read.map_err(|trouble| self.failed(trouble))
    }

    /// Shows all groups with what belongs to them, until `show` fails.
    pub(crate) fn groups<E: From<StateError>>(
        &self,
        mut show: impl FnMut(GroupPart<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.version < 2 {
            return Ok(());
        }
        let db = self.db.unchecked_transaction().map_err(|error| self.failed(error.into()))?;
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = groups::list(&db, after.as_deref(), PAGE).map_err(|trouble| self.failed(trouble))?;
            for listing in &page {
                self.group(&db, &listing.id, &mut show)?;
            }
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
        }
    }

    /// How many groups there are, having read them all.
    pub(crate) fn count_groups(&self) -> Result<u64, StateError> {
        let mut count = 0;
        self.groups(|part| -> Result<(), StateError> {
            count += u64::from(matches!(part, GroupPart::Group(..)));
            Ok(())
        })?;
        Ok(count)
    }

    fn group<E: From<StateError>>(
        &self,
        db: &Connection,
        id: &str,
        show: &mut impl FnMut(GroupPart<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let group = groups::load_one(db, id).map_err(|trouble| self.failed(trouble))?;
        show(GroupPart::Group(id, group.as_ref().map(|group| &group.row)))?;
        for member in group.iter().flat_map(|group| &group.members) {
            show(GroupPart::Member(member))?;
        }
        let mut from = None;
        loop {
            let page = offsets::page(db, id, from, PAGE).map_err(|trouble| self.failed(trouble))?;
            for row in &page.rows {
                show(GroupPart::Offset(row))?;
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    fn failed(&self, trouble: Trouble) -> StateError {
        match trouble {
            Trouble::Fatal(what) => StateError::Damaged { path: self.path.clone(), what },
            other => StateError::Database { path: self.path.clone(), error: other.to_string() },
        }
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<StateProblem> {
        let mut problems = check::problems(&self.db, self.version);
        // What a row must not hold is met by reading it.
        if let Err(StateError::Damaged { what, .. }) = self.count_groups()
            && problems.iter().all(|problem| problem.is_unused)
        {
            problems.push(StateProblem { what, is_unused: false });
        }
        problems
    }
}

fn stored_cluster_id(db: &Connection) -> Result<Option<String>, Trouble> {
    let mut select = db.prepare("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([topics::CLUSTER_ID], |row| row.get(0)).optional()?)
}

/// A copy in a directory of its own, which goes with it.
struct Copy {
    dir: PathBuf,
    file: PathBuf,
}

impl Copy {
    fn of(path: &Path) -> io::Result<Self> {
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let dir = loop {
            let number = COPIES.fetch_add(1, Ordering::Relaxed);
            let dir = env::temp_dir().join(format!("ottla-state-{}-{number}", process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => break made.map(|()| dir)?,
            }
        };
        let copy = Self { file: dir.join("state.db"), dir };
        fs::copy(path, &copy.file)?;
        fs::copy(beside(path, "-wal"), beside(&copy.file, "-wal"))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Whoever sweeps the directory for temporary files takes what cannot be removed here.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The path as SQLite takes it with a parameter.
fn uri(path: &Path, parameter: &str) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    format!("{uri}?{parameter}").into()
}
