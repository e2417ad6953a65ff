//! The files of the write-ahead log, used round and round.
//!
//! A file is prepared once, by writing zeros over its whole length, so that a later durable write changes
//! data and never metadata. It is used again only after the checkpoint has said that nothing in it is needed
//! and nobody reads from it.
//!
//! The WAL thread takes files from here and the keeper puts them back. When there is none, the WAL thread
//! waits at its doorbell, unless the disk is full.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ottla_storage::{Access, BLOCK, Disk, DiskFile, FileKind, Random};
use parking_lot::{Condvar, Mutex};

use crate::{
    arena::Piece,
    wal::{
        format::{FileHeader, RecordHeader},
        intake::Doorbell,
    },
};

/// Length of an ordinary WAL file, unless set otherwise. A record that does not fit gets a file of its own.
pub(crate) const FILE_LEN: u64 = 8 << 20;

/// How long the keeper waits before it looks again for a file that is wanted.
const WANTED_WAIT: Duration = Duration::from_millis(1);

/// How many zeros are written at a time when a file is prepared.
const ZEROS: usize = 1 << 20;

/// How long files are, and all of them together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLengths {
    /// Length of an ordinary file in bytes.
    pub(crate) file_len: u64,
    /// The most that all files may have, in bytes.
    pub(crate) max_bytes: u64,
}

/// A WAL file in use. Holding the `Arc` keeps it from being used again.
#[derive(Debug)]
pub(crate) struct WalFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: FileHeader,
    /// Its place in the directory.
    pub(crate) number: u64,
}

/// A prepared file that is not in use.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) number: u64,
    pub(crate) len: u64,
}

/// All WAL files.
#[derive(Debug)]
pub(crate) struct Ring {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    random: Arc<dyn Random>,
    file_len: u64,
    max_bytes: u64,
    state: Mutex<State>,
    /// Tells the keeper that a file was taken or is wanted.
    changed: Condvar,
    /// Tells the WAL thread that there is a file, or none to hope for.
    doorbell: Arc<Doorbell>,
}

#[derive(Debug)]
struct State {
    /// In use, oldest first; the last one is being written.
    live: VecDeque<Arc<WalFile>>,
    /// Freed by a checkpoint, but possibly still being read.
    freed: Vec<Arc<WalFile>>,
    spares: Vec<Spare>,
    /// Bytes of all files.
    bytes: u64,
    next_number: u64,
    /// The WAL thread waits for a file.
    wanted: bool,
    /// The last attempt to make room found the disk full.
    disk_full: bool,
    stopped: bool,
}

/// Why there is no file to write to.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// The disk is full.
    DiskFull,
    /// The keeper is busy freeing one; the doorbell rings when there is.
    Later,
    /// Preparing a file failed.
    Failed(io::Error),
}

