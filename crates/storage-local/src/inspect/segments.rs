//! Checking a segment: its batches, and its indexes against them.

use std::{
    io,
    path::{Path, PathBuf},
};

use ottla_records::{BatchHeader, Offset};
use ottla_storage::{Access, Disk, DiskFile, FileKind};

use super::{Impact, InspectError, Problem, unreadable};
use crate::segment::{
    index::{OFFSET_ENTRY, TIME_ENTRY, read_offset_entry, read_time_entry},
    walk::{Fault, Found, Walk},
};

/// The entries of an index file, of `N` bytes each.
pub(super) struct Entries<'a, const N: usize> {
    file: &'a dyn DiskFile,
    len: u64,
    at: u64,
    window: Vec<[u8; N]>,
    used: usize,
}

impl<'a, const N: usize> Entries<'a, N> {
    const WINDOW: usize = 4096;

    /// The entries in the first `len` bytes of a file.
    pub(super) fn new(file: &'a dyn DiskFile, len: u64) -> Self {
        Self { file, len, at: 0, window: Vec::new(), used: 0 }
    }

    /// The next one; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.used == self.window.len() {
            let left = usize::try_from((self.len - self.at) / N as u64).unwrap_or(Self::WINDOW);
            let mut bytes = vec![0; left.min(Self::WINDOW) * N];
            let read = self.file.read_at(&mut bytes, self.at)?;
            self.window = bytes[..read].as_chunks::<N>().0.to_vec();
            self.used = 0;
            self.at += (self.window.len() * N) as u64;
        }
        let entry = self.window.get(self.used).copied();
        self.used += 1;
        if entry.is_none() {
            self.used = self.window.len();
        }
        Ok(entry)
    }

    /// Bytes behind the last whole entry.
    pub(super) fn rest(&self) -> u64 {
        self.len % N as u64
    }
}

/// A segment to check, and what is known of it.
pub(super) struct Segment {
    /// Its base offset.
    pub(super) base: Offset,
    /// Its `.log`, `.index` and `.timeindex`.
    pub(super) paths: [PathBuf; 3],
    /// How much of each counts.
    pub(super) lens: [u64; 3],
    /// The offset behind its last record, where that is known.
    pub(super) end: Option<Offset>,
    /// `index.interval.bytes` of its topic.
    pub(super) interval: u64,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) batches: u64,
    pub(super) bytes: u64,
}

/// Reads a segment whose files are there.
pub(super) fn check(
    disk: &dyn Disk,
    segment: &Segment,
    report: &mut dyn FnMut(Problem),
) -> Result<Count, InspectError> {
    let [log, index, times] = &segment.paths;
    let [log_len, index_len, times_len] = segment.lens;
    let open = |path: &Path| disk.open(path, Access::Read, FileKind::Cached).map_err(unreadable(path));
    let (log_file, index_file, times_file) = (open(log)?, open(index)?, open(times)?);
    let mut offsets = Follower::<OFFSET_ENTRY>::new(index_file.as_ref(), index_len, index);
    let mut stamps = Follower::<TIME_ENTRY>::new(times_file.as_ref(), times_len, times);
    let mut walk = Walk::new(log_file.as_ref(), log_len, Some(segment.base));
    let mut count = Count { batches: 0, bytes: log_len };
    let (mut next, mut ends_whole) = (segment.base, true);
    while let Some(found) = walk.next().map_err(unreadable(log))? {
        match found {
            Found::Gap { at, until, what } => {
                let what = format!("{what}; {} bytes behind offset {} are lost", until - at, next.0 - 1);
                report(Problem::new(log, Some(at), what, Impact::Unreadable));
                offsets.skip(|entry| read_offset_entry(segment.base, entry).1 < until)?;
                stamps.damaged = true;
                ends_whole = false;
            }
            Found::Batch { at, header, fault } => {
                count.batches += 1;
                ends_whole = fault.is_none();
                if let Some(what) = describe(&header, fault) {
                    report(Problem::new(log, Some(at), what, Impact::Unreadable));
                }
                next = if fault.is_none() { header.next_offset() } else { next.plus(1) };
                offsets.match_offset(segment.base, at, &header, fault)?;
                stamps.match_time(segment.base, &header, fault)?;
            }
        }
    }
    if let Some(end) = segment.end.filter(|end| ends_whole && *end != next) {
        let what = format!("it ends at offset {next} where {end} was expected");
        report(Problem::new(log, Some(log_len), what, Impact::Unreadable));
    }
    offsets.finish(segment.interval)?.into_iter().for_each(&mut *report);
    stamps.finish(u64::MAX)?.into_iter().for_each(report);
    Ok(count)
}

