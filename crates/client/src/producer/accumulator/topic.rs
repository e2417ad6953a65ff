//! What a producer knows of a topic that it has records for.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    error::{Error, ErrorKind},
    metadata::cluster::Topic as Told,
    producer::{
        delivery::Outcome,
        partitioner::{Choice, Partitioner, Partitioning},
        record::Record,
    },
};

/// A topic.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    /// Its id (KIP-516); zero where it is not known.
    pub(super) id: [u8; 16],
    /// The leader of each partition; there is none before brokers have told of the topic.
    leaders: Vec<Option<i32>>,
    /// The slot of each partition that has had records.
    slots: Vec<Option<usize>>,
    partitioner: Box<dyn Partitioner>,
    /// The partitions whose leader can be reached, and of which state of the brokers that is.
    reachable: (u64, Vec<i32>),
    /// Records that came before the topic was known.
    pub(super) pending: VecDeque<Pending>,
    /// Why brokers have told nothing else of it, if they have not.
    pub(super) missing: Option<Error>,
    /// Records have come since this was last asked.
    pub(super) is_in_use: bool,
}

/// A record for a topic that is not known yet.
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) outcome: Arc<Outcome>,
    pub(super) since: Duration,
    pub(super) opening: u64,
    pub(super) bytes: usize,
}

impl Topic {
    pub(super) fn new(name: Arc<str>, partitioning: &Partitioning) -> Self {
        let partitioner = partitioning.partitioner(&name);
        Self {
            name,
            id: [0; 16],
            leaders: Vec::new(),
            slots: Vec::new(),
            partitioner,
            reachable: (0, Vec::new()),
            pending: VecDeque::new(),
            missing: None,
            is_in_use: true,
        }
    }

    /// Whether its partitions are known.
    pub(super) fn is_known(&self) -> bool {
        !self.leaders.is_empty()
    }

    /// Takes note of what brokers told.
    pub(super) fn told(&mut self, told: &Told) {
        // Partitions are numbered from 0 on; what is missing among them has no leader at the moment.
        let count = told.partitions.keys().filter_map(|index| usize::try_from(*index).ok()).max();
        let count = count.map_or(0, |last| last + 1).min(told.partitions.len());
        let leader = |index| i32::try_from(index).ok().and_then(|index| told.partitions.get(&index)?.leader);
        self.leaders = (0..count).map(leader).collect();
        self.slots.resize(count.max(self.slots.len()), None);
        self.id = told.id;
        self.reachable.0 = 0;
        self.missing = None;
    }

    /// The leader of a partition, if it has one.
    pub(super) fn leader(&self, partition: i32) -> Option<i32> {
        *self.leaders.get(usize::try_from(partition).ok()?)?
    }

    /// The slot of a partition, if it has one.
    pub(super) fn slot(&mut self, partition: i32) -> Option<&mut Option<usize>> {
        self.slots.get_mut(usize::try_from(partition).ok()?)
    }

    /// The partition of a record. `state` is the number of the state of the brokers, which tells of each whether it can be
    /// reached.
    ///
    /// # Errors
    /// It names one that is not there, or the partitioner refuses it.
    pub(super) fn partition(
        &mut self,
        record: &Record,
        random: impl FnOnce() -> u64,
        state: u64,
        is_reachable: impl Fn(i32) -> bool,
    ) -> Result<i32, Error> {
        let count = self.leaders.len();
        if let Some(partition) = record.partition {
            return if usize::try_from(partition).is_ok_and(|partition| partition < count) {
                Ok(partition)
            } else {
                let what =
                    format!("topic {} has {count} partitions, and no partition {partition}", self.name);
                Err(Error::new(ErrorKind::UnknownTopic, what))
            };
        }
        if self.reachable.0 != state {
            let leaders = (0..).zip(&self.leaders);
            let reachable = leaders.filter(|(_, leader)| leader.is_some_and(&is_reachable));
            self.reachable = (state, reachable.map(|(partition, _)| partition).collect());
        }
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let choice = Choice::new(record.key.as_deref(), count, &self.reachable.1, random());
        let chosen = choice.and_then(|choice| self.partitioner.partition(&choice));
        chosen.filter(|chosen| (0..count).contains(chosen)).ok_or_else(|| {
            let what = match chosen {
                Some(chosen) => {
                    format!("the partitioner chose partition {chosen} of {count} of topic {}", self.name)
                }
                None => format!(
                    "the partitioner chose no partition of topic {}: name one in the record",
                    self.name
                ),
            };
            Error::new(ErrorKind::InvalidRecord, what)
        })
    }

    /// A batch of a partition is complete.
    pub(super) fn batch_completed(&mut self, partition: i32) {
        self.partitioner.batch_completed(partition);
    }
}
