//! Snappy, in the framing of xerial's Java library, by snap.
//!
//! The framing is a header of 16 bytes (a magic of 8, a version and the least version that a reader needs,
//! of 4 bytes each) and then blocks, each after its compressed length of 4 bytes in big endian. A header may
//! come again where a block could. Nothing marks the end, so what was cut between two blocks looks whole; the
//! CRC and the number of records in the batch's header tell. Some clients write one block without any framing.

use snap::raw;

use super::decompressor::Fault;
use super::{Block, Decode, Encode, take, take_array};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The version, and the least version that a reader needs: both 1.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// The size of the blocks that xerial writes by default.
const BLOCK_SIZE: usize = 32 << 10;
/// No element of a block stands for more bytes for each of its own: a copy of 64 bytes takes three.
const EXPANSION_MAX: usize = 22;

pub(super) struct Encoder(raw::Encoder);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(raw::Encoder::new())
    }
}

impl Encode for Encoder {
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSIONS);
        for block in records.chunks(BLOCK_SIZE) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + raw::max_compress_len(block.len()), 0);
            let size = self
                .0
                .compress(block, &mut out[block_at..])
                .map_err(|_| "a block is larger than snap can compress")?;
            // A block of 32 KiB fits 32 bits at any size that it can take.
            out[length_at..block_at].copy_from_slice(&(size as u32).to_be_bytes());
            out.truncate(block_at + size);
        }
        Ok(())
    }
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    /// There never was anything, not even a frame's header.
    empty: bool,
    framed: bool,
    block: Block,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(records: &'a [u8]) -> Self {
        Self {
            input: records,
            empty: records.is_empty(),
            framed: records.starts_with(&MAGIC),
            block: Block::default(),
        }
    }

    /// Cuts the next block from the input.
    fn next_block(&mut self) -> Result<&'a [u8], Fault> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.input));
        }
        let length = i32::from_be_bytes(take_array(&mut self.input)?);
        let length = usize::try_from(length)
            .map_err(|_| Fault::Damaged(format!("a block has the length {length}")))?;
        take(&mut self.input, length)
    }

    /// Goes past the headers that come before the next block.
    fn skip_headers(&mut self) -> Result<(), Fault> {
        while self.input.starts_with(&MAGIC) {
            take(&mut self.input, MAGIC.len())?;
            take(&mut self.input, VERSIONS.len())?;
        }
        Ok(())
    }
}

impl Decode for Decoder<'_> {
    fn decode(&mut self, piece: &mut [u8], room: usize) -> Result<usize, Fault> {
        if self.empty {
            return Err(Fault::CutOff);
        }
        loop {
            let given = self.block.give(piece);
            if given > 0 {
                return Ok(given);
            }
            if self.framed {
                self.skip_headers()?;
            }
            if self.input.is_empty() {
                return Ok(0);
            }
            let block = self.next_block()?;
            let size = decompressed_size(block, room)?;
            self.block.fill(size, |bytes| raw::Decoder::new().decompress(block, bytes)).map_err(fault)?;
        }
    }
}

/// The size that a block claims to become, if it can and may.
fn decompressed_size(block: &[u8], room: usize) -> Result<usize, Fault> {
    let size = raw::decompress_len(block).map_err(fault)?;
    if size > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Fault::Damaged(format!("a block of {} bytes claims to become {size}", block.len())));
    }
    if size > room { Err(Fault::TooLarge) } else { Ok(size) }
}

fn fault(error: snap::Error) -> Fault {
    Fault::Damaged(error.to_string())
}
