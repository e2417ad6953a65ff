//! Newtypes for the numbers that must not be mixed up: offsets, epochs, producer ids, sequences, timestamps,
//! partitions, topics and logs.
//!
//! Each is the bare number of the Kafka protocol with a name. Where Kafka writes -1 for "there is none", the
//! type has a `NONE`. Nothing here checks ranges: a value that a peer sent stays what it sent until the code
//! that gives it a meaning has checked it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Defines a newtype over a number, displayed as that number.
macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// Wraps the number as it is in the protocol.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number as it is in the protocol.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(number: $inner) -> Self {
                Self(number)
            }
        }

        impl From<$name> for $inner {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

number! {
    /// The position of a record in a partition: 0 is the first record ever appended.
    Offset(i64)
}

number! {
    /// How often the leader of a partition has changed, from 0 on; [`LeaderEpoch::NONE`] where there is none.
    LeaderEpoch(i32)
}

number! {
    /// Who wrote a batch idempotently (KIP-98), from 0 on; [`ProducerId::NONE`] for a plain producer.
    ProducerId(i64)
}

number! {
    /// The incarnation of a producer id (KIP-98), from 0 on: a higher one fences off all lower ones.
    /// [`ProducerEpoch::NONE`] for a plain producer.
    ProducerEpoch(i16)
}

number! {
    /// The position of a record among those of one producer in one partition (KIP-98), from 0 to
    /// `i32::MAX`, and then from 0 again; [`Sequence::NONE`] for a plain producer.
    Sequence(i32)
}

number! {
    /// Milliseconds since the Unix epoch; [`TimestampMs::NONE`] where there is none.
    TimestampMs(i64)
}

number! {
    /// Which partition of a topic, from 0 on.
    PartitionIndex(i32)
}

number! {
    /// Which log on this broker's disk. A log id is given once and never used again, not even after the
    /// partition it belonged to was deleted.
    LogId(u64)
}

impl Offset {
    /// The offset of the first record of a partition.
    pub const ZERO: Self = Self(0);

    /// The offset `records` further on, or `i64::MAX` where that would be past it.
    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        Self(self.0.saturating_add(records))
    }
}

impl LeaderEpoch {
    /// No leader epoch: the sender does not know one.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);

    /// The sequence `records` further on. After `i32::MAX` comes 0; `NONE` stays `NONE`.
    #[must_use]
    pub const fn plus(self, records: u32) -> Self {
        if self.0 < 0 {
            return Self::NONE;
        }
        // There are 2^31 sequences, so counting on modulo 2^32 and dropping the top bit is counting on
        // modulo 2^31.
        Self(((self.0 as u32).wrapping_add(records) & i32::MAX as u32) as i32)
    }
}

impl TimestampMs {
    /// No timestamp.
    pub const NONE: Self = Self(-1);
}

/// The id of a topic (KIP-516): 128 random bits, so that a topic that was deleted and created again under
/// its old name is another topic.
///
/// Displayed and parsed as Kafka does: 22 characters of base64 with the URL alphabet and without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// How many characters [`TopicId`] has in text: six bits in each.
const TOPIC_ID_CHARS: usize = 22;

