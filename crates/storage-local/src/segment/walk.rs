//! Walking over a `.log` file from its beginning, past what is damaged in it.
//!
//! A reader of the broker follows the index and stops at damage; here everything is read and checked: each
//! batch's CRC, and that offsets are dense. Where no batch begins, the file is searched for the next one that
//! is whole. Memory is one window, whatever lengths the file claims.

use std::io;

use ottla_records::{
    BatchHeader, Offset,
    batch::{ATTRIBUTES_AT, HEADER_SIZE},
};
use ottla_storage::DiskFile;

/// How much is read at a time.
const WINDOW: usize = 256 << 10;
/// The search for the next batch checks the CRC of at most so many bytes: a file that was made to look like
/// batches everywhere costs no more than that.
const SEARCH_BYTES: u64 = 256 << 20;

/// What lies at a place in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// A batch with the offsets that were expected, or another fault.
    Batch {
        /// Where it begins.
        at: u64,
        /// Its header.
        header: BatchHeader,
        /// What is wrong with it.
        fault: Option<Fault>,
    },
    /// Bytes that are no batch.
    Gap {
        /// Where they begin.
        at: u64,
        /// Where the next batch begins, or the file ends.
        until: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// What is wrong with a batch whose header can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Its bytes are not those that were written.
    Crc,
    /// It does not begin at the offset behind the batch before.
    Offset {
        /// The offset that was expected.
        expected: Offset,
    },
}

/// The walk.
pub(crate) struct Walk<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    at: u64,
    /// The offset of the next batch, where that is known.
    expected: Option<Offset>,
    /// Whether the next batch begins at just that offset; behind damage it may begin later.
    exact: bool,
    window: Vec<u8>,
    window_at: u64,
    searched: u64,
}

impl<'a> Walk<'a> {
    /// Walks over the first `len` bytes of a file whose first batch begins at the offset `base`.
    pub(crate) fn new(file: &'a dyn DiskFile, len: u64, base: Option<Offset>) -> Self {
        Self { file, len, at: 0, expected: base, exact: true, window: Vec::new(), window_at: 0, searched: 0 }
    }

    /// The next thing in the file; `None` at its end.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        let at = self.at;
        if at >= self.len {
            return Ok(None);
        }
        let what = match self.header(at)? {
            Ok(header) => {
                let good = self.crc_matches(at, &header)?;
                // A header that nothing vouches for does not tell where the next batch begins.
                if good || (self.follows(&header) && self.begins_batch(at + header.length as u64)?) {
                    return Ok(Some(self.batch(at, header, good)));
                }
                BAD_BATCH
            }
            Err(what) => what,
        };
        let until = self.search(at + 1)?;
        (self.at, self.exact) = (until, false);
        Ok(Some(Found::Gap { at, until, what }))
    }

    /// Whether a batch has an offset that it may have behind those before.
    fn follows(&self, header: &BatchHeader) -> bool {
        let fits = |expected| {
            if self.exact { header.base_offset == expected } else { header.base_offset >= expected }
        };
        self.expected.is_none_or(fits)
    }

    fn batch(&mut self, at: u64, header: BatchHeader, good: bool) -> Found {
        let (fault, next) = match self.expected {
            // Neither its number of records nor its offset can be relied on.
            _ if !good => (Some(Fault::Crc), self.expected.map(|expected| expected.plus(1))),
            Some(expected) if !self.follows(&header) => {
                (Some(Fault::Offset { expected }), Some(expected.plus(1)))
            }
            _ => (None, Some(header.next_offset())),
        };
        self.at = at + header.length as u64;
        (self.expected, self.exact) = (next, fault.is_none());
        Found::Batch { at, header, fault }
    }

    /// The header at `at`, if a batch may begin there and ends within the file.
    fn header(&mut self, at: u64) -> io::Result<Result<BatchHeader, &'static str>> {
        let rest = self.len - at;
        let bytes = self.bytes(at, HEADER_SIZE)?;
        if bytes.len() < HEADER_SIZE {
            return Ok(Err("a batch is cut off by the end of the file"));
        }
        Ok(match BatchHeader::parse(bytes) {
            Ok(header) if header.length as u64 > rest => Err("a batch goes on behind the end of the file"),
            Ok(header) if header.last_offset_delta < 0 || header.base_offset < Offset::ZERO => Err(BAD_BATCH),
            Ok(header) => Ok(header),
            Err(_) => Err("no batch begins here"),
        })
    }

    /// Whether the file ends at `at`, or a header lies there.
    fn begins_batch(&mut self, at: u64) -> io::Result<bool> {
        Ok(at == self.len || (at < self.len && self.header(at)?.is_ok()))
    }

    /// The position of the next whole batch from `from` on that does not go back, or the end.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at + HEADER_SIZE as u64 <= self.len && self.searched < SEARCH_BYTES {
            if let Ok(header) = self.header(at)? {
                let forward = self.expected.is_none_or(|expected| header.base_offset >= expected);
                if forward {
                    self.searched += header.length as u64;
                    if self.crc_matches(at, &header)? {
                        return Ok(at);
                    }
                }
            }
            at += 1;
        }
        Ok(self.len)
    }

    /// Whether the batch's CRC is that of its bytes.
    fn crc_matches(&mut self, at: u64, header: &BatchHeader) -> io::Result<bool> {
        // A batch that lies in the window is not read again.
        let in_window = self.bytes(at, header.length.min(WINDOW))?;
        if let Some(batch) = in_window.get(..header.length) {
            return Ok(header.crc_matches(batch));
        }
        crc_matches(|buf, at| self.file.read_at(buf, at), at, header)
    }

    /// The bytes from `at` on: at least `wanted` (which a window holds), unless the end comes first.
    fn bytes(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let there = |walk: &Self| {
            let skip = usize::try_from(at.checked_sub(walk.window_at)?).ok()?;
            walk.window.len().checked_sub(skip).filter(|left| *left >= wanted).map(|_| skip)
        };
        if let Some(skip) = there(self) {
            return Ok(&self.window[skip..]);
        }
        let most = usize::try_from(self.len.saturating_sub(at)).unwrap_or(WINDOW).min(WINDOW);
        self.window.resize(most, 0);
        let read = self.file.read_at(&mut self.window, at)?;
        self.window.truncate(read);
        self.window_at = at;
        Ok(&self.window)
    }
}

