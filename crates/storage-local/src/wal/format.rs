//! The layout of the write-ahead log on disk: file headers and record headers with their directories.
//!
//! `docs/formats/wal.md` describes it for readers of files. What matters here:
//! - All integers are little-endian; records begin at multiples of [`BLOCK`].
//! - Each use of a file writes a fresh random salt into its header. A record header's CRC-32C covers the salt
//!   first, so that neither a record of an earlier use nor bytes that a producer chose can pass for one.
//! - A record header holds the CRC-32C of each batch, the one the batch bears itself. Whether a record is
//!   whole is known from its header and these, and the writer never reads the batches for it.
//!
//! No I/O here: bytes in, bytes out, and nothing read from a file is trusted before its check.

use ottla_records::{LeaderEpoch, LogId, Offset};
use ottla_storage::BLOCK;
use thiserror::Error;

/// The version of the WAL format that this code writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;

const FILE_MAGIC: [u8; 8] = *b"OTTLAWAL";
const RECORD_MAGIC: [u8; 8] = *b"OTTLAREC";
/// Bytes of a record header before its directory.
const RECORD_FIXED: usize = 48;
/// Bytes of one directory entry.
const ENTRY_LEN: usize = 48;
/// Bytes of a file header that carry meaning; the rest of its block is zero.
const FILE_HEADER_LEN: usize = 56;
/// No record is longer: bounds what a damaged header may ask to be read.
pub(crate) const MAX_RECORD_LEN: usize = 1 << 30;

/// What the header of a WAL file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileHeader {
    /// Rises by one with each use of any file; gives the order of files.
    pub(crate) sequence: u64,
    /// Random, drawn at each use.
    pub(crate) salt: u64,
    /// Length of the file in bytes, header included.
    pub(crate) file_len: u64,
    /// The LSN of the first record.
    pub(crate) first_lsn: u64,
}

/// Why a file header cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum FileHeaderError {
    /// All zero: the file was prepared and never used.
    #[error("the file was never used")]
    Unused,
    /// Not a WAL file, or a damaged one.
    #[error("the header is damaged")]
    Damaged,
    /// Written by a newer version of Ottla.
    #[error("it has format version {0}, and this program reads up to {VERSION}")]
    Newer(u32),
}

impl FileHeader {
    /// Writes the header into the first block of a file.
    pub(crate) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        block[..8].copy_from_slice(&FILE_MAGIC);
        block[12..16].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        block[24..32].copy_from_slice(&self.salt.to_le_bytes());
        block[32..40].copy_from_slice(&self.file_len.to_le_bytes());
        block[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        let crc = crc32c::crc32c(&block[12..FILE_HEADER_LEN]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the header from the first block of a file.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, FileHeaderError> {
        let Some(header) = block.get(..FILE_HEADER_LEN) else { return Err(FileHeaderError::Damaged) };
        if block.iter().all(|&byte| byte == 0) {
            return Err(FileHeaderError::Unused);
        }
        if header[..8] != FILE_MAGIC || u32_at(header, 8) != crc32c::crc32c(&header[12..]) {
            return Err(FileHeaderError::Damaged);
        }
        let version = u32_at(header, 12);
        if version > VERSION {
            return Err(FileHeaderError::Newer(version));
        }
        let decoded = Self {
            sequence: u64_at(header, 16),
            salt: u64_at(header, 24),
            file_len: u64_at(header, 32),
            first_lsn: u64_at(header, 40),
        };
        Ok(decoded)
    }
}

/// What happened to a log, as a record's directory says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    /// A batch was appended.
    Append(AppendEntry),
    /// The log start offset moved forward.
    LogStart {
        /// The log.
        log: LogId,
        /// Its first offset from now on.
        offset: Offset,
    },
}

impl Entry {
    /// The log it is about.
    pub(crate) fn log(&self) -> LogId {
        match self {
            Self::Append(append) => append.log,
            Self::LogStart { log, .. } => *log,
        }
    }
}

/// A batch in a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AppendEntry {
    /// The log it belongs to.
    pub(crate) log: LogId,
    /// The offset of its first record.
    pub(crate) base_offset: Offset,
    /// How many offsets it takes.
    pub(crate) count: u32,
    /// The leader epoch it was appended in.
    pub(crate) epoch: LeaderEpoch,
    /// Where it begins, in bytes from the start of the record.
    pub(crate) position: u32,
    /// Its length in bytes.
    pub(crate) len: u32,
    /// The CRC-32C it bears itself.
    pub(crate) crc: u32,
}

