//! What can go wrong between bytes and messages, and where.
//!
//! Invariants: the results that carry these errors stay small (an error is one box, made only when there is
//! one), and the path to the field is put together on the way out of a failed call, so that success pays
//! nothing for it.

use std::fmt;

use thiserror::Error;

use crate::ApiKey;

/// Bytes are no message, or one that this reader does not accept.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("cannot decode {place} at byte {}: {}", .inner.position, .inner.kind, place = Place { path: &.inner.path, otherwise: "message" })]
pub struct DecodeError {
    inner: Box<DecodeErrorInner>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct DecodeErrorInner {
    kind: DecodeErrorKind,
    position: usize,
    path: Vec<Step>,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A value, or what its length says, does not fit in the bytes that are left.
    #[error("{wanted} bytes wanted, {remaining} left")]
    UnexpectedEnd {
        /// How many bytes the value takes, as far as is known.
        wanted: usize,
        /// How many there are.
        remaining: usize,
    },
    /// The message ended before its bytes did.
    #[error("{count} bytes after the end of the message")]
    TrailingBytes {
        /// How many are left over.
        count: usize,
    },
    /// A length is negative and not the one for null, or longer than Kafka allows for a string.
    #[error("length {length} is not valid")]
    InvalidLength {
        /// The length.
        length: i64,
    },
    /// Null in a field or version that does not allow it.
    #[error("null is not allowed here")]
    Null,
    /// A count of more elements than could stand in the bytes that are left.
    #[error("{count} elements cannot stand in the {remaining} bytes that are left")]
    CountBeyondEnd {
        /// How many elements the bytes claim.
        count: usize,
        /// How many bytes are left.
        remaining: usize,
    },
    /// The arrays of this message would take more memory than its reader allows.
    #[error("the arrays of this message take more than the allowed {limit} bytes of memory")]
    TooManyElements {
        /// The limit of the reader, in bytes.
        limit: usize,
    },
    /// A string that is not UTF-8.
    #[error("string is not valid UTF-8")]
    InvalidUtf8,
    /// A variable-length number of more than five bytes or 32 bits.
    #[error("variable-length number does not fit in 32 bits")]
    InvalidVarint,
    /// Tags must ascend; this one is not above the one before it, or is the same.
    #[error("tag {tag} follows the same or a greater tag")]
    TagOutOfOrder {
        /// The tag.
        tag: u32,
    },
    /// A tagged field is longer than its value.
    #[error("tagged field {tag} has {count} bytes after its value")]
    TagTooLong {
        /// The tag.
        tag: u32,
        /// How many bytes follow the value.
        count: usize,
    },
    /// This message has no such version, or this crate does not know it.
    #[error("version {version} is not supported")]
    UnsupportedVersion {
        /// The version.
        version: i16,
    },
    /// No API of Kafka that this crate knows has this key, so its request header cannot be read.
    #[error("API key {} is not known", .key.0)]
    UnknownApiKey {
        /// The key.
        key: ApiKey,
    },
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(kind: DecodeErrorKind, position: usize) -> Self {
        Self { inner: Box::new(DecodeErrorInner { kind, position, path: Vec::new() }) }
    }

    /// What is wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.inner.kind
    }

    /// At which byte it was noticed, counted from where reading began.
    pub fn position(&self) -> usize {
        self.inner.position
    }

    /// Says that the error lies in this field.
    #[cold]
    pub fn in_field(mut self, name: &'static str) -> Self {
        self.inner.path.push(Step::Field(name));
        self
    }

    #[cold]
    pub(crate) fn at_index(mut self, index: usize) -> Self {
        self.inner.path.push(Step::Index(index));
        self
    }

    #[cold]
    pub(crate) fn in_message(mut self, name: &'static str, version: i16) -> Self {
        self.inner.path.push(Step::Message { name, version });
        self
    }
}

