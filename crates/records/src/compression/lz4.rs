//! LZ4 in its standard frame format (1.6), its blocks by lz4_flex.
//!
//! A frame is a descriptor (flags, block size, perhaps the content size, and one byte of its checksum), then
//! blocks, each after its length of 4 bytes in little endian, then a block of no bytes, and perhaps a checksum
//! of all content. The first bit of a block's length says that it is stored as it is. Checksums are xxHash32.
//! Kafka's Java client writes independent blocks of 64 KiB without checksums, and reads independent ones only.
//!
//! The frames are ours because those of the library allocate what a descriptor claims, up to 12 MiB.

use std::hash::Hasher;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into_with_dict,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::decompressor::Fault;
use super::{Block, Decode, Encode, take, take_array};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// The version of the format, in the highest two bits of the flags.
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT_FLAG: u8 = 0b0010_0000;
const BLOCK_CHECKSUM_FLAG: u8 = 0b0001_0000;
const CONTENT_SIZE_FLAG: u8 = 0b0000_1000;
const CONTENT_CHECKSUM_FLAG: u8 = 0b0000_0100;
/// Flags that a frame must not have: one that is reserved, and that of a dictionary.
const REFUSED_FLAGS: u8 = 0b0000_0011;
/// The code of blocks of 64 KiB, in the second byte of the descriptor. Each code more is four times as much.
const BLOCKS_OF_64_KIB: u8 = 4;
/// The bit in the length of a block that says that it is not compressed.
const STORED_FLAG: u32 = 1 << 31;

/// How far back a block can refer to the ones before it.
const WINDOW: usize = 64 << 10;
/// A compressed byte stands for at most so many: one that makes a match longer.
const EXPANSION_MAX: usize = 255;

#[derive(Default)]
pub(super) struct Encoder(CompressTable);

impl Encode for Encoder {
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        const BLOCK_SIZE: usize = block_size(BLOCKS_OF_64_KIB);
        let descriptor = [VERSION | INDEPENDENT_FLAG, BLOCKS_OF_64_KIB << 4];
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&descriptor);
        out.push(descriptor_checksum(&descriptor));
        for block in records.chunks(BLOCK_SIZE) {
            let block_at = out.len() + 4;
            out.resize(block_at + get_maximum_output_size(block.len()), 0);
            let size = compress_into_with_table(block, &mut out[block_at..], &mut self.0)
                .map_err(|_| "a block is larger than lz4_flex says it can be")?;
            // A block of 64 KiB leaves the highest bit of its length free.
            let length = if size < block.len() {
                out.truncate(block_at + size);
                size as u32
            } else {
                out.truncate(block_at);
                out.extend_from_slice(block);
                block.len() as u32 | STORED_FLAG
            };
            out[block_at - 4..block_at].copy_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&[0; 4]);
        Ok(())
    }
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    state: State,
    block: Block,
}

enum State {
    Start,
    InFrame(Frame),
    End,
}

/// A frame, as far as it was read.
struct Frame {
    flags: u8,
    block_size: usize,
    /// How many bytes are still to come, if the frame told.
    content_left: Option<u64>,
    content_hash: XxHash32,
    /// The end of the content so far, where blocks refer to it.
    window: Vec<u8>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(records: &'a [u8]) -> Self {
        Self { input: records, state: State::Start, block: Block::default() }
    }
}

impl Decode for Decoder<'_> {
    fn decode(&mut self, piece: &mut [u8], room: usize) -> Result<usize, Fault> {
        loop {
            let given = self.block.give(piece);
            if given > 0 {
                return Ok(given);
            }
            match &mut self.state {
                State::Start => self.state = State::InFrame(Frame::start(&mut self.input, room)?),
                State::InFrame(frame) => {
                    if !frame.read_block(&mut self.input, room, &mut self.block)? {
                        self.state = State::End;
                    }
                }
                State::End if self.input.is_empty() => return Ok(0),
                State::End => return Err(Fault::Trailing(self.input.len())),
            }
        }
    }
}

