//! What files hold, one line for each thing in them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use ottla_records::Offset;
use ottla_storage::{Access, BLOCK, Disk, FileKind};

use super::{
    InspectError,
    data_dir::{self, DIRS, is_data_dir, sorted},
    disk::ReadOnlyDisk,
    segments::Entries,
    show, unreadable,
};
use crate::{
    checkpoint::{self, decode_frames},
    local::{LOCK_FILE, STATE_FILE},
    segment::{
        files::{Part, parse_name},
        index::{OFFSET_ENTRY, TIME_ENTRY, read_offset_entry, read_time_entry},
        walk::{Found, Walk},
    },
    state::{GroupPart, Look},
    wal::{
        format::{FileHeader, FileHeaderError, RecordHeader},
        replay::{LONGEST_FILE, find_later, read_blocks, read_record},
    },
};

/// Shows what the file `path` holds, or each file in the directory `path`, and below it. Nothing is changed,
/// and a broker may be running: what it writes meanwhile may look torn.
///
/// # Errors
/// Where `path` itself cannot be read, is a file of no known kind, or the output fails. What is damaged or
/// unreadable inside of a directory is part of the output.
pub fn dump(path: &Path, out: &mut dyn Write) -> Result<(), InspectError> {
    let mut dump = Dump { disk: ReadOnlyDisk::new(), out };
    let about = fs::metadata(path).map_err(unreadable(path))?;
    if about.is_dir() {
        return if is_data_dir(path) { dump.data_dir(path) } else { dump.dir(path) };
    }
    match kind(path).map_err(unreadable(path))? {
        Some(kind) => dump.file(path, kind),
        None => Err(InspectError::Unknown { path: path.to_path_buf() }),
    }
}

/// What a file is, by its name, or else by its first bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Segment(Part),
    Wal,
    Checkpoint,
    State,
}

fn kind(path: &Path) -> io::Result<Option<Kind>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if let Some(part) = Part::ALL.into_iter().find(|part| Some(part.suffix()) == extension) {
        return Ok(Some(Kind::Segment(part)));
    }
    match extension {
        Some("wal") => return Ok(Some(Kind::Wal)),
        Some("checkpoint") => return Ok(Some(Kind::Checkpoint)),
        _ if path.file_name() == Some(STATE_FILE.as_ref()) => return Ok(Some(Kind::State)),
        _ if !path.is_file() => return Ok(None),
        _ => {}
    }
    let mut first = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut first)?;
    Ok(match first.first_chunk() {
        Some(b"OTTLAWAL") => Some(Kind::Wal),
        Some(b"OTTLACKP") => Some(Kind::Checkpoint),
        Some(b"SQLite f") => Some(Kind::State),
        _ => None,
    })
}

struct Dump<'a> {
    disk: ReadOnlyDisk,
    out: &'a mut dyn Write,
}

