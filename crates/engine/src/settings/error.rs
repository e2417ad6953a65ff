//! Why a setting was refused, in words for whoever gave it, and the search for the name that was meant.
//!
//! A name or value that came from a peer is shown escaped and cut off, so that it can go into a log line.

use std::fmt;

use thiserror::Error;

use super::table::{BROKER, Setting, TOPIC};

/// What a setting is a setting of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// One topic.
    Topic,
    /// The broker.
    Broker,
}

impl Scope {
    /// The table of this scope.
    pub fn table(self) -> &'static [Setting] {
        match self {
            Self::Topic => TOPIC,
            Self::Broker => BROKER,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
        })
    }
}

/// Why a setting was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SettingError {
    /// No setting has this name.
    #[error("unknown {scope} setting {}{}", Shown(name), Hint(nearest.as_deref()))]
    Unknown {
        /// The name that was given.
        name: String,
        /// Where it was looked for.
        scope: Scope,
        /// The setting that was probably meant.
        nearest: Option<String>,
    },
    /// The broker has no such setting, but topics have one for it.
    #[error("{name} cannot be set for the broker yet: set {topic} on topics instead")]
    OnTopicsOnly {
        /// The name, Kafka's for a topic setting or for the broker setting that is its default.
        name: &'static str,
        /// The topic setting.
        topic: &'static str,
    },
    /// The value does not fit the setting.
    #[error("invalid value {} for {name}: {demand}", Shown(value))]
    Invalid {
        /// The setting.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What it would have to be.
        demand: String,
    },
    /// A setting came without a value.
    #[error("{name} has no value: give one, or leave the setting out for its default")]
    Null {
        /// The setting.
        name: &'static str,
    },
    /// Two settings contradict each other.
    #[error("{lesser} ({lesser_value}) must be at most {greater} ({greater_value})")]
    Conflict {
        /// The setting whose value is too large.
        lesser: &'static str,
        /// Its value.
        lesser_value: i64,
        /// The setting whose value is too small.
        greater: &'static str,
        /// Its value.
        greater_value: i64,
    },
}

impl SettingError {
    /// The error for a name that `scope` does not have.
    pub(super) fn unknown(scope: Scope, name: &str) -> Self {
        let nearest = match (scope, kafkas_name(name)) {
            (Scope::Topic, Some((_, topic))) => Some(topic.name),
            (Scope::Broker, Some((name, topic))) => match existing(topic.broker) {
                Some(broker) => Some(broker),
                None => return Self::OnTopicsOnly { name, topic: topic.name },
            },
            (_, None) => nearest(name, scope.table().iter().flat_map(Setting::names)),
        };
        Self::Unknown { name: name.into(), scope, nearest: nearest.map(String::from) }
    }
}

/// The one of `candidates` that `name` is probably a slip of: at most a third of its letters are wrong,
/// missing, too many or swapped with their neighbour.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name of ours is longer than 64 bytes, and a peer's name may be as long as its frame.
    if name.len() > 96 {
        return None;
    }
    let name = name.trim().to_ascii_lowercase();
    let allowed = (name.len() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (distance(&name, candidate), candidate));
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|it| it.1)
}

/// Finds the topic setting that has this name, or whose default Kafka's broker setting of this name is.
fn kafkas_name(name: &str) -> Option<(&'static str, &'static Setting)> {
    TOPIC.iter().find_map(|topic| {
        let mut names = topic.names().chain(topic.broker.iter().copied());
        names.find(|it| *it == name).map(|name| (name, topic))
    })
}

/// The first of Kafka's broker settings that exists here.
fn existing(names: &'static [&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| BROKER.iter().any(|setting| setting.name == *name))
}

/// How many letters have to be changed, added, left out or swapped with their neighbour to make one text of
/// the other (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i);
        for j in 1..=other.len() {
            let changed = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

/// Text that somebody gave, quoted, escaped and cut off.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS_MAX: usize = 100;
        match self.0.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((cut, _)) => write!(f, "{:?}...", &self.0[..cut]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, "; did you mean {name}?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let table = [
            (Scope::Broker, "auto.crate.topics.enable", "auto.create.topics.enable"),
            (Scope::Broker, "log.segemnt.bytes", "log.segment.bytes"),
            (Scope::Broker, "Log.Segment.Bytes", "log.segment.bytes"),
            (Scope::Broker, "segment.bytes", "log.segment.bytes"),
            (Scope::Broker, "max.message.bytes", "message.max.bytes"),
            (Scope::Broker, "memory-budget", "memory.budget"),
            (Scope::Topic, "log.segment.bytes", "segment.bytes"),
            (Scope::Topic, "message.max.bytes", "max.message.bytes"),
            (Scope::Topic, "log.cleanup.policy", "cleanup.policy"),
            (Scope::Topic, "cleanup.polcy", "cleanup.policy"),
        ];
        for (scope, name, expected) in table {
            match SettingError::unknown(scope, name) {
                SettingError::Unknown { nearest, .. } => {
                    assert_eq!(nearest.as_deref(), Some(expected), "{name}");
                }
                other => panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn what_resembles_nothing_gets_no_hint() {
        assert_eq!(SettingError::unknown(Scope::Topic, "nope").to_string(), "unknown topic setting \"nope\"",);
        assert_eq!(nearest(&"x".repeat(10_000), ["x"]), None);
        assert_eq!(nearest("", ["memory"]), None);
    }

    #[test]
    fn what_only_topics_have_is_called_that() {
        for name in ["log.retention.hours", "retention.ms"] {
            assert_eq!(
                SettingError::unknown(Scope::Broker, name).to_string(),
                format!("{name} cannot be set for the broker yet: set retention.ms on topics instead"),
            );
        }
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let error = SettingError::unknown(Scope::Topic, &format!("a\nb{}", "é".repeat(5000))).to_string();
        assert!(error.starts_with("unknown topic setting \"a\\nb"), "{error}");
        assert!(error.len() < 250, "{}", error.len());
    }

    #[test]
    fn distances_count_swaps_once() {
        let table = [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("acb", "abc", 1),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
        ];
        for (one, other, expected) in table {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }
}
