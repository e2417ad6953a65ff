//! The checkpoint: what recovery needs to know beside the WAL, in one file.
//!
//! `docs/formats/checkpoint.md` describes the layout. A file holds frames: first a base, which tells
//! everything, then increments, each of which tells what has changed. A frame counts only if it is whole; the
//! one at the end may be torn, and then it never counted for anybody, since WAL files are freed only after
//! their frame is durable. When the increments have grown past the base, a new file begins with a new base.
//!
//! [`Checkpoints`] does the I/O; encoding and decoding are pure, and trust nothing that they read.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut, BytesMut};
use ottla_records::{LeaderEpoch, LogId, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use ottla_storage::{Access, Disk, DiskFile, FileKind, ProducerBatch, ProducerEntry};
use thiserror::Error;

use crate::segment::ActiveSegment;

/// The version that this code writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"OTTLACKP";
const FILE_HEADER: usize = 16;
const FRAME_HEADER: usize = 16;
/// Increments may always grow to this size before a new base is written.
const MIN_INCREMENTS: u64 = 1 << 20;

/// What is known of a log at a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LogCheckpoint {
    pub(crate) log_start: Offset,
    /// The offset behind the last record in segments that are durable.
    pub(crate) flushed_end: Offset,
    /// How far the last segment had come; `None` if there was none.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    /// The offset behind the last record that `producers` knows.
    pub(crate) state_end: Offset,
    pub(crate) producers: Vec<ProducerEntry>,
}

/// What is known of everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Checkpoint {
    /// Replay begins with the WAL file of this sequence. Earlier ones are not needed.
    pub(crate) replay_from: u64,
    /// The leader epoch of the broker's present life.
    pub(crate) epoch: LeaderEpochOrZero,
    /// Whether the broker was stopped in order.
    pub(crate) clean: bool,
    pub(crate) logs: BTreeMap<LogId, LogCheckpoint>,
}

/// A leader epoch that begins with 0, so that an empty checkpoint has one.
pub(crate) type LeaderEpochOrZero = i32;

/// What has changed since the checkpoint before.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Increment {
    pub(crate) replay_from: u64,
    pub(crate) epoch: LeaderEpochOrZero,
    pub(crate) clean: bool,
    pub(crate) changed: Vec<(LogId, LogCheckpoint)>,
    pub(crate) removed: Vec<LogId>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk did not give it.
    #[error("cannot read {}: {error}; nothing was changed; see to the disk, and start again", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It was written by a newer version.
    #[error(
        "{} was written by a newer version of ottla (format {version}; this version knows up to {VERSION}): \
         start that version again, or restore the data directory from a backup made before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// It is damaged.
    #[error(
        "the checkpoint is damaged: {} at byte {at}: {what}; nothing was changed; restore the data directory \
         from a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Checkpoint {
    /// Takes an increment into account.
    pub(crate) fn apply(&mut self, increment: Increment) {
        self.replay_from = increment.replay_from;
        self.epoch = increment.epoch;
        self.clean = increment.clean;
        for log in increment.removed {
            self.logs.remove(&log);
        }
        self.logs.extend(increment.changed);
    }

    fn to_increment(&self) -> Increment {
        Increment {
            replay_from: self.replay_from,
            epoch: self.epoch,
            clean: self.clean,
            changed: self.logs.iter().map(|(id, log)| (*id, log.clone())).collect(),
            removed: Vec::new(),
        }
    }
}

/// The checkpoint file and what it says.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    current: Checkpoint,
    unread: Option<(PathBuf, usize)>,
    /// The file that increments are added to.
    file: Option<Open>,
    next_number: u64,
}

#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    len: u64,
    base_len: u64,
    next_frame: u64,
}

