//! Reading the write-ahead log at the start: which records are whole, and whether anything is missing.
//!
//! At most one record was in flight when the broker ended, so only the last one can be torn. A record that
//! fails its checks is the end of the log if no valid record with a higher number is found behind it; if one
//! is, acknowledged records are damaged, and nobody goes on by himself. Nothing is changed here.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ottla_records::BatchHeader;
use ottla_storage::{Access, BLOCK, Disk, DiskFile, FileKind};
use thiserror::Error;

use crate::{
    arena::Piece,
    wal::{
        format::{AppendEntry, Entry, FileHeader, FileHeaderError, MAX_RECORD_LEN, RecordHeader, VERSION},
        ring::{Spare, WalFile, number_of, path},
    },
};

/// Why the write-ahead log cannot be replayed.
#[derive(Debug, Error)]
pub enum WalError {
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
        /// Its format version.
        version: u32,
    },
    /// Acknowledged records are damaged or missing.
    #[error(
        "the write-ahead log is damaged: {} at byte {at}: {what}; nothing was changed; restore the data \
         directory from a backup, or the file from the disk's redundancy",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong there.
        what: String,
    },
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Files with records that are needed, oldest first.
    pub(crate) live: Vec<Arc<WalFile>>,
    /// Files that may be used again.
    pub(crate) spares: Vec<Spare>,
    /// Files of unusual length that are not needed.
    pub(crate) superfluous: Vec<u64>,
    /// The number of the next record.
    pub(crate) next_lsn: u64,
    /// The sequence of the next file.
    pub(crate) next_sequence: u64,
}

/// One entry of a whole record.
#[derive(Debug)]
pub(crate) struct Replayed<'a> {
    pub(crate) file: &'a Arc<WalFile>,
    /// Where the record begins in its file.
    pub(crate) record_at: u64,
    pub(crate) entry: &'a Entry,
    /// The header of the batch, if it is an append.
    pub(crate) header: Option<BatchHeader>,
}

/// Reads every record from the file with sequence `replay_from` on, in order; all of them if it is 0. Files
/// of `file_len` bytes that are not needed become spares.
pub(crate) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    file_len: u64,
    replay_from: u64,
    mut replayed: impl FnMut(Replayed<'_>) -> Result<(), WalError>,
) -> Result<Scan, WalError> {
    let mut scan = list(disk, dir, file_len, replay_from)?;
    check_sequences(dir, replay_from, &scan)?;
    for (index, file) in scan.live.iter().enumerate() {
        if index == 0 {
            scan.next_lsn = file.header.first_lsn;
        }
        if file.header.first_lsn != scan.next_lsn {
            return Err(damaged(
                dir,
                file.number,
                0,
                format!(
                    "it begins with record {} where {} was expected",
                    file.header.first_lsn, scan.next_lsn
                ),
            ));
        }
        scan.next_lsn = scan_file(dir, file, scan.next_lsn, &mut replayed)?;
    }
    Ok(scan)
}

/// Opens all files and reads their headers.
fn list(disk: &dyn Disk, dir: &Path, file_len: u64, replay_from: u64) -> Result<Scan, WalError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| WalError::Io { path, error }
    };
    let mut scan =
        Scan { live: Vec::new(), spares: Vec::new(), superfluous: Vec::new(), next_lsn: 1, next_sequence: 1 };
    // Files whose header is damaged: the sequence that their first record names.
    let mut headless: Vec<(u64, u64)> = Vec::new();
    for name in disk.list(dir).map_err(io(dir))? {
        let Some(number) = number_of(&name) else { continue };
        let path = dir.join(&name);
        let file = disk.open(&path, Access::Write, FileKind::Durable).map_err(io(&path))?;
        let len = file.len().map_err(io(&path))?;
        let header = read_header(file.as_ref()).map_err(io(&path))?;
        match header {
            Ok(header) if header.sequence >= replay_from => {
                scan.next_sequence = scan.next_sequence.max(header.sequence.saturating_add(1));
                let header = FileHeader { file_len: header.file_len.min(len), ..header };
                scan.live.push(Arc::new(WalFile { file, header, number }));
            }
            Err(FileHeaderError::Newer(version)) => {
                return Err(WalError::Newer { path, version });
            }
            // Not needed any more, never used, or its use began as the power failed: whether something is
            // missing is seen from the sequences of the others.
            Ok(_) | Err(FileHeaderError::Unused | FileHeaderError::Damaged) => {
                if header == Err(FileHeaderError::Damaged) {
                    let first = read_block(file.as_ref(), BLOCK as u64).map_err(io(&path))?;
                    headless.extend(RecordHeader::peek(&first).map(|record| (number, record.file_sequence)));
                }
                if let Ok(header) = header {
                    scan.next_sequence = scan.next_sequence.max(header.sequence.saturating_add(1));
                }
                if len == file_len {
                    scan.spares.push(Spare { file, number, len });
                } else {
                    scan.superfluous.push(number);
                }
            }
        }
    }
    scan.live.sort_by_key(|file| file.header.sequence);
    // A header that was torn when its file's use began has no record of that use behind it.
    if let Some((number, _)) = headless.iter().find(|(_, sequence)| *sequence >= scan.next_sequence) {
        return Err(damaged(dir, *number, 0, "the file header is damaged".into()));
    }
    Ok(scan)
}

fn read_header(file: &dyn DiskFile) -> io::Result<Result<FileHeader, FileHeaderError>> {
    Ok(FileHeader::decode(&read_block(file, 0)?))
}

