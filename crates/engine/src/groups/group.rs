//! One group of either protocol.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ottla_coordinator::{
    Generation, InstanceId, MemberEpoch, MemberId, Token,
    assignor::TopicPartition,
    classic::{self, ClassicGroup, ClassicSettings},
    consumer::{self, CommitVia, ConsumerGroup, ConsumerSettings},
};
use ottla_records::TimestampMs;
use ottla_storage::{GroupChange, GroupKind, GroupListing, StoredGroup};

use super::{
    documents::{
        UnreadableGroup, classic_rows, consumer_member_row, consumer_row, read_classic, read_consumer,
    },
    error::GroupError,
    patterns::Resolved,
    settling::{Stored, Told},
};
use crate::settings::BrokerSettings;

/// What groups of consumers call their protocol.
pub(super) const CONSUMER: &str = "consumer";
/// About what a group takes beside its state: its place among others, its name twice, its deadline.
const ENTRY_BYTES: usize = 400;

/// Reads the names of topics from what a member of a classic group of consumers says of itself; `None` where that
/// makes no sense. A door knows how these bytes are laid out.
pub type SubscriptionTopics = fn(&[u8]) -> Option<Vec<Arc<str>>>;

/// What a list tells of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupOverview {
    /// Its name.
    pub id: Arc<str>,
    /// Its protocol.
    pub kind: GroupKind,
    /// What its members call their protocol; empty where there never were any.
    pub protocol_type: String,
    /// Its state, by Kafka's name.
    pub state: &'static str,
}

impl GroupOverview {
    /// A group of which nothing is in memory: it has no members.
    pub(super) fn of(listing: GroupListing) -> Self {
        let GroupListing { id, kind, protocol_type, .. } = listing;
        Self { id, kind: kind.unwrap_or(GroupKind::Classic), protocol_type, state: "Empty" }
    }
}

/// What an operator can set about groups, and what a door knows of them.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// Of groups in which a member assigns.
    pub classic: Arc<ClassicSettings>,
    /// Of groups of KIP-848.
    pub consumer: ConsumerSettings,
    /// How long offsets are kept that nobody needs (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub expiry_interval: Duration,
    /// What members of classic groups of consumers subscribe to.
    pub subscription_topics: SubscriptionTopics,
}

impl GroupSettings {
    /// What a broker's settings come to.
    pub fn new(settings: &BrokerSettings, subscription_topics: SubscriptionTopics) -> Self {
        let classic = ClassicSettings {
            initial_rebalance_delay: settings.group_initial_rebalance_delay,
            session_timeout_min: settings.group_session_timeout_min,
            session_timeout_max: settings.group_session_timeout_max,
            group_size_max: settings.group_max_size as usize,
            ..ClassicSettings::default()
        };
        let consumer = ConsumerSettings {
            session_timeout: settings.group_consumer_session_timeout,
            heartbeat_interval: settings.group_consumer_heartbeat_interval,
            max_size: settings.group_consumer_max_size as usize,
            assignors: settings.group_consumer_assignors.clone(),
            assignment_interval: settings.group_consumer_assignment_interval,
        };
        Self {
            classic: Arc::new(classic),
            consumer,
            offsets_retention: settings.offsets_retention,
            expiry_interval: settings.offsets_retention_check_interval,
            subscription_topics,
        }
    }
}

/// Who commits offsets, as the request says.
#[derive(Clone, Debug)]
pub struct CommitClaim {
    /// The member id; empty for one who is no member.
    pub member_id: MemberId,
    /// The instance id of a static member.
    pub instance_id: Option<InstanceId>,
    /// The generation, or the member epoch of KIP-848; -1 for one who is no member.
    pub epoch: i32,
    /// Whether the request is of a version that can tell member epochs (OffsetCommit 9).
    pub tells_epochs: bool,
}

/// Who fetches offsets, as the request says (OffsetFetch from version 9 on).
#[derive(Clone, Debug)]
pub struct FetchClaim {
    /// The member id, if one was given.
    pub member_id: Option<MemberId>,
    /// The member epoch; -1 for one who is no member.
    pub epoch: MemberEpoch,
}

/// A group, as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupDescription {
    /// A classic group.
    Classic(classic::Description),
    /// A group of KIP-848.
    Consumer(consumer::GroupDescription),
}

impl GroupDescription {
    /// A group that nobody ever joined, and that offsets were committed for.
    pub(super) fn of_offsets_alone() -> Self {
        Self::Classic(ClassicGroup::new(Arc::default()).describe())
    }
}

/// An answer of either protocol.
pub(super) enum Answer {
    Classic(classic::Answer),
    Consumer(consumer::Answer),
}

