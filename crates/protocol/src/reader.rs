//! Reading from the bytes of one message, never past them.
//!
//! Invariants: no length or count that the bytes claim is acted on before it was compared with the bytes
//! that are really there; strings, bytes and records are views of the input, so nothing of them is copied;
//! what arrays reserve counts against a limit that the caller sets; nothing panics and nothing recurses.

use bytes::Bytes;

use crate::{DecodeError, Str, TaggedFields, error::DecodeErrorKind, wire::STRING_LENGTH_MAX};

/// How many bytes of elements a message may reserve for each byte that it has, unless its caller says
/// otherwise.
pub const ELEMENT_BYTES_PER_BYTE: usize = 8;

/// How many bytes of elements any message may reserve, however short it is.
pub const ELEMENT_BYTES_MIN: usize = 64 * 1024;

/// What an allocation costs beside its bytes: the allocator's own bookkeeping and rounding.
const ALLOCATION_OVERHEAD_BYTES: usize = 16;

/// Where a message is read from.
///
/// Elements of arrays are larger in memory than on the wire: at worst an empty string, one byte there and 32
/// here. So that bytes of a peer cannot become 32 times their size, a reader adds up what its arrays reserve and
/// refuses the message when that passes the element limit: by default [`ELEMENT_BYTES_PER_BYTE`] times the
/// message's size, and at least [`ELEMENT_BYTES_MIN`]. Ordinary messages stay below four times their size.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
    /// How many bytes of the frame follow `rest` and belong to what encloses it.
    after: usize,
    element_bytes_left: usize,
    element_bytes_max: usize,
}

impl<'a> Reader<'a> {
    /// Reads `frame` from its start, with the default element limit.
    pub fn new(frame: &'a Bytes) -> Self {
        let limit = frame.len().saturating_mul(ELEMENT_BYTES_PER_BYTE).max(ELEMENT_BYTES_MIN);
        Self::with_element_limit(frame, limit)
    }

    /// Reads `frame` from its start; all arrays together may reserve `element_bytes_max` bytes.
    pub fn with_element_limit(frame: &'a Bytes, element_bytes_max: usize) -> Self {
        Self { frame, rest: frame, after: 0, element_bytes_left: element_bytes_max, element_bytes_max }
    }

