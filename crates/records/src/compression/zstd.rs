//! Zstandard (RFC 8878), by the C library.
//!
//! A frame tells how far back its blocks may refer, and the library allocates so much when it reads that:
//! up to 128 MiB for a few bytes, which honest producers ask for at level 22 whatever they write. So a window
//! beyond what may still come is lowered in the descriptor before the library sees it. That changes nothing
//! for valid frames, because nothing lies further back than the content began.

use zstd_safe::{
    CCtx, CParameter, DCtx, InBuffer, OutBuffer, compress_bound, get_error_name, get_frame_content_size,
};

use super::compressor::CompressError;
use super::decompressor::{DecompressError, Fault};
use super::{Decode, Encode, Level};
use crate::batch::Compression;

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// A magic of 0x184d2a50 to 0x184d2a5f starts a frame that readers skip.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// Magic, frame header descriptor and window descriptor.
const HEAD_SIZE: usize = 6;
/// The flag in the frame header descriptor that says that there is no window descriptor.
const SINGLE_SEGMENT_FLAG: u8 = 1 << 5;
/// The least window that a descriptor can name is 2^10 bytes.
const WINDOW_LOG_MIN: u32 = 10;
/// Windows are not lowered below 2^17 bytes, because they also bound the size of blocks, which is at most that.
const WINDOW_LOG_KEPT: u32 = 17;

pub(super) struct Encoder(CCtx<'static>);

impl Encoder {
    pub(super) fn new(level: Level) -> Result<Self, CompressError> {
        let compression = Compression::Zstd;
        let mut context = CCtx::try_create()
            .ok_or(CompressError::Failed { compression, reason: "there is no memory for its context" })?;
        if let Some(number) = level.number() {
            context
                .set_parameter(CParameter::CompressionLevel(number))
                .map_err(|code| CompressError::Failed { compression, reason: get_error_name(code) })?;
        }
        Ok(Self(context))
    }
}

impl Encode for Encoder {
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let start = out.len();
        out.resize(start + compress_bound(records.len()), 0);
        let size = self.0.compress2(&mut out[start..], records).map_err(get_error_name)?;
        out.truncate(start + size);
        Ok(())
    }
}

pub(super) struct Decoder<'a> {
    context: DCtx<'static>,
    /// What the context has not seen.
    input: &'a [u8],
    state: State,
    /// How many bytes of the frame are still to come, if it told.
    content_left: Option<u64>,
}

#[derive(PartialEq)]
enum State {
    Start,
    InFrame,
    AfterFrame,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(records: &'a [u8]) -> Result<Self, DecompressError> {
        let context = DCtx::try_create().ok_or(DecompressError::Failed {
            compression: Compression::Zstd,
            reason: "there is no memory for its context",
        })?;
        Ok(Self { context, input: records, state: State::Start, content_left: None })
    }

    /// Reads the head of the next frame.
    fn start_frame(&mut self, room: usize) -> Result<(), Fault> {
        // Behind a frame nothing else need come, so what is no frame does not belong there.
        let no_frame = |fault| match self.state {
            State::AfterFrame => Fault::Trailing(self.input.len()),
            _ => fault,
        };
        let magic = *self.input.first_chunk::<4>().ok_or_else(|| no_frame(Fault::CutOff))?;
        let skippable = u32::from_le_bytes(magic) & !0xf == SKIPPABLE_MAGIC;
        if magic != MAGIC && !skippable {
            return Err(no_frame(Fault::Damaged("they are no zstd frame".to_owned())));
        }
        self.state = State::InFrame;
        // What cannot be read is cut off or damaged, and the context tells which.
        self.content_left = get_frame_content_size(self.input).ok().flatten();
        // A frame without a window allocates its content size, and one with more than fits need not be begun.
        if self.content_left.is_some_and(|size| size > room as u64) {
            return Err(Fault::TooLarge);
        }
        if magic == MAGIC { self.lower_window(room) } else { Ok(()) }
    }

    fn lower_window(&mut self, room: usize) -> Result<(), Fault> {
        let mut head = *self.input.first_chunk::<HEAD_SIZE>().ok_or(Fault::CutOff)?;
        let log = (usize::BITS - room.leading_zeros()).max(WINDOW_LOG_KEPT);
        // The upper five bits of the descriptor are the logarithm, and the lower three are eighths of that.
        if head[4] & SINGLE_SEGMENT_FLAG != 0 || WINDOW_LOG_MIN + u32::from(head[5] >> 3) < log {
            return Ok(());
        }
        head[5] = ((log - WINDOW_LOG_MIN) << 3) as u8;
        let (_, count) = self.run(&head, &mut [])?;
        if count != head.len() {
            return Err(Fault::Damaged("the frame header is not read as a whole".to_owned()));
        }
        self.input = &self.input[HEAD_SIZE..];
        Ok(())
    }

