//! Strings as views of the bytes they came in.
//!
//! Invariant: the bytes of a [`Str`] are valid UTF-8; only constructors that know this make one.

use std::{borrow::Borrow, cmp::Ordering, fmt, hash, ops::Deref, str::Utf8Error};

use bytes::Bytes;

/// A string that is cheap to clone: a counted view of UTF-8 bytes.
///
/// A decoded `Str` shares the memory of the frame that it came in and keeps all of it alive. What outlives its
/// request should be [detached](Str::detached) or copied into a `String`.
#[derive(Clone, Default, Eq)]
pub struct Str {
    bytes: Bytes,
}

impl Str {
    /// The empty string.
    pub const EMPTY: Self = Self::from_static("");

    /// A string that is part of the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self { bytes: Bytes::from_static(text.as_bytes()) }
    }

    /// `slice`, which is part of `frame`, as a view, if it is UTF-8.
    #[inline]
    pub(crate) fn from_view(frame: &Bytes, slice: &[u8]) -> Option<Self> {
        std::str::from_utf8(slice).ok()?;
        Some(Self { bytes: frame.slice_ref(slice) })
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor has either checked the bytes or taken them from a `str` or `String`, and
        // `Bytes` never change.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }

    /// A copy that has its own memory and keeps no frame alive.
    pub fn detached(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes) }
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Str {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

/// Copies the text.
impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self { bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }
}

/// Takes the memory of the string.
impl From<String> for Str {
    fn from(text: String) -> Self {
        Self { bytes: Bytes::from(text) }
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

/// Takes the bytes, without a copy, if they are UTF-8.
impl TryFrom<Bytes> for Str {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self { bytes })
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

/// As that of `str`, so that maps of `Str` can be asked with a `str`.
impl hash::Hash for Str {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_view_shares_memory_and_a_detached_copy_does_not() {
        let frame = Bytes::from(b"..topic..".to_vec());
        let view = Str::from_view(&frame, &frame[2..7]).unwrap();
        assert_eq!(view, "topic");
        assert_eq!(view.as_ptr(), frame[2..].as_ptr());
        assert_ne!(view.detached().as_ptr(), view.as_ptr());
        assert_eq!(view.detached(), view);
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let frame = Bytes::from(b"a\xff".to_vec());
        assert_eq!(Str::from_view(&frame, &frame), None);
        assert!(Str::try_from(frame).is_err());
        assert_eq!(Str::try_from(Bytes::from_static("é".as_bytes())).unwrap(), "é");
    }

    #[test]
    fn a_set_can_be_asked_with_a_plain_str() {
        let set = HashSet::from([Str::from("orders"), Str::from(String::from("payments"))]);
        assert!(set.contains("orders") && set.contains("payments") && !set.contains("order"));
    }
}
