//! How things are written in one line.

use std::fmt::{self, Display};

use ottla_records::{BatchHeader, LeaderEpoch, TimestampMs, TimestampType};
use ottla_storage::{GroupRow, MemberRow, OffsetKey, OffsetRow, ProducerEntry, TopicRow, TopicState};

use crate::{
    checkpoint::LogCheckpoint,
    segment::walk::Fault,
    wal::format::{AppendEntry, Entry},
};

/// A batch, without its place.
pub(super) struct Batch<'a>(pub(super) &'a BatchHeader);

impl Display for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.0;
        write!(
            f,
            "base_offset={} last_offset={} count={} leader_epoch={}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            header.leader_epoch
        )?;
        write!(
            f,
            " producer_id={} producer_epoch={} base_sequence={}",
            header.producer_id, header.producer_epoch, header.base_sequence
        )?;
        let kind = match header.timestamp_type() {
            TimestampType::CreateTime => "create",
            TimestampType::AppendTime => "append",
        };
        write!(f, " timestamps={}..{} {kind}_time", header.base_timestamp, header.max_timestamp)?;
        match header.compression() {
            Ok(codec) => write!(f, " codec={}", format!("{codec:?}").to_lowercase())?,
            Err(_) => write!(f, " codec=unknown")?,
        }
        if header.is_transactional() {
            write!(f, " transactional")?;
        }
        if header.is_control() {
            write!(f, " control")?;
        }
        write!(f, " size={}", header.length)
    }
}

/// What is wrong with a batch, or nothing.
pub(super) struct BatchFault(pub(super) Option<Fault>);

impl Display for BatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("crc=ok"),
            Some(Fault::Crc) => f.write_str("crc=bad"),
            Some(Fault::Offset { expected }) => write!(f, "crc=ok expected_offset={expected}"),
        }
    }
}

/// An entry of a WAL record.
pub(super) struct WalEntry<'a>(pub(super) &'a Entry, pub(super) Option<&'a BatchHeader>);

impl Display for WalEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Entry::LogStart { log, offset } => write!(f, "log_start log={log} offset={offset}"),
            Entry::Append(AppendEntry { log, base_offset, count, epoch, position, len, .. }) => {
                write!(f, "append log={log} position={position}")?;
                match self.1 {
                    Some(header) => write!(f, " {}", Batch(header)),
                    None => {
                        write!(f, " base_offset={base_offset} count={count} leader_epoch={epoch} size={len}")
                    }
                }
            }
        }
    }
}

/// A log in a checkpoint.
pub(super) struct Checkpointed<'a>(pub(super) &'a LogCheckpoint);

impl Display for Checkpointed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.0;
        write!(f, "log_start={} flushed_end={}", log.log_start, log.flushed_end)?;
        if let Some(active) = &log.active {
            write!(
                f,
                " active={:020} log_bytes={} index_bytes={} timeindex_bytes={} max_timestamp={}",
                active.base.0, active.len, active.index_len, active.time_index_len, active.max_timestamp
            )?;
        }
        f.write_str(" epochs=")?;
        list(f, log.epochs.iter().map(|(epoch, start)| format!("{epoch}@{start}")))?;
        write!(f, " producers={} producers_end={}", log.producers.len(), log.state_end)
    }
}

/// An idempotent producer in a checkpoint.
pub(super) struct Producer<'a>(pub(super) &'a ProducerEntry);

impl Display for Producer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let producer = self.0;
        write!(
            f,
            "producer_id={} producer_epoch={} last_write={} batches=",
            producer.producer_id, producer.producer_epoch, producer.last_timestamp
        )?;
        let batch = |batch: &ottla_storage::ProducerBatch| {
            format!("{}..{}@{}", batch.first_sequence, batch.last_sequence, batch.base_offset)
        };
        list(f, producer.batches.iter().map(batch))
    }
}

/// A topic in the state database.
pub(super) struct Topic<'a>(pub(super) &'a TopicRow);

impl Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.0;
        let state = match topic.state {
            TopicState::Live => "live",
            TopicState::Deleting => "deleting",
        };
        write!(f, "topic name={:?} id={} state={state} logs=", topic.name, topic.id)?;
        list(f, topic.logs.iter().map(ToString::to_string))?;
        topic.settings.iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
    }
}

/// A group in the state database, which may have no row of its own.
pub(super) struct Group<'a>(pub(super) &'a str, pub(super) Option<&'a GroupRow>);

impl Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group id={:?} kind=", self.0)?;
        let Some(row) = self.1 else { return f.write_str("none") };
        let (kind, epoch) = (row.kind.name(), row.epoch);
        write!(f, "{kind} epoch={epoch} protocol_type={:?} empty_since=", row.protocol_type)?;
        or_none(f, row.empty_since)?;
        write!(f, " state_size={}", row.state.len())
    }
}

/// A member of a group in the state database.
pub(super) struct Member<'a>(pub(super) &'a MemberRow);

impl Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.0;
        write!(f, "member id={:?} instance_id=", member.member_id)?;
        or_none(f, member.instance_id.as_ref().map(|id| format!("{id:?}")))?;
        write!(f, " client_id={:?} client_host={:?}", member.client_id, member.client_host)?;
        write!(f, " state_size={}", member.state.len())
    }
}

/// A committed offset in the state database.
pub(super) struct CommittedOffset<'a>(pub(super) &'a OffsetRow);

impl Display for CommittedOffset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0;
        let OffsetKey { topic, partition } = row.key;
        write!(f, "offset topic={:?} topic_id={topic} partition={partition}", row.topic_name)?;
        write!(f, " offset={} leader_epoch=", row.offset)?;
        or_none(f, (row.leader_epoch != LeaderEpoch::NONE).then_some(row.leader_epoch))?;
        write!(f, " committed_at={} expires_at=", row.committed_at)?;
        or_none(f, row.expires_at)?;
        write!(f, " metadata={:?}", row.metadata)
    }
}

fn or_none(f: &mut fmt::Formatter<'_>, value: Option<impl Display>) -> fmt::Result {
    match value {
        None => f.write_str("none"),
        Some(value) => value.fmt(f),
    }
}

/// A timestamp, or none.
pub(super) fn timestamp(ms: i64) -> String {
    TimestampMs(ms).to_string()
}

fn list(f: &mut fmt::Formatter<'_>, mut items: impl Iterator<Item = String>) -> fmt::Result {
    match items.next() {
        None => f.write_str("none"),
        Some(first) => {
            f.write_str(&first)?;
            items.try_for_each(|item| write!(f, ",{item}"))
        }
    }
}
