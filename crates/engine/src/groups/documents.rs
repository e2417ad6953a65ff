//! Groups as rows of the state database and back.
//!
//! What the columns of a row do not say is a JSON document with a version, so that who opens the database can
//! read it. Bytes that only clients understand are base64. A document that cannot be read is an error that names
//! the group: nothing is guessed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD as BASE64};
use bytes::Bytes;
use ottla_coordinator::{
    Generation, GroupEpoch, InstanceId, MemberEpoch, MemberId,
    assignor::{Assignment, Assignor, Partitions, TopicPartition},
    classic, consumer,
};
use ottla_records::{PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{GroupKind, GroupRow, MemberRow, StoredGroup};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _};
use thiserror::Error;

/// The version of all documents here.
const VERSION: u32 = 1;

/// A stored group cannot be read.
#[derive(Clone, Debug, Error)]
#[error("what is stored of group '{group}' cannot be read: {what}")]
pub struct UnreadableGroup {
    /// Which group.
    pub group: Arc<str>,
    /// What is wrong.
    pub what: String,
}

/// A document with its version.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

/// Bytes that only clients understand.
struct Opaque(Bytes);

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

fn write<T: Serialize>(content: T) -> Bytes {
    // Nothing here has keys that are no text, or an encoding of its own that fails.
    serde_json::to_vec(&Versioned { version: VERSION, content }).unwrap_or_default().into()
}

fn read<T: DeserializeOwned>(document: &Bytes) -> Result<T, String> {
    let Versioned { version, content } =
        serde_json::from_slice(document).map_err(|error| error.to_string())?;
    if version == VERSION {
        Ok(content)
    } else {
        Err(format!("it has version {version}, and this program knows version {VERSION}"))
    }
}