/// The fixed part of a record header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RecordHeader {
    /// The record's number; the next record's is one more.
    pub(crate) lsn: u64,
    /// The sequence of the file it was written to.
    pub(crate) file_sequence: u64,
    /// Length of the whole record, a multiple of [`BLOCK`].
    pub(crate) len: u32,
    /// How many entries its directory has.
    pub(crate) entries: u32,
}

impl RecordHeader {
    /// Length of header and directory, up to the next block.
    pub(crate) fn padded_len(entries: usize) -> usize {
        (RECORD_FIXED + entries * ENTRY_LEN).next_multiple_of(BLOCK)
    }

    /// Writes header and directory into `out`, which is [`padded_len`](Self::padded_len) long.
    pub(crate) fn encode<'a>(&self, salt: u64, entries: impl Iterator<Item = &'a Entry>, out: &mut [u8]) {
        let end = RECORD_FIXED + self.entries as usize * ENTRY_LEN;
        out[..8].copy_from_slice(&RECORD_MAGIC);
        out[12..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..24].copy_from_slice(&self.file_sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.lsn.to_le_bytes());
        out[32..36].copy_from_slice(&self.entries.to_le_bytes());
        out[36..RECORD_FIXED].fill(0);
        for (slot, entry) in out[RECORD_FIXED..end].chunks_exact_mut(ENTRY_LEN).zip(entries) {
            encode_entry(entry, slot);
        }
        out[end..].fill(0);
        let crc = seeded_crc(salt, &out[12..end]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the fixed part from the first block of a record, and checks what can be checked without the
    /// directory. `None`: no record begins here.
    pub(crate) fn peek(block: &[u8]) -> Option<Self> {
        let fixed = block.get(..RECORD_FIXED)?;
        if fixed[..8] != RECORD_MAGIC {
            return None;
        }
        let header = Self {
            len: u32_at(fixed, 12),
            file_sequence: u64_at(fixed, 16),
            lsn: u64_at(fixed, 24),
            entries: u32_at(fixed, 32),
        };
        let len = header.len as usize;
        let directory = (header.entries as usize).checked_mul(ENTRY_LEN)?.checked_add(RECORD_FIXED)?;
        (len.is_multiple_of(BLOCK) && len <= MAX_RECORD_LEN && directory <= len).then_some(header)
    }

    /// Reads the directory from header bytes of [`padded_len`](Self::padded_len). `None`: its check fails, or
    /// an entry makes no sense.
    pub(crate) fn directory(&self, salt: u64, bytes: &[u8]) -> Option<Vec<Entry>> {
        let end = RECORD_FIXED + self.entries as usize * ENTRY_LEN;
        let header = bytes.get(..end)?;
        if u32_at(header, 8) != seeded_crc(salt, &header[12..]) {
            return None;
        }
        let data_start = Self::padded_len(self.entries as usize) as u64;
        let sensible = |entry: &Entry| match entry {
            Entry::Append(append) => {
                let end = u64::from(append.position) + u64::from(append.len);
                u64::from(append.position) >= data_start && end <= u64::from(self.len)
            }
            Entry::LogStart { .. } => true,
        };
        header[RECORD_FIXED..]
            .chunks_exact(ENTRY_LEN)
            .map(|slot| decode_entry(slot).filter(sensible))
            .collect()
    }
}

const KIND_APPEND: u8 = 1;
const KIND_LOG_START: u8 = 2;

fn encode_entry(entry: &Entry, slot: &mut [u8]) {
    slot.fill(0);
    slot[8..16].copy_from_slice(&entry.log().0.to_le_bytes());
    match entry {
        Entry::Append(append) => {
            slot[0] = KIND_APPEND;
            slot[4..8].copy_from_slice(&append.crc.to_le_bytes());
            slot[16..24].copy_from_slice(&append.base_offset.0.to_le_bytes());
            slot[24..28].copy_from_slice(&append.position.to_le_bytes());
            slot[28..32].copy_from_slice(&append.len.to_le_bytes());
            slot[32..36].copy_from_slice(&append.epoch.0.to_le_bytes());
            slot[36..40].copy_from_slice(&append.count.to_le_bytes());
        }
        Entry::LogStart { offset, .. } => {
            slot[0] = KIND_LOG_START;
            slot[16..24].copy_from_slice(&offset.0.to_le_bytes());
        }
    }
}

fn decode_entry(slot: &[u8]) -> Option<Entry> {
    let log = LogId(u64_at(slot, 8));
    let offset = Offset(i64::from_le_bytes(slot[16..24].try_into().ok()?));
    match slot[0] {
        KIND_APPEND => Some(Entry::Append(AppendEntry {
            log,
            base_offset: offset,
            position: u32_at(slot, 24),
            len: u32_at(slot, 28),
            epoch: LeaderEpoch(u32_at(slot, 32).cast_signed()),
            count: u32_at(slot, 36),
            crc: u32_at(slot, 4),
        })),
        KIND_LOG_START => Some(Entry::LogStart { log, offset }),
        _ => None,
    }
}

fn seeded_crc(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Append(AppendEntry {
                log: LogId(7),
                base_offset: Offset(100),
                count: 3,
                epoch: LeaderEpoch(2),
                position: 4096,
                len: 200,
                crc: 0xdead_beef,
            }),
            Entry::LogStart { log: LogId(8), offset: Offset(55) },
        ]
    }

    fn encoded(salt: u64) -> (RecordHeader, Vec<u8>) {
        let header = RecordHeader { lsn: 5, file_sequence: 3, len: 8192, entries: 2 };
        let mut bytes = vec![0xff; RecordHeader::padded_len(2)];
        header.encode(salt, entries().iter(), &mut bytes);
        (header, bytes)
    }

    #[test]
    fn a_record_header_reads_back() {
        let (header, bytes) = encoded(42);
        assert_eq!(RecordHeader::peek(&bytes), Some(header));
        assert_eq!(header.directory(42, &bytes), Some(entries()));
    }

    #[test]
    fn another_salt_is_another_file() {
        let (header, bytes) = encoded(42);
        assert_eq!(header.directory(43, &bytes), None);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (header, bytes) = encoded(42);
        for bit in 0..(RECORD_FIXED + 2 * ENTRY_LEN) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = RecordHeader::peek(&damaged).and_then(|header| header.directory(42, &damaged));
            assert_eq!(read, None, "bit {bit} of {header:?}");
        }
    }

    #[test]
    fn an_entry_outside_its_record_is_refused() {
        let header = RecordHeader { lsn: 5, file_sequence: 3, len: 4096, entries: 2 };
        let mut bytes = vec![0; RecordHeader::padded_len(2)];
        header.encode(1, entries().iter(), &mut bytes);
        assert_eq!(header.directory(1, &bytes), None);
    }

    #[test]
    fn a_file_header_reads_back_and_tells_what_is_wrong() {
        let header = FileHeader { sequence: 9, salt: 77, file_len: 1 << 23, first_lsn: 1000 };
        let mut block = vec![0; BLOCK];
        assert_eq!(FileHeader::decode(&block), Err(FileHeaderError::Unused));
        header.encode(&mut block);
        assert_eq!(FileHeader::decode(&block), Ok(header));
        for bit in 0..FILE_HEADER_LEN * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&damaged), Err(FileHeaderError::Damaged));
        }
        block[12..16].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let crc = crc32c::crc32c(&block[12..FILE_HEADER_LEN]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&block), Err(FileHeaderError::Newer(VERSION + 1)));
    }
}
