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

/// How an operation fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The disk is full (ENOSPC), for this many operations; only what needs room fails.
    Full(u64),
    /// The disk is broken (EIO) from then on.
    Broken,
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
    at: u64,
    done: AtomicU64,
}

impl FailingDisk {
    /// `inner`, whose operation number `at`, of those that write, fails.
    pub fn new(inner: Arc<dyn Disk>, failure: Failure, at: u64) -> Self {
        Self { inner, plan: Arc::new(Plan { failure, at, done: AtomicU64::new(0) }) }
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.plan.done.load(Ordering::SeqCst)
    }

    /// Whether the failure has begun.
    pub fn has_failed(&self) -> bool {
        self.operations() > self.plan.at
    }
}

impl Plan {
    /// An operation that needs room on the disk.
    fn write(&self) -> io::Result<()> {
        let now = self.done.fetch_add(1, Ordering::SeqCst);
        match self.failure {
            Failure::Full(count) if (self.at..self.at + count).contains(&now) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Failure::Broken if now >= self.at => Err(io::Error::other("injected EIO")),
            _ => Ok(()),
        }
    }

    /// An operation that does not.
    fn other(&self) -> io::Result<()> {
        match self.failure {
            Failure::Full(_) => Ok(()),
            Failure::Broken => self.write(),
        }
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        if access == Access::CreateNew {
            self.plan.write()?;
        }
        let inner = self.inner.open(path, access, kind)?;
        Ok(Arc::new(FailingFile { inner, plan: self.plan.clone() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.write()?;
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.other()?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.plan.other()?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.other()?;
        self.inner.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.inner.file_len(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.other()?;
        self.inner.sync_dir(path)
    }

    fn sync_fs(&self, path: &Path) -> io::Result<bool> {
        self.plan.other()?;
        self.inner.sync_fs(path)
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
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
        self.inner.read_at(buf, at)
    }

    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at_nowait(buf, at)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.plan.write()?;
        self.inner.write_all_at(bufs, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.other()?;
        self.inner.sync()
    }

    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        self.inner.start_writeback(at, len)
    }

    fn wait_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        self.inner.wait_writeback(at, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.other()?;
        self.inner.set_len(len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }
}