impl Checkpoints {
    /// Reads the newest checkpoint in `dir`; an empty one where there is none.
    pub(crate) fn load(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, CheckpointError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |error| CheckpointError::Io { path, error }
        };
        let names = disk.list(&dir).map_err(io(&dir))?;
        let newest = names.iter().filter_map(|name| number_of(name)).max();
        let next_number = newest.map_or(1, |number| number + 1);
        let (mut current, mut unread) = (Checkpoint::default(), None);
        if let Some(number) = newest {
            let path = path(&dir, number);
            let bytes = read_file(disk.as_ref(), &path).map_err(io(&path))?;
            let end = decode_frames(&bytes, &path, |_, frame| current.apply(frame))?;
            unread = (end < bytes.len()).then_some((path, end));
        }
        Ok(Self { disk, dir, current, unread, file: None, next_number })
    }

    /// The last frame that was there at the start, if it could not be read: which file, and where it begins. A
    /// crash while it was written leaves it so, and so does damage.
    pub(crate) fn unread(&self) -> Option<(&Path, usize)> {
        self.unread.as_ref().map(|(path, at)| (path.as_path(), *at))
    }

    /// Whether there was none, as in a new data directory.
    pub(crate) fn is_new(&self) -> bool {
        self.next_number == 1
    }

    /// What the checkpoint says.
    pub(crate) fn current(&self) -> &Checkpoint {
        &self.current
    }

    /// Makes an increment durable. The first one after the start writes a new file. After an error, the next
    /// one does too.
    pub(crate) fn write(&mut self, increment: Increment) -> io::Result<()> {
        let written = self.try_write(increment);
        if written.is_err() {
            self.file = None;
        }
        written
    }

    fn try_write(&mut self, increment: Increment) -> io::Result<()> {
        let mut frame = BytesMut::new();
        let number = self.file.as_ref().map_or(0, |open| open.next_frame);
        encode_frame(number, &increment, &mut frame);
        self.current.apply(increment);
        match &mut self.file {
            Some(open) if open.len - open.base_len <= open.base_len.max(MIN_INCREMENTS) => {
                open.file.write_all_at(&[IoSlice::new(&frame)], open.len)?;
                open.file.sync()?;
                open.len += frame.len() as u64;
                open.next_frame += 1;
                Ok(())
            }
            _ => self.rewrite(),
        }
    }

    /// Writes everything into a new file, which takes the old one's place.
    fn rewrite(&mut self) -> io::Result<()> {
        let number = self.next_number;
        let mut bytes = BytesMut::new();
        encode_header(&mut bytes);
        encode_frame(0, &self.current.to_increment(), &mut bytes);
        let path = path(&self.dir, number);
        let unfinished = path.with_extension("tmp");
        let file = match self.disk.open(&unfinished, Access::CreateNew, FileKind::Cached) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove_file(&unfinished)?;
                self.disk.open(&unfinished, Access::CreateNew, FileKind::Cached)?
            }
            other => other?,
        };
        file.write_all_at(&[IoSlice::new(&bytes)], 0)?;
        file.sync()?;
        self.disk.rename(&unfinished, &path)?;
        self.disk.sync_dir(&self.dir)?;
        let len = bytes.len() as u64;
        self.file = Some(Open { file, len, base_len: len, next_frame: 1 });
        self.next_number += 1;
        self.remove_older(number)
    }

    fn remove_older(&self, number: u64) -> io::Result<()> {
        for name in self.disk.list(&self.dir)? {
            if number_of(&name).is_some_and(|older| older < number) {
                self.disk.remove_file(&self.dir.join(name))?;
            }
        }
        Ok(())
    }
}

/// The bytes of a file, read as they come: a length that the file system reports reserves no memory.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    const STEP: usize = 1 << 20;
    let file = disk.open(path, Access::Read, FileKind::Cached)?;
    let mut bytes = Vec::new();
    loop {
        let at = bytes.len();
        bytes.try_reserve(STEP).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        bytes.resize(at + STEP, 0);
        let read = file.read_at(&mut bytes[at..], at as u64)?;
        bytes.truncate(at + read);
        if read < STEP {
            return Ok(bytes);
        }
    }
}

/// Where the checkpoint with this number is.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.checkpoint"))
}

