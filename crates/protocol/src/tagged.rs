//! Tagged fields that this code does not know (KIP-482), kept so that they survive a round trip.
//!
//! Invariant: tags ascend and none is there twice.

use std::slice;

use bytes::Bytes;

use crate::{EncodeError, Encoder, error::EncodeErrorKind, wire};

/// The tagged fields of one struct that this code does not know. Eight bytes and no allocation while empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TaggedFields {
    fields: Option<Box<List>>,
}

/// Boxed because every struct of every message has one, and hardly any has a field in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct List(Vec<(u32, Bytes)>);

impl TaggedFields {
    /// No fields yet, and room for so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { fields: Some(Box::new(List(Vec::with_capacity(count)))) }
    }

    /// What room for so many fields takes in memory.
    pub(crate) fn capacity_bytes(count: usize) -> usize {
        size_of::<List>().saturating_add(count.saturating_mul(size_of::<(u32, Bytes)>()))
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.fields.is_none()
    }

    /// The value of the field with this tag.
    pub fn get(&self, tag: u32) -> Option<&Bytes> {
        let fields = self.as_slice();
        fields.binary_search_by_key(&tag, |field| field.0).ok().map(|index| &fields[index].1)
    }

    /// Sets the value of the field with this tag and gives back the one that it had.
    pub fn insert(&mut self, tag: u32, value: Bytes) -> Option<Bytes> {
        let fields = &mut self.fields.get_or_insert_default().0;
        match fields.binary_search_by_key(&tag, |field| field.0) {
            Ok(index) => Some(std::mem::replace(&mut fields[index].1, value)),
            Err(index) => {
                fields.insert(index, (tag, value));
                None
            }
        }
    }

    /// The fields by ascending tag.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        self.as_slice().iter().map(|(tag, value)| (*tag, value))
    }

    /// Adds a field whose tag the caller knows to be the greatest.
    pub(crate) fn push(&mut self, tag: u32, value: Bytes) {
        let fields = &mut self.fields.get_or_insert_default().0;
        debug_assert!(fields.last().is_none_or(|last| last.0 < tag));
        fields.push((tag, value));
    }

    /// The fields, to be written between those that are known.
    #[inline]
    pub fn in_order(&self) -> InOrder<'_> {
        InOrder { fields: self.as_slice().iter() }
    }

    /// For versions that have no tagged fields.
    ///
    /// # Errors
    /// There are some.
    #[inline]
    pub fn refuse_unless_empty(&self) -> Result<(), EncodeError> {
        if self.is_empty() { Ok(()) } else { Err(EncodeError::new(EncodeErrorKind::NoTaggedFields)) }
    }

    /// How many bytes all of them take, without their count.
    #[inline]
    pub fn size(&self) -> usize {
        self.iter().map(|(tag, value)| wire::tagged_size(tag, value.len())).sum()
    }

    #[inline]
    fn as_slice(&self) -> &[(u32, Bytes)] {
        self.fields.as_ref().map_or(&[], |list| &list.0)
    }
}

/// What of a struct's unknown tagged fields is not written yet.
#[derive(Debug)]
pub struct InOrder<'a> {
    fields: slice::Iter<'a, (u32, Bytes)>,
}

impl InOrder<'_> {
    /// Writes those that stand before a known field with this tag.
    ///
    /// # Errors
    /// An unknown field has that tag too, or a value's length does not fit.
    pub fn write_below(&mut self, tag: u32, out: &mut Encoder) -> Result<(), EncodeError> {
        while let [(next, value), ..] = self.fields.as_slice() {
            if *next == tag {
                return Err(EncodeError::new(EncodeErrorKind::TagIsKnown { tag }));
            }
            if *next > tag {
                break;
            }
            write_field(*next, value, out)?;
            self.fields.next();
        }
        Ok(())
    }

    /// Writes all that are left.
    ///
    /// # Errors
    /// A value's length does not fit.
    #[inline]
    pub fn write_rest(self, out: &mut Encoder) -> Result<(), EncodeError> {
        for (tag, value) in self.fields {
            write_field(*tag, value, out)?;
        }
        Ok(())
    }
}

fn write_field(tag: u32, value: &Bytes, out: &mut Encoder) -> Result<(), EncodeError> {
    out.put_unsigned_varint(tag);
    out.put_length(value.len())?;
    out.put_bytes(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_in_the_order_of_their_tags() {
        let mut fields = TaggedFields::default();
        assert!(fields.is_empty());
        for tag in [7, 0, 300, 2] {
            assert_eq!(fields.insert(tag, Bytes::from(vec![tag as u8])), None);
        }
        assert_eq!(fields.insert(7, Bytes::from_static(b"new")), Some(Bytes::from_static(b"\x07")));
        assert_eq!(fields.iter().map(|(tag, _)| tag).collect::<Vec<_>>(), [0, 2, 7, 300]);
        assert_eq!(fields.get(7), Some(&Bytes::from_static(b"new")));
        assert_eq!(fields.get(8), None);
        assert_eq!((fields.len(), fields.is_empty()), (4, false));
        assert_eq!(size_of_val(&fields), 8);
    }
}
