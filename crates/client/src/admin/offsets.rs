//! Where partitions begin and end, and where a time is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ottla_protocol::{
    ErrorCode,
    messages::list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
        ListOffsetsTopic,
    },
};

use super::{Admin, refused};
use crate::error::{Error, ErrorKind};

/// The first version of ListOffsets that answers with one offset (KIP-79); before, there was a list.
const ONE_OFFSET_FROM: i16 = 1;
/// The replica id of a client.
const CLIENT: i32 = -1;
/// The number that stands for the end.
const LATEST: i64 = -1;
/// The number that stands for the beginning.
const EARLIEST: i64 = -2;

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

/// A partition, by its topic's name and its number.
type Partition = (Arc<str>, i32);

impl Admin {
    /// The offsets of places in partitions: of each its offset, or why there is none, in the order in which they were
    /// given. A partition that is named more than once counts as it was named last.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn list_offsets<N: Into<Arc<str>>>(
        &self,
        places: impl IntoIterator<Item = (N, i32, OffsetSpec)>,
    ) -> Result<Vec<(Arc<str>, i32, Result<ListedOffset, Error>)>, Error> {
        let places = places.into_iter().map(|(topic, partition, place)| ((topic.into(), partition), place));
        let places: Vec<(Partition, OffsetSpec)> = places.collect();
        let mut wanted: BTreeMap<Partition, OffsetSpec> = places.iter().cloned().collect();
        let topics: BTreeSet<Arc<str>> = places.iter().map(|((topic, _), _)| topic.clone()).collect();
        let topics: Vec<Arc<str>> = topics.into_iter().collect();
        let (deadline, mut failures) = (self.kafka.deadline(), 0);
        let mut cluster = self.kafka.cluster(&topics, deadline).await?;
        let mut found: BTreeMap<Partition, Result<ListedOffset, Error>> = BTreeMap::new();
        loop {
            let mut last = None;
            let mut by_leader: BTreeMap<i32, Vec<(Partition, OffsetSpec)>> = BTreeMap::new();
            for (partition, place) in &wanted {
                match cluster.leader(&partition.0, partition.1) {
                    Ok(leader) => by_leader.entry(leader).or_default().push((partition.clone(), *place)),
                    Err(error) => settle(&mut found, &mut last, partition, Err(error)),
                }
            }
            for (leader, asked) in by_leader {
                let request = request(&asked);
                let answer = self.kafka.ask(leader, ONE_OFFSET_FROM, |_| request.clone(), deadline).await;
                for (partition, _) in asked {
                    let listed =
                        answer.as_ref().map_err(Clone::clone).and_then(|answer| listed(answer, &partition));
                    settle(&mut found, &mut last, &partition, listed);
                }
            }
            wanted.retain(|partition, _| !found.contains_key(partition));
            let Some(error) = last else { break };
            failures += 1;
            cluster = self.kafka.again(&topics, deadline, failures, error).await?;
        }
        let told = places.into_iter().map(|(partition, _)| {
            let missing = || Err(super::unanswered(&partition.0));
            let listed = found.get(&partition).cloned().unwrap_or_else(missing);
            (partition.0, partition.1, listed)
        });
        Ok(told.collect())
    }
}

/// Notes what was found, unless it is worth another attempt.
fn settle(
    found: &mut BTreeMap<Partition, Result<ListedOffset, Error>>,
    last: &mut Option<Error>,
    partition: &Partition,
    listed: Result<ListedOffset, Error>,
) {
    match listed {
        Err(error) if error.kind() == ErrorKind::Retriable => *last = Some(error),
        listed => drop(found.insert(partition.clone(), listed)),
    }
}

fn request(asked: &[(Partition, OffsetSpec)]) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&Arc<str>, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for ((topic, partition), place) in asked {
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: -1,
            timestamp: place.number(),
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
        topics: topics.into_iter().map(topic).collect(),
        ..ListOffsetsRequest::default()
    }
}

fn listed(answer: &ListOffsetsResponse, (topic, partition): &Partition) -> Result<ListedOffset, Error> {
    let of_topic =
        answer.topics.iter().filter(|told| *told.name == **topic).flat_map(|told| &told.partitions);
    let told: &ListOffsetsPartitionResponse = of_topic
        .into_iter()
        .find(|told| told.partition_index == *partition)
        .ok_or_else(|| super::unanswered(topic))?;
    match told.error_code {
        ErrorCode::NONE => Ok(ListedOffset {
            offset: Some(told.offset).filter(|offset| *offset >= 0),
            timestamp: Some(told.timestamp).filter(|timestamp| *timestamp >= 0),
        }),
        code => {
            Err(refused(code, &format!("listing offsets of partition {partition} of topic {topic}"), None))
        }
    }
}
