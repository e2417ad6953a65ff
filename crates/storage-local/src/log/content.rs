//! The bytes of segments: whether they are good, whether they are in memory, and why they cannot be given.

use std::io;

use ottla_records::{BatchHeader, Offset, batch::HEADER_SIZE};
use ottla_storage::{DiskFile, ReadError};

use crate::segment::Segment;

/// The system brings no smaller pieces to memory when it is asked to read ahead.
const PIECE: usize = 64 << 10;

/// Why a segment could not be read.
pub(super) enum SegmentError {
    WouldWait,
    Io(io::Error),
    Damaged {
        /// Where.
        at: u64,
        what: &'static str,
        /// The offset behind it that can be read, as far as that is known.
        readable: Option<Offset>,
    },
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl SegmentError {
    pub(super) fn at(self, segment: &Segment, offset: Offset) -> ReadError {
        let file = format!("segment {:020} of log {}", segment.base().0, segment.log());
        match self {
            Self::WouldWait => ReadError::Failed("the bytes are not in memory".into()),
            Self::Io(error) => ReadError::Failed(format!("{file}: {error}").into()),
            Self::Damaged { at, what, readable } => {
                let detail = match readable {
                    Some(readable) => {
                        format!("{file}, position {at}: {what}; seek to offset {readable} to go on")
                    }
                    None => format!("{file}, position {at}: {what}; seek behind this segment to go on"),
                };
                ReadError::Damaged { offset, detail: detail.into() }
            }
        }
    }
}

/// How much of what was read is good.
pub(super) struct Checked {
    /// The length of all whole batches before the first bad one.
    pub(super) good: usize,
    /// What is wrong with that.
    pub(super) fault: Option<&'static str>,
}

/// Checks all whole batches in `bytes`. A batch that is cut off at the end is no fault.
pub(super) fn check_batches(bytes: &[u8]) -> Checked {
    let (mut good, mut expected) = (0, None);
    let bad = |good, what| Checked { good, fault: Some(what) };
    while bytes.len() - good >= HEADER_SIZE {
        let rest = &bytes[good..];
        let Ok(header) = BatchHeader::parse(rest) else { return bad(good, "a batch header makes no sense") };
        if expected.is_some_and(|expected| header.base_offset != expected) {
            return bad(good, "a batch does not begin at the offset behind the one before");
        }
        let Some(batch) = rest.get(..header.length) else { break };
        if !header.crc_matches(batch) {
            return bad(good, "a batch does not match its CRC");
        }
        good += header.length;
        expected = Some(header.next_offset());
    }
    Checked { good, fault: None }
}

/// Whether reading the range would not wait: its first and last page are in memory.
pub(super) fn resident(file: &dyn DiskFile, at: u64, end: u64) -> bool {
    [at, at + (end - at) / 2, end - 1].into_iter().all(|at| is_in_memory(file, at))
}

/// Whether the byte at `at` can be read without waiting.
pub(super) fn is_in_memory(file: &dyn DiskFile, at: u64) -> bool {
    file.read_at_nowait(&mut [0], at).is_ok_and(|read| read == 1)
}

/// Has the system read a range at once, and waits until it is in memory.
pub(super) fn bring_to_memory(file: &dyn DiskFile, from: u64, end: u64) -> io::Result<()> {
    file.start_reading(from, end - from)?;
    for at in (from..end).step_by(PIECE).chain([end - 1]) {
        file.read_at(&mut [0], at)?;
    }
    Ok(())
}
