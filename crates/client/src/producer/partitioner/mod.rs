//! Which partition a record goes to that names none.
//!
//! [`Partitioning`] is the setting; it makes a [`Partitioner`] for each topic. A record that names its partition goes
//! there, and no partitioner is asked.
//!
//! Records with a key keep their partition as long as the topic keeps its number of partitions, whether the leader can
//! be reached or not. Records without one go where a leader can be reached.
//!
//! Whoever changes from another library keeps the partitions of keys with the one that it used:
//!
//! | library | its partitioner | here |
//! |---|---|---|
//! | Java | none set, `DefaultPartitioner` | [`Partitioning::java`], the default |
//! | | `UniformStickyPartitioner`, `partitioner.ignore.keys` | [`Partitioning::Sticky`] |
//! | | `RoundRobinPartitioner` | [`Partitioning::RoundRobin`] |
//! | sarama | `NewHashPartitioner`, its default | [`Partitioning::sarama`] |
//! | | `NewMurmur2Partitioner` | [`KeyHash::Murmur2`] and [`Keyless::Random`] |
//! | | `NewRandomPartitioner`, `NewRoundRobinPartitioner` | [`Partitioning::Random`], [`Partitioning::RoundRobin`] |
//! | | `NewManualPartitioner` | [`Partitioning::ByHand`] |
//! | librdkafka | `consistent_random`, its default | [`Partitioning::librdkafka`] |
//! | | `murmur2_random`, `fnv1a_random` | [`KeyHash::Murmur2`], [`KeyHash::Fnv1a`], each with [`Keyless::Sticky`] |
//! | | `consistent`, `murmur2`, `fnv1a` | [`KeyHash::Crc32`], [`KeyHash::Murmur2`], [`KeyHash::Fnv1a`], each with [`Keyless::AsEmptyKey`] |
//! | | `random` | [`Partitioning::Random`]; there, those without a key stick together for `sticky.partitioning.linger.ms` |
//!
//! librdkafka's `fnv1a` is sarama's hash, sign and all. sarama's `NewConsistentCRCHashPartitioner` differs from
//! `consistent_random` in empty keys, which it sends to partition 0. Its `NewReferenceHashPartitioner` has no
//! counterpart here; [`Partitioning::custom`] takes what is written by hand:
//!
//! ```
//! use ottla_client::producer::partitioner::{Choice, Partitioner, Partitioning};
//!
//! /// Sends what is urgent to partition 0, and all else anywhere.
//! struct UrgentFirst;
//!
//! impl Partitioner for UrgentFirst {
//!     fn partition(&mut self, choice: &Choice<'_>) -> Option<i32> {
//!         Some(if choice.key() == Some(b"urgent") { 0 } else { choice.any() })
//!     }
//! }
//!
//! let partitioning = Partitioning::custom(|_topic| Box::new(UrgentFirst));
//! let choice = Choice::new(Some(b"urgent"), 3, &[1, 2], 0).unwrap();
//! assert_eq!(partitioning.partitioner("orders").partition(&choice), Some(0));
//! ```

mod keyed;
mod keyless;
#[cfg(test)]
mod originals;

use std::{fmt, sync::Arc};

use keyed::Keyed;
use keyless::{ByHand, Random, RoundRobin, Sticky};

pub use keyed::KeyHash;

/// Picks partitions for the records of one topic that name none.
///
/// One thread at a time asks it, in the order of the records.
pub trait Partitioner: Send {
    /// Picks the partition of the next record, from 0 to one less than the topic has. `None`, and any other number,
    /// refuses the record: its sender gets an error of kind [`InvalidRecord`](crate::ErrorKind::InvalidRecord).
    fn partition(&mut self, choice: &Choice<'_>) -> Option<i32>;

    /// Hears that a batch of this partition is complete, so that the next record would begin another.
    fn batch_completed(&mut self, partition: i32) {
        let _ = partition;
    }
}

/// What there is to choose from, and by.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    key: Option<&'a [u8]>,
    partitions: u32,
    reachable: &'a [i32],
    random: u64,
}

