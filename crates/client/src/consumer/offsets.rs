//! ListOffsets and OffsetForLeaderEpoch: where to begin, which offsets there are, and whether what was read is still there.

use std::{collections::BTreeMap, sync::Arc};

use ottla_protocol::{
    ErrorCode,
    messages::{
        list_offsets::{
            ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
            ListOffsetsTopic,
        },
        offset_for_leader_epoch::{
            EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
            OffsetForLeaderPartition, OffsetForLeaderTopic,
        },
    },
};
use tokio::time::Instant;

use super::{
    fetch::place,
    partition::{Key, Partition, Phase, Place, Position},
    state::State,
};
use crate::{
    config::OffsetReset,
    error::{Error, ErrorKind},
};

/// The first version of ListOffsets that answers with one offset (KIP-79).
pub(super) const ONE_OFFSET_FROM: i16 = 1;
/// The first version of OffsetForLeaderEpoch that every reader of a topic may use; before, the cluster's own brokers alone.
pub(super) const CHECK_FROM: i16 = 3;
/// The replica id of a client.
const CLIENT: i32 = -1;
/// The number that stands for the end.
const LATEST: i64 = -1;
/// The number that stands for the beginning.
const EARLIEST: i64 = -2;

/// An offset to look up.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    key: Key,
    generation: u64,
    phase: Phase,
    leader_epoch: i32,
}

impl Listing {
    pub(super) fn of(key: &Key, partition: &Partition) -> Self {
        let Partition { generation, phase, leadership, .. } = *partition;
        Self { key: key.clone(), generation, phase, leader_epoch: leadership.epoch }
    }

    /// The time that stands for what is looked up.
    fn timestamp(&self) -> i64 {
        match self.phase {
            Phase::Locating(Place::Timestamp(timestamp)) => timestamp,
            Phase::Locating(Place::Earliest) | Phase::Ranging { start: None } => EARLIEST,
            _ => LATEST,
        }
    }
}

/// A position to check under a new leader (KIP-320).
#[derive(Clone, Debug)]
pub(super) struct Check {
    key: Key,
    generation: u64,
    position: Position,
    leader_epoch: i32,
}

impl Check {
    pub(super) fn of(key: &Key, partition: &Partition) -> Self {
        let Partition { generation, position, leadership, .. } = *partition;
        Self { key: key.clone(), generation, position, leader_epoch: leadership.epoch }
    }
}

/// The request that looks these up.
pub(super) fn listing_request(listings: &[Listing], isolation_level: i8) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&Arc<str>, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for listing in listings {
        topics.entry(&listing.key.topic).or_default().push(ListOffsetsPartition {
            partition_index: listing.key.partition,
            current_leader_epoch: listing.leader_epoch,
            timestamp: listing.timestamp(),
            ..ListOffsetsPartition::default()
        });
    }
    let topic = |(name, partitions): (&Arc<str>, Vec<ListOffsetsPartition>)| ListOffsetsTopic {
        name: (&**name).into(),
        partitions,
        ..ListOffsetsTopic::default()
    };
    ListOffsetsRequest {
        replica_id: CLIENT,
        isolation_level,
        topics: topics.into_iter().map(topic).collect(),
        ..ListOffsetsRequest::default()
    }
}

/// The request that checks these.
pub(super) fn check_request(checks: &[Check]) -> OffsetForLeaderEpochRequest {
    let mut topics: BTreeMap<&Arc<str>, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for check in checks {
        topics.entry(&check.key.topic).or_default().push(OffsetForLeaderPartition {
            partition: check.key.partition,
            current_leader_epoch: check.leader_epoch,
            leader_epoch: check.position.epoch.unwrap_or(-1),
            ..OffsetForLeaderPartition::default()
        });
    }
    let topic = |(name, partitions): (&Arc<str>, Vec<OffsetForLeaderPartition>)| OffsetForLeaderTopic {
        topic: (&**name).into(),
        partitions,
        ..OffsetForLeaderTopic::default()
    };
    OffsetForLeaderEpochRequest {
        replica_id: CLIENT,
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetForLeaderEpochRequest::default()
    }
}

impl State {
    /// Takes what a broker answered to lookups.
    pub(super) fn listed(
        &mut self,
        listings: Vec<Listing>,
        answer: Result<ListOffsetsResponse, Error>,
        now: Instant,
    ) {
        for listing in listings {
            let Some(partition) = self.partitions.get_mut(&listing.key) else { continue };
            if partition.generation != listing.generation {
                continue;
            }
            partition.is_asking = false;
            if partition.phase != listing.phase {
                continue;
            }
            match answer.as_ref().map_err(Clone::clone).and_then(|answer| listed(answer, &listing.key)) {
                Ok(told) => self.one_listed(&listing, told),
                Err(error) => self.lookup_failed(&listing.key, error, now),
            }
        }
    }

    fn one_listed(&mut self, listing: &Listing, told: &ListOffsetsPartitionResponse) {
        let (key, offset) = (&listing.key, told.offset);
        let epoch = Some(told.leader_epoch).filter(|epoch| *epoch >= 0);
        match listing.phase {
            Phase::Locating(Place::Timestamp(_)) if offset < 0 => {
                // Nothing is as late: what is to come is.
                self.set_phase(key, Phase::Locating(Place::Latest));
            }
            Phase::Locating(_) => self.located(key, Position { offset, epoch }),
            Phase::Ranging { start: None } => self.set_phase(key, Phase::Ranging { start: Some(offset) }),
            Phase::Ranging { start: Some(start) } => self.out_of_range(key, start, offset),
            _ => {}
        }
    }