#[derive(Serialize, Deserialize)]
struct ClassicDocument {
    protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct ClassicMemberDocument {
    session_timeout_ms: u64,
    rebalance_timeout_ms: u64,
    protocols: Vec<(Arc<str>, Opaque)>,
    assignment: Opaque,
}

#[derive(Serialize, Deserialize)]
struct ConsumerDocument {
    topics_hash: u64,
    assignment_epoch: i32,
    patterns: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

#[derive(Serialize, Deserialize)]
struct ConsumerMemberDocument {
    rack: Option<Arc<str>>,
    topics: Vec<Arc<str>>,
    pattern: Option<Arc<str>>,
    assignor: Option<String>,
    rebalance_timeout_ms: u64,
    target: BTreeMap<String, Vec<i32>>,
    epoch: i32,
    previous_epoch: i32,
    state: MemberStateDocument,
    assigned: BTreeMap<String, Vec<(i32, i32)>>,
    pending: BTreeMap<String, Vec<(i32, i32)>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MemberStateDocument {
    Stable,
    UnrevokedPartitions,
    UnreleasedPartitions,
}

/// The rows of a classic group.
pub(super) fn classic_rows(
    id: &Arc<str>,
    stored: &classic::Stored,
    empty_since: Option<TimestampMs>,
) -> StoredGroup {
    let leader = stored.leader.as_ref().map(|leader| Arc::from(leader.as_str()));
    let member = |member: &classic::StoredMember| MemberRow {
        member_id: member.member_id.as_str().into(),
        instance_id: member.instance_id.as_ref().map(|instance| instance.as_str().into()),
        client_id: (*member.client_id).into(),
        client_host: (*member.client_host).into(),
        state: write(ClassicMemberDocument {
            session_timeout_ms: millis(member.session_timeout),
            rebalance_timeout_ms: millis(member.rebalance_timeout),
            protocols: member
                .protocols
                .iter()
                .map(|protocol| (protocol.name.clone(), Opaque(protocol.metadata.clone())))
                .collect(),
            assignment: Opaque(member.assignment.clone()),
        }),
    };
    let mut members: Vec<MemberRow> = stored.members.iter().map(member).collect();
    members.sort_unstable_by(|one, other| one.member_id.cmp(&other.member_id));
    StoredGroup {
        row: GroupRow {
            id: id.clone(),
            kind: GroupKind::Classic,
            epoch: stored.generation.0,
            protocol_type: stored.protocol_type.as_deref().unwrap_or_default().into(),
            state: write(ClassicDocument { protocol: stored.protocol.clone(), leader }),
            empty_since,
        },
        members,
    }
}

/// A classic group from its rows.
///
/// # Errors
/// A document cannot be read.
pub(super) fn read_classic(group: &StoredGroup) -> Result<classic::Stored, UnreadableGroup> {
    let unreadable = |what| UnreadableGroup { group: group.row.id.clone(), what };
    let document: ClassicDocument = read(&group.row.state).map_err(unreadable)?;
    let member = |row: &MemberRow| {
        let document: ClassicMemberDocument =
            read(&row.state).map_err(|what| unreadable(format!("member {}: {what}", row.member_id)))?;
        let protocol =
            |(name, metadata): (Arc<str>, Opaque)| classic::Protocol { name, metadata: metadata.0 };
        Ok(classic::StoredMember {
            member_id: row.member_id.clone().into(),
            instance_id: row.instance_id.clone().map(InstanceId::from),
            client_id: row.client_id.as_str().into(),
            client_host: row.client_host.as_str().into(),
            session_timeout: Duration::from_millis(document.session_timeout_ms),
            rebalance_timeout: Duration::from_millis(document.rebalance_timeout_ms),
            protocols: document.protocols.into_iter().map(protocol).collect(),
            assignment: document.assignment.0,
        })
    };
    let protocol_type = &group.row.protocol_type;
    Ok(classic::Stored {
        generation: Generation(group.row.epoch),
        protocol_type: (!protocol_type.is_empty()).then(|| protocol_type.as_str().into()),
        protocol: document.protocol,
        leader: document.leader.map(MemberId::from),
        members: group.members.iter().map(member).collect::<Result<_, _>>()?,
    })
}

/// The row of a consumer group, without its members.
pub(super) fn consumer_row(id: &Arc<str>, group: &consumer::ConsumerGroup) -> GroupRow {
    let (row, assigned) = group.stored_group();
    let patterns =
        group.stored_patterns().map(|(pattern, topics)| (pattern.clone(), topics.to_vec())).collect();
    GroupRow {
        id: id.clone(),
        kind: GroupKind::Consumer,
        epoch: row.epoch.0,
        protocol_type: "consumer".into(),
        state: write(ConsumerDocument {
            topics_hash: row.topics_hash,
            assignment_epoch: assigned.0,
            patterns,
        }),
        empty_since: None,
    }
}

/// The row of a member of a consumer group.
pub(super) fn consumer_member_row(id: &MemberId, member: consumer::StoredMember<'_>) -> MemberRow {
    let consumer::StoredMember { row, target, current } = member;
    MemberRow {
        member_id: id.as_str().into(),
        instance_id: row.instance_id.as_ref().map(|instance| instance.as_str().into()),
        client_id: (*row.client_id).into(),
        client_host: (*row.client_host).into(),
        state: write(ConsumerMemberDocument {
            rack: row.rack.clone(),
            topics: row.topics.clone(),
            pattern: row.pattern.clone(),
            assignor: row.assignor.map(|assignor| assignor.name().into()),
            rebalance_timeout_ms: millis(row.rebalance_timeout),
            target: topics_of(target.iter().map(|at| (at, at.partition.0))),
            epoch: current.epoch.0,
            previous_epoch: current.previous_epoch.0,
            state: match current.state {
                consumer::MemberState::Stable => MemberStateDocument::Stable,
                consumer::MemberState::UnrevokedPartitions => MemberStateDocument::UnrevokedPartitions,
                consumer::MemberState::UnreleasedPartitions => MemberStateDocument::UnreleasedPartitions,
            },
            assigned: epochs_of(&current.assigned),
            pending: epochs_of(&current.pending),
        }),
    }
}

/// A consumer group from its rows.
///
/// # Errors
/// A document cannot be read.
pub(super) fn read_consumer(group: &StoredGroup) -> Result<consumer::Stored, UnreadableGroup> {
    let unreadable = |what| UnreadableGroup { group: group.row.id.clone(), what };
    let document: ConsumerDocument = read(&group.row.state).map_err(unreadable)?;
    let mut stored = consumer::Stored {
        group: consumer::GroupRow { epoch: GroupEpoch(group.row.epoch), topics_hash: document.topics_hash },
        assigned: GroupEpoch(document.assignment_epoch),
        patterns: document.patterns,
        ..consumer::Stored::default()
    };
    for row in &group.members {
        let wrong = |what: String| unreadable(format!("member {}: {what}", row.member_id));
        let id = MemberId::from(row.member_id.clone());
        let document: ConsumerMemberDocument = read(&row.state).map_err(wrong)?;
        let assignor = document.assignor.map(|name| {
            Assignor::named(&name).ok_or_else(|| wrong(format!("it asks for an assignor '{name}'")))
        });
        let target: Vec<_> = partitions_of(document.target).collect::<Result<_, _>>().map_err(wrong)?;
        let target: Assignment = target.into_iter().map(|(topic, index)| at(topic, index)).collect();
        stored.targets.insert(id.clone(), target);
        let current = consumer::CurrentRow {
            epoch: MemberEpoch(document.epoch),
            previous_epoch: MemberEpoch(document.previous_epoch),
            state: match document.state {
                MemberStateDocument::Stable => consumer::MemberState::Stable,
                MemberStateDocument::UnrevokedPartitions => consumer::MemberState::UnrevokedPartitions,
                MemberStateDocument::UnreleasedPartitions => consumer::MemberState::UnreleasedPartitions,
            },
            assigned: with_epochs(document.assigned).map_err(wrong)?,
            pending: with_epochs(document.pending).map_err(wrong)?,
        };
        stored.currents.insert(id.clone(), current);
        let member = consumer::MemberRow {
            instance_id: row.instance_id.clone().map(InstanceId::from),
            rack: document.rack,
            client_id: row.client_id.as_str().into(),
            client_host: row.client_host.as_str().into(),
            topics: document.topics,
            pattern: document.pattern,
            assignor: assignor.transpose()?,
            rebalance_timeout: Duration::from_millis(document.rebalance_timeout_ms),
        };
        stored.members.insert(id, member);
    }
    Ok(stored)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn at(topic: TopicId, index: i32) -> TopicPartition {
    TopicPartition::new(topic, PartitionIndex(index))
}

/// Something of partitions, by the ids of their topics.
fn topics_of<V>(partitions: impl Iterator<Item = (TopicPartition, V)>) -> BTreeMap<String, Vec<V>> {
    let mut topics: BTreeMap<String, Vec<V>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(partition.topic.to_string()).or_default().push(value);
    }
    topics
}

fn epochs_of(partitions: &Partitions<MemberEpoch>) -> BTreeMap<String, Vec<(i32, i32)>> {
    topics_of(partitions.entries().map(|(partition, epoch)| (partition, (partition.partition.0, epoch.0))))
}

fn partitions_of<V>(topics: BTreeMap<String, Vec<V>>) -> impl Iterator<Item = Result<(TopicId, V), String>> {
    topics.into_iter().flat_map(|(topic, values)| {
        let id: Result<TopicId, String> =
            topic.parse().map_err(|error| format!("'{topic}' is no topic id: {error}"));
        values.into_iter().map(move |value| id.clone().map(|id| (id, value)))
    })
}

fn with_epochs(topics: BTreeMap<String, Vec<(i32, i32)>>) -> Result<Partitions<MemberEpoch>, String> {
    partitions_of(topics)
        .map(|found| found.map(|(topic, (index, epoch))| (at(topic, index), MemberEpoch(epoch))))
        .collect()
}