impl Dump<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) -> Result<(), InspectError> {
        writeln!(self.out, "{line}").map_err(InspectError::Output)
    }

    /// A data directory: first what tells of all, then what it tells of.
    fn data_dir(&mut self, dir: &Path) -> Result<(), InspectError> {
        let used = match data_dir::lock(dir) {
            Ok(_) => "not in use",
            Err(InspectError::InUse { .. }) => "in use by a broker",
            Err(error) => return Err(error),
        };
        self.line(format_args!("{}: data directory, {used}", dir.display()))?;
        let state = dir.join(STATE_FILE);
        if state.is_file() {
            self.entry(&state)?;
        } else {
            self.line(format_args!("{}: missing", state.display()))?;
        }
        for part in DIRS {
            self.dir(&dir.join(part))?;
        }
        for path in sorted(dir)? {
            let known = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name == LOCK_FILE || name.starts_with(STATE_FILE) || DIRS.contains(&name)
            });
            if !known {
                self.entry(&path)?;
            }
        }
        Ok(())
    }

    fn dir(&mut self, dir: &Path) -> Result<(), InspectError> {
        let paths = match sorted(dir) {
            Ok(paths) => paths,
            Err(error) => return self.line(format_args!("{error}")),
        };
        paths.iter().try_for_each(|path| self.entry(path))
    }

    /// Something in a directory. It may be gone already, and links are not followed.
    fn entry(&mut self, path: &Path) -> Result<(), InspectError> {
        let shown = path.display();
        let about = match fs::symlink_metadata(path) {
            Ok(about) => about,
            Err(error) => return self.line(format_args!("{shown}: unreadable: {error}")),
        };
        if about.is_dir() {
            return self.dir(path);
        }
        if !about.is_file() {
            return self.line(format_args!("{shown}: neither file nor directory"));
        }
        match kind(path) {
            Ok(Some(kind)) => match self.file(path, kind) {
                Err(InspectError::Output(error)) => Err(InspectError::Output(error)),
                Err(error) => self.line(format_args!("  unreadable: {error}")),
                Ok(()) => Ok(()),
            },
            Ok(None) => self.line(format_args!("{shown}: of no known kind, {} bytes", about.len())),
            Err(error) => self.line(format_args!("{shown}: unreadable: {error}")),
        }
    }

    fn file(&mut self, path: &Path, kind: Kind) -> Result<(), InspectError> {
        match kind {
            Kind::Segment(Part::Log) => self.log(path),
            Kind::Segment(Part::Index) => self.index(path),
            Kind::Segment(Part::TimeIndex) => self.time_index(path),
            Kind::Wal => self.wal(path),
            Kind::Checkpoint => self.checkpoint(path),
            Kind::State => self.state(path),
        }
    }

    fn log(&mut self, path: &Path) -> Result<(), InspectError> {
        let file = self.disk.open(path, Access::Read, FileKind::Cached).map_err(unreadable(path))?;
        let len = file.len().map_err(unreadable(path))?;
        self.line(format_args!("{}: segment, {len} bytes", path.display()))?;
        let mut walk = Walk::new(file.as_ref(), len, base(path));
        while let Some(found) = walk.next().map_err(unreadable(path))? {
            match found {
                Found::Batch { at, header, fault } => self.line(format_args!(
                    "  batch position={at} {} {}",
                    show::Batch(&header),
                    show::BatchFault(fault)
                ))?,
                Found::Gap { at, until, what } => {
                    self.line(format_args!("  damaged position={at} size={}: {what}", until - at))?;
                }
            }
        }
        Ok(())
    }

    fn index(&mut self, path: &Path) -> Result<(), InspectError> {
        let file = self.disk.open(path, Access::Read, FileKind::Cached).map_err(unreadable(path))?;
        let len = file.len().map_err(unreadable(path))?;
        self.line(format_args!("{}: offset index, {len} bytes", path.display()))?;
        let base = base(path).unwrap_or(Offset::ZERO);
        let mut entries = Entries::<OFFSET_ENTRY>::new(file.as_ref(), len);
        while let Some(entry) = entries.next().map_err(unreadable(path))? {
            let (offset, position) = read_offset_entry(base, entry);
            self.line(format_args!("  entry offset={offset} position={position}"))?;
        }
        self.rest(entries.rest())
    }

    fn time_index(&mut self, path: &Path) -> Result<(), InspectError> {
        let file = self.disk.open(path, Access::Read, FileKind::Cached).map_err(unreadable(path))?;
        let len = file.len().map_err(unreadable(path))?;
        self.line(format_args!("{}: time index, {len} bytes", path.display()))?;
        let base = base(path).unwrap_or(Offset::ZERO);
        let mut entries = Entries::<TIME_ENTRY>::new(file.as_ref(), len);
        while let Some(entry) = entries.next().map_err(unreadable(path))? {
            let (time, offset) = read_time_entry(base, entry);
            self.line(format_args!("  entry timestamp={} offset={offset}", show::timestamp(time)))?;
        }
        self.rest(entries.rest())
    }

    fn rest(&mut self, bytes: u64) -> Result<(), InspectError> {
        if bytes == 0 {
            return Ok(());
        }
        self.line(format_args!("  damaged size={bytes}: an entry is cut off by the end of the file"))
    }

    fn wal(&mut self, path: &Path) -> Result<(), InspectError> {
        let file = self.disk.open(path, Access::Read, FileKind::Cached).map_err(unreadable(path))?;
        let len = file.len().map_err(unreadable(path))?;
        let bytes = read_blocks(file.as_ref(), len.min(LONGEST_FILE)).map_err(unreadable(path))?;
        let shown = path.display();
        let header = match FileHeader::decode(bytes.get(..BLOCK).unwrap_or_default()) {
            Ok(header) => header,
            Err(FileHeaderError::Unused) => {
                return self.line(format_args!("{shown}: write-ahead log, never used, {len} bytes"));
            }
            Err(error) => {
                return self.line(format_args!("{shown}: write-ahead log, {len} bytes, damaged: {error}"));
            }
        };
        self.line(format_args!(
            "{shown}: write-ahead log, sequence={} first_lsn={} size={} salt={:016x}, {len} bytes",
            header.sequence, header.first_lsn, header.file_len, header.salt
        ))?;
        let (mut at, mut lsn) = (BLOCK, header.first_lsn);
        while let Some(record) = read_record(bytes.get(at..).unwrap_or_default(), &header, lsn) {
            let entries = record.entries.len();
            self.line(format_args!(
                "  record position={at} lsn={lsn} size={} entries={entries}",
                record.len
            ))?;
            for (entry, batch) in &record.entries {
                self.line(format_args!("    {}", show::WalEntry(entry, batch.as_ref())))?;
            }
            at += record.len;
            lsn = lsn.saturating_add(1);
        }
        self.line(format_args!("  end position={at} next_lsn={lsn}"))?;
        let torn = bytes.get(at..).and_then(RecordHeader::peek);
        if torn.is_some_and(|torn| torn.lsn == lsn && torn.file_sequence == header.sequence) {
            self.line(format_args!("  torn position={at}: record {lsn} was begun and is not whole"))?;
        }
        if let Some(later) = find_later(&bytes, at, &header, lsn) {
            self.line(format_args!("  damaged position={at}: a later record at {later} is whole"))?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, path: &Path) -> Result<(), InspectError> {
        let bytes = checkpoint::read_file(&self.disk, path).map_err(unreadable(path))?;
        let len = bytes.len();
        self.line(format_args!("{}: checkpoint, {len} bytes", path.display()))?;
        let (mut number, mut failed) = (0, None);
        let read = decode_frames(&bytes, path, |at, frame| {
            if failed.is_none() {
                failed = self.frame(number, at, &frame).err();
            }
            number += 1;
        });
        if let Some(error) = failed {
            return Err(error);
        }
        match read {
            Ok(end) if end < len => {
                self.line(format_args!("  torn position={end} size={}: this frame does not count", len - end))
            }
            Ok(_) => Ok(()),
            Err(error) => self.line(format_args!("  damaged: {error}")),
        }
    }

    fn frame(&mut self, number: u64, at: usize, frame: &checkpoint::Increment) -> Result<(), InspectError> {
        self.line(format_args!(
            "  frame={number} position={at} replay_from={} epoch={} clean={} changed={} removed={}",
            frame.replay_from,
            frame.epoch,
            frame.clean,
            frame.changed.len(),
            frame.removed.len()
        ))?;
        for (id, log) in &frame.changed {
            self.line(format_args!("    log={id} {}", show::Checkpointed(log)))?;
            for producer in &log.producers {
                self.line(format_args!("      {}", show::Producer(producer)))?;
            }
        }
        frame.removed.iter().try_for_each(|id| self.line(format_args!("    removed log={id}")))
    }

    fn state(&mut self, path: &Path) -> Result<(), InspectError> {
        self.line(format_args!("{}: state database", path.display()))?;
        let look = Look::open(path)?;
        let contents = look.contents()?;
        self.line(format_args!("  version={}", contents.version))?;
        let cluster = contents.cluster_id.as_deref().unwrap_or("none");
        self.line(format_args!("  cluster_id={cluster}"))?;
        self.line(format_args!("  next_log_id={}", contents.next_log_id))?;
        self.line(format_args!("  next_producer_id={}", contents.next_producer_id))?;
        contents.topics.iter().try_for_each(|topic| self.line(format_args!("  {}", show::Topic(topic))))?;
        look.groups(|part| match part {
            GroupPart::Group(id, row) => self.line(format_args!("  {}", show::Group(id, row))),
            GroupPart::Member(member) => self.line(format_args!("    {}", show::Member(member))),
            GroupPart::Offset(offset) => self.line(format_args!("    {}", show::CommittedOffset(offset))),
        })
    }
}

/// The base offset that a file's name gives.
fn base(path: &Path) -> Option<Offset> {
    parse_name(Path::new(path.file_name()?)).map(|(base, _)| base)
}
