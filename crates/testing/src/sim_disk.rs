//! A disk in memory that keeps a record of what was done to it, in the order in which it was done.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_storage::{Access, BLOCK, Disk, DiskFile, FileKind};
use parking_lot::{Condvar, Mutex};

use crate::power_cut::Recording;

/// A file apart from its names.
pub type Inode = usize;

/// Bytes that were written; long runs of zeros are only counted.
#[derive(Clone, Debug)]
pub enum Data {
    /// So many zeros.
    Zeros(usize),
    /// These bytes.
    Bytes(Arc<[u8]>),
}

impl Data {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An operation on the disk.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes were written.
    Write {
        /// To which file.
        inode: Inode,
        /// Where.
        at: u64,
        /// What.
        data: Data,
        /// Whether they are durable when the call returns.
        durable: bool,
    },
    /// A file was cut or extended.
    SetLen {
        /// Which.
        inode: Inode,
        /// To which length.
        len: u64,
    },
    /// A file's data was synced.
    Sync {
        /// Which.
        inode: Inode,
    },
    /// A file was created.
    Create {
        /// Its path.
        path: PathBuf,
        /// The new file.
        inode: Inode,
    },
    /// A directory was created.
    CreateDir(PathBuf),
    /// A name was changed.
    Rename(PathBuf, PathBuf),
    /// A file was removed.
    Remove(PathBuf),
    /// A directory was removed.
    RemoveDir(PathBuf),
    /// The entries of a directory were synced.
    SyncDir(PathBuf),
    /// Everything was synced.
    SyncFs,
    /// The test noted that something had happened by now, an acknowledgement say.
    Mark(u64),
}

/// What a disk holds.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Directories (`None`) and files by path.
    pub names: BTreeMap<PathBuf, Option<Inode>>,
    /// The bytes of files.
    pub contents: HashMap<Inode, Vec<u8>>,
}

#[derive(Debug)]
struct State {
    image: Image,
    next_inode: Inode,
    record: Option<Record>,
    /// Writes to files below this wait.
    held: Option<PathBuf>,
    /// How many do.
    waiting: usize,
}

#[derive(Debug)]
struct Record {
    base: Image,
    ops: Vec<Op>,
}

/// A disk in memory.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

impl SimDisk {
    /// An empty disk with the directory `root`; it records what is done to it.
    pub fn recording(root: &Path) -> Self {
        let mut image = Image::default();
        image.names.insert(root.to_path_buf(), None);
        Self::recording_on(image)
    }

    /// A disk that holds this already, durably, and records what is done to it from now on.
    pub fn recording_on(image: Image) -> Self {
        let record = Record { base: image.clone(), ops: Vec::new() };
        Self::new(image, Some(record))
    }

    /// A disk that holds this, and records nothing.
    pub fn from_image(image: Image) -> Self {
        Self::new(image, None)
    }

    fn new(image: Image, record: Option<Record>) -> Self {
        let next_inode = image.contents.keys().max().map_or(0, |inode| inode + 1);
        let state = State { image, next_inode, record, held: None, waiting: 0 };
        Self { state: Arc::new(Mutex::new(state)), released: Arc::default() }
    }

    /// Notes in the record that something has happened by now.
    pub fn mark(&self, what: u64) {
        self.state.lock().note(Op::Mark(what));
    }

    /// From now on, writes to files below `dir` wait.
    pub fn hold_writes(&self, dir: &Path) {
        self.state.lock().held = Some(dir.to_path_buf());
    }

    /// Whether a write waits.
    pub fn holds_a_write(&self) -> bool {
        self.state.lock().waiting > 0
    }

    /// Lets the writes go on.
    pub fn release_writes(&self) {
        self.state.lock().held = None;
        self.released.notify_all();
    }

    /// What was recorded so far; nothing for a disk that does not record.
    pub fn record(&self) -> Recording {
        let state = self.state.lock();
        let (base, ops) = match &state.record {
            Some(record) => (record.base.clone(), record.ops.clone()),
            None => (state.image.clone(), Vec::new()),
        };
        Recording::new(base, ops)
    }

    /// What the disk holds now.
    pub fn image(&self) -> Image {
        self.state.lock().image.clone()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl State {
    fn holds(&self, inode: Inode) -> bool {
        let is_held = |dir: &PathBuf| {
            self.image.names.iter().any(|(path, node)| *node == Some(inode) && path.starts_with(dir))
        };
        self.held.as_ref().is_some_and(is_held)
    }

    fn note(&mut self, op: Op) {
        if let Some(record) = &mut self.record {
            record.ops.push(op);
        }
    }
}

impl Image {
    /// Does an operation; one whose condition is not met, as when the file to rename is missing, does
    /// nothing.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { inode, at, data, .. } => self.write(*inode, *at, data),
            Op::SetLen { inode, len } => {
                if let Some(content) = self.contents.get_mut(inode) {
                    content.resize(usize::try_from(*len).expect("a test's file fits memory"), 0);
                }
            }
            Op::Create { path, inode } => {
                self.contents.entry(*inode).or_default();
                self.names.insert(path.clone(), Some(*inode));
            }
            Op::CreateDir(path) => {
                self.names.insert(path.clone(), None);
            }
            Op::Rename(from, to) => self.rename(from, to),
            Op::Remove(path) | Op::RemoveDir(path) => {
                self.names.remove(path);
            }
            Op::Sync { .. } | Op::SyncDir(_) | Op::SyncFs | Op::Mark(_) => {}
        }
    }