/// What a step of a group wants done: rows first, answers then.
#[derive(Default)]
pub(super) struct Outcome {
    /// What was handed to the store before the changes and belongs to them.
    pub(super) before: Option<Stored>,
    pub(super) changes: Vec<GroupChange>,
    pub(super) answers: Vec<(Token, Answer)>,
    /// Who is told besides, where there are changes.
    pub(super) told: Vec<Told>,
    /// By how many bytes the request may have made the group grow.
    pub(super) brought: usize,
}

/// What the members of a group subscribe to.
pub(super) enum Subscription {
    /// These topics.
    Topics(HashSet<Arc<str>>),
    /// That cannot be known, or may change at any moment.
    Unknown,
}

impl Subscription {
    /// Whether somebody may need this topic.
    pub(super) fn may_have(&self, name: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(name),
            Self::Unknown => true,
        }
    }
}

/// The state of a group by its protocol.
#[derive(Debug)]
pub(super) enum Protocol {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

/// A group in memory.
#[derive(Debug)]
pub(super) struct Group {
    id: Arc<str>,
    pub(super) protocol: Protocol,
    /// Whether it has a row.
    is_stored: bool,
}

impl Group {
    /// A group that nobody has joined, which is what every name stands for.
    pub(super) fn blank(id: Arc<str>, settings: &GroupSettings) -> Self {
        let protocol = Protocol::Classic(Box::new(ClassicGroup::new(settings.classic.clone())));
        Self { id, protocol, is_stored: false }
    }

    /// A group from its rows. Sessions begin anew.
    ///
    /// # Errors
    /// The rows do not make sense.
    pub(super) fn restore(
        stored: &StoredGroup,
        settings: &GroupSettings,
        now: Duration,
    ) -> Result<Self, UnreadableGroup> {
        let id = stored.row.id.clone();
        let protocol = match stored.row.kind {
            GroupKind::Classic => {
                let unreadable = |error: classic::InvalidStored| UnreadableGroup {
                    group: id.clone(),
                    what: error.to_string(),
                };
                // It may begin a rebalance, which needs nobody to be told and nothing to be stored.
                let (group, _) = ClassicGroup::restore(read_classic(stored)?, settings.classic.clone(), now)
                    .map_err(unreadable)?;
                Protocol::Classic(Box::new(group))
            }
            GroupKind::Consumer => {
                let group = ConsumerGroup::restore(read_consumer(stored)?, settings.consumer.clone(), now);
                Protocol::Consumer(Box::new(group))
            }
        };
        Ok(Self { id, protocol, is_stored: true })
    }

    /// Its name.
    pub(super) fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// Whether it has no members, so that its rows say all of it.
    pub(super) fn is_memberless(&self) -> bool {
        match &self.protocol {
            Protocol::Classic(group) => match group.state() {
                classic::State::Empty => group.is_blank() || self.is_stored,
                classic::State::Dead => true,
                _ => false,
            },
            Protocol::Consumer(group) => group.member_count() == 0,
        }
    }

    /// Whether nothing is known of it but what anybody could have guessed: it is as if it were not there.
    pub(super) fn is_blank(&self) -> bool {
        !self.is_stored && matches!(&self.protocol, Protocol::Classic(group) if group.is_blank())
    }

    /// How many are in it, or have been given an id to join with.
    pub(super) fn member_count(&self) -> usize {
        match &self.protocol {
            Protocol::Classic(group) => group.member_count() + group.pending_count(),
            Protocol::Consumer(group) => group.member_count(),
        }
    }

    /// Whether somebody is in it, or has been given an id to join with.
    pub(super) fn has_members(&self) -> bool {
        self.member_count() > 0
    }

    /// About how many bytes it holds.
    pub(super) fn held_bytes(&self) -> usize {
        let state = match &self.protocol {
            Protocol::Classic(group) => group.held_bytes(),
            Protocol::Consumer(group) => group.held_bytes(),
        };
        ENTRY_BYTES + self.id.len() + state
    }

    /// Whether its members are consumers, whose subscriptions are known.
    pub(super) fn is_of_consumers(&self) -> bool {
        match &self.protocol {
            Protocol::Classic(group) => group.protocol_type() == Some(CONSUMER),
            Protocol::Consumer(_) => true,
        }
    }

    /// What its members subscribe to.
    pub(super) fn subscription(&self, read: SubscriptionTopics) -> Subscription {
        match &self.protocol {
            Protocol::Consumer(group) => Subscription::Topics(group.subscribed_topics().cloned().collect()),
            Protocol::Classic(group) => match group.state() {
                classic::State::Empty => Subscription::Topics(HashSet::new()),
                classic::State::Stable if self.is_of_consumers() => {
                    let members = group.describe().members;
                    let topics: Option<Vec<_>> =
                        members.iter().map(|member| read(&member.metadata)).collect();
                    topics.map_or(Subscription::Unknown, |topics| {
                        Subscription::Topics(topics.into_iter().flatten().collect())
                    })
                }
                _ => Subscription::Unknown,
            },
        }
    }

