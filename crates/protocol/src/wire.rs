//! How each type of Kafka's schemas stands on the wire.
//!
//! [`Wire`] is implemented here for the types that fields have and by the derive macro for structs. What a
//! type looks like depends on the version only through [`Version::flexible`]; which fields there are is the
//! business of the structs.
//!
//! Invariant: nothing here reserves memory by a number that was read before the reader has agreed to it.

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, Encoder, ErrorCode, Reader, Records, Str, Uuid};

/// The greatest length of a string in bytes, as Kafka has it, in every encoding.
pub(crate) const STRING_LENGTH_MAX: usize = i16::MAX as usize;

/// The version in which a message is read or written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version {
    /// The version of the message, which its nested structs inherit.
    pub number: i16,
    /// Whether this version has compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

impl Version {
    /// The same version in the encodings from before KIP-482.
    pub fn inflexible(self) -> Self {
        Self { flexible: false, ..self }
    }
}

/// A type that stands on the wire.
pub trait Wire: Sized {
    /// The fewest bytes that a value can take in this version.
    fn min_size(version: Version) -> usize;

    /// Reads a value.
    ///
    /// # Errors
    /// The bytes are no such value, or it would take more memory than the reader allows.
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError>;

    /// Writes the value.
    ///
    /// # Errors
    /// This version cannot express the value.
    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError>;

    /// How many bytes [`Wire::write`] writes, where it succeeds.
    fn size(&self, version: Version) -> usize;
}

/// A type that has an encoding of null.
pub trait Nullable: Wire {
    /// Reads a value or null.
    ///
    /// # Errors
    /// As [`Wire::read`].
    fn read_nullable(reader: &mut Reader<'_>, version: Version) -> Result<Option<Self>, DecodeError>;

    /// Writes a value that is not null where null would be allowed.
    ///
    /// # Errors
    /// As [`Wire::write`].
    fn write_some(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        self.write(out, version)
    }

    /// How many bytes [`Nullable::write_some`] writes, where it succeeds.
    fn some_size(&self, version: Version) -> usize {
        self.size(version)
    }

    /// Writes null.
    fn write_null(out: &mut Encoder, version: Version);

    /// How many bytes [`Nullable::write_null`] writes.
    fn null_size(version: Version) -> usize;
}

/// A struct, whose null is told by a byte before it: negative for null, else 1.
pub trait NullableStruct: Wire {}

impl<T: NullableStruct> Nullable for T {
    fn read_nullable(reader: &mut Reader<'_>, version: Version) -> Result<Option<Self>, DecodeError> {
        if reader.i8()? < 0 { Ok(None) } else { T::read(reader, version).map(Some) }
    }

    fn write_some(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        out.put_i8(1);
        self.write(out, version)
    }

    fn some_size(&self, version: Version) -> usize {
        1 + self.size(version)
    }

    fn write_null(out: &mut Encoder, _version: Version) {
        out.put_i8(-1);
    }

    fn null_size(_version: Version) -> usize {
        1
    }
}

impl<T: Nullable> Wire for Option<T> {
    fn min_size(version: Version) -> usize {
        T::null_size(version).min(T::min_size(version))
    }

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        T::read_nullable(reader, version)
    }

    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_some(out, version),
            None => {
                T::write_null(out, version);
                Ok(())
            }
        }
    }

    fn size(&self, version: Version) -> usize {
        match self {
            Some(value) => value.some_size(version),
            None => T::null_size(version),
        }
    }
}

