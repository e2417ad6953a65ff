//! OffsetFetch (9), versions 1 to 10: how far groups have come, in the partitions that are asked for or in all that
//! the group has offsets of (KIP-88). From version 8 on several groups may be asked for (KIP-709), from version 9 on
//! members of KIP-848 groups say who they are, and from version 10 on topics are named by id. The group may have an
//! empty name, an old habit that Kafka keeps up. There are no transactions that could still change an offset, so
//! `require_stable` changes nothing.
//!
//! Offsets come with what clients have remarked on them. So that no request makes an answer out of proportion, each
//! partition is answered once, and there is a limit to what an answer may hold.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use ottla_engine::{
    Topics,
    coordinator::{MemberEpoch, MemberId},
    groups::{FetchClaim, GroupError},
};
use ottla_protocol::{
    EncodeError, ErrorCode, Str,
    messages::offset_fetch::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
        OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};
use ottla_records::{PartitionIndex, TopicId};
use ottla_storage::{OffsetKey, OffsetRow, Storage};

use super::groups::code;
use crate::{
    context::{Call, Context},
    reply::{Frame, Reply, frame},
};

/// The first version with an error of the whole.
const GROUP_ERROR_FROM: i16 = 2;
/// The first version with several groups.
const SEVERAL_FROM: i16 = 8;
/// The first version in which topics are named by id.
const BY_ID_FROM: i16 = 10;
/// Offsets that are read at a time.
const PAGE: usize = 1000;
/// What a partition of an answer counts beside its remark, in bytes.
const PARTITION_BYTES: usize = 64;

pub(crate) fn handle<S: Storage>(context: &Context<S>, call: Call, request: OffsetFetchRequest) -> Reply {
    let context = context.clone();
    Reply::Later(Box::pin(answer(context, call, request)))
}