    /// Gives `input` to the context. Gives back how many bytes came out, and how many went in.
    fn run(&mut self, input: &[u8], piece: &mut [u8]) -> Result<(usize, usize), Fault> {
        let mut output = OutBuffer::around(piece);
        let mut input = InBuffer::around(input);
        let left = self
            .context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| Fault::Damaged(get_error_name(code).to_owned()))?;
        let produced = output.pos();
        let consumed = input.pos();
        self.count(produced, left == 0)?;
        Ok((produced, consumed))
    }

    /// Takes account of what came out. The context alone does not see where a frame that ends with an empty block
    /// has less content than it told.
    fn count(&mut self, produced: usize, is_end: bool) -> Result<(), Fault> {
        let wrong = || Fault::Damaged("the frame tells another content size".to_owned());
        if let Some(left) = &mut self.content_left {
            *left = left.checked_sub(produced as u64).ok_or_else(wrong)?;
        }
        if is_end {
            self.state = State::AfterFrame;
            if self.content_left.is_some_and(|left| left > 0) {
                return Err(wrong());
            }
        }
        Ok(())
    }
}

impl Decode for Decoder<'_> {
    fn decode(&mut self, piece: &mut [u8], room: usize) -> Result<usize, Fault> {
        loop {
            if self.state != State::InFrame {
                if self.state == State::AfterFrame && self.input.is_empty() {
                    return Ok(0);
                }
                self.start_frame(room)?;
            }
            let (produced, consumed) = self.run(self.input, piece)?;
            self.input = &self.input[consumed..];
            if produced > 0 {
                return Ok(produced);
            }
            if consumed == 0 && self.state == State::InFrame {
                return Err(Fault::CutOff);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of level 22 whose writer did not know its size, as Kafka's Java client makes it.
    fn frame_with_largest_window(content: &[u8]) -> Vec<u8> {
        let mut context = CCtx::create();
        // The frame announces this window; the matches are found in a table that is small.
        for parameter in [CParameter::CompressionLevel(1), CParameter::WindowLog(27)] {
            context.set_parameter(parameter).unwrap();
        }
        let mut frame = vec![0; compress_bound(content.len()) + 64];
        let mut output = OutBuffer::around(&mut frame[..]);
        context.compress_stream(&mut output, &mut InBuffer::around(content)).unwrap();
        assert_eq!(context.end_stream(&mut output), Ok(0));
        let size = output.pos();
        frame.truncate(size);
        assert_eq!(frame[4] & SINGLE_SEGMENT_FLAG, 0);
        assert_eq!(frame[5] >> 3, 17, "2^27 bytes");
        frame
    }

    fn decode_all(decoder: &mut Decoder<'_>, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut content = Vec::new();
        let mut piece = [0; 1000];
        loop {
            let room = limit - content.len();
            let end = piece.len().min(room.max(1));
            match decoder.decode(&mut piece[..end], room)? {
                0 => return Ok(content),
                count => content.extend_from_slice(&piece[..count]),
            }
        }
    }

    #[test]
    fn a_window_takes_no_more_memory_than_what_may_come() {
        // The repetition reaches back over almost all of it.
        let half: Vec<u8> = (0..150_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let content = [&half[..], &half].concat();
        let frame = frame_with_largest_window(&content);
        let mut decoder = Decoder::new(&frame).unwrap();
        assert!(decode_all(&mut decoder, content.len()).unwrap() == content);
        assert!(decoder.context.sizeof() < 1 << 20, "{} bytes", decoder.context.sizeof());
    }

    /// Without the lowering, this is what a few bytes take.
    #[test]
    fn a_window_is_allocated_as_the_limit_allows() {
        let frame = frame_with_largest_window(b"hello");
        for (limit, least, most) in
            [(5, 0, 1 << 20), (1 << 24, 1 << 24, 1 << 26), (1 << 27, 1 << 27, 1 << 28)]
        {
            let mut decoder = Decoder::new(&frame).unwrap();
            assert_eq!(decode_all(&mut decoder, limit).unwrap(), b"hello");
            let size = decoder.context.sizeof();
            assert!((least..most).contains(&size), "limit {limit}: {size} bytes");
        }
    }
}
