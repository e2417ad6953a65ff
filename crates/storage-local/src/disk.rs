//! The real disk, on Linux, with a portable path beside each special call.
//!
//! A [`FileKind::Durable`] file is opened with O_DIRECT and O_DSYNC where the file system takes that; where
//! it does not, each write is followed by fdatasync. Which of the two it is, [`RealDisk::probe`] finds out by
//! writing and reading back.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice},
    num::NonZeroU64,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ottla_storage::{Access, BLOCK, Disk, DiskFile, FileKind};
use rustix::io::Errno;

use crate::arena::Piece;

/// The host's file systems.
#[derive(Debug)]
pub struct RealDisk {
    /// Whether durable files bypass the page cache.
    direct: AtomicBool,
}

impl RealDisk {
    /// A disk that writes durable files directly where `direct` is set.
    pub fn new(direct: bool) -> Self {
        Self { direct: AtomicBool::new(direct) }
    }

    /// A disk whose way of durable writing suits the file system of `dir`: an aligned block is written past
    /// the page cache and read back; if that fails, writes go through it and are synced.
    ///
    /// # Errors
    /// If not even that is possible, as on a read-only or full file system.
    pub fn probe(dir: &Path) -> io::Result<Self> {
        let disk = Self::new(true);
        if disk.try_durable(dir).is_err() {
            disk.direct.store(false, Ordering::Relaxed);
            disk.try_durable(dir)?;
        }
        Ok(disk)
    }

    /// Whether durable writes bypass the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    fn try_durable(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join("write-probe");
        let _ = fs::remove_file(&path);
        let written = (|| {
            let file = self.open(&path, Access::CreateNew, FileKind::Durable)?;
            let mut out = Piece::alone(BLOCK);
            out.as_mut_slice()[..BLOCK].fill(0xa5);
            file.write_all_at(&[IoSlice::new(&out.as_slice()[..BLOCK])], 0)?;
            let mut back = Piece::alone(BLOCK);
            let read = file.read_at(&mut back.as_mut_slice()[..BLOCK], 0)?;
            if read == BLOCK && back.as_slice()[..BLOCK] == out.as_slice()[..BLOCK] {
                Ok(())
            } else {
                Err(io::Error::other("what was written does not read back"))
            }
        })();
        let removed = fs::remove_file(&path);
        written.and(removed)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read).create_new(access == Access::CreateNew);
        options.mode(0o640);
        let durable = kind == FileKind::Durable;
        let direct = self.is_direct();
        match kind {
            FileKind::Durable if direct => options.custom_flags(libc::O_DIRECT | libc::O_DSYNC),
            FileKind::Direct if direct => options.custom_flags(libc::O_DIRECT),
            _ => &mut options,
        };
        let file = options.open(path)?;
        Ok(Arc::new(RealFile { file, sync_each: durable && !direct }))
    }

    fn writes_direct(&self) -> bool {
        self.is_direct()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_fs(&self, path: &Path) -> io::Result<bool> {
        match rustix::fs::syncfs(File::open(path)?) {
            Ok(()) => Ok(true),
            Err(Errno::NOSYS | Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(path)?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// Each write is followed by a sync, because the file system does not take O_DIRECT.
    sync_each: bool,
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut bufs = [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.file, &mut bufs, at, rustix::io::ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(n),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn start_reading(&self, at: u64, len: u64) -> io::Result<()> {
        let Some(len) = NonZeroU64::new(len) else { return Ok(()) };
        match rustix::fs::fadvise(&self.file, at, Some(len), rustix::fs::Advice::WillNeed) {
            Ok(()) | Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        write_all_at(&self.file, bufs, at)?;
        if self.sync_each { self.file.sync_data() } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        sync_file_range(&self.file, at, len, libc::SYNC_FILE_RANGE_WRITE)
    }

    fn wait_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        sync_file_range(&self.file, at, len, flags)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// As many buffers as one `pwritev` takes (IOV_MAX on Linux).
const MAX_BUFFERS: usize = 1024;

fn write_all_at(file: &File, bufs: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
    for chunk in bufs.chunks(MAX_BUFFERS) {
        let total: usize = chunk.iter().map(|buf| buf.len()).sum();
        let mut done = retry(|| Ok(rustix::io::pwritev(file, chunk, at)?))?;
        // What a short write left out, which is rare: buffer by buffer.
        let mut skipped = 0;
        for buf in chunk {
            let start = done.saturating_sub(skipped).min(buf.len());
            if start < buf.len() && done < total {
                file.write_all_at(&buf[start..], at + done as u64)?;
                done += buf.len() - start;
            }
            skipped += buf.len();
        }
        at += total as u64;
    }
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn sync_file_range(file: &File, at: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
    let offset = at.cast_signed();
    // SAFETY: the call takes no pointers, and the descriptor is open for as long as `file` is borrowed.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len.cast_signed(), flags) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A file system without it: the checkpoint's sync does all the work then.
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE)) => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probed_disk_writes_and_reads() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::probe(dir.path()).unwrap();
        let path = dir.path().join("file");
        let file = disk.open(&path, Access::CreateNew, FileKind::Cached).unwrap();
        let parts: Vec<Vec<u8>> = (0..2500_u32).map(|i| i.to_le_bytes().to_vec()).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_all_at(&slices, 3).unwrap();
        let mut back = vec![0; 10_003];
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 10_003);
        assert_eq!(back[3..], parts.concat());
        file.start_reading(0, 10_003).unwrap();
        file.start_reading(7, 0).unwrap();
        assert_eq!(file.len().unwrap(), 10_003);
        file.start_writeback(0, 10_003).unwrap();
        file.wait_writeback(0, 10_003).unwrap();
        file.sync().unwrap();
        assert!(disk.sync_fs(dir.path()).unwrap());
        assert_eq!(disk.file_len(&path).unwrap(), 10_003);
    }

    #[test]
    fn a_missing_directory_is_an_error_of_the_probe() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk::probe(&dir.path().join("none")).is_err());
    }
}
