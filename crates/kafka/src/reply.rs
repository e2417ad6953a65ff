//! What a handler answers: bytes, records in memory, and parts of files that go from the page cache to the
//! socket.

use std::{fmt, future::Future, pin::Pin, rc::Rc, sync::Arc};

use bytes::{Buf, Bytes};
use ottla_protocol::{ApiKey, DecodeError, EncodeError, Encoder, Piece, Response, encode_response};
use ottla_records::Offset;
use ottla_storage::{FileRange, Log, ReadError, Reservation};
use thiserror::Error;

/// Why a request closes its connection.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("there is no {0} in version {1} here")]
    Unsupported(ApiKey, i16),
    #[error("a request that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a response that cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The client wants no answer, so that this is the only way to tell it.
    #[error("a produce request without an answer failed: {0}")]
    Unanswered(String),
}

/// A part of a response frame.
#[derive(Debug)]
pub(crate) enum Part {
    /// Bytes of the response itself.
    Bytes(Bytes),
    /// Records in memory, and where they are if memory becomes short.
    Records {
        /// The records.
        bytes: Bytes,
        /// Where they came from.
        origin: Origin,
        /// What they count for.
        _reservation: Rc<Reservation>,
    },
    /// Records in a file.
    File(FileRange),
    /// Records to be read when their turn comes.
    Reread {
        /// Where they are.
        origin: Origin,
        /// How many bytes.
        len: usize,
    },
}

impl Part {
    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) | Self::Records { bytes, .. } => bytes.len(),
            Self::File(range) => range.len as usize,
            Self::Reread { len, .. } => *len,
        }
    }

    /// The bytes, where they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) | Self::Records { bytes, .. } => Some(bytes),
            Self::File(_) | Self::Reread { .. } => None,
        }
    }

    /// So many of the bytes, which are in memory, have been written.
    pub(crate) fn advance(&mut self, written: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(written),
            Self::Records { bytes, origin, .. } => {
                bytes.advance(written);
                origin.skip += written as u64;
            }
            Self::File(_) | Self::Reread { .. } => {}
        }
    }

    /// Gives up records in memory: they are read again when their turn comes.
    pub(crate) fn forget(&mut self) {
        if let Self::Records { bytes, origin, .. } = self {
            *self = Self::Reread { origin: origin.clone(), len: bytes.len() };
        }
    }
}

/// Where records of a response can be read again.
#[derive(Clone)]
pub(crate) struct Origin {
    log: Rc<dyn ReadAgain>,
    offset: Offset,
    /// Bytes from the start of the batch that holds the offset.
    skip: u64,
}

impl Origin {
    /// The place so many bytes behind this one.
    pub(crate) fn behind(&self, bytes: usize) -> Self {
        Self { skip: self.skip + bytes as u64, ..self.clone() }
    }

    /// Reads `len` bytes, from `at` bytes behind this place on.
    ///
    /// # Errors
    /// Where the records are gone, or the disk does not give them.
    pub(crate) async fn read(&self, at: usize, len: usize) -> Result<Bytes, ReadError> {
        self.log.read_again(self.offset, self.skip + at as u64, len).await
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("offset", &self.offset)
            .field("skip", &self.skip)
            .finish_non_exhaustive()
    }
}

/// A log whose kind does not matter.
trait ReadAgain {
    fn read_again(&self, offset: Offset, skip: u64, len: usize) -> Reading;
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, ReadError>>>>;

impl<L: Log> ReadAgain for Arc<L> {
    fn read_again(&self, offset: Offset, skip: u64, len: usize) -> Reading {
        Box::pin(Log::read_again(self, offset, skip, len))
    }
}

/// The place in a log of the batch that holds an offset.
pub(crate) fn origin<L: Log>(log: &Arc<L>, offset: Offset) -> Origin {
    Origin { log: Rc::new(log.clone()), offset, skip: 0 }
}

/// A response frame, in parts.
pub(crate) type Frame = Vec<Part>;

/// A response frame that will be there.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Frame, EncodeError>>>>;

/// How a request is answered.
pub(crate) enum Reply {
    /// Not at all, as a Produce with acks=0.
    Nothing,
    /// With a frame that is there now.
    Now(Frame),
    /// With a frame that will be there; the request's own bytes are needed until then.
    Later(Answer),
    /// With a frame that will be there; nothing of the request's bytes is needed any more.
    Appended(Answer),
}

/// Encodes a response.
pub(crate) fn frame<R: Response>(
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<Frame, EncodeError> {
    frame_with(correlation_id, version, response, Vec::new())
}

/// Encodes a response whose external records, by their ids, are these parts.
pub(crate) fn frame_with<R: Response>(
    correlation_id: i32,
    version: i16,
    response: &R,
    mut externals: Vec<Vec<Part>>,
) -> Result<Frame, EncodeError> {
    let mut encoder = Encoder::new();
    encode_response(&mut encoder, correlation_id, version, response)?;
    let mut parts = Vec::new();
    for piece in encoder.finish() {
        match piece {
            Piece::Bytes(bytes) => parts.push(Part::Bytes(bytes)),
            Piece::External { id, .. } => {
                parts.append(externals.get_mut(id as usize).map(std::mem::take).unwrap_or_default().as_mut());
            }
        }
    }
    Ok(parts)
}
