//! Names of segment files, and the open ones among them.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use lru::LruCache;
use ottla_records::{LogId, Offset};
use ottla_storage::{Access, Disk, DiskFile, FileKind};
use parking_lot::Mutex;

/// Which file of a segment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Part {
    /// Record batches.
    Log,
    /// The offset index.
    Index,
    /// The time index.
    TimeIndex,
}

impl Part {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Log, Self::Index, Self::TimeIndex];

    /// How its name ends.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::TimeIndex => "timeindex",
        }
    }
}

/// The segment files of a data directory, with as many of them open as the system allows.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    open: Mutex<OpenFiles>,
    /// `.log` files that are open past the page cache too.
    direct: Mutex<LruCache<(LogId, Offset), Arc<dyn DiskFile>>>,
}

/// Most files open past the page cache: only those that much is written to.
const DIRECT_FILES: NonZeroUsize = NonZeroUsize::new(64).unwrap();

type OpenFiles = LruCache<(LogId, Offset, Part), Arc<dyn DiskFile>>;

impl SegmentFiles {
    /// The files below `root`, of which at most `max_open` are kept open.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf, max_open: NonZeroUsize) -> Self {
        Self {
            disk,
            root,
            open: Mutex::new(LruCache::new(max_open)),
            direct: Mutex::new(LruCache::new(DIRECT_FILES)),
        }
    }

    /// The directory that holds the logs.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a log.
    pub(crate) fn dir(&self, log: LogId) -> PathBuf {
        self.root.join(log.0.to_string())
    }

    /// The path of a file.
    pub(crate) fn path(&self, log: LogId, base: Offset, part: Part) -> PathBuf {
        self.dir(log).join(format!("{:020}.{}", base.0, part.suffix()))
    }

    /// A file that exists, open for reading and writing.
    pub(crate) fn get(&self, log: LogId, base: Offset, part: Part) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&(log, base, part)) {
            return Ok(file.clone());
        }
        // Under the lock: whoever removes the file knows of all who have it open.
        let file = self.disk.open(&self.path(log, base, part), Access::Write, FileKind::Cached)?;
        let evicted = open.push((log, base, part), file.clone());
        drop((open, evicted));
        Ok(file)
    }

    /// The `.log` file of a segment, open for writing past the page cache; `None` where the disk has no such way.
    pub(crate) fn direct(&self, log: LogId, base: Offset) -> io::Result<Option<Arc<dyn DiskFile>>> {
        if !self.disk.writes_direct() {
            return Ok(None);
        }
        if let Some(file) = self.direct.lock().get(&(log, base)) {
            return Ok(Some(file.clone()));
        }
        let file = self.disk.open(&self.path(log, base, Part::Log), Access::Write, FileKind::Direct)?;
        let evicted = self.direct.lock().push((log, base), file.clone());
        drop(evicted);
        Ok(Some(file))
    }

    /// As [`get`](Self::get), of a file that may be missing.
    pub(crate) fn get_or_create(
        &self,
        log: LogId,
        base: Offset,
        part: Part,
    ) -> io::Result<Arc<dyn DiskFile>> {
        match self.get(log, base, part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_part(log, base, part)?;
                self.get(log, base, part)
            }
            other => other,
        }
    }

    /// Creates the files of a new segment, and the log's directory if it is the first. Whatever lies there
    /// under these names was left by a crash and is replaced. Returns whether the directory is new.
    pub(crate) fn create(&self, log: LogId, base: Offset) -> io::Result<bool> {
        let new_dir = match self.create_part(log, base, Part::Log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_dir(&self.dir(log))?;
                self.create_part(log, base, Part::Log)?;
                true
            }
            other => {
                other?;
                false
            }
        };
        self.create_part(log, base, Part::Index)?;
        self.create_part(log, base, Part::TimeIndex)?;
        Ok(new_dir)
    }

    fn create_part(&self, log: LogId, base: Offset, part: Part) -> io::Result<()> {
        let path = self.path(log, base, part);
        let file = match self.disk.open(&path, Access::CreateNew, FileKind::Cached) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = self.disk.open(&path, Access::Write, FileKind::Cached)?;
                file.set_len(0)?;
                file
            }
            other => other?,
        };
        self.keep(log, base, part, file);
        Ok(())
    }

    fn keep(&self, log: LogId, base: Offset, part: Part, file: Arc<dyn DiskFile>) {
        // What falls out is closed outside of the lock.
        let evicted = self.open.lock().push((log, base, part), file);
        drop(evicted);
    }

    /// Removes the files of a segment, which need not all be there.
    pub(crate) fn remove(&self, log: LogId, base: Offset) -> io::Result<()> {
        self.direct.lock().pop(&(log, base));
        for part in Part::ALL {
            match self.disk.remove_file(&self.path(log, base, part)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            self.open.lock().pop(&(log, base, part));
        }
        Ok(())
    }

    /// Removes the files of a segment, but lets the caller free what its batches occupy: that happens when the
    /// file that is returned is dropped. `None` if somebody else still reads it.
    pub(crate) fn remove_keeping_log(
        &self,
        log: LogId,
        base: Offset,
    ) -> io::Result<Option<Arc<dyn DiskFile>>> {
        // What cannot be opened can still be removed.
        let file = self.get(log, base, Part::Log).ok();
        self.remove(log, base)?;
        // Nobody can find it any more, and those who had found it hold it.
        Ok(file.filter(|file| Arc::strong_count(file) == 1))
    }

    /// Closes what is open of a log.
    pub(crate) fn forget(&self, log: LogId) {
        let mut direct = self.direct.lock();
        let of_log: Vec<_> = direct.iter().map(|(key, _)| *key).filter(|key| key.0 == log).collect();
        for key in of_log {
            direct.pop(&key);
        }
        drop(direct);
        let mut open = self.open.lock();
        let of_log: Vec<_> = open.iter().map(|(key, _)| *key).filter(|key| key.0 == log).collect();
        for key in of_log {
            open.pop(&key);
        }
    }

    /// The disk they are on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

/// What a file name in a log's directory says.
pub(crate) fn parse_name(name: &Path) -> Option<(Offset, Part)> {
    let (base, suffix) = name.to_str()?.split_once('.')?;
    let part = Part::ALL.into_iter().find(|part| part.suffix() == suffix)?;
    let digits = base.len() == 20 && base.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some((Offset(base.parse().ok()?), part)))?
}