/// Reads a nullable field in a version that does not allow null.
///
/// # Errors
/// As [`Wire::read`]; null is one.
pub fn read_present<T: Nullable>(
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Option<T>, DecodeError> {
    T::read(reader, version).map(Some)
}

/// Writes a nullable field in a version that does not allow null.
///
/// # Errors
/// As [`Wire::write`]; null is one.
pub fn write_present<T: Nullable>(
    value: &Option<T>,
    out: &mut Encoder,
    version: Version,
) -> Result<(), EncodeError> {
    value.as_ref().ok_or_else(EncodeError::null)?.write(out, version)
}

/// How many bytes [`write_present`] writes, where it succeeds.
pub fn present_size<T: Nullable>(value: &Option<T>, version: Version) -> usize {
    value.as_ref().map_or(0, |value| value.size(version))
}

macro_rules! numbers {
    ($($ty:ty: $get:ident, $put:ident;)*) => {$(
        impl Wire for $ty {
            #[inline]
            fn min_size(_version: Version) -> usize {
                size_of::<$ty>()
            }

            #[inline]
            fn read(reader: &mut Reader<'_>, _version: Version) -> Result<Self, DecodeError> {
                reader.$get()
            }

            #[inline]
            fn write(&self, out: &mut Encoder, _version: Version) -> Result<(), EncodeError> {
                out.$put(*self);
                Ok(())
            }

            #[inline]
            fn size(&self, _version: Version) -> usize {
                size_of::<$ty>()
            }
        }
    )*};
}

numbers! {
    i8: i8, put_i8;
    i16: i16, put_i16;
    i32: i32, put_i32;
    i64: i64, put_i64;
    u16: u16, put_u16;
    u32: u32, put_u32;
    f64: f64, put_f64;
}

macro_rules! wrapped_numbers {
    ($($ty:ident($number:ty);)*) => {$(
        impl Wire for $ty {
            #[inline]
            fn min_size(version: Version) -> usize {
                <$number>::min_size(version)
            }

            #[inline]
            fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
                <$number>::read(reader, version).map($ty)
            }

            #[inline]
            fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
                self.0.write(out, version)
            }

            #[inline]
            fn size(&self, version: Version) -> usize {
                self.0.size(version)
            }
        }
    )*};
}

wrapped_numbers! {
    ApiKey(i16);
    ErrorCode(i16);
}

/// Any byte but zero is true.
impl Wire for bool {
    fn min_size(_version: Version) -> usize {
        1
    }

    fn read(reader: &mut Reader<'_>, _version: Version) -> Result<Self, DecodeError> {
        reader.i8().map(|byte| byte != 0)
    }

    fn write(&self, out: &mut Encoder, _version: Version) -> Result<(), EncodeError> {
        out.put_i8(i8::from(*self));
        Ok(())
    }

    fn size(&self, _version: Version) -> usize {
        1
    }
}

impl Wire for Uuid {
    fn min_size(_version: Version) -> usize {
        16
    }

    fn read(reader: &mut Reader<'_>, _version: Version) -> Result<Self, DecodeError> {
        reader.array().map(Uuid::from_bytes)
    }

    fn write(&self, out: &mut Encoder, _version: Version) -> Result<(), EncodeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }

    fn size(&self, _version: Version) -> usize {
        16
    }
}

impl Wire for Str {
    #[inline]
    fn min_size(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, version)?.ok_or_else(|| reader.null_error())
    }

    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        if self.len() > STRING_LENGTH_MAX {
            return Err(EncodeError::string_too_long(self.len()));
        }
        if version.flexible {
            out.put_compact_length(self.len())?;
        } else {
            out.put_i16(self.len() as i16);
        }
        out.put_slice(self.as_str().as_bytes());
        Ok(())
    }

    fn size(&self, version: Version) -> usize {
        self.len() + if version.flexible { compact_length_size(self.len()) } else { 2 }
    }
}

impl Nullable for Str {
    #[inline]
    fn read_nullable(reader: &mut Reader<'_>, version: Version) -> Result<Option<Self>, DecodeError> {
        let length = if version.flexible { reader.compact_length()? } else { reader.length_i16()? };
        match length {
            None => Ok(None),
            Some(length) => reader.string(length).map(Some),
        }
    }

    fn write_null(out: &mut Encoder, version: Version) {
        if version.flexible { out.put_i8(0) } else { out.put_i16(-1) }
    }

    fn null_size(version: Version) -> usize {
        Self::min_size(version)
    }
}

