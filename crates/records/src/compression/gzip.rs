//! Gzip (RFC 1952), by flate2 over zlib-rs.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use flate2::{Compress, FlushCompress, Status};

use super::decompressor::Fault;
use super::{Decode, Encode, Level};

/// The window that every reader of gzip has: 2^15 bytes.
const WINDOW_BITS: u8 = 15;
/// What each member starts with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How much room the compressed bytes get at least, beside a half of those that are left to compress.
const ROOM_MIN: usize = 256;

pub(super) struct Encoder(Compress);

impl Encoder {
    pub(super) fn new(level: Level) -> Self {
        let level = level.number().and_then(|number| u32::try_from(number).ok());
        Self(Compress::new_gzip(level.map(flate2::Compression::new).unwrap_or_default(), WINDOW_BITS))
    }
}

impl Encode for Encoder {
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        self.0.reset();
        loop {
            // This cannot exceed the length of `records`.
            let rest = &records[self.0.total_in() as usize..];
            out.reserve(ROOM_MIN + rest.len() / 2);
            match self.0.compress_vec(rest, out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(Status::Ok | Status::BufError) => {}
                Err(_) => return Err("the state of deflate is not valid"),
            }
        }
    }
}

pub(super) struct Decoder<'a>(GzDecoder<&'a [u8]>);

impl<'a> Decoder<'a> {
    pub(super) fn new(records: &'a [u8]) -> Self {
        Self(GzDecoder::new(records))
    }
}

impl Decode for Decoder<'_> {
    fn decode(&mut self, piece: &mut [u8], _room: usize) -> Result<usize, Fault> {
        loop {
            let count = self.0.read(piece).map_err(fault)?;
            let rest = *self.0.get_ref();
            if count > 0 || rest.is_empty() {
                return Ok(count);
            }
            if !rest.starts_with(&MAGIC) {
                return Err(Fault::Trailing(rest.len()));
            }
            self.0.reset(rest);
        }
    }
}

fn fault(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::CutOff,
        _ => Fault::Damaged(error.to_string()),
    }
}
