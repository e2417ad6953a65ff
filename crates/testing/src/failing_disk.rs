//! A disk that fails at a chosen operation.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ottla_storage::{Access, Disk, DiskFile, FileKind};

/// How operations fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The disk is full (ENOSPC), for this many operations; only what needs room counts and fails.
    Full(u64),
    /// The disk is broken (EIO) from then on; everything counts that changes something or makes it durable.
    Broken,
    /// This many reads fail (EIO); reads alone count.
    Unreadable(u64),
}

/// Another disk, until an operation fails.
#[derive(Clone, Debug)]
pub struct FailingDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    failure: Failure,
    /// The operation that fails first, counted from 0.
    at: AtomicU64,
    done: AtomicU64,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// It needs room on the disk.
    Write,
    /// It changes something or makes it durable, and needs no room.
    Other,
    Read,
}

impl FailingDisk {
    /// `inner`, whose operation number `at`, of those that count, fails.
    pub fn new(inner: Arc<dyn Disk>, failure: Failure, at: u64) -> Self {
        let plan = Plan { failure, at: AtomicU64::new(at), done: AtomicU64::new(0) };
        Self { inner, plan: Arc::new(plan) }
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.plan.done.load(Ordering::SeqCst)
    }

    /// Whether the failure has begun.
    pub fn has_failed(&self) -> bool {
        self.operations() > self.plan.at.load(Ordering::SeqCst)
    }

    /// The next operation is the first to fail.
    pub fn fail_from_now(&self) {
        self.plan.at.store(self.operations(), Ordering::SeqCst);
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.plan.at.store(u64::MAX, Ordering::SeqCst);
    }
}

impl Plan {
    fn does(&self, kind: Kind) -> io::Result<()> {
        let counts = match self.failure {
            Failure::Full(_) => kind == Kind::Write,
            Failure::Broken => kind != Kind::Read,
            Failure::Unreadable(_) => kind == Kind::Read,
        };
        if !counts {
            return Ok(());
        }
        let now = self.done.fetch_add(1, Ordering::SeqCst);
        let since = now.checked_sub(self.at.load(Ordering::SeqCst));
        match (self.failure, since) {
            (_, None) => Ok(()),
            (Failure::Full(count), Some(since)) if since < count => Err(io::ErrorKind::StorageFull.into()),
            (Failure::Unreadable(count), Some(since)) if since < count => {
                Err(io::Error::other("injected EIO"))
            }
            (Failure::Broken, Some(_)) => Err(io::Error::other("injected EIO")),
            (Failure::Full(_) | Failure::Unreadable(_), Some(_)) => Ok(()),
        }
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        if access == Access::CreateNew {
            self.plan.does(Kind::Write)?;
        } else {
            self.plan.does(Kind::Read)?;
        }
        let inner = self.inner.open(path, access, kind)?;
        Ok(Arc::new(FailingFile { inner, plan: self.plan.clone() }))
    }

    fn writes_direct(&self) -> bool {
        self.inner.writes_direct()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.does(Kind::Write)?;
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.plan.does(Kind::Read)?;
        self.inner.list(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.plan.does(Kind::Read)?;
        self.inner.file_len(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.sync_dir(path)
    }

    fn sync_fs(&self, path: &Path) -> io::Result<bool> {
        self.plan.does(Kind::Other)?;
        self.inner.sync_fs(path)
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.plan.does(Kind::Read)?;
        self.inner.space(path)
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Arc<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl DiskFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.plan.does(Kind::Read)?;
        self.inner.read_at(buf, at)
    }

    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.plan.does(Kind::Read)?;
        self.inner.read_at_nowait(buf, at)
    }

    fn start_reading(&self, at: u64, len: u64) -> io::Result<()> {
        self.plan.does(Kind::Read)?;
        self.inner.start_reading(at, len)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.plan.does(Kind::Write)?;
        self.inner.write_all_at(bufs, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.sync()
    }

    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.start_writeback(at, len)
    }

    fn wait_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.wait_writeback(at, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.plan.does(Kind::Read)?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.does(Kind::Other)?;
        self.inner.set_len(len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }
}