impl Ring {
    /// A ring in `dir` over the files that recovery found there: those in use, and those to use again.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        random: Arc<dyn Random>,
        lengths: RingLengths,
        doorbell: Arc<Doorbell>,
        (live, spares): (Vec<Arc<WalFile>>, Vec<Spare>),
    ) -> Self {
        let RingLengths { file_len, max_bytes } = lengths;
        let next_number =
            live.iter().map(|f| f.number).chain(spares.iter().map(|s| s.number)).max().map_or(1, |n| n + 1);
        let bytes = live.iter().map(|f| f.header.file_len).chain(spares.iter().map(|s| s.len)).sum();
        let state = State {
            live: live.into(),
            freed: Vec::new(),
            spares,
            bytes,
            next_number,
            wanted: false,
            disk_full: false,
            stopped: false,
        };
        Self {
            disk,
            dir,
            random,
            file_len,
            max_bytes,
            state: Mutex::new(state),
            changed: Condvar::new(),
            doorbell,
        }
    }

    /// Opens the next file for writing, one that takes a record of `record_len`. The header is durable when
    /// this returns.
    pub(crate) fn activate(
        &self,
        record_len: u64,
        sequence: u64,
        first_lsn: u64,
    ) -> Result<Arc<WalFile>, NoRoom> {
        let spare = self.take_spare(record_len + BLOCK as u64)?;
        let header = FileHeader { sequence, salt: self.random.next_u64(), file_len: spare.len, first_lsn };
        let mut block = Piece::alone(BLOCK);
        header.encode(&mut block.as_mut_slice()[..BLOCK]);
        if let Err(error) = spare.file.write_all_at(&[IoSlice::new(&block.as_slice()[..BLOCK])], 0) {
            let full = is_full(&error);
            self.state.lock().spares.push(spare);
            return Err(if full { NoRoom::DiskFull } else { NoRoom::Failed(error) });
        }
        let file = Arc::new(WalFile { file: spare.file, header, number: spare.number });
        self.state.lock().live.push_back(file.clone());
        // The keeper may want to prepare the next one.
        self.changed.notify_all();
        Ok(file)
    }

    fn take_spare(&self, len: u64) -> Result<Spare, NoRoom> {
        if len > self.file_len {
            return self.create(len);
        }
        let mut state = self.state.lock();
        if let Some(at) = state.spares.iter().position(|spare| spare.len >= len) {
            return Ok(state.spares.swap_remove(at));
        }
        if state.live.is_empty() {
            // The first file of an empty ring: nobody else would make it sooner.
            drop(state);
            return self.create(self.file_len);
        }
        if state.disk_full {
            return Err(NoRoom::DiskFull);
        }
        if state.stopped {
            return Err(NoRoom::Failed(io::Error::other("the store is stopping")));
        }
        state.wanted = true;
        self.changed.notify_all();
        Err(NoRoom::Later)
    }

    /// Whether the WAL thread would get no answer but [`NoRoom::Later`].
    pub(crate) fn must_wait(&self) -> bool {
        let state = self.state.lock();
        state.wanted && !state.disk_full && !state.stopped
    }

    /// Makes a file of zeros and makes it durable.
    fn create(&self, len: u64) -> Result<Spare, NoRoom> {
        let len = len.next_multiple_of(BLOCK as u64);
        let number = {
            let mut state = self.state.lock();
            state.bytes += len;
            state.next_number += 1;
            state.next_number - 1
        };
        let path = path(&self.dir, number);
        let made = (|| {
            let file = self.disk.open(&path, Access::CreateNew, FileKind::Durable)?;
            zero(file.as_ref(), len)?;
            self.disk.sync_dir(&self.dir)?;
            Ok(file)
        })();
        match made {
            Ok(file) => Ok(Spare { file, number, len }),
            Err(error) => {
                self.state.lock().bytes -= len;
                let removed = self.disk.remove_file(&path);
                match (is_full(&error), removed) {
                    (true, _) => Err(NoRoom::DiskFull),
                    (false, _) => Err(NoRoom::Failed(error)),
                }
            }
        }
    }

    /// Makes another spare if the WAL thread has few left and the ring may still grow. The keeper calls this.
    ///
    /// # Errors
    /// Where the disk fails; a full disk is no error here, but known to the WAL thread afterwards.
    pub(crate) fn grow(&self) -> io::Result<()> {
        {
            let mut state = self.state.lock();
            self.reuse_freed(&mut state);
            let ahead = if state.live.len() > 1 { 2 } else { 1 };
            let enough = state.spares.len() >= ahead;
            if enough || state.bytes + self.file_len > self.max_bytes || state.stopped {
                return Ok(());
            }
        }
        match self.create(self.file_len) {
            Ok(spare) => {
                let mut state = self.state.lock();
                state.spares.push(spare);
                self.satisfied(&mut state);
                Ok(())
            }
            Err(NoRoom::DiskFull) => {
                self.disk_is_full();
                Ok(())
            }
            Err(NoRoom::Later) => Ok(()),
            Err(NoRoom::Failed(error)) => Err(error),
        }
    }

    /// The checkpoint no longer needs files before `sequence`.
    pub(crate) fn free_before(&self, sequence: u64) {
        let mut state = self.state.lock();
        while state.live.len() > 1 && state.live.front().is_some_and(|f| f.header.sequence < sequence) {
            let file = state.live.pop_front();
            state.freed.extend(file);
        }
        self.reuse_freed(&mut state);
    }

    /// Moves freed files that nobody reads any more to the spares; those of unusual length are removed.
    fn reuse_freed(&self, state: &mut State) {
        let mut still_read = Vec::new();
        for file in std::mem::take(&mut state.freed) {
            match Arc::try_unwrap(file) {
                Ok(file) if file.header.file_len == self.file_len => {
                    state.spares.push(Spare { file: file.file, number: file.number, len: self.file_len });
                    self.satisfied(state);
                }
                Ok(file) => {
                    state.bytes -= file.header.file_len;
                    // If this fails, the next start finds a file whose sequence is too old and takes it as a
                    // spare.
                    let _ = self.disk.remove_file(&path(&self.dir, file.number));
                }
                Err(file) => still_read.push(file),
            }
        }
        state.freed = still_read;
    }

    fn satisfied(&self, state: &mut State) {
        state.wanted = false;
        state.disk_full = false;
        self.doorbell.ring();
    }

    /// Lets appends fail, instead of waiting, until a file becomes free.
    pub(crate) fn disk_is_full(&self) {
        let mut state = self.state.lock();
        if state.spares.is_empty() {
            state.disk_full = true;
            state.wanted = false;
            self.doorbell.ring();
        }
    }

    /// How full the ring is.
    pub(crate) fn pressure(&self) -> Pressure {
        let state = self.state.lock();
        Pressure {
            live_bytes: state.live.iter().map(|f| f.header.file_len).sum(),
            bytes: state.bytes,
            max_bytes: self.max_bytes,
            active: state.live.back().map_or(0, |f| f.header.sequence),
            spares: state.spares.len(),
        }
    }

    /// Waits until a file was taken or is wanted, or the time is over. While one is wanted already, only for a
    /// moment, or until the flusher has got on.
    pub(crate) fn wait(&self, at_most: Duration) {
        let mut state = self.state.lock();
        if !state.stopped {
            let at_most = if state.wanted { at_most.min(WANTED_WAIT) } else { at_most };
            self.changed.wait_for(&mut state, at_most);
        }
    }

    /// Wakes the keeper: there may be something to do.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Wakes everybody who waits, with nothing to give.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
        self.doorbell.ring();
    }
}

/// How full the ring is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    /// Bytes of files that are in use.
    pub(crate) live_bytes: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// The most the ring may grow to.
    pub(crate) max_bytes: u64,
    /// Sequence of the file being written, 0 if none.
    pub(crate) active: u64,
    /// Files ready to be used.
    pub(crate) spares: usize,
}

/// Whether an error says that the file system has no room (or no quota) left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where the WAL file with this number is.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.wal"))
}

/// The number of a WAL file, from its name.
pub(crate) fn number_of(name: &Path) -> Option<u64> {
    let name = name.to_str()?.strip_suffix(".wal")?;
    (name.len() == 10).then(|| name.parse().ok())?
}

fn zero(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    let zeros = Piece::alone(usize::try_from(len).unwrap_or(ZEROS).min(ZEROS));
    let mut at = 0;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(ZEROS).min(zeros.len());
        file.write_all_at(&[IoSlice::new(&zeros.as_slice()[..part])], at)?;
        at += part as u64;
    }
    Ok(())
}

/// The length on disk of a record with this many entries and bytes of padded data.
pub(crate) fn record_len(entries: usize, data: usize) -> usize {
    RecordHeader::padded_len(entries) + data
}