    fn set_phase(&mut self, key: &Key, phase: Phase) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.phase = phase;
        }
    }

    /// The position was said to be out of range, and these are the offsets that there are.
    pub(super) fn out_of_range(&mut self, key: &Key, start: i64, end: i64) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        let position = partition.position;
        if (start..=end).contains(&position.offset) {
            // It is not, or no longer: a log that was cut may have grown anew meanwhile.
            let is_to_be_checked = position.epoch.is_some();
            partition.phase = if is_to_be_checked { Phase::Validating } else { Phase::Fetching };
            return;
        }
        let offset = position.offset;
        let what = format!(
            "offset {offset} of {key} is out of range: there are offsets {start} to {end}; seek to one to go on"
        );
        self.reset(key, Error::new(ErrorKind::OffsetOutOfRange, what));
    }

    /// There is nothing at the position any more, as the error says: the rule tells where to go on, if there is one.
    pub(super) fn reset(&mut self, key: &Key, error: Error) {
        let to = match self.config.offset_reset {
            OffsetReset::None => return self.stop(key, error),
            OffsetReset::Earliest => Place::Earliest,
            OffsetReset::Latest => Place::Latest,
        };
        tracing::info!(topic = &*key.topic, partition = key.partition, ?to, %error, "an offset is reset by the rule");
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.phase = Phase::Locating(to);
        }
    }

    /// What was read was lost from `end` on, where the leader's log parts from what was read; negative where nobody knows.
    pub(super) fn truncated(&mut self, key: &Key, end: i64) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        let read = place(partition.position);
        if end < 0 {
            let what = format!(
                "the log of {key} was truncated: {read} was read, and the leader knows nothing of it; seek to go on"
            );
            return self.reset(key, Error::new(ErrorKind::OffsetOutOfRange, what));
        }
        let what = format!(
            "the log of {key} was truncated: it was read up to {read}, and the leader has that epoch up to offset {end}; seek there \
             to go on"
        );
        if self.config.offset_reset == OffsetReset::None {
            return self.stop(key, Error::new(ErrorKind::OffsetOutOfRange, what));
        }
        tracing::warn!(topic = &*key.topic, partition = key.partition, offset = end, "{what}");
        self.located(key, Position::at(end));
    }

    /// Takes what a broker answered to checks.
    pub(super) fn checked(
        &mut self,
        checks: Vec<Check>,
        answer: Result<OffsetForLeaderEpochResponse, Error>,
        now: Instant,
    ) {
        for check in checks {
            let Some(partition) = self.partitions.get_mut(&check.key) else { continue };
            if partition.generation != check.generation {
                continue;
            }
            partition.is_asking = false;
            if partition.phase != Phase::Validating || partition.leadership.epoch != check.leader_epoch {
                continue;
            }
            match answer.as_ref().map_err(Clone::clone).and_then(|answer| checked(answer, &check.key)) {
                Ok(told) if told.end_offset >= check.position.offset => {
                    partition.succeeded();
                    partition.phase = Phase::Fetching;
                }
                Ok(told) => self.truncated(&check.key, told.end_offset),
                // A broker that is too old to be asked.
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => {
                    partition.phase = Phase::Fetching
                }
                Err(error) => self.lookup_failed(&check.key, error, now),
            }
        }
    }

    /// A lookup is made again after a backoff, at whoever leads then.
    fn lookup_failed(&mut self, key: &Key, error: Error, now: Instant) {
        if !matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Timeout | ErrorKind::UnknownTopic) {
            self.tell(key, error);
        }
        self.put_off(key, now);
        self.want_refresh();
    }
}

fn listed<'a>(answer: &'a ListOffsetsResponse, key: &Key) -> Result<&'a ListOffsetsPartitionResponse, Error> {
    let of_topic = answer.topics.iter().filter(|told| *told.name == *key.topic);
    let told = of_topic.flat_map(|told| &told.partitions).find(|told| told.partition_index == key.partition);
    let told = told.ok_or_else(|| unanswered(key))?;
    refused_or(told, told.error_code, key)
}

fn checked<'a>(answer: &'a OffsetForLeaderEpochResponse, key: &Key) -> Result<&'a EpochEndOffset, Error> {
    let of_topic = answer.topics.iter().filter(|told| *told.topic == *key.topic);
    let told = of_topic.flat_map(|told| &told.partitions).find(|told| told.partition == key.partition);
    let told = told.ok_or_else(|| unanswered(key))?;
    refused_or(told, told.error_code, key)
}

fn refused_or<'a, T>(told: &'a T, code: ErrorCode, key: &Key) -> Result<&'a T, Error> {
    if code.is_none() {
        Ok(told)
    } else {
        Err(Error::refused(code, &format!("looking up offsets of {key}"), None))
    }
}

fn unanswered(key: &Key) -> Error {
    Error::new(ErrorKind::Retriable, format!("the broker's answer says nothing of {key}"))
}