    /// Whether other topics may matter to it.
    pub(super) fn watches_topics(&self) -> bool {
        matches!(&self.protocol, Protocol::Consumer(group) if group.member_count() > 0)
    }

    /// Whether members subscribe to regular expressions.
    pub(super) fn has_patterns(&self) -> bool {
        self.patterns().next().is_some()
    }

    /// The regular expressions that members subscribe to.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Arc<str>> {
        let group = match &self.protocol {
            Protocol::Classic(_) => None,
            Protocol::Consumer(group) => Some(group),
        };
        group.into_iter().flat_map(|group| group.patterns())
    }

    /// Topics have changed, and regular expressions stand for what is said here.
    pub(super) fn topics_changed(
        &mut self,
        resolved: &Resolved,
        topics: &dyn consumer::Topics,
        now: Duration,
    ) -> Outcome {
        let Protocol::Consumer(group) = &mut self.protocol else { return Outcome::default() };
        let own: Vec<_> =
            group.patterns().filter_map(|text| Some((text.clone(), resolved.get(text)?.clone()))).collect();
        let effects = group.patterns_resolved(own, topics, now);
        self.consumer_outcome(effects)
    }

    /// What a list tells of it.
    pub(super) fn overview(&self) -> GroupOverview {
        let (kind, state, protocol_type) = match &self.protocol {
            Protocol::Classic(group) => {
                (GroupKind::Classic, group.state().as_str(), group.protocol_type().unwrap_or_default())
            }
            Protocol::Consumer(group) => (GroupKind::Consumer, group.state().name(), CONSUMER),
        };
        GroupOverview { id: self.id.clone(), kind, protocol_type: protocol_type.into(), state }
    }

    /// Whether it was deleted.
    pub(super) fn is_dead(&self) -> bool {
        match &self.protocol {
            Protocol::Classic(group) => group.state() == classic::State::Dead,
            Protocol::Consumer(group) => group.state() == consumer::GroupState::Dead,
        }
    }

