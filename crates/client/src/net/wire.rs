//! Frames on a socket, for the steps before a connection can be used.

use std::error;

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::{Encoder, Request, Str, decode_correlation_id, decode_response, encode_request};
use thiserror::Error as ThisError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::versions::api_name;
use crate::error::{Error, ErrorKind};

/// The bytes of the length before a frame.
pub(crate) const LENGTH_BYTES: usize = 4;
/// The largest answer to a step of the handshake.
const HANDSHAKE_FRAME_MAX: usize = 1 << 20;
/// How much room there is at least to read into.
const READ_BYTES: usize = 4096;

/// The frame that stands at the beginning of what was received, without its length; `None` until all of it is there.
///
/// # Errors
/// It announces more than `max` bytes, or less than none.
pub(crate) fn take_frame(received: &mut BytesMut, max: usize) -> Result<Option<Bytes>, Error> {
    let Some((length, _)) = received.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= max).ok_or_else(|| {
        Error::because(ErrorKind::DataCorruption, "an answer cannot be taken", TooLong { length, max })
    })?;
    if received.len() < LENGTH_BYTES + bytes {
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    Ok(Some(received.split_to(bytes).freeze()))
}

/// An answer is longer than what was asked for can be, or its length is negative.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ThisError)]
#[error("an answer of {length} bytes was announced, where {max} are the most that were asked for")]
pub(crate) struct TooLong {
    /// The length that was announced.
    pub(crate) length: i32,
    /// The most, in bytes.
    pub(crate) max: usize,
}

impl TooLong {
    /// That this is what a connection ended with.
    pub(crate) fn find(error: &Error) -> Option<Self> {
        let mut cause: Option<&(dyn error::Error + 'static)> = Some(error);
        while let Some(this) = cause {
            if let Some(found) = this.downcast_ref::<Self>() {
                return Some(*found);
            }
            cause = this.source();
        }
        None
    }
}

/// A socket with one request at a time on it.
pub(crate) struct Wire {
    stream: TcpStream,
    client_id: Str,
    received: BytesMut,
    last_correlation_id: i32,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, client_id: Str) -> Self {
        Self { stream, client_id, received: BytesMut::new(), last_correlation_id: 0 }
    }

    /// Sends a request and returns the frame that answers it.
    ///
    /// # Errors
    /// The connection ends, or what comes is no answer to this request.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<Bytes, Error> {
        let failed = |source| {
            let what = format!("the connection ended while it was set up ({})", api_name::<R>());
            Error::because(ErrorKind::Retriable, what, source)
        };
        self.last_correlation_id += 1;
        let mut encoder = Encoder::new();
        encode_request(&mut encoder, self.last_correlation_id, Some(&self.client_id), version, request)
            .map_err(|error| {
                Error::because(ErrorKind::Config, format!("{} cannot be sent", R::NAME), error)
            })?;
        for piece in encoder.finish() {
            if let ottla_protocol::Piece::Bytes(bytes) = piece {
                self.stream.write_all(&bytes).await.map_err(failed)?;
            }
        }
        let frame = loop {
            if let Some(frame) = take_frame(&mut self.received, HANDSHAKE_FRAME_MAX)? {
                break frame;
            }
            self.received.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.received).await.map_err(failed)? == 0 {
                return Err(failed(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
            }
        };
        match decode_correlation_id(&frame) {
            Ok(id) if id == self.last_correlation_id => Ok(frame),
            _ => Err(Error::new(ErrorKind::DataCorruption, format!("no answer to {} came back", R::NAME))),
        }
    }

    /// The same, and reads the answer.
    ///
    /// # Errors
    /// As [`Wire::ask`]; the answer cannot be read.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Error> {
        let frame = self.ask(version, request).await?;
        read_answer::<R>(&frame, version)
    }

    /// The socket, and what was received on it beyond the last answer.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.received)
    }
}

/// Reads the answer to a request.
///
/// # Errors
/// `DataCorruption`: the bytes are no such answer.
pub(crate) fn read_answer<R: Request>(frame: &Bytes, version: i16) -> Result<R::Response, Error> {
    decode_response::<R::Response>(frame, version).map(|(_, response)| response).map_err(|error| {
        let what = format!("an answer to {} version {version} cannot be read", api_name::<R>());
        Error::because(ErrorKind::DataCorruption, what, error)
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_frame_is_taken_when_all_of_it_is_there() {
        let mut received = BytesMut::new();
        for byte in [0, 0, 0, 2, 7] {
            received.extend_from_slice(&[byte]);
            assert_eq!(take_frame(&mut received, 2).unwrap(), None);
        }
        received.extend_from_slice(&[8, 0, 0]);
        assert_eq!(take_frame(&mut received, 2).unwrap().unwrap(), [7, 8][..]);
        assert_eq!(received[..], [0, 0]);
    }

    #[test]
    fn a_length_that_nobody_asked_for_is_damage() {
        for length in [3, i32::MAX, -1, i32::MIN] {
            let mut received = BytesMut::from(&length.to_be_bytes()[..]);
            let error = take_frame(&mut received, 2).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DataCorruption);
            assert_eq!(TooLong::find(&error), Some(TooLong { length, max: 2 }));
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(&length.to_string()), "{cause}");
        }
    }
}
