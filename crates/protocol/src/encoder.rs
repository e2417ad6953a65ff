//! Writing messages: one growing buffer, and references to what is too large or too far away to copy.
//!
//! Invariants: the pieces of an encoder, one after the other, are its frames; a frame that could not be
//! encoded leaves no trace; the length before a frame counts what is spliced into it.

use std::vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::EncodeError;

/// Bytes of at least this length are spliced in by reference; copying shorter ones costs less than one more
/// piece to write.
pub const SPLICE_BYTES_MIN: usize = 512;

/// An encoder that wrote more than this gives its buffer away instead of keeping it for the next frames.
const KEPT_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Where messages are written to.
///
/// One encoder serves a connection for as long as it lives: [`Encoder::finish`] takes what was written, and the
/// buffer is used again once the pieces of it are gone. Several frames may be written before that.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    splices: Vec<Splice>,
    spliced_bytes: usize,
}

/// What stands in the output after `at` bytes of the buffer.
#[derive(Debug)]
struct Splice {
    at: usize,
    piece: Piece,
}

/// A piece of the output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// The bytes that [`Records::External`](crate::Records::External) stood for.
    External {
        /// Which ones, as the encoded message said.
        id: u32,
        /// How many bytes must be written here.
        len: u32,
    },
}

impl Piece {
    /// How many bytes it stands for.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    /// Whether it stands for none; no encoder makes such a piece.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Encoder {
    /// An encoder without a buffer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that writes behind what `buffer` has room for; what is in it comes first.
    pub fn with_buffer(buffer: BytesMut) -> Self {
        Self { buffer, ..Self::default() }
    }

    /// How many bytes were written and not yet taken, spliced ones included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.spliced_bytes
    }

    /// Whether nothing was written since the last [`Encoder::finish`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was written, in its order. A buffer of ordinary size stays for what comes next.
    pub fn finish(&mut self) -> Pieces {
        let written = self.buffer.split().freeze();
        if written.len() + self.buffer.capacity() > KEPT_BUFFER_BYTES_MAX {
            // One large response must not hold its memory for as long as the connection lives.
            self.buffer = BytesMut::new();
        }
        self.spliced_bytes = 0;
        Pieces { written, taken: 0, splices: std::mem::take(&mut self.splices).into_iter(), next: None }
    }

    /// Writes a frame: the length of what `write` writes as four bytes, and then that.
    ///
    /// # Errors
    /// Those of `write`, and a frame longer than its length field can say. The encoder is then as it was.
    pub(crate) fn frame(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.buffer.len();
        let (splices, spliced_bytes) = (self.splices.len(), self.spliced_bytes);
        let before = self.len() + 4;
        self.put_i32(0);
        let result = write(self).and_then(|()| {
            let length = self.len() - before;
            i32::try_from(length).map_err(|_| EncodeError::too_large(length))
        });
        match result {
            Ok(length) => {
                self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            Err(error) => {
                self.buffer.truncate(start);
                self.splices.truncate(splices);
                self.spliced_bytes = spliced_bytes;
                Err(error)
            }
        }
    }

    #[inline]
    pub(crate) fn put_i8(&mut self, number: i8) {
        self.buffer.put_i8(number);
    }

    #[inline]
    pub(crate) fn put_i16(&mut self, number: i16) {
        self.buffer.put_i16(number);
    }

    #[inline]
    pub(crate) fn put_i32(&mut self, number: i32) {
        self.buffer.put_i32(number);
    }

    #[inline]
    pub(crate) fn put_i64(&mut self, number: i64) {
        self.buffer.put_i64(number);
    }

    #[inline]
    pub(crate) fn put_u16(&mut self, number: u16) {
        self.buffer.put_u16(number);
    }

    #[inline]
    pub(crate) fn put_u32(&mut self, number: u32) {
        self.buffer.put_u32(number);
    }

    #[inline]
    pub(crate) fn put_f64(&mut self, number: f64) {
        self.buffer.put_f64(number);
    }

    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes a number with seven bits a byte, the lowest first.
    #[inline]
    pub fn put_unsigned_varint(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.buffer.put_u8(number as u8 | 0x80);
            number >>= 7;
        }
        self.buffer.put_u8(number as u8);
    }

    /// Writes a length or count as an unsigned varint.
    ///
    /// # Errors
    /// It does not fit in 32 bits.
    #[inline]
    pub fn put_length(&mut self, length: usize) -> Result<(), EncodeError> {
        let number = u32::try_from(length).map_err(|_| EncodeError::too_large(length))?;
        self.put_unsigned_varint(number);
        Ok(())
    }

    /// Writes a length of which zero would be null.
    #[inline]
    pub(crate) fn put_compact_length(&mut self, length: usize) -> Result<(), EncodeError> {
        self.put_length(length + 1)
    }

    /// Writes bytes, by reference if they are many.
    #[inline]
    pub(crate) fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SPLICE_BYTES_MIN {
            self.put_slice(bytes);
        } else {
            self.splice(Piece::Bytes(bytes.clone()));
        }
    }

    /// Leaves a gap of `len` bytes for another to fill.
    #[inline]
    pub(crate) fn put_external(&mut self, id: u32, len: u32) {
        if len > 0 {
            self.splice(Piece::External { id, len });
        }
    }

    fn splice(&mut self, piece: Piece) {
        self.spliced_bytes += piece.len();
        self.splices.push(Splice { at: self.buffer.len(), piece });
    }
}

