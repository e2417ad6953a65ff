//! What a handler answers: bytes, and parts of files that go from the page cache to the socket.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use ottla_protocol::{EncodeError, Encoder, Piece, Response, encode_response};
use ottla_storage::{FileRange, ReadPiece};

/// A part of a response frame.
#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    File(FileRange),
}

/// A response frame, in parts.
pub(crate) type Frame = Vec<Part>;

/// How a request is answered.
pub(crate) enum Reply {
    /// Not at all, as a Produce with acks=0.
    Nothing,
    /// With a frame that is there now.
    Now(Frame),
    /// With a frame that will be there.
    Later(Pin<Box<dyn Future<Output = Result<Frame, EncodeError>>>>),
}

/// Encodes a response.
pub(crate) fn frame<R: Response>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Frame, EncodeError> {
    frame_with(correlation_id, version, response, Vec::new())
}

/// Encodes a response whose external records, by their ids, are these pieces.
pub(crate) fn frame_with<R: Response>(
    correlation_id: i32,
    version: i16,
    response: &R,
    mut externals: Vec<Vec<ReadPiece>>,
) -> Result<Frame, EncodeError> {
    let mut encoder = Encoder::new();
    encode_response(&mut encoder, correlation_id, version, response)?;
    let mut parts = Vec::new();
    for piece in encoder.finish() {
        match piece {
            Piece::Bytes(bytes) => parts.push(Part::Bytes(bytes)),
            Piece::External { id, .. } => {
                let pieces = externals.get_mut(id as usize).map(std::mem::take).unwrap_or_default();
                parts.extend(pieces.into_iter().map(|piece| match piece {
                    ReadPiece::Memory(bytes) => Part::Bytes(bytes),
                    ReadPiece::File(range) => Part::File(range),
                }));
            }
        }
    }
    Ok(parts)
}