impl Frame {
    /// Reads what comes before the first block.
    fn start(input: &mut &[u8], room: usize) -> Result<Self, Fault> {
        if take_array(input)? != MAGIC {
            return Err(damaged("they are no lz4 frame"));
        }
        let descriptor = *input;
        let [flags, block_size_code] = take_array(input)?;
        if flags & VERSION_MASK != VERSION {
            return Err(damaged("the version of the frame is unknown"));
        }
        if flags & REFUSED_FLAGS != 0 {
            return Err(damaged("the frame needs a dictionary, or has a flag that is reserved"));
        }
        let has_content_size = flags & CONTENT_SIZE_FLAG != 0;
        let content_left = if has_content_size { Some(u64::from_le_bytes(take_array(input)?)) } else { None };
        let descriptor = &descriptor[..descriptor.len() - input.len()];
        let [checksum] = take_array(input)?;
        if checksum != descriptor_checksum(descriptor) {
            return Err(damaged("the checksum of the frame's descriptor does not match"));
        }
        if !matches!(block_size_code, 0x40 | 0x50 | 0x60 | 0x70) {
            return Err(damaged("the block size of the frame is unknown"));
        }
        if content_left.is_some_and(|size| size > room as u64) {
            return Err(Fault::TooLarge);
        }
        Ok(Self {
            flags,
            block_size: block_size(block_size_code >> 4),
            content_left,
            content_hash: XxHash32::with_seed(0),
            window: Vec::new(),
        })
    }

    /// Reads the next block into `block`; false where the frame ended instead.
    fn read_block(&mut self, input: &mut &[u8], room: usize, block: &mut Block) -> Result<bool, Fault> {
        let length = u32::from_le_bytes(take_array(input)?);
        if length == 0 {
            self.end(input)?;
            return Ok(false);
        }
        let size = (length & !STORED_FLAG) as usize;
        if size > self.block_size {
            return Err(damaged("a block is larger than the frame allows"));
        }
        let written = take(input, size)?;
        if self.has(BLOCK_CHECKSUM_FLAG) {
            check_hash(input, XxHash32::oneshot(0, written), "the checksum of a block does not match")?;
        }
        let content = if length & STORED_FLAG != 0 {
            store(written, room, block)?
        } else {
            decompress(written, self.block_size, room, &self.window, block)?
        };
        self.count(content)?;
        Ok(true)
    }

    /// Takes account of what a block became.
    fn count(&mut self, content: &[u8]) -> Result<(), Fault> {
        if let Some(left) = &mut self.content_left {
            *left = left.checked_sub(content.len() as u64).ok_or_else(wrong_content_size)?;
        }
        if self.has(CONTENT_CHECKSUM_FLAG) {
            self.content_hash.write(content);
        }
        if !self.has(INDEPENDENT_FLAG) {
            let tail = &content[content.len().saturating_sub(WINDOW)..];
            let excess = (self.window.len() + tail.len()).saturating_sub(WINDOW);
            self.window.drain(..excess);
            self.window.extend_from_slice(tail);
        }
        Ok(())
    }

    /// Reads what comes after the last block.
    fn end(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        if self.has(CONTENT_CHECKSUM_FLAG) {
            check_hash(input, self.content_hash.finish_32(), "the checksum of the content does not match")?;
        }
        if self.content_left.is_some_and(|left| left > 0) { Err(wrong_content_size()) } else { Ok(()) }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn store<'b>(written: &[u8], room: usize, block: &'b mut Block) -> Result<&'b [u8], Fault> {
    if written.len() > room {
        return Err(Fault::TooLarge);
    }
    block.fill(written.len(), |bytes| {
        bytes.copy_from_slice(written);
        Ok(bytes.len())
    })
}

fn decompress<'b>(
    written: &[u8],
    block_size: usize,
    room: usize,
    window: &[u8],
    block: &'b mut Block,
) -> Result<&'b [u8], Fault> {
    let size_max = block_size.min(written.len().saturating_mul(EXPANSION_MAX));
    block.fill(size_max.min(room), |bytes| decompress_into_with_dict(written, bytes, window)).map_err(
        |error| match error {
            DecompressError::OutputTooSmall { .. } if room < size_max => Fault::TooLarge,
            error => Fault::Damaged(error.to_string()),
        },
    )
}

fn check_hash(input: &mut &[u8], computed: u32, reason: &str) -> Result<(), Fault> {
    if u32::from_le_bytes(take_array(input)?) == computed { Ok(()) } else { Err(damaged(reason)) }
}

fn descriptor_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

/// The size in bytes that a code from 4 to 7 stands for.
const fn block_size(code: u8) -> usize {
    (64 << 10) << (2 * (code - BLOCKS_OF_64_KIB))
}

fn damaged(reason: &str) -> Fault {
    Fault::Damaged(reason.to_owned())
}

fn wrong_content_size() -> Fault {
    damaged("the frame tells another content size")
}
