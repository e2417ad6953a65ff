//! Where partitions begin and end, where a time is in them, and where they are made to begin.

use std::sync::Arc;

use ottla_protocol::{
    ErrorCode,
    messages::{
        delete_records::{
            DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
        },
        list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic},
    },
};

use super::{
    Admin, BROKER_TIMEOUT_MS,
    share::{self, Partition, Shared, ask_all, by_topic, topics_of},
    unanswered,
};
use crate::{error::Error, metadata::cluster::Cluster};

/// The first version of ListOffsets that answers with one offset (KIP-79); before, there was a list.
const ONE_OFFSET_FROM: i16 = 1;
/// The replica id of a client.
const CLIENT: i32 = -1;
/// The number that stands for the end.
const LATEST: i64 = -1;
/// The number that stands for the beginning.
const EARLIEST: i64 = -2;
/// The number that stands for the high watermark where records are deleted.
const HIGH_WATERMARK: i64 = -1;

/// A place in a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first record that is still there: the log start offset.
    Earliest,
    /// Behind the last record that can be read: the high watermark.
    Latest,
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    fn number(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            // What is below has another meaning for brokers.
            Self::Timestamp(timestamp) => timestamp.max(0),
        }
    }
}

/// Where a place in a partition is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; `None` where no record is as late as was asked for.
    pub offset: Option<i64>,
    /// The timestamp of the record there, where a time was asked for.
    pub timestamp: Option<i64>,
}

/// Which records of a partition to delete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordsToDelete {
    /// Those before this offset, which is at most the high watermark. There are none before 0, or anything less.
    Before(i64),
    /// All that can be read when the broker does it: those before the high watermark.
    All,
}

impl RecordsToDelete {
    fn first_kept(self) -> i64 {
        match self {
            // What is below has another meaning for brokers, and -1 would delete all.
            Self::Before(offset) => offset.max(0),
            Self::All => HIGH_WATERMARK,
        }
    }
}

/// What is left of a partition after records were deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeletedRecords {
    /// Before this offset, no replica has records any more.
    pub low_watermark: i64,
}

impl Admin {
    /// The offsets of places in partitions: of each its offset, or why there is none, in the order in which they were
    /// given. A partition that is named more than once counts as it was named last.
    ///
    /// # Errors
    /// No broker answers in time. A partition's own error does not hold up the others.
    pub async fn list_offsets<N: Into<Arc<str>>>(
        &self,
        places: impl IntoIterator<Item = (N, i32, OffsetSpec)>,
    ) -> Result<Vec<(Arc<str>, i32, Result<ListedOffset, Error>)>, Error> {
        self.ask_leaders::<ListOffsets, N>(places).await
    }

    /// Deletes records, from the beginning of partitions up to an offset (KIP-107): of each partition what is left, or why
    /// nothing was deleted, in the order in which they were given. A partition that is named more than once counts as it
    /// was named last.
    ///
    /// Where an answer is lost, the leader is asked again. With [`RecordsToDelete::All`] that also deletes what was
    /// written in between.
    ///
    /// Dropping the future takes nothing back: records may be deleted.
    ///
    /// # Errors
    /// No broker answers in time. A partition's own error does not hold up the others: `OffsetOutOfRange` where the offset
    /// is beyond the high watermark, and `Broker` with POLICY_VIOLATION where the topic is compacted and never deletes.
    pub async fn delete_records<N: Into<Arc<str>>>(
        &self,
        records: impl IntoIterator<Item = (N, i32, RecordsToDelete)>,
    ) -> Result<Vec<(Arc<str>, i32, Result<DeletedRecords, Error>)>, Error> {
        self.ask_leaders::<DeleteRecords, N>(records).await
    }

