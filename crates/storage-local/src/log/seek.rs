//! Finding the batch that holds an offset, in a segment.
//!
//! The index says where to begin, and what it says is a hint: it is followed only to a batch that it names
//! truly, and from there on each batch must begin at the offset behind the one before. Where the index is
//! wrong, an earlier entry leads to the batch; where the log is damaged, a later entry leads past the damage.
//! No batch is looked for at places that no index names: bytes there may be what a producer wants to be taken
//! for one.

use std::io;

use ottla_records::{BatchHeader, Offset, batch::HEADER_SIZE};
use ottla_storage::DiskFile;

use super::content::SegmentError;
use crate::segment::{
    Segment,
    index::{self, OFFSET_ENTRY, read_offset_entry},
    walk::crc_matches,
};

/// How much is read at a time.
const SCAN: usize = 16 << 10;
/// Behind damage, so many entries of the index are tried.
const LATER_ENTRIES: u64 = 64;

/// What was looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sought {
    /// Where the batch begins.
    pub(super) at: u64,
    /// Its header.
    pub(super) header: BatchHeader,
    /// The index is not as it should be, and shall be built anew.
    pub(super) index_is_wrong: bool,
}

/// A segment's files, read by one who may wait for the disk or not.
pub(super) struct Seek<'a> {
    pub(super) segment: &'a Segment,
    pub(super) log: &'a dyn DiskFile,
    /// The index, where there is one.
    pub(super) index: Option<&'a dyn DiskFile>,
    pub(super) may_wait: bool,
    /// `index.interval.bytes`.
    pub(super) interval: u64,
}

/// Where a row of batches ends before the one that is looked for.
struct Broken {
    at: u64,
    /// It did not even begin.
    at_once: bool,
}

