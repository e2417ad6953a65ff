//! Control records: what brokers write between the records of clients to end a transaction (KIP-98).
//!
//! Key: version (2 bytes, 0), type (2 bytes: 0 abort, 1 commit). Value: version (2 bytes, 0), epoch of the
//! transaction coordinator (4 bytes). Each is the only record of a batch with the control flag. Later
//! versions may only append fields, so that readers take what they know.

use bytes::Bytes;
use thiserror::Error;

use crate::builder::{BatchBuilder, BuildError, NewRecord};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::walk::Record;

/// The version that is written in keys and values.
const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The transaction of this producer is aborted.
    Abort {
        /// The epoch of the transaction coordinator that decided, which fences off earlier ones.
        coordinator_epoch: i32,
    },
    /// The transaction of this producer is committed.
    Commit {
        /// The epoch of the transaction coordinator that decided, which fences off earlier ones.
        coordinator_epoch: i32,
    },
    /// A record of another type, such as those in the log of a KRaft controller. Consumers skip it.
    Other {
        /// The type: 2 and up, or negative.
        type_id: i16,
    },
}

/// Why a record in a control batch is not a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The record has no key, or one that is too short.
    #[error("a control record has a key of {size} bytes, too short for a version and a type")]
    Key {
        /// The size of the key in bytes, 0 where there is none.
        size: usize,
    },
    /// The record ends a transaction and has no value, or one that is too short.
    #[error("a transaction marker has a value of {size} bytes, too short for a version and an epoch")]
    Value {
        /// The size of the value in bytes, 0 where there is none.
        size: usize,
    },
    /// The version of the key or value is below 0.
    #[error("a control record has the version {version}")]
    Version {
        /// The version.
        version: i16,
    },
}

impl ControlRecord {
    /// Reads a record of a batch that has the control flag.
    ///
    /// # Errors
    ///
    /// [`ControlError`] where key or value are too short or have a negative version.
    pub fn parse(record: &Record<'_>) -> Result<Self, ControlError> {
        let key = record.key.unwrap_or_default();
        let Some(&[v0, v1, t0, t1]) = key.first_chunk() else {
            return Err(ControlError::Key { size: key.len() });
        };
        check_version(i16::from_be_bytes([v0, v1]))?;
        match i16::from_be_bytes([t0, t1]) {
            ABORT => Ok(Self::Abort { coordinator_epoch: coordinator_epoch(record)? }),
            COMMIT => Ok(Self::Commit { coordinator_epoch: coordinator_epoch(record)? }),
            type_id => Ok(Self::Other { type_id }),
        }
    }
}

/// The batch that aborts a producer's transaction in one partition.
///
/// `offset` is where the marker goes, and `timestamp` when the coordinator decided.
#[must_use]
pub fn abort_batch(
    offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: TimestampMs,
    producer: (ProducerId, ProducerEpoch),
    coordinator_epoch: i32,
) -> Bytes {
    marker_batch(offset, leader_epoch, timestamp, producer, ABORT, coordinator_epoch)
}

/// The batch that commits a producer's transaction in one partition.
///
/// `offset` is where the marker goes, and `timestamp` when the coordinator decided.
#[must_use]
pub fn commit_batch(
    offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: TimestampMs,
    producer: (ProducerId, ProducerEpoch),
    coordinator_epoch: i32,
) -> Bytes {
    marker_batch(offset, leader_epoch, timestamp, producer, COMMIT, coordinator_epoch)
}

fn marker_batch(
    offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: TimestampMs,
    (producer_id, producer_epoch): (ProducerId, ProducerEpoch),
    type_id: i16,
    coordinator_epoch: i32,
) -> Bytes {
    let key = [VERSION.to_be_bytes(), type_id.to_be_bytes()].concat();
    let value = [&VERSION.to_be_bytes()[..], &coordinator_epoch.to_be_bytes()].concat();
    let mut batch = BatchBuilder::new()
        .base_offset(offset)
        .leader_epoch(leader_epoch)
        // Markers are not numbered: they can neither be lost nor repeated by a client.
        .producer(producer_id, producer_epoch, Sequence::NONE)
        .transactional()
        .control();
    let marker = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] };
    let built: Result<Bytes, BuildError> = batch.push(&marker).and_then(|()| batch.build());
    built.expect("a batch holds one record of 17 bytes")
}

fn coordinator_epoch(record: &Record<'_>) -> Result<i32, ControlError> {
    let value = record.value.unwrap_or_default();
    let Some(&[v0, v1, e0, e1, e2, e3]) = value.first_chunk() else {
        return Err(ControlError::Value { size: value.len() });
    };
    check_version(i16::from_be_bytes([v0, v1]))?;
    Ok(i32::from_be_bytes([e0, e1, e2, e3]))
}

fn check_version(version: i16) -> Result<(), ControlError> {
    if version < VERSION { Err(ControlError::Version { version }) } else { Ok(()) }
}