/// The number of a checkpoint, from its name.
pub(crate) fn number_of(name: &Path) -> Option<u64> {
    let number = name.to_str()?.strip_suffix(".checkpoint")?;
    (number.len() == 10).then(|| number.parse().ok())?
}

/// Reads the frames of a file one by one, each with its position, and returns where they end: behind that may
/// be one that was torn.
pub(crate) fn decode_frames(
    bytes: &[u8],
    path: &Path,
    mut each: impl FnMut(usize, Increment),
) -> Result<usize, CheckpointError> {
    let damaged = |at, what| CheckpointError::Damaged { path: path.to_path_buf(), at, what };
    let header = bytes.get(..FILE_HEADER).ok_or_else(|| damaged(0, "it is shorter than its header"))?;
    if header[..8] != MAGIC {
        return Err(damaged(0, "it is no checkpoint"));
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version > VERSION {
        return Err(CheckpointError::Newer { path: path.to_path_buf(), version });
    }
    let (mut at, mut number) = (FILE_HEADER, 0);
    while at < bytes.len() {
        let Some((frame, len)) = decode_frame(&bytes[at..], number) else { break };
        each(at, frame);
        at += len;
        number += 1;
    }
    if number == 0 {
        return Err(damaged(at, "its base is damaged"));
    }
    // Only the last frame can be torn. A whole one behind a bad one means damage.
    let later = (at + 1..bytes.len().saturating_sub(FRAME_HEADER))
        .find(|&from| looks_like_frame(&bytes[from..], number));
    if later.is_some() {
        return Err(damaged(at, "a frame is damaged, and a whole one follows"));
    }
    Ok(at)
}

/// Whether a frame with a number not below `number` begins here.
fn looks_like_frame(bytes: &[u8], number: u64) -> bool {
    let found = u64::from_le_bytes(bytes[8..16].try_into().unwrap_or_default());
    (number..number + (1 << 32)).contains(&found) && decode_frame(bytes, found).is_some()
}

/// The beginning of a file.
pub(crate) fn encode_header(out: &mut BytesMut) {
    out.put_slice(&MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(0);
}

/// A frame: length of the payload, CRC-32C of all that follows, number of the frame, payload.
pub(crate) fn encode_frame(number: u64, increment: &Increment, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, 8);
    out.put_u64_le(number);
    encode(increment, out);
    let len = (out.len() - start - FRAME_HEADER) as u32;
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame at the start of `bytes`, and its length there.
fn decode_frame(bytes: &[u8], number: u64) -> Option<(Increment, usize)> {
    let header = bytes.get(..FRAME_HEADER)?;
    let payload = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let end = FRAME_HEADER.checked_add(payload)?;
    let covered = bytes.get(8..end)?;
    let found = u64::from_le_bytes(header[8..16].try_into().ok()?);
    if found != number || crc32c::crc32c(covered) != crc {
        return None;
    }
    let mut payload = &bytes[FRAME_HEADER..end];
    let increment = decode(&mut payload)?;
    payload.is_empty().then_some((increment, end))
}

fn encode(increment: &Increment, out: &mut BytesMut) {
    out.put_u64_le(increment.replay_from);
    out.put_i32_le(increment.epoch);
    out.put_u8(increment.clean.into());
    out.put_u32_le(increment.removed.len() as u32);
    for log in &increment.removed {
        out.put_u64_le(log.0);
    }
    out.put_u32_le(increment.changed.len() as u32);
    for (id, log) in &increment.changed {
        out.put_u64_le(id.0);
        encode_log(log, out);
    }
}

fn decode(from: &mut &[u8]) -> Option<Increment> {
    let replay_from = from.try_get_u64_le().ok()?;
    let epoch = from.try_get_i32_le().ok()?;
    let clean = from.try_get_u8().ok()? != 0;
    let removed = list(from, |from| Some(LogId(from.try_get_u64_le().ok()?)))?;
    let changed = list(from, |from| Some((LogId(from.try_get_u64_le().ok()?), decode_log(from)?)))?;
    Some(Increment { replay_from, epoch, clean, changed, removed })
}

fn encode_log(log: &LogCheckpoint, out: &mut BytesMut) {
    out.put_i64_le(log.log_start.0);
    out.put_i64_le(log.flushed_end.0);
    out.put_u8(log.active.is_some().into());
    if let Some(active) = &log.active {
        out.put_i64_le(active.base.0);
        out.put_u64_le(active.len);
        out.put_u64_le(active.index_len);
        out.put_u64_le(active.time_index_len);
        out.put_u64_le(active.since_index);
        out.put_i64_le(active.first_timestamp.0);
        out.put_i64_le(active.max_timestamp.0);
        out.put_i64_le(active.max_timestamp_offset.0);
        out.put_i64_le(active.indexed_timestamp.0);
    }
    out.put_u32_le(log.epochs.len() as u32);
    for (epoch, start) in &log.epochs {
        out.put_i32_le(epoch.0);
        out.put_i64_le(start.0);
    }
    out.put_i64_le(log.state_end.0);
    out.put_u32_le(log.producers.len() as u32);
    for producer in &log.producers {
        encode_producer(producer, out);
    }
}

fn decode_log(from: &mut &[u8]) -> Option<LogCheckpoint> {
    let log_start = offset(from)?;
    let flushed_end = offset(from)?;
    let active = match from.try_get_u8().ok()? {
        0 => None,
        _ => Some(ActiveSegment {
            base: offset(from)?,
            len: from.try_get_u64_le().ok()?,
            index_len: from.try_get_u64_le().ok()?,
            time_index_len: from.try_get_u64_le().ok()?,
            since_index: from.try_get_u64_le().ok()?,
            first_timestamp: timestamp(from)?,
            max_timestamp: timestamp(from)?,
            max_timestamp_offset: offset(from)?,
            indexed_timestamp: timestamp(from)?,
        }),
    };
    let epochs = list(from, |from| Some((LeaderEpoch(from.try_get_i32_le().ok()?), offset(from)?)))?;
    let state_end = offset(from)?;
    let producers = list(from, decode_producer)?;
    Some(LogCheckpoint { log_start, flushed_end, active, epochs, state_end, producers })
}

fn encode_producer(producer: &ProducerEntry, out: &mut BytesMut) {
    out.put_i64_le(producer.producer_id.0);
    out.put_i16_le(producer.producer_epoch.0);
    out.put_i64_le(producer.last_timestamp.0);
    out.put_u32_le(producer.batches.len() as u32);
    for batch in &producer.batches {
        out.put_i32_le(batch.first_sequence.0);
        out.put_i32_le(batch.last_sequence.0);
        out.put_i64_le(batch.base_offset.0);
        out.put_i64_le(batch.append_time.map_or(TimestampMs::NONE.0, |time| time.0));
    }
}

fn decode_producer(from: &mut &[u8]) -> Option<ProducerEntry> {
    Some(ProducerEntry {
        producer_id: ProducerId(from.try_get_i64_le().ok()?),
        producer_epoch: ProducerEpoch(from.try_get_i16_le().ok()?),
        last_timestamp: timestamp(from)?,
        batches: list(from, |from| {
            Some(ProducerBatch {
                first_sequence: Sequence(from.try_get_i32_le().ok()?),
                last_sequence: Sequence(from.try_get_i32_le().ok()?),
                base_offset: offset(from)?,
                append_time: Some(timestamp(from)?).filter(|time| *time != TimestampMs::NONE),
            })
        })?,
    })
}

/// Reads a count and so many items; the memory taken follows what is there, not the count.
fn list<T>(from: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = from.try_get_u32_le().ok()?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(from)?);
    }
    Some(items)
}

fn offset(from: &mut &[u8]) -> Option<Offset> {
    Some(Offset(from.try_get_i64_le().ok()?))
}

fn timestamp(from: &mut &[u8]) -> Option<TimestampMs> {
    Some(TimestampMs(from.try_get_i64_le().ok()?))
}