impl Seek<'_> {
    /// Finds the batch that holds `wanted`, among the first `len` bytes of the segment.
    pub(super) fn seek(&self, wanted: Offset, len: u64) -> Result<Sought, SegmentError> {
        let before = if wanted == self.segment.base() { 0 } else { self.entries_before(wanted, len)? };
        match self.scan(before, wanted, len)? {
            Ok(sought) => Ok(sought),
            Err(_) if !self.may_wait => Err(SegmentError::WouldWait),
            Err(broken) => self.seek_around(broken, before, wanted, len),
        }
    }

    /// Looks for a batch that the index did not lead to.
    fn seek_around(
        &self,
        mut broken: Broken,
        before: u64,
        wanted: Offset,
        len: u64,
    ) -> Result<Sought, SegmentError> {
        // Entries that name no batch: either they are wrong, or what they name is damaged.
        let (mut number, mut step) = (before, 1);
        while broken.at_once && number > 0 {
            number = number.saturating_sub(step);
            step *= 2;
            match self.scan(number, wanted, len)? {
                // It is the index that is wrong, unless this batch only claims to hold the offset.
                Ok(sought) if self.whole_batch(sought.at, len)?.is_some() => {
                    return Ok(Sought { index_is_wrong: true, ..sought });
                }
                Ok(sought) => broken = Broken { at: sought.at, at_once: false },
                Err(earlier) => broken = earlier,
            }
        }
        self.seek_behind(broken.at, "no batch with the expected offsets begins here", before, wanted, len)
    }

    /// Looks for a batch that a later entry of the index names, because what lies at `at` is damaged.
    pub(super) fn seek_past(
        &self,
        at: u64,
        what: &'static str,
        wanted: Offset,
    ) -> Result<Sought, SegmentError> {
        let len = self.segment.len();
        let before = self.entries_before(wanted, len)?;
        match self.seek_behind(at, what, before, wanted, len) {
            // If only its records are damaged, its header tells where the next batch begins.
            Err(SegmentError::Damaged { at, what, readable }) => {
                let readable = self.next_by_header(at, wanted, len)?.or(readable);
                Err(SegmentError::Damaged { at, what, readable })
            }
            other => other,
        }
    }

    fn seek_behind(
        &self,
        at: u64,
        what: &'static str,
        before: u64,
        wanted: Offset,
        len: u64,
    ) -> Result<Sought, SegmentError> {
        let mut readable = None;
        for number in before..before + LATER_ENTRIES {
            let Some(entry) = self.entry(number)? else { break };
            let Some(header) = self.named_batch(entry, len)? else { continue };
            if header.base_offset <= wanted && wanted <= header.last_offset() {
                return Ok(Sought { at: entry.1, header, index_is_wrong: false });
            }
            if header.base_offset > wanted {
                readable = Some(header.base_offset);
                break;
            }
        }
        Err(SegmentError::Damaged { at, what, readable })
    }

    /// The offset behind the batch at `at`, if its header and the next batch's agree on it.
    fn next_by_header(&self, at: u64, wanted: Offset, len: u64) -> Result<Option<Offset>, SegmentError> {
        let mut window = Window { bytes: vec![0; HEADER_SIZE], len: 0, at: 0 };
        let Some(damaged) = self.header(&mut window, at, len)? else { return Ok(None) };
        let (next_at, next) = (at + damaged.length as u64, damaged.next_offset());
        if next_at >= len || next <= wanted {
            return Ok(None);
        }
        let follows = self.header(&mut window, next_at, len)?;
        Ok(follows.filter(|header| header.base_offset == next).map(|_| next))
    }

    /// How many entries of the index are not above `wanted`.
    fn entries_before(&self, wanted: Offset, len: u64) -> Result<u64, SegmentError> {
        let read = |buf: &mut [u8], at| self.read_index(buf, at);
        index::entries_before(read, self.index_len(), self.segment.base(), wanted, len)
            .map_err(|error| self.failed(error))
    }

    /// Follows the batches from the one on that the entry before this number names; from the first batch, if
    /// it is 0.
    fn scan(&self, number: u64, wanted: Offset, len: u64) -> Result<Result<Sought, Broken>, SegmentError> {
        let first = match number.checked_sub(1) {
            None => None,
            Some(number) => self.entry(number)?,
        };
        let start = first.map_or(0, |(_, position)| position);
        let (mut at, mut last, mut expected) = (start, start, None);
        let mut window = Window { bytes: vec![0; SCAN], len: 0, at: 0 };
        loop {
            let header = if at < len { self.header(&mut window, at, len)? } else { None };
            let fits = |header: &BatchHeader| match (expected, first) {
                (Some(expected), _) => header.base_offset == expected,
                (None, Some((offset, position))) => position > 0 && header.last_offset() == offset,
                (None, None) => header.base_offset == self.segment.base(),
            };
            let follows = header.filter(|header| {
                fits(header) && header.base_offset <= wanted && header.last_offset_delta >= 0
            });
            let Some(header) = follows else {
                return Ok(Err(Broken { at, at_once: expected.is_none() && first.is_some() }));
            };
            if header.next_offset() > wanted {
                let index_is_wrong = last - start > self.interval;
                return Ok(Ok(Sought { at, header, index_is_wrong }));
            }
            last = at;
            // An index that lacks entries makes the way long: that is for one who may wait.
            if !self.may_wait && last - start > self.interval {
                return Err(SegmentError::WouldWait);
            }
            expected = Some(header.next_offset());
            at += header.length as u64;
        }
    }

    /// The header at `at`, if a batch may begin there and ends within `len`.
    fn header(&self, window: &mut Window, at: u64, len: u64) -> Result<Option<BatchHeader>, SegmentError> {
        let within = |window: &Window| {
            let skip = usize::try_from(at.checked_sub(window.at)?).ok()?;
            (skip.checked_add(HEADER_SIZE)? <= window.len).then_some(skip)
        };
        if within(window).is_none() {
            window.len = self.read_log(&mut window.bytes, at)?;
            window.at = at;
        }
        let header = within(window).and_then(|skip| BatchHeader::parse(&window.bytes[skip..window.len]).ok());
        Ok(header.filter(|header| header.length as u64 <= len - at))
    }

    /// The batch that an entry names, if it is whole.
    fn named_batch(&self, entry: (Offset, u64), len: u64) -> Result<Option<BatchHeader>, SegmentError> {
        let (offset, at) = entry;
        if at == 0 || at >= len {
            return Ok(None);
        }
        let header = self.whole_batch(at, len)?;
        Ok(header.filter(|header| header.last_offset() == offset && header.base_offset <= offset))
    }

    /// The batch at `at`, if it matches its CRC.
    fn whole_batch(&self, at: u64, len: u64) -> Result<Option<BatchHeader>, SegmentError> {
        let mut window = Window { bytes: vec![0; HEADER_SIZE], len: 0, at: 0 };
        let Some(header) = self.header(&mut window, at, len)? else { return Ok(None) };
        let matches = crc_matches(|buf, at| self.log.read_at(buf, at), at, &header);
        Ok(matches.map_err(|error| self.failed(error))?.then_some(header))
    }

    fn entry(&self, number: u64) -> Result<Option<(Offset, u64)>, SegmentError> {
        let mut entry = [0; OFFSET_ENTRY];
        let at = number.saturating_mul(OFFSET_ENTRY as u64);
        if at + OFFSET_ENTRY as u64 > self.index_len() {
            return Ok(None);
        }
        let read = self.read_index(&mut entry, at).map_err(|error| self.failed(error))?;
        Ok((read == OFFSET_ENTRY).then(|| read_offset_entry(self.segment.base(), entry)))
    }

    fn index_len(&self) -> u64 {
        if self.index.is_some() { self.segment.index_len() } else { 0 }
    }

    fn read_index(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let Some(index) = self.index else { return Ok(0) };
        if self.may_wait { index.read_at(buf, at) } else { index.read_at_nowait(buf, at) }
    }

    fn read_log(&self, buf: &mut [u8], at: u64) -> Result<usize, SegmentError> {
        let read = if self.may_wait { self.log.read_at(buf, at) } else { self.log.read_at_nowait(buf, at) };
        read.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> SegmentError {
        if error.kind() == io::ErrorKind::WouldBlock { SegmentError::WouldWait } else { error.into() }
    }
}

/// Bytes of the log that were read.
struct Window {
    bytes: Vec<u8>,
    len: usize,
    at: u64,
}
