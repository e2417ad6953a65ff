//! Sets of partitions, and what is known of each.

use ottla_records::{PartitionIndex, TopicId};

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Whose partition it is.
    pub topic: TopicId,
    /// Which one, from 0 on.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub const fn new(topic: TopicId, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

/// Partitions, each at most once and with a value, in the order of topic ids and indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions<V> {
    /// Sorted, without repetition.
    entries: Vec<(TopicPartition, V)>,
}

/// A set of partitions: what a member is to have, or has.
pub type Assignment = Partitions<()>;

impl<V: Copy> Partitions<V> {
    /// No partition.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of a partition, where it is among them.
    pub fn get(&self, partition: TopicPartition) -> Option<V> {
        let at = self.entries.binary_search_by_key(&partition, |(key, _)| *key).ok()?;
        Some(self.entries[at].1)
    }

    /// Whether a partition is among them.
    pub fn contains(&self, partition: TopicPartition) -> bool {
        self.get(partition).is_some()
    }

    /// The partitions in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TopicPartition> + '_ {
        self.entries.iter().map(|(partition, _)| *partition)
    }

    /// The partitions in order, each with what is known of it.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (TopicPartition, V)> + '_ {
        self.entries.iter().copied()
    }

    /// The topics in order, each with the indexes of its partitions in order.
    pub fn by_topic(
        &self,
    ) -> impl Iterator<Item = (TopicId, impl Iterator<Item = PartitionIndex> + '_)> + '_ {
        let topics = self.entries.chunk_by(|(one, _), (other, _)| one.topic == other.topic);
        topics.map(|of| (of[0].0.topic, of.iter().map(|(partition, _)| partition.partition)))
    }

    /// Whether every one of these is among `others`.
    pub fn is_subset<W: Copy>(&self, others: &Partitions<W>) -> bool {
        self.iter().all(|partition| others.contains(partition))
    }

    /// Whether any of these is among `others`.
    pub fn intersects<W: Copy>(&self, others: &Partitions<W>) -> bool {
        self.iter().any(|partition| others.contains(partition))
    }

    /// Those that are `wanted`, and the rest.
    pub fn split(&self, mut wanted: impl FnMut(TopicPartition) -> bool) -> (Self, Self) {
        let (these, rest) = self.entries.iter().copied().partition(|(partition, _)| wanted(*partition));
        (Self { entries: these }, Self { entries: rest })
    }

    /// These and `others`. Of a partition that is in both, what is known in `others` counts.
    pub fn with(mut self, others: impl IntoIterator<Item = (TopicPartition, V)>) -> Self {
        self.entries.extend(others);
        // The sort is stable, so that the later of two entries of a partition is behind the earlier one.
        self.entries.sort_by_key(|(partition, _)| *partition);
        self.entries.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1;
            }
            same
        });
        self
    }

    /// The partitions, without what is known of them.
    pub fn keys(&self) -> Assignment {
        Partitions { entries: self.iter().map(|partition| (partition, ())).collect() }
    }
}

impl<V: Copy> Default for Partitions<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Copy> FromIterator<(TopicPartition, V)> for Partitions<V> {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, V)>>(entries: I) -> Self {
        Self::new().with(entries)
    }
}

impl FromIterator<TopicPartition> for Assignment {
    fn from_iter<I: IntoIterator<Item = TopicPartition>>(partitions: I) -> Self {
        partitions.into_iter().map(|partition| (partition, ())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: u8, partition: i32) -> TopicPartition {
        TopicPartition::new(TopicId([topic; 16]), PartitionIndex(partition))
    }

    #[test]
    fn partitions_are_sorted_and_there_once_with_what_came_last() {
        let partitions: Partitions<u8> =
            [(at(2, 0), 1), (at(1, 7), 2), (at(2, 0), 3), (at(1, 3), 4), (at(2, 0), 5)].into_iter().collect();
        let entries: Vec<_> = partitions.entries().collect();
        assert_eq!(entries, [(at(1, 3), 4), (at(1, 7), 2), (at(2, 0), 5)]);
        assert_eq!(partitions.get(at(2, 0)), Some(5));
        assert_eq!(partitions.get(at(2, 1)), None);
        let by_topic: Vec<_> = partitions
            .by_topic()
            .map(|(topic, partitions)| (topic.0[0], partitions.map(|partition| partition.0).collect()))
            .collect();
        assert_eq!(by_topic, [(1, vec![3, 7]), (2, vec![0])]);
    }

    #[test]
    fn sets_are_compared_by_their_partitions_alone() {
        let one: Partitions<u8> = [(at(1, 0), 9)].into_iter().collect();
        let both: Assignment = [at(1, 0), at(1, 1)].into_iter().collect();
        let other: Assignment = [at(1, 1)].into_iter().collect();
        assert!(one.is_subset(&both) && !both.is_subset(&one));
        assert!(one.intersects(&both) && !one.intersects(&other));
        assert_eq!(one.keys().with([(at(1, 1), ())]), both);
        assert_eq!(both.split(|partition| one.contains(partition)), (one.keys(), other));
        assert!(Assignment::new().is_subset(&one) && !Assignment::new().intersects(&one));
    }
}
