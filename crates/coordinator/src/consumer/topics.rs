//! The topics of the broker as a group sees them, and which of them its members subscribe to.

use std::{collections::BTreeMap, sync::Arc};

use ottla_records::TopicId;

use super::stored::MemberRow;

/// A topic as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The topics of the broker as they are now. Every input to a group comes with them; when they change, a group
/// that subscribes to one of them is told by [`topics_changed`](super::ConsumerGroup::topics_changed).
pub trait Topics {
    /// The topic with this name.
    fn topic(&self, name: &str) -> Option<TopicInfo>;

    /// The name of the topic with this id.
    fn name(&self, id: TopicId) -> Option<Arc<str>>;
}

/// What the members of a group subscribe to: the union of all that they name, and what their regular
/// expressions stand for.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// How many members and regular expressions name each topic.
    topics: BTreeMap<Arc<str>, usize>,
    patterns: BTreeMap<Arc<str>, Stands>,
}

/// What a regular expression stands for.
#[derive(Debug)]
struct Stands {
    /// Sorted, each once.
    topics: Vec<Arc<str>>,
    /// How many members subscribe to it.
    members: usize,
}

impl Subscriptions {
    /// The names of all topics that somebody subscribes to, whether they are there or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Whether somebody subscribes to a topic.
    pub(super) fn has(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// The regular expressions that somebody subscribes to.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Arc<str>> {
        self.patterns.keys()
    }

    /// What a regular expression stands for, where somebody subscribes to it.
    pub(super) fn resolved(&self, pattern: &str) -> Option<&[Arc<str>]> {
        self.patterns.get(pattern).map(|stands| stands.topics.as_slice())
    }

    /// Whether a member subscribes to a topic.
    pub(super) fn subscribes(&self, member: &MemberRow, topic: &Arc<str>) -> bool {
        let named = |topics: &[Arc<str>]| topics.binary_search(topic).is_ok();
        named(&member.topics)
            || member.pattern.as_ref().and_then(|text| self.resolved(text)).is_some_and(named)
    }

    /// The names that a member subscribes to; one that it has in two ways comes twice.
    pub(super) fn names_of<'a>(&'a self, member: &'a MemberRow) -> impl Iterator<Item = &'a Arc<str>> {
        let of_pattern = member.pattern.as_ref().and_then(|text| self.resolved(text)).unwrap_or_default();
        member.topics.iter().chain(of_pattern)
    }

    /// The same names, each in the one copy that the group has of it, if it has one.
    pub(super) fn shared(&self, names: Vec<Arc<str>>) -> Vec<Arc<str>> {
        let shared =
            |name: Arc<str>| self.topics.get_key_value(&name).map_or(name, |(known, _)| known.clone());
        names.into_iter().map(shared).collect()
    }

    /// Counts the topics that a member names.
    pub(super) fn add_names(&mut self, names: &[Arc<str>]) {
        for name in names {
            *self.topics.entry(name.clone()).or_default() += 1;
        }
    }

    /// No longer counts the topics that a member names.
    pub(super) fn remove_names(&mut self, names: &[Arc<str>]) {
        for name in names {
            if let Some(count) = self.topics.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.topics.remove(name);
                }
            }
        }
    }

    /// Counts a member of a regular expression that stands for `topics`; where others have it already, what
    /// it stood for stays.
    pub(super) fn add_pattern(&mut self, text: &Arc<str>, topics: Vec<Arc<str>>) {
        match self.patterns.get_mut(text) {
            Some(stands) => stands.members += 1,
            None => {
                self.add_names(&topics);
                self.patterns.insert(text.clone(), Stands { topics, members: 1 });
            }
        }
    }

    /// No longer counts a member of a regular expression; answers whether it was the last one.
    pub(super) fn remove_pattern(&mut self, text: &Arc<str>) -> bool {
        let Some(stands) = self.patterns.get_mut(text) else { return false };
        stands.members -= 1;
        if stands.members > 0 {
            return false;
        }
        let topics = self.patterns.remove(text).map(|stands| stands.topics).unwrap_or_default();
        self.remove_names(&topics);
        true
    }

    /// A regular expression stands for other topics now; answers whether they are others.
    pub(super) fn resolve(&mut self, text: &Arc<str>, topics: &[Arc<str>]) -> bool {
        let Some(stands) = self.patterns.get_mut(text) else { return false };
        if stands.topics == topics {
            return false;
        }
        let before = std::mem::replace(&mut stands.topics, topics.to_vec());
        self.remove_names(&before);
        self.add_names(topics);
        true
    }

    /// A hash over the topics that are subscribed to and are there, with their ids and numbers of partitions:
    /// FNV-1a of 64 bits. It is stored, so it must stay what it is.
    pub(super) fn hash(&self, topics: &dyn Topics) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for name in self.topics.keys() {
            let Some(topic) = topics.topic(name) else { continue };
            add(&(name.len() as u64).to_le_bytes());
            add(name.as_bytes());
            add(&topic.id.0);
            add(&topic.partitions.to_le_bytes());
        }
        hash
    }
}

/// Sorts names, and leaves out repetitions.
pub(super) fn sorted(mut names: Vec<Arc<str>>) -> Vec<Arc<str>> {
    names.sort_unstable();
    names.dedup();
    names
}