    /// When time will have something to do.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match &self.protocol {
            Protocol::Classic(group) => group.next_deadline(),
            Protocol::Consumer(group) => group.next_deadline(),
        }
    }

    /// Time has passed.
    pub(super) fn tick(
        &mut self,
        topics: &dyn consumer::Topics,
        now: Duration,
        wall: TimestampMs,
    ) -> Outcome {
        match &mut self.protocol {
            Protocol::Classic(group) => {
                let effects = group.tick(now);
                self.classic_outcome(effects, wall)
            }
            Protocol::Consumer(group) => {
                let effects = group.tick(topics, now);
                self.consumer_outcome(effects)
            }
        }
    }

    /// The classic group, which an empty group of the other protocol becomes.
    ///
    /// # Errors
    /// It has members of the other protocol.
    pub(super) fn as_classic(&mut self, settings: &GroupSettings) -> Result<&mut ClassicGroup, GroupError> {
        if let Protocol::Consumer(group) = &self.protocol {
            if group.member_count() > 0 {
                return Err(GroupError::OtherProtocol);
            }
            self.protocol = Protocol::Classic(Box::new(ClassicGroup::new(settings.classic.clone())));
        }
        match &mut self.protocol {
            Protocol::Classic(group) => Ok(group),
            Protocol::Consumer(_) => Err(GroupError::OtherProtocol),
        }
    }

    /// The group of KIP-848, which an empty classic group becomes.
    ///
    /// # Errors
    /// It has members of the other protocol.
    pub(super) fn as_consumer(&mut self, settings: &GroupSettings) -> Result<&mut ConsumerGroup, GroupError> {
        if let Protocol::Classic(group) = &self.protocol {
            if group.state() != classic::State::Empty {
                return Err(GroupError::OtherProtocol);
            }
            self.protocol = Protocol::Consumer(Box::new(ConsumerGroup::new(settings.consumer.clone())));
        }
        match &mut self.protocol {
            Protocol::Consumer(group) => Ok(group),
            Protocol::Classic(_) => Err(GroupError::OtherProtocol),
        }
    }

    /// Whether offsets of these partitions may be committed.
    ///
    /// # Errors
    /// Who says that is no member, or in another generation or epoch.
    pub(super) fn may_commit(
        &mut self,
        claim: &CommitClaim,
        partitions: impl IntoIterator<Item = TopicPartition>,
        now: Duration,
    ) -> Result<(), GroupError> {
        if self.is_blank() && claim.epoch >= 0 {
            return Err(GroupError::NotFound);
        }
        match &mut self.protocol {
            Protocol::Classic(group) => {
                let claim = classic::Claim {
                    member_id: claim.member_id.as_str(),
                    instance_id: claim.instance_id.as_ref().map(InstanceId::as_str),
                    generation: Generation(claim.epoch),
                };
                Ok(group.may_commit(&claim, false, now)?)
            }
            Protocol::Consumer(group) => {
                let via = if claim.tells_epochs { CommitVia::Commit } else { CommitVia::OldCommit };
                let epoch = MemberEpoch(claim.epoch);
                let commits = group.may_commit(&claim.member_id, claim.instance_id.as_ref(), epoch, via)?;
                Ok(partitions.into_iter().try_for_each(|partition| commits.check(partition))?)
            }
        }
    }

    /// Describes it.
    pub(super) fn describe(&self, topics: &dyn consumer::Topics) -> GroupDescription {
        match &self.protocol {
            Protocol::Classic(group) => GroupDescription::Classic(group.describe()),
            Protocol::Consumer(group) => GroupDescription::Consumer(group.describe(topics)),
        }
    }

    /// Deletes the group, if it has no members.
    ///
    /// # Errors
    /// It has members, or is not there.
    pub(super) fn delete(&mut self) -> Result<Outcome, GroupError> {
        match &mut self.protocol {
            Protocol::Classic(group) => group.delete()?,
            Protocol::Consumer(group) => {
                group.delete().map_err(|_| classic::Refusal::NonEmptyGroup)?;
            }
        }
        let mut outcome = Outcome::default();
        outcome.changes.push(GroupChange::DeleteGroup { group: self.id.clone() });
        Ok(outcome)
    }

    /// The end of this group in memory: who waits is told so.
    pub(super) fn close(&mut self) -> Vec<(Token, Answer)> {
        match &mut self.protocol {
            Protocol::Classic(group) => answers(group.close().answers, Answer::Classic),
            // Nobody ever waits for one.
            Protocol::Consumer(_) => Vec::new(),
        }
    }

    /// The rows and answers that a classic group's step comes to.
    pub(super) fn classic_outcome(&mut self, effects: classic::ClassicEffects, wall: TimestampMs) -> Outcome {
        let mut changes = Vec::new();
        // Each is the whole group: the last one says it all.
        if let Some(classic::Change::Store(stored)) = effects.changes.last() {
            let empty_since = stored.members.is_empty().then_some(wall);
            let StoredGroup { row, members } = classic_rows(&self.id, stored, empty_since);
            changes.push(GroupChange::PutGroup(row));
            changes.push(GroupChange::ReplaceMembers { group: self.id.clone(), members });
            self.is_stored = true;
        }
        Outcome { changes, answers: answers(effects.answers, Answer::Classic), ..Outcome::default() }
    }

    /// The rows and answers that a step of a KIP-848 group comes to: the group's row where that has changed, and one
    /// row of each member that has.
    pub(super) fn consumer_outcome(
        &mut self,
        effects: ottla_coordinator::Effects<consumer::Change, consumer::Answer>,
    ) -> Outcome {
        let Protocol::Consumer(group) = &self.protocol else { return Outcome::default() };
        let (mut changes, mut members, mut group_changed) = (Vec::new(), Vec::new(), !self.is_stored);
        let mut seen = HashSet::new();
        for change in &effects.changes {
            match change {
                consumer::Change::GroupPut(_)
                | consumer::Change::AssignedPut(_)
                | consumer::Change::PatternPut(..)
                | consumer::Change::PatternRemoved(_) => group_changed = true,
                consumer::Change::MemberPut(id, _)
                | consumer::Change::TargetPut(id, _)
                | consumer::Change::CurrentPut(id, _)
                | consumer::Change::MemberRemoved(id) => {
                    if seen.insert(id) {
                        members.push(id);
                    }
                }
                consumer::Change::GroupRemoved => {
                    changes.push(GroupChange::DeleteGroup { group: self.id.clone() });
                }
            }
        }
        if !effects.changes.is_empty() && changes.is_empty() {
            if group_changed {
                changes.push(GroupChange::PutGroup(consumer_row(&self.id, group)));
            }
            changes.extend(members.into_iter().map(|id| match group.stored_member(id) {
                Some(member) => {
                    GroupChange::PutMember { group: self.id.clone(), member: consumer_member_row(id, member) }
                }
                None => GroupChange::DeleteMember { group: self.id.clone(), member_id: id.as_str().into() },
            }));
            self.is_stored = true;
        }
        Outcome { changes, answers: answers(effects.answers, Answer::Consumer), ..Outcome::default() }
    }
}

fn answers<A>(given: Vec<(Token, A)>, wrap: impl Fn(A) -> Answer) -> Vec<(Token, Answer)> {
    given.into_iter().map(|(token, answer)| (token, wrap(answer))).collect()
}