impl Wire for Bytes {
    fn min_size(version: Version) -> usize {
        long_null_size(version)
    }

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, version)?.ok_or_else(|| reader.null_error())
    }

    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        put_long_length(self.len(), out, version)?;
        out.put_bytes(self);
        Ok(())
    }

    fn size(&self, version: Version) -> usize {
        long_length_size(self.len(), version) + self.len()
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader<'_>, version: Version) -> Result<Option<Self>, DecodeError> {
        match read_long_length(reader, version)? {
            None => Ok(None),
            Some(length) => reader.bytes(length).map(Some),
        }
    }

    fn write_null(out: &mut Encoder, version: Version) {
        put_long_null(out, version);
    }

    fn null_size(version: Version) -> usize {
        long_null_size(version)
    }
}

/// Records have their own null, since every field of this type is nullable in all versions.
impl Wire for Records {
    #[inline]
    fn min_size(version: Version) -> usize {
        long_null_size(version)
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        match read_long_length(reader, version)? {
            None => Ok(Records::Null),
            Some(length) => reader.bytes(length).map(Records::Bytes),
        }
    }

    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        match self {
            Records::Null => put_long_null(out, version),
            Records::Bytes(bytes) => bytes.write(out, version)?,
            Records::External { id, len } => {
                put_long_length(*len as usize, out, version)?;
                out.put_external(*id, *len);
            }
        }
        Ok(())
    }

    fn size(&self, version: Version) -> usize {
        match self {
            Records::Null => long_null_size(version),
            Records::Bytes(bytes) => bytes.size(version),
            Records::External { len, .. } => long_length_size(*len as usize, version) + *len as usize,
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    #[inline]
    fn min_size(version: Version) -> usize {
        long_null_size(version)
    }

    #[inline]
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, version)?.ok_or_else(|| reader.null_error())
    }

    fn write(&self, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        put_long_length(self.len(), out, version)?;
        for (index, element) in self.iter().enumerate() {
            element.write(out, version).map_err(|error| error.at_index(index))?;
        }
        Ok(())
    }

    fn size(&self, version: Version) -> usize {
        let elements: usize = self.iter().map(|element| element.size(version)).sum();
        long_length_size(self.len(), version) + elements
    }
}

impl<T: Wire> Nullable for Vec<T> {
    #[inline]
    fn read_nullable(reader: &mut Reader<'_>, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(count) = read_long_length(reader, version)? else { return Ok(None) };
        reader.allow_elements(count, T::min_size(version), size_of::<T>())?;
        let mut elements = Vec::with_capacity(count);
        for index in 0..count {
            elements.push(T::read(reader, version).map_err(|error| error.at_index(index))?);
        }
        Ok(Some(elements))
    }

    fn write_null(out: &mut Encoder, version: Version) {
        put_long_null(out, version);
    }

    fn null_size(version: Version) -> usize {
        long_null_size(version)
    }
}

/// The length of bytes, records and arrays, which is wider than that of strings.
#[inline]
fn read_long_length(reader: &mut Reader<'_>, version: Version) -> Result<Option<usize>, DecodeError> {
    if version.flexible { reader.compact_length() } else { reader.length_i32() }
}

fn put_long_length(length: usize, out: &mut Encoder, version: Version) -> Result<(), EncodeError> {
    if version.flexible {
        out.put_compact_length(length)
    } else {
        out.put_i32(i32::try_from(length).map_err(|_| EncodeError::too_large(length))?);
        Ok(())
    }
}

fn long_length_size(length: usize, version: Version) -> usize {
    if version.flexible { compact_length_size(length) } else { 4 }
}

fn put_long_null(out: &mut Encoder, version: Version) {
    if version.flexible { out.put_i8(0) } else { out.put_i32(-1) }
}

fn long_null_size(version: Version) -> usize {
    if version.flexible { 1 } else { 4 }
}

/// How many bytes a length that is one more on the wire takes: zero stands for null.
fn compact_length_size(length: usize) -> usize {
    length_size(length + 1)
}

/// How many bytes a length or count takes as an unsigned varint.
pub fn length_size(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// How many bytes a tagged field takes, whose value takes `size`.
pub fn tagged_size(tag: u32, size: usize) -> usize {
    length_size(tag as usize) + length_size(size) + size
}