    fn write(&mut self, inode: Inode, at: u64, data: &Data) {
        let content = self.contents.entry(inode).or_default();
        let at = usize::try_from(at).expect("a test's file fits memory");
        let end = at + data.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        match data {
            Data::Zeros(_) => content[at..end].fill(0),
            Data::Bytes(bytes) => content[at..end].copy_from_slice(bytes),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<_> = self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            if let (Some(node), Ok(rest)) = (self.names.remove(&path), path.strip_prefix(from)) {
                let path = if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) };
                self.names.insert(path, node);
            }
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let inode = match (state.image.names.get(path), access) {
            (Some(_), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Some(inode)), _) => *inode,
            (Some(None), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (None, Access::CreateNew) => {
                let parent = path.parent().and_then(|parent| state.image.names.get(parent));
                if parent != Some(&None) {
                    return Err(not_found());
                }
                let inode = state.next_inode;
                state.next_inode += 1;
                let op = Op::Create { path: path.to_path_buf(), inode };
                state.image.apply(&op);
                state.note(op);
                inode
            }
            (None, _) => return Err(not_found()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, kind }))
    }

    fn writes_direct(&self) -> bool {
        true
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.image.names.get(path) {
            Some(None) => Ok(()),
            Some(Some(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                let op = Op::CreateDir(path.to_path_buf());
                state.image.apply(&op);
                state.note(op);
                Ok(())
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.image.names.contains_key(from) {
            return Err(not_found());
        }
        let op = Op::Rename(from.to_path_buf(), to.to_path_buf());
        state.image.apply(&op);
        state.note(op);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.image.names.get(path), Some(Some(_))) {
            return Err(not_found());
        }
        let op = Op::Remove(path.to_path_buf());
        state.image.apply(&op);
        state.note(op);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let children = state.image.names.keys().filter(|name| name.parent() == Some(path)).count();
        match state.image.names.get(path) {
            Some(None) if children == 0 => {}
            Some(None) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            _ => return Err(not_found()),
        }
        let op = Op::RemoveDir(path.to_path_buf());
        state.image.apply(&op);
        state.note(op);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state.lock();
        if state.image.names.get(path) != Some(&None) {
            return Err(not_found());
        }
        let children = state.image.names.keys().filter(|name| name.parent() == Some(path));
        Ok(children.filter_map(|name| name.file_name().map(PathBuf::from)).collect())
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        let inode = state.image.names.get(path).copied().flatten().ok_or_else(not_found)?;
        Ok(state.image.contents.get(&inode).map_or(0, |content| content.len() as u64))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.image.names.get(path) != Some(&None) {
            return Err(not_found());
        }
        state.note(Op::SyncDir(path.to_path_buf()));
        Ok(())
    }

    fn sync_fs(&self, _path: &Path) -> io::Result<bool> {
        self.state.lock().note(Op::SyncFs);
        Ok(true)
    }

    fn space(&self, _path: &Path) -> io::Result<(u64, u64)> {
        Ok((1 << 40, 1 << 40))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
    kind: FileKind,
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let content = state.image.contents.get(&self.inode).map_or(&[][..], Vec::as_slice);
        let rest = usize::try_from(at).ok().and_then(|at| content.get(at..)).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_at_nowait(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_at(buf, at)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let durable = self.kind == FileKind::Durable;
        if self.kind != FileKind::Cached {
            let aligned = |buf: &IoSlice<'_>| {
                buf.as_ptr().addr().is_multiple_of(BLOCK) && buf.len().is_multiple_of(BLOCK)
            };
            assert!(
                at.is_multiple_of(BLOCK as u64) && bufs.iter().all(aligned),
                "a durable or direct write is aligned"
            );
        }
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let zeros = bytes.len() > BLOCK && bytes.iter().all(|byte| *byte == 0);
        let data = if zeros { Data::Zeros(bytes.len()) } else { Data::Bytes(bytes.into()) };
        let op = Op::Write { inode: self.inode, at, data, durable };
        let mut state = self.disk.state.lock();
        while state.holds(self.inode) {
            state.waiting += 1;
            self.disk.released.wait(&mut state);
            state.waiting -= 1;
        }
        state.image.apply(&op);
        state.note(op);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state.lock().note(Op::Sync { inode: self.inode });
        Ok(())
    }

    fn start_reading(&self, _at: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn start_writeback(&self, _at: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn wait_writeback(&self, _at: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().image.contents.get(&self.inode).map_or(0, |content| content.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let op = Op::SetLen { inode: self.inode, len };
        let mut state = self.disk.state.lock();
        state.image.apply(&op);
        state.note(op);
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