/// What an encoder wrote, piece by piece. None is empty.
#[derive(Debug)]
pub struct Pieces {
    written: Bytes,
    /// How many bytes of the buffer were split off `written` so far.
    taken: usize,
    splices: vec::IntoIter<Splice>,
    /// The splice that follows what was given out last.
    next: Option<Piece>,
}

impl Pieces {
    /// How many bytes all pieces that are left stand for.
    pub fn byte_count(&self) -> usize {
        let spliced: usize = self.splices.as_slice().iter().map(|splice| splice.piece.len()).sum();
        self.written.len() + self.next.as_ref().map_or(0, Piece::len) + spliced
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(piece) = self.next.take() {
            return Some(piece);
        }
        let Some(Splice { at, piece }) = self.splices.next() else {
            let rest = std::mem::take(&mut self.written);
            return (!rest.is_empty()).then_some(Piece::Bytes(rest));
        };
        let before = self.written.split_to(at - self.taken);
        self.taken = at;
        if before.is_empty() {
            return Some(piece);
        }
        self.next = Some(piece);
        Some(Piece::Bytes(before))
    }
}

/// Everything that was written as one run of bytes; a piece that lies elsewhere has none, and ends it.
#[cfg(test)]
pub(crate) fn flatten(pieces: Pieces) -> Vec<u8> {
    pieces
        .flat_map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.to_vec(),
            Piece::External { id, len } => vec![id as u8; len as usize],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn large_bytes_are_spliced_and_small_ones_copied() {
        let large = Bytes::from(vec![1; SPLICE_BYTES_MIN]);
        let small = Bytes::from(vec![2; SPLICE_BYTES_MIN - 1]);
        let mut encoder = Encoder::new();
        encoder
            .frame(|out| {
                out.put_bytes(&small);
                out.put_bytes(&large);
                out.put_external(9, 70_000);
                out.put_i16(3);
                Ok(())
            })
            .unwrap();
        let total = 4 + 511 + 512 + 70_000 + 2;
        assert_eq!(encoder.len(), total);
        let pieces = encoder.finish();
        assert_eq!(pieces.byte_count(), total);
        let pieces: Vec<_> = pieces.collect();
        let [Piece::Bytes(first), Piece::Bytes(second), external, Piece::Bytes(last)] = &pieces[..] else {
            panic!("unexpected pieces: {pieces:?}");
        };
        assert_eq!(first[..4], (total as i32 - 4).to_be_bytes());
        assert_eq!(first[4..], small);
        assert_eq!(second.as_ptr(), large.as_ptr());
        assert_eq!(*external, Piece::External { id: 9, len: 70_000 });
        assert_eq!(last[..], [0, 3]);
        assert!(encoder.is_empty());
    }

    #[test]
    fn a_frame_that_fails_leaves_no_trace() {
        let mut encoder = Encoder::new();
        encoder.frame(|out| out.put_length(1)).unwrap();
        let failed = encoder.frame(|out| {
            out.put_i64(-1);
            out.put_external(1, 10);
            Err(EncodeError::null())
        });
        assert_eq!(failed, Err(EncodeError::null()));
        let too_large = encoder.frame(|out| {
            out.put_external(1, u32::MAX);
            Ok(())
        });
        assert_eq!(too_large, Err(EncodeError::too_large(u32::MAX as usize)));
        encoder.frame(|out| out.put_length(200)).unwrap();
        assert_eq!(flatten(encoder.finish()), [0, 0, 0, 1, 1, 0, 0, 0, 2, 200, 1]);
        assert_eq!(encoder.finish().next(), None);
    }

    #[test]
    fn the_buffer_is_used_again_unless_it_grew_large() {
        let mut encoder = Encoder::with_buffer(BytesMut::with_capacity(256));
        encoder.put_slice(&[0; 200]);
        let first = flatten(encoder.finish());
        assert_eq!(first.len(), 200);
        assert_eq!(encoder.buffer.capacity(), 56);
        encoder.put_slice(&[0; KEPT_BUFFER_BYTES_MAX + 1]);
        assert_eq!(flatten(encoder.finish()).len(), KEPT_BUFFER_BYTES_MAX + 1);
        assert_eq!(encoder.buffer.capacity(), 0);
    }

    #[test]
    fn varints_have_the_length_they_claim() {
        for number in
            [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX]
        {
            let mut encoder = Encoder::new();
            encoder.put_unsigned_varint(number);
            assert_eq!(encoder.len(), wire::length_size(number as usize), "{number}");
            let bytes = Bytes::from(flatten(encoder.finish()));
            assert_eq!(crate::Reader::new(&bytes).unsigned_varint(), Ok(number));
        }
    }
}