async fn answer<S: Storage>(
    context: Context<S>,
    call: Call,
    request: OffsetFetchRequest,
) -> Result<Frame, EncodeError> {
    let bytes_left = context.memory.responses.total() / 2;
    let mut fetch = Fetch { context, call, bytes_left, listed: HashSet::new() };
    let mut response = OffsetFetchResponse::default();
    if call.version >= SEVERAL_FROM {
        for group in request.groups {
            response.groups.extend(fetch.group(group).await);
        }
    } else {
        let topics = request.topics.map(|topics| topics.into_iter().map(new_topic).collect());
        let group = OffsetFetchRequestGroup {
            group_id: request.group_id,
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        if let Some(group) = fetch.group(group).await {
            let partitions_say_it = call.version < GROUP_ERROR_FROM;
            response.error_code = if partitions_say_it { ErrorCode::NONE } else { group.error_code };
            response.topics = group.topics.into_iter().map(old_topic).collect();
        }
    }
    frame(call.correlation_id, call.version, &response)
}

/// A request under way.
struct Fetch<S: Storage> {
    context: Context<S>,
    call: Call,
    /// What the answer may still grow by.
    bytes_left: usize,
    /// Groups of which all offsets were told.
    listed: HashSet<Str>,
}

/// Why a group's offsets are not told.
enum Failed {
    Group(GroupError),
    TooLarge,
}

impl From<GroupError> for Failed {
    fn from(error: GroupError) -> Self {
        Self::Group(error)
    }
}

impl<S: Storage> Fetch<S> {
    /// The offsets of one group; `None` where the answer has them all already.
    async fn group(&mut self, asked: OffsetFetchRequestGroup) -> Option<OffsetFetchResponseGroup> {
        let group_id = asked.group_id;
        let named = asked.member_id.is_some() || asked.member_epoch >= 0;
        let claim = named.then(|| FetchClaim {
            member_id: asked.member_id.as_deref().map(MemberId::from),
            epoch: MemberEpoch(asked.member_epoch),
        });
        let mut group = OffsetFetchResponseGroup { group_id, ..OffsetFetchResponseGroup::default() };
        let fetched = match asked.topics {
            Some(topics) => self.some(&mut group, claim, topics).await,
            None if self.listed.insert(group.group_id.clone()) => self.all(&mut group, claim).await,
            None => return None,
        };
        if let Err(failed) = fetched {
            group.error_code = self.code(failed);
            if self.call.version < GROUP_ERROR_FROM {
                refuse(&mut group);
            } else {
                group.topics = Vec::new();
            }
        }
        Some(group)
    }

    /// Adds the offsets of partitions that are asked for.
    async fn some(
        &mut self,
        group: &mut OffsetFetchResponseGroup,
        claim: Option<FetchClaim>,
        asked: Vec<OffsetFetchRequestTopics>,
    ) -> Result<(), Failed> {
        let mut places = HashMap::new();
        let topics = self.context.broker().topics();
        for topic in asked {
            let place = group.topics.len();
            group.topics.push(self.unfilled(&topics, topic, place, &mut places));
        }
        let mut keys: Vec<OffsetKey> = places.keys().copied().collect();
        // One topic after the other is what a store reads best.
        keys.sort_unstable();
        let mut rest = keys.as_slice();
        loop {
            let (page, behind) = rest.split_at(rest.len().min(PAGE));
            let rows =
                self.context.groups.fetch_offsets(&group.group_id, claim.clone(), page.to_vec()).await?;
            for row in rows {
                self.count(&row)?;
                if let Some((topic, partition)) = places.get(&row.key) {
                    group.topics[*topic].partitions[*partition] = committed(row);
                }
            }
            if behind.is_empty() {
                return Ok(());
            }
            rest = behind;
        }
    }

    /// A topic of the answer, without what was committed: that of each partition goes to its place.
    fn unfilled(
        &self,
        topics: &Topics<S>,
        asked: OffsetFetchRequestTopics,
        place: usize,
        places: &mut HashMap<OffsetKey, (usize, usize)>,
    ) -> OffsetFetchResponseTopics {
        let by_id = self.call.version >= BY_ID_FROM;
        let topic = match by_id {
            true => topics.with_id(TopicId(asked.topic_id.into())),
            false => topics.named(&asked.name),
        };
        let error_code = match topic {
            None if by_id => ErrorCode::UNKNOWN_TOPIC_ID,
            _ => ErrorCode::NONE,
        };
        let mut partitions: Vec<OffsetFetchResponsePartitions> = Vec::new();
        for index in asked.partition_indexes {
            if let Some(topic) = topic {
                match places.entry(OffsetKey { topic: topic.id, partition: PartitionIndex(index) }) {
                    Entry::Occupied(_) => continue,
                    Entry::Vacant(entry) => drop(entry.insert((place, partitions.len()))),
                }
            }
            partitions.push(OffsetFetchResponsePartitions {
                partition_index: index,
                committed_offset: -1,
                error_code,
                ..OffsetFetchResponsePartitions::default()
            });
        }
        OffsetFetchResponseTopics {
            name: asked.name,
            topic_id: asked.topic_id,
            partitions,
            ..OffsetFetchResponseTopics::default()
        }
    }

    /// Adds all offsets that the group has.
    async fn all(
        &mut self,
        group: &mut OffsetFetchResponseGroup,
        claim: Option<FetchClaim>,
    ) -> Result<(), Failed> {
        let mut from = None;
        let mut last = None;
        loop {
            let groups = &self.context.groups;
            let page = groups.fetch_offset_page(&group.group_id, claim.clone(), from, PAGE).await?;
            for row in page.rows {
                self.count(&row)?;
                if last != Some(row.key.topic) {
                    last = Some(row.key.topic);
                    group.topics.push(OffsetFetchResponseTopics {
                        name: Str::from(&*row.topic_name),
                        topic_id: row.key.topic.0.into(),
                        ..OffsetFetchResponseTopics::default()
                    });
                }
                if let Some(topic) = group.topics.last_mut() {
                    topic.partitions.push(committed(row));
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Counts what an offset adds to the answer.
    fn count(&mut self, row: &OffsetRow) -> Result<(), Failed> {
        let bytes = PARTITION_BYTES + row.metadata.len();
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Failed::TooLarge)?;
        Ok(())
    }

    fn code(&self, failed: Failed) -> ErrorCode {
        let broker = self.context.broker();
        match failed {
            Failed::Group(error) => match code(broker, "reading committed offsets", &error) {
                // Java's consumer before 3.9 gives up on it, and looks for the coordinator on this one.
                ErrorCode::COORDINATOR_NOT_AVAILABLE => ErrorCode::NOT_COORDINATOR,
                code => code,
            },
            Failed::TooLarge => {
                let why = "the answer would be too large; ask for fewer partitions at a time";
                broker.notices().failed("answering with committed offsets", &why);
                ErrorCode::INVALID_REQUEST
            }
        }
    }
}

fn committed(row: OffsetRow) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: row.key.partition.0,
        committed_offset: row.offset.0,
        committed_leader_epoch: row.leader_epoch.0,
        metadata: Some(row.metadata.into()),
        ..OffsetFetchResponsePartitions::default()
    }
}

/// Says the error of the group in each partition, and nothing else.
fn refuse(group: &mut OffsetFetchResponseGroup) {
    for partition in group.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        *partition = OffsetFetchResponsePartitions {
            partition_index: partition.partition_index,
            committed_offset: -1,
            error_code: group.error_code,
            ..OffsetFetchResponsePartitions::default()
        };
    }
}

fn new_topic(old: OffsetFetchRequestTopic) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics {
        name: old.name,
        partition_indexes: old.partition_indexes,
        ..OffsetFetchRequestTopics::default()
    }
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |new: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: new.partition_index,
        committed_offset: new.committed_offset,
        committed_leader_epoch: new.committed_leader_epoch,
        metadata: new.metadata,
        error_code: new.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    }
}