    async fn ask_leaders<S: Shared<Key = Partition>, N: Into<Arc<str>>>(
        &self,
        asked: impl IntoIterator<Item = (N, i32, S::Wanted)>,
    ) -> Result<Vec<(Arc<str>, i32, Result<S::Told, Error>)>, Error> {
        let asked: Vec<(Partition, S::Wanted)> =
            asked.into_iter().map(|(topic, partition, what)| ((topic.into(), partition), what)).collect();
        let topics = topics_of(asked.iter().map(|(partition, _)| partition));
        let told = ask_all::<S>(&self.kafka, &topics, asked).await?;
        Ok(told.into_iter().map(|((topic, partition), told)| (topic, partition, told)).collect())
    }
}

struct ListOffsets;

impl Shared for ListOffsets {
    type Key = Partition;
    type Wanted = OffsetSpec;
    type Request = ListOffsetsRequest;
    type Told = ListedOffset;

    const LEAST: i16 = ONE_OFFSET_FROM;

    fn broker(cluster: &Cluster, (topic, partition): &Partition, _: u32) -> Result<i32, Error> {
        cluster.leader(topic, *partition)
    }

    fn request(part: &[(&Partition, &OffsetSpec)]) -> ListOffsetsRequest {
        let partition = |(partition_index, place): (i32, &OffsetSpec)| ListOffsetsPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp: place.number(),
            ..ListOffsetsPartition::default()
        };
        let topic = |(name, partitions): (&Arc<str>, Vec<_>)| ListOffsetsTopic {
            name: (&**name).into(),
            partitions: partitions.into_iter().map(partition).collect(),
            ..ListOffsetsTopic::default()
        };
        ListOffsetsRequest {
            replica_id: CLIENT,
            topics: by_topic(part).into_iter().map(topic).collect(),
            ..ListOffsetsRequest::default()
        }
    }

    fn told(answer: &ListOffsetsResponse, key: &Partition) -> Result<ListedOffset, Error> {
        let of_topic = answer.topics.iter().filter(|told| *told.name == *key.0);
        let told = of_topic.flat_map(|told| &told.partitions).find(|told| told.partition_index == key.1);
        let told = told.ok_or_else(|| unanswered(&share::name(key)))?;
        match told.error_code {
            ErrorCode::NONE => Ok(ListedOffset {
                offset: Some(told.offset).filter(|offset| *offset >= 0),
                timestamp: Some(told.timestamp).filter(|timestamp| *timestamp >= 0),
            }),
            code => Err(Error::refused(code, &format!("listing offsets of {}", share::name(key)), None)),
        }
    }
}

struct DeleteRecords;

impl Shared for DeleteRecords {
    type Key = Partition;
    type Wanted = RecordsToDelete;
    type Request = DeleteRecordsRequest;
    type Told = DeletedRecords;

    const LEAST: i16 = 0;

    fn broker(cluster: &Cluster, (topic, partition): &Partition, _: u32) -> Result<i32, Error> {
        cluster.leader(topic, *partition)
    }

    fn request(part: &[(&Partition, &RecordsToDelete)]) -> DeleteRecordsRequest {
        let partition = |(partition_index, records): (i32, &RecordsToDelete)| DeleteRecordsPartition {
            partition_index,
            offset: records.first_kept(),
            ..DeleteRecordsPartition::default()
        };
        let topic = |(name, partitions): (&Arc<str>, Vec<_>)| DeleteRecordsTopic {
            name: (&**name).into(),
            partitions: partitions.into_iter().map(partition).collect(),
            ..DeleteRecordsTopic::default()
        };
        DeleteRecordsRequest {
            topics: by_topic(part).into_iter().map(topic).collect(),
            timeout_ms: BROKER_TIMEOUT_MS,
            ..DeleteRecordsRequest::default()
        }
    }

    fn told(answer: &DeleteRecordsResponse, key: &Partition) -> Result<DeletedRecords, Error> {
        let of_topic = answer.topics.iter().filter(|told| *told.name == *key.0);
        let told = of_topic.flat_map(|told| &told.partitions).find(|told| told.partition_index == key.1);
        let told = told.ok_or_else(|| unanswered(&share::name(key)))?;
        match told.error_code {
            ErrorCode::NONE => Ok(DeletedRecords { low_watermark: told.low_watermark }),
            code => Err(Error::refused(code, &format!("deleting records of {}", share::name(key)), None)),
        }
    }
}