fn read_block(file: &dyn DiskFile, at: u64) -> io::Result<Bytes> {
    let mut piece = Piece::alone(BLOCK);
    let read = file.read_at(&mut piece.as_mut_slice()[..BLOCK], at)?;
    Ok(piece.freeze().slice(..read))
}

/// Every file from the first needed one on must be there.
fn check_sequences(dir: &Path, replay_from: u64, scan: &Scan) -> Result<(), WalError> {
    for (expected, file) in (replay_from.max(1)..).zip(&scan.live) {
        if file.header.sequence != expected {
            let what = format!("the file with sequence {expected} is missing or its header is damaged");
            return Err(damaged(dir, file.number, 0, what));
        }
    }
    if replay_from > 0 && scan.live.is_empty() {
        let what = format!("the file with sequence {replay_from} is missing or its header is damaged");
        return Err(WalError::Damaged { path: dir.to_path_buf(), at: 0, what });
    }
    Ok(())
}

/// Reads the records of a file, and returns the number of the record after them.
fn scan_file(
    dir: &Path,
    file: &Arc<WalFile>,
    mut lsn: u64,
    replayed: &mut impl FnMut(Replayed<'_>) -> Result<(), WalError>,
) -> Result<u64, WalError> {
    if file.header.file_len > LONGEST_FILE {
        let what = format!("it has {} bytes, more than any file of the log", file.header.file_len);
        return Err(damaged(dir, file.number, 0, what));
    }
    let bytes = read_blocks(file.file.as_ref(), file.header.file_len)
        .map_err(|error| WalError::Io { path: path(dir, file.number), error })?;
    let mut at = BLOCK;
    while let Some(record) = read_record(&bytes[at.min(bytes.len())..], &file.header, lsn) {
        for (entry, header) in &record.entries {
            replayed(Replayed { file, record_at: at as u64, entry, header: *header })?;
        }
        at += record.len;
        lsn += 1;
    }
    if let Some(later) = find_later(&bytes, at, &file.header, lsn) {
        let what = format!("record {lsn} fails its check, and a later one at byte {later} passes");
        return Err(damaged(dir, file.number, at as u64, what));
    }
    Ok(lsn)
}

/// The longest file that there can be: one for a record of its own.
pub(crate) const LONGEST_FILE: u64 = (MAX_RECORD_LEN + BLOCK) as u64;

/// Reads the whole blocks among the first `len` bytes of a file.
pub(crate) fn read_blocks(file: &dyn DiskFile, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).unwrap_or(usize::MAX) / BLOCK * BLOCK;
    let mut piece = Piece::alone(len);
    let read = file.read_at(&mut piece.as_mut_slice()[..len], 0)?;
    Ok(piece.freeze().slice(..read / BLOCK * BLOCK))
}

/// Where a whole record begins, behind the bad one at `at`, whose number is not below `lsn`.
pub(crate) fn find_later(bytes: &[u8], at: usize, file: &FileHeader, lsn: u64) -> Option<usize> {
    let mut later = (at + BLOCK..bytes.len()).step_by(BLOCK);
    later.find(|&later| read_any_record(&bytes[later..], file, lsn))
}

/// A record that is whole.
pub(crate) struct Record {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// Its entries, those of appends with the header of their batch.
    pub(crate) entries: Vec<(Entry, Option<BatchHeader>)>,
}

/// Reads the record with this number; `None` if it is not there whole.
pub(crate) fn read_record(bytes: &[u8], file: &FileHeader, lsn: u64) -> Option<Record> {
    let header = RecordHeader::peek(bytes)?;
    if header.lsn != lsn {
        return None;
    }
    check_record(bytes, file, &header)
}

/// Whether a whole record with a number not below `lsn` begins here.
fn read_any_record(bytes: &[u8], file: &FileHeader, lsn: u64) -> bool {
    RecordHeader::peek(bytes)
        .is_some_and(|header| header.lsn >= lsn && check_directory(bytes, file, &header).is_some())
}

fn check_directory(bytes: &[u8], file: &FileHeader, header: &RecordHeader) -> Option<Vec<Entry>> {
    let same_file = header.file_sequence == file.sequence;
    if !same_file {
        return None;
    }
    header.directory(file.salt, bytes.get(..RecordHeader::padded_len(header.entries as usize))?)
}

fn check_record(bytes: &[u8], file: &FileHeader, header: &RecordHeader) -> Option<Record> {
    let entries = check_directory(bytes, file, header)?;
    let bytes = bytes.get(..header.len as usize)?;
    let checked = |entry: Entry| match &entry {
        Entry::Append(append) => Some((entry, Some(check_batch(bytes, append)?))),
        Entry::LogStart { .. } => Some((entry, None)),
    };
    let entries = entries.into_iter().map(checked).collect::<Option<Vec<_>>>()?;
    Some(Record { len: header.len as usize, entries })
}

/// Checks that the batch an entry speaks of is there, and returns its header.
fn check_batch(record: &[u8], append: &AppendEntry) -> Option<BatchHeader> {
    let start = append.position as usize;
    let batch = record.get(start..start.checked_add(append.len as usize)?)?;
    let header = BatchHeader::parse(batch).ok()?;
    let same = header.length == batch.len()
        && header.crc == append.crc
        && header.base_offset == append.base_offset
        && header.leader_epoch == append.epoch
        && i64::from(header.last_offset_delta) + 1 == i64::from(append.count);
    (same && header.crc_matches(batch)).then_some(header)
}

fn damaged(dir: &Path, number: u64, at: u64, what: String) -> WalError {
    WalError::Damaged { path: path(dir, number), at, what }
}
