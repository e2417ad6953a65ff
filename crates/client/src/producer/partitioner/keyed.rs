//! Partitioners by the hash of the key, as other libraries have them.

use super::{Choice, Keyless, Partitioner, Partitioning};

/// A hash of keys. The partition is the remainder of the hash by the number of partitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyHash {
    /// MurmurHash2 without its sign, as Kafka's Java client has it.
    Murmur2,
    /// The absolute value of FNV-1a as a signed number of 32 bits, as sarama has it.
    Fnv1a,
    /// The CRC-32 of zlib, as librdkafka has it. Where it is used, an empty key counts as none.
    Crc32,
}

impl KeyHash {
    /// The hash of a key.
    pub fn of(self, key: &[u8]) -> u32 {
        match self {
            Self::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Self::Fnv1a => (fnv1a(key) as i32).unsigned_abs(),
            Self::Crc32 => crc32fast::hash(key),
        }
    }
}

/// By the hash of the key, and by another partitioner where there is no key.
pub(super) struct Keyed {
    hash: KeyHash,
    /// `None` where a missing key is taken for an empty one.
    keyless: Option<Box<dyn Partitioner>>,
}

impl Keyed {
    pub(super) fn new(hash: KeyHash, keyless: Keyless) -> Self {
        let keyless = match keyless {
            Keyless::Sticky => Some(Partitioning::Sticky),
            Keyless::Random => Some(Partitioning::Random),
            Keyless::AsEmptyKey => None,
        };
        // These two are the same for all topics.
        Self { hash, keyless: keyless.map(|partitioning| partitioning.partitioner("")) }
    }

    /// The key, where it counts as one.
    fn key<'a>(&self, choice: &Choice<'a>) -> Option<&'a [u8]> {
        choice.key().filter(|key| self.hash != KeyHash::Crc32 || !key.is_empty())
    }
}

impl Partitioner for Keyed {
    fn partition(&mut self, choice: &Choice<'_>) -> Option<i32> {
        match (self.key(choice), &mut self.keyless) {
            (None, Some(keyless)) => keyless.partition(choice),
            (key, _) => Some(choice.by_hash(self.hash.of(key.unwrap_or_default()))),
        }
    }

    fn batch_completed(&mut self, partition: i32) {
        if let Some(keyless) = &mut self.keyless {
            keyless.batch_completed(partition);
        }
    }
}

/// MurmurHash2 by Austin Appleby, with the seed that Kafka chose.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let (words, rest) = key.split_at(key.len() - key.len() % 4);
    let mut hash = SEED ^ key.len() as u32;
    for word in words.chunks_exact(4) {
        let mixed = word_of(word).wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !rest.is_empty() {
        hash = (hash ^ word_of(rest)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The number that up to four bytes make, the least significant being the first.
fn word_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// FNV-1a of 32 bits, by Glenn Fowler, Landon Curt Noll and Kiem-Phong Vo.
fn fnv1a(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