impl<'a> Choice<'a> {
    /// A choice for a record with this key in a topic with so many partitions; `None` where it has no partition.
    ///
    /// `reachable` are those partitions that have a leader to which a connection can be had, in ascending order;
    /// `random` is another number for each record, all of its bits being random.
    pub fn new(key: Option<&'a [u8]>, partitions: i32, reachable: &'a [i32], random: u64) -> Option<Self> {
        let partitions = u32::try_from(partitions).ok().filter(|count| *count > 0)?;
        Some(Self { key, partitions, reachable, random })
    }

    /// The record's key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// How many partitions the topic has, one at least. They are numbered from 0 on.
    pub fn partitions(&self) -> i32 {
        self.partitions as i32
    }

    /// The partitions whose leader can be reached, in ascending order. There may be none.
    pub fn reachable(&self) -> &'a [i32] {
        self.reachable
    }

    /// A number that is another for each record, all of its bits being random.
    pub fn random(&self) -> u64 {
        self.random
    }

    /// The partition that a hash of the key stands for, whether it can be reached or not.
    pub fn by_hash(&self, hash: u32) -> i32 {
        (hash % self.partitions) as i32
    }

    /// Any partition whose leader can be reached; any at all where none can.
    pub fn any(&self) -> i32 {
        self.candidate(self.random_below(self.candidates()))
    }

    /// As [`any`](Self::any), but another than this one where there is another.
    fn any_but(&self, avoided: i32) -> i32 {
        match self.position(avoided) {
            Ok(position) if self.candidates() > 1 => {
                let other = self.random_below(self.candidates() - 1);
                self.candidate(other + usize::from(other >= position))
            }
            _ => self.any(),
        }
    }

    /// The next partition after this one whose leader can be reached, the first coming after the last; the next at
    /// all where none can be.
    fn next_after(&self, partition: i32) -> i32 {
        let next = self.position(partition).map_or_else(|absent| absent, |position| position + 1);
        self.candidate(next % self.candidates())
    }

    /// How many partitions a record without a key may go to.
    fn candidates(&self) -> usize {
        if self.reachable.is_empty() { self.partitions as usize } else { self.reachable.len() }
    }

    fn candidate(&self, position: usize) -> i32 {
        self.reachable.get(position).copied().unwrap_or(position as i32)
    }

    /// Where among the candidates the partition is; as an error where it would be.
    fn position(&self, partition: i32) -> Result<usize, usize> {
        if !self.reachable.is_empty() {
            return self.reachable.binary_search(&partition);
        }
        let position = usize::try_from(partition).map_err(|_| 0_usize)?;
        if position < self.candidates() { Ok(position) } else { Err(self.candidates()) }
    }

    /// A random number below `bound`. The upper half of the bits is scaled, which favours some numbers by less than
    /// one in 2^32 / `bound`.
    fn random_below(&self, bound: usize) -> usize {
        (((self.random >> 32) * bound as u64) >> 32) as usize
    }
}

/// How partitions are picked for the records that name none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Partitioning {
    /// All records go to one partition until a batch of it is complete, then to another (KIP-480), whatever their
    /// keys. How fast brokers answer plays no part.
    Sticky,
    /// Each record goes to the next partition that can be reached, whatever its key. Batches are small.
    RoundRobin,
    /// Each record goes to any partition that can be reached, whatever its key. Batches are small.
    Random,
    /// Each record has to name its partition; what names none is refused.
    ByHand,
    /// Records with a key go to the partition that the hash of the key stands for.
    ByKey {
        /// The hash.
        hash: KeyHash,
        /// What becomes of records without a key.
        keyless: Keyless,
    },
    /// See [`custom`](Self::custom).
    Custom(Custom),
}