    /// How many bytes are left to read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.frame.len() - self.after - self.rest.len()
    }

    /// How many bytes arrays and unknown tagged fields have reserved so far: what the decoded message holds
    /// beside the frame itself.
    pub fn element_bytes(&self) -> usize {
        self.element_bytes_max - self.element_bytes_left
    }

    /// How many bytes arrays may reserve for their elements.
    pub fn element_bytes_max(&self) -> usize {
        self.element_bytes_max
    }

    /// Refuses bytes that are left over.
    ///
    /// # Errors
    /// The message ended before its bytes did.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(self.error(DecodeErrorKind::TrailingBytes { count })),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.end_error(N));
        };
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_be_bytes)
    }

    /// Reads seven bits a byte, the lowest first. As Kafka's reader, it accepts numbers that are written with
    /// more bytes than they need, up to five; it refuses bits past the 32nd, which Kafka's drops.
    #[inline]
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*first))
            }
            _ => self.long_unsigned_varint(),
        }
    }

    fn long_unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut number = 0u64;
        for (index, byte) in self.rest.iter().take(5).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                let number = u32::try_from(number).map_err(|_| self.error(DecodeErrorKind::InvalidVarint))?;
                self.rest = &self.rest[index + 1..];
                return Ok(number);
            }
        }
        if self.rest.len() >= 5 {
            Err(self.error(DecodeErrorKind::InvalidVarint))
        } else {
            Err(self.end_error(self.rest.len() + 1))
        }
    }

    /// A length that is one more on the wire, so that zero is null.
    #[inline]
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        self.unsigned_varint().map(|length| length.checked_sub(1).map(|length| length as usize))
    }

    /// A length of which -1 is null.
    #[inline]
    pub(crate) fn length_i32(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = self.i32()?;
        self.nullable_length(i64::from(length))
    }

    /// A length of which -1 is null.
    #[inline]
    pub(crate) fn length_i16(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = self.i16()?;
        self.nullable_length(i64::from(length))
    }

    #[inline]
    fn nullable_length(&self, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            0.. => Ok(Some(length as usize)),
            -1 => Ok(None),
            _ => Err(self.error(DecodeErrorKind::InvalidLength { length })),
        }
    }

    #[inline]
    fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((slice, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.end_error(length));
        };
        self.rest = rest;
        Ok(slice)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let slice = self.slice(length)?;
        Ok(self.frame.slice_ref(slice))
    }

    #[inline]
    pub(crate) fn string(&mut self, length: usize) -> Result<Str, DecodeError> {
        if length > STRING_LENGTH_MAX {
            return Err(self.error(DecodeErrorKind::InvalidLength { length: length as i64 }));
        }
        let before = self.position();
        let slice = self.slice(length)?;
        match Str::from_view(self.frame, slice) {
            Some(string) => Ok(string),
            None => Err(DecodeError::new(DecodeErrorKind::InvalidUtf8, before)),
        }
    }

    /// Agrees to an array of `count` elements, or refuses it: each takes `min_size` bytes or more on the wire,
    /// and `element_size` in memory.
    #[inline]
    pub(crate) fn allow_elements(
        &mut self,
        count: usize,
        min_size: usize,
        element_size: usize,
    ) -> Result<(), DecodeError> {
        // No element of the protocol takes no byte at all, but nothing here relies on that.
        if count > self.rest.len() / min_size.max(1) {
            return Err(self.error(DecodeErrorKind::CountBeyondEnd { count, remaining: self.rest.len() }));
        }
        if count == 0 {
            return Ok(());
        }
        self.charge(count.saturating_mul(element_size).saturating_add(ALLOCATION_OVERHEAD_BYTES))
    }

    /// Counts memory against the element limit.
    #[inline]
    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.element_bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.element_bytes_left = left;
                Ok(())
            }
            None => Err(self.error(DecodeErrorKind::TooManyElements { limit: self.element_bytes_max })),
        }
    }

    /// Reads a section of tagged fields. `known` gets each tag: it reads the value and says true, or reads
    /// nothing and says false, and then the field is kept as it is.
    #[inline]
    pub fn tagged_fields(
        &mut self,
        known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<TaggedFields, DecodeError> {
        match self.unsigned_varint()? {
            0 => Ok(TaggedFields::default()),
            count => self.some_tagged_fields(count as usize, known),
        }
    }

    fn some_tagged_fields(
        &mut self,
        count: usize,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<TaggedFields, DecodeError> {
        if count > self.rest.len() / 2 {
            return Err(self.error(DecodeErrorKind::CountBeyondEnd { count, remaining: self.rest.len() }));
        }
        let mut unknown = TaggedFields::default();
        let mut last = None;
        for index in 0..count {
            let tag = self.unsigned_varint()?;
            if last >= Some(tag) {
                return Err(self.error(DecodeErrorKind::TagOutOfOrder { tag }));
            }
            last = Some(tag);
            let size = self.unsigned_varint()? as usize;
            let Some((value, rest)) = self.rest.split_at_checked(size) else {
                return Err(self.end_error(size));
            };
            // While the value is read, the message ends where the value does.
            self.rest = value;
            self.after += rest.len();
            if known(self, tag)? {
                if !self.rest.is_empty() {
                    return Err(self.error(DecodeErrorKind::TagTooLong { tag, count: self.rest.len() }));
                }
            } else {
                if unknown.is_empty() {
                    // All that follow may be unknown too. Growing with them would take more than what is counted.
                    let left = count - index;
                    self.charge(
                        TaggedFields::capacity_bytes(left).saturating_add(2 * ALLOCATION_OVERHEAD_BYTES),
                    )?;
                    unknown = TaggedFields::with_capacity(left);
                }
                unknown.push(tag, self.frame.slice_ref(value));
            }
            self.rest = rest;
            self.after -= rest.len();
        }
        Ok(unknown)
    }

    #[cold]
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, self.position())
    }

    #[cold]
    pub(crate) fn null_error(&self) -> DecodeError {
        self.error(DecodeErrorKind::Null)
    }

    #[cold]
    fn end_error(&self, wanted: usize) -> DecodeError {
        self.error(DecodeErrorKind::UnexpectedEnd { wanted, remaining: self.rest.len() })
    }
}
