//! Whole messages: the traits that the derive macro implements, and what is the same for all of them.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{
    ApiKey, DecodeError, EncodeError, Encoder, Reader,
    error::{DecodeErrorKind, EncodeErrorKind},
    wire::{Version, Wire},
};

/// A message with versions of its own.
pub trait Message: Wire {
    /// Its name in Kafka's schemas.
    const NAME: &'static str;

    /// The versions that this crate knows: those of Kafka 4.3.
    const VERSIONS: RangeInclusive<i16>;

    /// The first version with compact lengths and tagged fields (KIP-482); `i16::MAX` if none has them.
    const FLEXIBLE_FROM: i16;

    /// Reads the message from where `reader` stands.
    ///
    /// # Errors
    /// The version is not known, or the bytes are no such message. The error names the field.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let result = match known_version::<Self>(version) {
            Some(known) => Self::read(reader, known),
            None => Err(reader.error(DecodeErrorKind::UnsupportedVersion { version })),
        };
        result.map_err(|error| error.in_message(Self::NAME, version))
    }

    /// Reads the message that `bytes` are, with the default element limit of [`Reader`].
    ///
    /// # Errors
    /// As [`Message::decode`]; bytes that are left over are one too.
    fn from_bytes(bytes: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish().map_err(|error| error.in_message(Self::NAME, version))?;
        Ok(message)
    }

    /// Writes the message, without a frame around it.
    ///
    /// # Errors
    /// The version is not known, or cannot express a value. The error names the field. What was written before
    /// it stays in `out`.
    fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let result = match known_version::<Self>(version) {
            Some(known) => self.write(out, known),
            None => Err(EncodeError::new(EncodeErrorKind::UnsupportedVersion { version })),
        };
        result.map_err(|error| error.in_message(Self::NAME, version))
    }

    /// How many bytes [`Message::encode`] writes, where it succeeds.
    fn encoded_size(&self, version: i16) -> usize {
        known_version::<Self>(version).map_or(0, |known| self.size(known))
    }
}

/// A request.
pub trait Request: Message {
    /// The key of its API.
    const API_KEY: ApiKey;

    /// What answers it, in the same version.
    type Response: Response;
}

/// A response.
pub trait Response: Message {
    /// The key of its API.
    const API_KEY: ApiKey;
}

fn known_version<M: Message>(number: i16) -> Option<Version> {
    M::VERSIONS.contains(&number).then_some(Version { number, flexible: number >= M::FLEXIBLE_FROM })
}
