//! The seam through which the disk comes in.
//!
//! It is as narrow as the storage engine's needs: positioned reads and writes, the syncs that durability is
//! made of, and the directory operations whose durability is a matter of its own. Behind it stand the real
//! disk, a recorder from which images after a power cut are built, and a disk that fails on purpose.
//!
//! A write through a [`FileKind::Durable`] file is durable when it returns. Everything else is durable only
//! after the sync that names it: data after [`DiskFile::sync`], directory entries (creation, rename, removal)
//! after [`Disk::sync_dir`], and both after [`Disk::sync_fs`].

use std::{
    fmt,
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The unit of durable writes: their position and the length and address of each buffer are multiples of it.
/// Every disk that Linux knows writes 4096 aligned bytes without reading first.
pub const BLOCK: usize = 4096;

/// How a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// Through the page cache; durable after a sync.
    Cached,
    /// Past the page cache, where [`Disk::writes_direct`]: each write is aligned to [`BLOCK`] in position, length
    /// and address. Durable after a sync.
    Direct,
    /// Each write is durable when it returns, and aligned to [`BLOCK`] in position, length and address.
    Durable,
}

/// What an opened file may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing of a file that exists.
    Write,
    /// Reading and writing; the file must not exist yet.
    CreateNew,
}

/// A file system, real or not.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens or creates a file.
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>>;

    /// Whether files can be written past the page cache.
    fn writes_direct(&self) -> bool;

    /// Creates a directory; one that exists already is no error. Its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no particular order.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// The length in bytes of the file at `path`.
    fn file_len(&self, path: &Path) -> io::Result<u64>;

    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system of `path` durable, where the system has such a call; `false`
    /// where it has not, and nothing was done.
    fn sync_fs(&self, path: &Path) -> io::Result<bool>;

    /// Bytes free to us, and the size of the file system that `path` is on.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
}

/// An open file. All positions and lengths are in bytes.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Reads into `buf` from `at`; fewer bytes than asked mean the end of the file.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// As [`read_at`](Self::read_at), but only what is in memory already: `WouldBlock` where nothing at `at`
    /// is, and possibly fewer bytes than there are.
    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Asks the system to bring this range into memory, without waiting, so that it is there when it is
    /// read. A hint: it does nothing where the system has no such call.
    fn start_reading(&self, at: u64, len: u64) -> io::Result<()>;

    /// Writes all of `bufs`, one behind the other, at `at`.
    fn write_all_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()>;

    /// Makes the file's data and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Asks the system to start writing this range to the disk, without waiting. It makes nothing durable,
    /// and does nothing where the system has no such call.
    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()>;

    /// Waits until the range, whose writing was started before, is no longer dirty. It makes nothing durable.
    fn wait_writeback(&self, at: u64, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's descriptor for `sendfile(2)`, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}
