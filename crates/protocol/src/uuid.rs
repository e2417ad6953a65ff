//! Ids of 128 bits, and the way Kafka prints them.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// An id of 128 bits, such as a topic's (KIP-516).
///
/// Kafka prints it as URL-safe base 64 without padding, 22 characters; so do `Display` and `FromStr`.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uuid([u8; 16]);

/// A text is not the base 64 of an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[error("an id is 22 characters of URL-safe base 64 without padding")]
pub struct InvalidUuid;

/// The alphabet of URL-safe base 64 (RFC 4648, section 5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How many characters hold 128 bits.
const TEXT_LENGTH: usize = 22;

impl Uuid {
    /// The id of nothing: what fields without an id hold.
    pub const ZERO: Self = Self([0; 16]);

    /// The id with these bytes, as on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is the id of nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl From<[u8; 16]> for Uuid {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl From<Uuid> for [u8; 16] {
    fn from(uuid: Uuid) -> Self {
        uuid.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // The last character has only two bits of the id; they are its upper ones.
        let text: [u8; TEXT_LENGTH] = std::array::from_fn(|index| {
            let sextet = if index == TEXT_LENGTH - 1 { bits << 4 } else { bits >> (122 - 6 * index) };
            ALPHABET[(sextet & 0x3f) as usize]
        });
        f.pad(std::str::from_utf8(&text).expect("base 64 is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    /// Accepts exactly what `Display` writes, so that an id has one text.
    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        if text.len() != TEXT_LENGTH {
            return Err(InvalidUuid);
        }
        let mut bits = 0u128;
        for (index, character) in text.bytes().enumerate() {
            let sextet = ALPHABET.iter().position(|known| *known == character).ok_or(InvalidUuid)? as u128;
            if index == TEXT_LENGTH - 1 {
                if sextet & 0x0f != 0 {
                    return Err(InvalidUuid);
                }
                bits = bits << 2 | sextet >> 4;
            } else {
                bits = bits << 6 | sextet;
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_url_safe_base_64() {
        let counting = Uuid::from_bytes(std::array::from_fn(|index| index as u8));
        for (id, text) in [
            (Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::from_bytes([0xff; 16]), "_____________________w"),
            (Uuid::from_bytes(1u128.to_be_bytes()), "AAAAAAAAAAAAAAAAAAAAAQ"),
            (Uuid::from_bytes([0xfb; 16]), "-_v7-_v7-_v7-_v7-_v7-w"),
            (counting, "AAECAwQFBgcICQoLDA0ODw"),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
        assert!(Uuid::ZERO.is_zero() && !counting.is_zero());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAA+AAAAAAAAAAA",
            "ÄAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }
}