/// The URL alphabet of base64 (RFC 4648, section 5).
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// No topic id: what peers send that name the topic instead.
    pub const ZERO: Self = Self([0; 16]);

    /// Wraps the sixteen bytes as they are in the protocol.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Whether this is [`TopicId::ZERO`].
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; TOPIC_ID_CHARS];
        // 22 characters hold 132 bits: the 4 past the id's own 128 are zeros.
        for (at, char) in text.iter_mut().enumerate() {
            let six = if at == TOPIC_ID_CHARS - 1 { bits << 4 } else { bits >> (122 - 6 * at) };
            *char = BASE64_URL[(six & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, ParseTopicIdError> {
        if text.len() != TOPIC_ID_CHARS {
            return Err(ParseTopicIdError::Length { length: text.len() });
        }
        let mut bits = 0_u128;
        for (at, char) in text.bytes().enumerate() {
            let six = six_bits(char).ok_or(ParseTopicIdError::Character { at })?;
            if at < TOPIC_ID_CHARS - 1 {
                bits = bits << 6 | six;
            } else if six & 15 == 0 {
                bits = bits << 2 | six >> 4;
            } else {
                // Four bits would be lost, and two texts would be the same id.
                return Err(ParseTopicIdError::Character { at });
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// Why a text is not a [`TopicId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseTopicIdError {
    /// The text is too short or too long.
    #[error("a topic id has 22 characters of base64 without padding, not {length}")]
    Length {
        /// The length of the text in bytes.
        length: usize,
    },
    /// A character is not in the alphabet, or the last one holds more than the last two bits.
    #[error("the character at {at} cannot be in a topic id, which is base64 with the URL alphabet")]
    Character {
        /// Where the character is, counted in bytes from 0.
        at: usize,
    },
}

fn six_bits(char: u8) -> Option<u128> {
    let six = match char {
        b'A'..=b'Z' => char - b'A',
        b'a'..=b'z' => char - b'a' + 26,
        b'0'..=b'9' => char - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u128::from(six))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sequence_wraps_from_its_maximum_to_zero() {
        for (from, records, expected) in [
            (0, 0, 0),
            (0, 1, 1),
            (i32::MAX, 0, i32::MAX),
            (i32::MAX, 1, 0),
            (i32::MAX - 1, 5, 3),
            (i32::MAX, i32::MAX as u32, i32::MAX - 1),
            (5, u32::MAX, 4),
            (-1, 7, -1),
            (i32::MIN, 7, -1),
        ] {
            assert_eq!(Sequence(from).plus(records), Sequence(expected), "{from} plus {records}");
        }
    }

    #[test]
    fn an_offset_stays_at_its_maximum() {
        assert_eq!(Offset(5).plus(3), Offset(8));
        assert_eq!(Offset(i64::MAX - 1).plus(3), Offset(i64::MAX));
    }

    /// The pairs were computed with Python's `base64.urlsafe_b64encode`.
    #[test]
    fn a_topic_id_is_written_as_kafka_writes_it() {
        let counting = std::array::from_fn(|at| at as u8);
        let high = std::array::from_fn(|at| 0xf0 + at as u8);
        for (bytes, text) in [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            ([255; 16], "_____________________w"),
            (counting, "AAECAwQFBgcICQoLDA0ODw"),
            (high, "8PHy8_T19vf4-fr7_P3-_w"),
        ] {
            assert_eq!(TopicId(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(TopicId(bytes)));
        }
        assert!(TopicId::ZERO.is_zero());
        assert!(!TopicId(counting).is_zero());
    }

    #[test]
    fn a_text_that_is_no_topic_id_is_refused() {
        for (text, error) in [
            ("", ParseTopicIdError::Length { length: 0 }),
            ("AAECAwQFBgcICQoLDA0OD", ParseTopicIdError::Length { length: 21 }),
            ("AAECAwQFBgcICQoLDA0ODw==", ParseTopicIdError::Length { length: 24 }),
            ("AAECAwQFBgcICQoLDA0OD+", ParseTopicIdError::Character { at: 21 }),
            ("/AECAwQFBgcICQoLDA0ODw", ParseTopicIdError::Character { at: 0 }),
            // `x` differs from `w` only in bits that an id does not have.
            ("AAECAwQFBgcICQoLDA0ODx", ParseTopicIdError::Character { at: 21 }),
            ("AAECAwQFBgcICQoLDA0é", ParseTopicIdError::Length { length: 21 }),
            ("AAECAwQFBgcICQoLDA0Oé", ParseTopicIdError::Character { at: 20 }),
        ] {
            assert_eq!(text.parse::<TopicId>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_topic_id_survives_text(bytes: [u8; 16]) {
            prop_assert_eq!(TopicId(bytes).to_string().parse(), Ok(TopicId(bytes)));
        }
    }
}