/// A message cannot be expressed in a version.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("cannot encode {place}: {}", .inner.kind, place = Place { path: &.inner.path, otherwise: "message" })]
pub struct EncodeError {
    inner: Box<EncodeErrorInner>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct EncodeErrorInner {
    kind: EncodeErrorKind,
    path: Vec<Step>,
}

/// Why a message cannot be expressed.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The message has no such version, or this crate does not know it.
    #[error("version {version} is not supported")]
    UnsupportedVersion {
        /// The version.
        version: i16,
    },
    /// A field has a value that would be lost, because this version does not have the field.
    #[error("this version does not have the field, and its value is not the default")]
    NotInVersion,
    /// Null in a field that this version does not allow to be null.
    #[error("this version does not allow null")]
    Null,
    /// A string longer than Kafka allows.
    #[error("string of {length} bytes is longer than the {max} that are allowed", max = i16::MAX)]
    StringTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// An array, bytes or a whole frame longer than its length field can say.
    #[error("length {length} does not fit in its field")]
    TooLarge {
        /// How many elements or bytes it has.
        length: usize,
    },
    /// Tagged fields in a version that has none.
    #[error("this version has no tagged fields")]
    NoTaggedFields,
    /// An unknown tagged field has the tag of a known one.
    #[error("unknown tagged field has tag {tag}, which is a known field's")]
    TagIsKnown {
        /// The tag.
        tag: u32,
    },
}

impl EncodeError {
    #[cold]
    pub(crate) fn new(kind: EncodeErrorKind) -> Self {
        Self { inner: Box::new(EncodeErrorInner { kind, path: Vec::new() }) }
    }

    /// A value would be lost, because this version does not have the field.
    #[cold]
    pub fn not_in_version() -> Self {
        Self::new(EncodeErrorKind::NotInVersion)
    }

    #[cold]
    pub(crate) fn null() -> Self {
        Self::new(EncodeErrorKind::Null)
    }

    #[cold]
    pub(crate) fn string_too_long(length: usize) -> Self {
        Self::new(EncodeErrorKind::StringTooLong { length })
    }

    #[cold]
    pub(crate) fn too_large(length: usize) -> Self {
        Self::new(EncodeErrorKind::TooLarge { length })
    }

    /// Why the message cannot be expressed.
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.inner.kind
    }

    /// Says that the error lies in this field.
    #[cold]
    pub fn in_field(mut self, name: &'static str) -> Self {
        self.inner.path.push(Step::Field(name));
        self
    }

    #[cold]
    pub(crate) fn at_index(mut self, index: usize) -> Self {
        self.inner.path.push(Step::Index(index));
        self
    }

    #[cold]
    pub(crate) fn in_message(mut self, name: &'static str, version: i16) -> Self {
        self.inner.path.push(Step::Message { name, version });
        self
    }
}

/// A step on the way from a message to one of its values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Message { name: &'static str, version: i16 },
    Field(&'static str),
    Index(usize),
}

/// A path for people; it is stored from its inner end.
struct Place<'a> {
    path: &'a [Step],
    otherwise: &'static str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.path.split_last() else { return f.write_str(self.otherwise) };
        write_step(f, first, "")?;
        rest.iter().rev().try_for_each(|step| write_step(f, step, "."))
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step, separator: &str) -> fmt::Result {
    match step {
        Step::Message { name, version } => write!(f, "{name} v{version}"),
        Step::Field(name) => write!(f, "{separator}{name}"),
        Step::Index(index) => write!(f, "[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_reads_from_the_outside() {
        let error = DecodeError::new(DecodeErrorKind::InvalidUtf8, 47)
            .in_field("name")
            .at_index(3)
            .in_field("topics")
            .in_message("MetadataRequest", 9);
        assert_eq!(
            error.to_string(),
            "cannot decode MetadataRequest v9.topics[3].name at byte 47: string is not valid UTF-8"
        );
        let error = EncodeError::string_too_long(40_000).in_field("rack_id");
        assert_eq!(
            error.to_string(),
            "cannot encode rack_id: string of 40000 bytes is longer than the 32767 that are allowed"
        );
        assert_eq!(
            EncodeError::null().to_string(),
            "cannot encode message: this version does not allow null"
        );
    }

    #[test]
    fn results_stay_small() {
        assert_eq!(size_of::<Result<i64, DecodeError>>(), 16);
        assert_eq!(size_of::<Result<(), EncodeError>>(), 8);
    }
}
