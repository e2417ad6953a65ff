//! The disk as those see it who only look: whatever would change it fails.

use std::{
    io::{self, ErrorKind, IoSlice},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_storage::{Access, Disk, DiskFile, FileKind};

use crate::disk::RealDisk;

/// The real disk, for reading only. It lets the broker's own readers be used beside a running broker.
#[derive(Debug)]
pub(super) struct ReadOnlyDisk(RealDisk);

impl ReadOnlyDisk {
    pub(super) fn new() -> Self {
        Self(RealDisk::new(false))
    }
}

fn refuse<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "whoever looks at a data directory does not change it"))
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        if access == Access::CreateNew {
            return refuse();
        }
        Ok(Arc::new(ReadOnlyFile(self.0.open(path, Access::Read, kind)?)))
    }

    fn writes_direct(&self) -> bool {
        false
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refuse()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refuse()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refuse()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        refuse()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.0.file_len(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refuse()
    }

    fn sync_fs(&self, _: &Path) -> io::Result<bool> {
        refuse()
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.0.space(path)
    }
}

#[derive(Debug)]
struct ReadOnlyFile(Arc<dyn DiskFile>);

impl DiskFile for ReadOnlyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at_nowait(buf, at)
    }

    fn write_all_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        refuse()
    }

    fn sync(&self) -> io::Result<()> {
        refuse()
    }

    fn start_reading(&self, at: u64, len: u64) -> io::Result<()> {
        self.0.start_reading(at, len)
    }

    fn start_writeback(&self, _: u64, _: u64) -> io::Result<()> {
        refuse()
    }

    fn wait_writeback(&self, _: u64, _: u64) -> io::Result<()> {
        refuse()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refuse()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
}