fn describe(header: &BatchHeader, fault: Option<Fault>) -> Option<String> {
    match fault? {
        Fault::Crc => Some(format!(
            "the batch with offsets {} to {} does not match its CRC",
            header.base_offset,
            header.last_offset()
        )),
        Fault::Offset { expected } => {
            Some(format!("a batch begins at offset {} where {expected} was expected", header.base_offset))
        }
    }
}

/// An index that is followed while its log is walked over.
struct Follower<'a, const N: usize> {
    path: &'a Path,
    entries: Entries<'a, N>,
    next: Option<[u8; N]>,
    begun: bool,
    /// The byte at which the next entry lies.
    at: u64,
    /// The first entry that is wrong, and how many are.
    wrong: Option<(u64, String)>,
    wrong_count: u64,
    /// The position of the last batch that was seen.
    batch: u64,
    /// The position of the last entry, and the longest way from one to a batch without one.
    last: u64,
    longest: u64,
    /// What was lost of the log may be what an entry names.
    damaged: bool,
}

impl<'a, const N: usize> Follower<'a, N> {
    fn new(file: &'a dyn DiskFile, len: u64, path: &'a Path) -> Self {
        Self {
            path,
            entries: Entries::new(file, len),
            next: None,
            begun: false,
            at: 0,
            wrong: None,
            wrong_count: 0,
            batch: 0,
            last: 0,
            longest: 0,
            damaged: false,
        }
    }

    fn peek(&mut self) -> Result<Option<[u8; N]>, InspectError> {
        if !self.begun {
            self.next = self.entries.next().map_err(unreadable(self.path))?;
            self.begun = true;
        }
        Ok(self.next)
    }

    fn advance(&mut self) {
        self.begun = false;
        self.at += N as u64;
    }

    fn is_wrong(&mut self, what: impl FnOnce() -> String) {
        let at = self.at;
        self.wrong.get_or_insert_with(|| (at, what()));
        self.wrong_count += 1;
    }

    /// Passes over entries without looking at them.
    fn skip(&mut self, within: impl Fn([u8; N]) -> bool) -> Result<(), InspectError> {
        while self.peek()?.is_some_and(&within) {
            self.advance();
        }
        Ok(())
    }

    /// What is wrong, once the log has been walked over. `interval` is the longest way without an entry.
    fn finish(mut self, interval: u64) -> Result<Vec<Problem>, InspectError> {
        while self.peek()?.is_some() {
            if !self.damaged {
                self.is_wrong(|| "it names no batch of the log".into());
            }
            self.advance();
        }
        let mut problems = Vec::new();
        if let Some((at, what)) = self.wrong {
            let more = if self.wrong_count > 1 {
                format!(" ({} such entries)", self.wrong_count)
            } else {
                String::new()
            };
            problems.push(Problem::new(
                self.path,
                Some(at),
                format!("an entry is wrong: {what}{more}"),
                Impact::Rebuilt,
            ));
        } else if self.entries.rest() > 0 {
            let what = format!("{} bytes behind the last entry are no entry", self.entries.rest());
            problems.push(Problem::new(self.path, Some(self.at), what, Impact::Rebuilt));
        } else if self.batch.saturating_sub(self.last) > self.longest.max(interval) {
            let what = format!("nothing is indexed between positions {} and {}", self.last, self.batch);
            problems.push(Problem::new(self.path, Some(self.at), what, Impact::Rebuilt));
        }
        Ok(problems)
    }
}

impl Follower<'_, OFFSET_ENTRY> {
    fn match_offset(
        &mut self,
        base: Offset,
        at: u64,
        header: &BatchHeader,
        fault: Option<Fault>,
    ) -> Result<(), InspectError> {
        while let Some(entry) = self.peek()? {
            let (offset, position) = read_offset_entry(base, entry);
            if position > at {
                break;
            }
            if position < at || position == 0 {
                self.is_wrong(|| format!("no indexed batch begins at position {position}"));
            } else if fault.is_none() && offset != header.last_offset() {
                let last = header.last_offset();
                self.is_wrong(|| format!("it says offset {offset} for a batch that ends at offset {last}"));
            } else {
                self.longest = self.longest.max(self.batch.saturating_sub(self.last));
                self.last = at;
            }
            self.advance();
        }
        self.batch = at;
        Ok(())
    }
}

impl Follower<'_, TIME_ENTRY> {
    fn match_time(
        &mut self,
        base: Offset,
        header: &BatchHeader,
        fault: Option<Fault>,
    ) -> Result<(), InspectError> {
        while let Some(entry) = self.peek()? {
            let (time, offset) = read_time_entry(base, entry);
            if offset > header.last_offset() {
                break;
            }
            let same = offset == header.last_offset() && time == header.max_timestamp.0;
            if !same && fault.is_none() && !(self.damaged && offset < header.base_offset) {
                self.is_wrong(|| format!("no batch ends at offset {offset} with timestamp {time}"));
            }
            self.advance();
        }
        self.damaged = fault.is_some();
        Ok(())
    }
}