/// What becomes of records without a key, where those with one go by its hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keyless {
    /// As [`Partitioning::Sticky`].
    Sticky,
    /// As [`Partitioning::Random`].
    Random,
    /// All go to the one partition that the hash of an empty key stands for, whether it can be reached or not.
    AsEmptyKey,
}

/// Makes the partitioners that somebody wrote by hand.
#[derive(Clone)]
pub struct Custom {
    make: Arc<Make>,
}

type Make = dyn Fn(&str) -> Box<dyn Partitioner> + Send + Sync;

/// Those are equal that were made by the same call of [`Partitioning::custom`], or are its clones.
impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.make, &other.make)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").finish_non_exhaustive()
    }
}

impl Partitioning {
    /// As Kafka's Java client does it: murmur2 of the key, sticky without one.
    pub fn java() -> Self {
        Self::ByKey { hash: KeyHash::Murmur2, keyless: Keyless::Sticky }
    }

    /// As sarama does it: FNV-1a of the key, random without one.
    pub fn sarama() -> Self {
        Self::ByKey { hash: KeyHash::Fnv1a, keyless: Keyless::Random }
    }

    /// As librdkafka does it: CRC-32 of the key, sticky where it is missing or empty.
    pub fn librdkafka() -> Self {
        Self::ByKey { hash: KeyHash::Crc32, keyless: Keyless::Sticky }
    }

    /// As somebody wrote it: `make` is called with the name of each topic when its first record is sent.
    pub fn custom(make: impl Fn(&str) -> Box<dyn Partitioner> + Send + Sync + 'static) -> Self {
        Self::Custom(Custom { make: Arc::new(make) })
    }

    /// A partitioner for a topic. One of somebody's own may have it do part of the work.
    pub fn partitioner(&self, topic: &str) -> Box<dyn Partitioner> {
        match self {
            Self::Sticky => Box::<Sticky>::default(),
            Self::RoundRobin => Box::<RoundRobin>::default(),
            Self::Random => Box::new(Random),
            Self::ByHand => Box::new(ByHand),
            Self::ByKey { hash, keyless } => Box::new(Keyed::new(*hash, *keyless)),
            Self::Custom(custom) => (custom.make)(topic),
        }
    }
}

/// [`java`](Self::java).
impl Default for Partitioning {
    fn default() -> Self {
        Self::java()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_without_partitions_leaves_no_choice() {
        assert!(Choice::new(None, 0, &[], 0).is_none());
        assert!(Choice::new(None, -1, &[], 0).is_none());
    }

    #[test]
    fn any_is_any_that_can_be_reached() {
        let any = |reachable: &[i32], sixteenth: u64| {
            Choice::new(None, 4, reachable, sixteenth << 60).unwrap().any()
        };
        let all: Vec<i32> = (0..16).map(|sixteenth| any(&[1, 3], sixteenth)).collect();
        assert_eq!(all, [[1; 8], [3; 8]].concat());
        assert_eq!((any(&[], 0), any(&[], 4), any(&[], 15)), (0, 1, 3));
        assert_eq!(Choice::new(None, i32::MAX, &[], u64::MAX).unwrap().any(), i32::MAX - 1);
    }

    #[test]
    fn any_but_one_is_each_of_the_others_alike() {
        let picked = |reachable: &[i32], avoided| {
            let pick = |third: u64| {
                let random = third * (u64::MAX / 3) + (1 << 40);
                Choice::new(None, 8, reachable, random).unwrap().any_but(avoided)
            };
            [0, 1, 2].map(pick)
        };
        assert_eq!(picked(&[1, 3, 5, 7], 1), [3, 5, 7]);
        assert_eq!(picked(&[1, 3, 5, 7], 5), [1, 3, 7]);
        assert_eq!(picked(&[1, 3, 7], 5), [1, 3, 7]);
        assert_eq!(picked(&[3], 3), [3, 3, 3]);
    }
}