/// Whether the CRC of the batch at `at` is that of its bytes, which are read bit by bit: its header may claim
/// any length.
///
/// # Errors
/// Where reading fails.
pub(crate) fn crc_matches(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    at: u64,
    header: &BatchHeader,
) -> io::Result<bool> {
    let end = at + header.length as u64;
    let mut from = at + ATTRIBUTES_AT as u64;
    let mut bytes = vec![0; header.length.min(WINDOW)];
    let mut crc = 0;
    while from < end {
        let left = usize::try_from(end - from).unwrap_or(WINDOW).min(bytes.len());
        let read = read_at(&mut bytes[..left], from)?;
        if read == 0 {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &bytes[..read]);
        from += read as u64;
    }
    Ok(crc == header.crc)
}

const BAD_BATCH: &str = "a batch header makes no sense";

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::Bytes;
    use ottla_records::{BatchBuilder, NewRecord, TimestampMs};
    use ottla_storage::{Access, Disk, FileKind};

    use super::*;
    use crate::disk::RealDisk;

    fn batches(count: i64) -> Vec<Bytes> {
        let batch = |offset| {
            let mut builder = BatchBuilder::new().base_offset(Offset(offset));
            let value = [b'v'; 100];
            let record =
                NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] };
            builder.push(&record).unwrap();
            builder.build().unwrap()
        };
        (0..count).map(batch).collect()
    }

    /// Walks over the bytes: the offsets of whole batches, and the places of damage.
    fn walk(bytes: &[u8]) -> (Vec<i64>, Vec<(u64, u64)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = RealDisk::new(false).open(&path, Access::CreateNew, FileKind::Cached).unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
        let mut walk = Walk::new(file.as_ref(), bytes.len() as u64, Some(Offset(0)));
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while let Some(found) = walk.next().unwrap() {
            match found {
                Found::Batch { header, fault: None | Some(Fault::Offset { .. }), .. } => {
                    good.push(header.base_offset.0);
                }
                Found::Batch { at, header, .. } => bad.push((at, at + header.length as u64)),
                Found::Gap { at, until, .. } => bad.push((at, until)),
            }
        }
        (good, bad)
    }

    #[test]
    fn every_byte_that_is_changed_costs_one_batch_at_most() {
        let whole = batches(5).concat();
        let len = (whole.len() / 5) as u64;
        assert_eq!(walk(&whole), ((0..5).collect(), vec![]));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            let hit = at as u64 / len;
            let (good, bad) = walk(&damaged);
            let others: Vec<i64> = (0..5).filter(|offset| *offset != hit.cast_signed()).collect();
            let seen: Vec<i64> = good.iter().copied().filter(|offset| others.contains(offset)).collect();
            assert_eq!(seen, others, "byte {at}");
            // Base offset and leader epoch are outside of the CRC; the first of them shows in the order.
            let uncovered = matches!(at as u64 % len, 0..8 | 12..16);
            let expected =
                if uncovered && bad.is_empty() { vec![] } else { vec![(hit * len, (hit + 1) * len)] };
            assert_eq!(bad, expected, "byte {at}");
        }
    }

    #[test]
    fn a_zeroed_sector_and_a_torn_end_are_gaps() {
        let whole = batches(100).concat();
        let mut damaged = whole.clone();
        damaged[4096..8192].fill(0);
        let len = whole.len() / 100;
        let (good, bad) = walk(&damaged[..whole.len() - 1]);
        let (first, next) = (4096 / len, 8192_usize.div_ceil(len));
        assert_eq!(good.len(), 99 - (next - first));
        assert_eq!(bad.last(), Some(&((99 * len) as u64, whole.len() as u64 - 1)));
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert_eq!(bad[0], ((first * len) as u64, (next * len) as u64));
    }
}
