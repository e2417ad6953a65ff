//! The settings of topics and brokers that can be described and altered, with Kafka's defaults.
//!
//! Four of a topic have an effect: `max.message.bytes`, `message.timestamp.type`, `min.insync.replicas`, and `cleanup.policy`, where `compact`
//! means that records need keys. The others are kept and described, as are all of a broker.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;

use crate::state::Refusal;

pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(crate) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(crate) const TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub(crate) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// The longest value of a setting in bytes, which is what an answer can tell.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// Where the value of a setting comes from, with Kafka's number for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// It was given for the topic.
    DynamicTopic = 1,
    /// It was given for this broker while it ran.
    DynamicBroker = 2,
    /// It was given for all brokers while they ran.
    DynamicDefaultBroker = 3,
    /// The broker was started with it.
    StaticBroker = 4,
    /// Nobody gave one.
    Default = 5,
}

/// What was given for a resource: values by the names of settings.
pub(crate) type Given = BTreeMap<String, String>;

/// The type of a setting, with Kafka's number for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
    /// Its value is told to nobody.
    Password = 9,
}

/// A setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The values that it may have; empty if its type alone says it.
    values: &'static [&'static str],
}

/// The settings of one kind of resource.
#[derive(Debug)]
pub(crate) struct Table {
    /// What each of them is.
    of: &'static str,
    /// What Kafka answers to one that cannot be. A list that is none is INVALID_CONFIG everywhere.
    refused: ErrorCode,
    /// Ascending by name.
    pub(crate) settings: &'static [Setting],
}

/// A change of a setting (KIP-339).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change<'a> {
    Set(&'a str),
    /// Its default holds again.
    Delete,
    /// These elements come to those of a list that it has not.
    Append(&'a str),
    /// These elements go from a list.
    Subtract(&'a str),
}

const fn setting(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { name, kind, default, values: &[] }
}

const fn choice(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    values: &'static [&'static str],
) -> Setting {
    Setting { name, kind, default, values }
}

/// Those of topics, of Kafka 4.3.
pub(crate) const TOPIC: Table =
    Table { of: "topic setting", refused: ErrorCode::INVALID_CONFIG, settings: OF_TOPICS };

/// Some of those of brokers that can be changed while they run.
pub(crate) const BROKER: Table =
    Table { of: "changeable broker setting", refused: ErrorCode::INVALID_REQUEST, settings: OF_BROKERS };

const OF_BROKERS: &[Setting] = &[
    setting("background.threads", Kind::Int, "10"),
    setting("max.connections", Kind::Int, "2147483647"),
    setting("num.io.threads", Kind::Int, "8"),
    setting("num.network.threads", Kind::Int, "3"),
    setting("ssl.keystore.password", Kind::Password, ""),
];

const OF_TOPICS: &[Setting] = &[
    choice(CLEANUP_POLICY, Kind::List, "delete", &["compact", "delete"]),
    setting("compression.gzip.level", Kind::Int, "-1"),
    setting("compression.lz4.level", Kind::Int, "9"),
    choice(
        "compression.type",
        Kind::String,
        "producer",
        &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
    ),
    setting("compression.zstd.level", Kind::Int, "3"),
    setting("delete.retention.ms", Kind::Long, "86400000"),
    setting("file.delete.delay.ms", Kind::Long, "60000"),
    setting("flush.messages", Kind::Long, "9223372036854775807"),
    setting("flush.ms", Kind::Long, "9223372036854775807"),
    setting("follower.replication.throttled.replicas", Kind::List, ""),
    setting("index.interval.bytes", Kind::Int, "4096"),
    setting("leader.replication.throttled.replicas", Kind::List, ""),
    setting("local.retention.bytes", Kind::Long, "-2"),
    setting("local.retention.ms", Kind::Long, "-2"),
    setting("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    setting(MAX_MESSAGE_BYTES, Kind::Int, "1048588"),
    setting("message.timestamp.after.max.ms", Kind::Long, "3600000"),
    setting("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807"),
    choice(TIMESTAMP_TYPE, Kind::String, "CreateTime", &["CreateTime", "LogAppendTime"]),
    setting("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    setting("min.compaction.lag.ms", Kind::Long, "0"),
    setting(MIN_INSYNC_REPLICAS, Kind::Int, "1"),
    setting("preallocate", Kind::Boolean, "false"),
    setting("remote.log.copy.disable", Kind::Boolean, "false"),
    setting("remote.log.delete.on.disable", Kind::Boolean, "false"),
    setting("remote.storage.enable", Kind::Boolean, "false"),
    setting("retention.bytes", Kind::Long, "-1"),
    setting("retention.ms", Kind::Long, "604800000"),
    setting("segment.bytes", Kind::Int, "1073741824"),
    setting("segment.index.bytes", Kind::Int, "10485760"),
    setting("segment.jitter.ms", Kind::Long, "0"),
    setting("segment.ms", Kind::Long, "604800000"),
    setting("unclean.leader.election.enable", Kind::Boolean, "false"),
];

impl Table {
    /// Checks a setting that is given.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::new(self.refused, why));
        let Some(setting) = self.find(name) else {
            return refuse(format!("there is no {} '{name}'", self.of));
        };
        if value.len() > VALUE_BYTES_MAX {
            return refuse(format!("the value of '{name}' is longer than {VALUE_BYTES_MAX} bytes"));
        }
        if !setting.allows(value) {
            return refuse(format!("'{value}' is no value for '{name}'"));
        }
        Ok(())
    }

    /// Changes a setting in what is given.
    pub(crate) fn change(&self, given: &mut Given, name: &str, change: Change<'_>) -> Result<(), Refusal> {
        let now = match change {
            // What nobody has given is gone already.
            Change::Delete => {
                given.remove(name);
                return Ok(());
            }
            Change::Set(value) => value.to_owned(),
            Change::Append(elements) => {
                let mut list = self.list(given, name)?;
                let missing: Vec<&str> =
                    elements_of(elements).filter(|element| !list.contains(element)).collect();
                list.extend(missing);
                list.join(",")
            }
            Change::Subtract(elements) => {
                let mut list = self.list(given, name)?;
                list.retain(|element| elements_of(elements).all(|gone| gone != *element));
                list.join(",")
            }
        };
        self.check(name, &now)?;
        given.insert(name.to_owned(), now);
        Ok(())
    }

    /// The elements of a setting that is a list.
    fn list<'a>(&self, given: &'a Given, name: &str) -> Result<Vec<&'a str>, Refusal> {
        let Some(setting) = self.find(name).filter(|setting| setting.kind == Kind::List) else {
            let why = format!("'{name}' is no {} that is a list: set it as a whole", self.of);
            return Err(Refusal::new(ErrorCode::INVALID_CONFIG, why));
        };
        let value = given.get(name).map_or(setting.default, String::as_str);
        Ok(elements_of(value).collect())
    }

    fn find(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

impl Setting {
    fn allows(&self, value: &str) -> bool {
        let known = |value: &str| self.values.is_empty() || self.values.contains(&value);
        match self.kind {
            Kind::Boolean => matches!(value, "true" | "false"),
            Kind::Int => value.parse::<i32>().is_ok(),
            Kind::Long => value.parse::<i64>().is_ok(),
            Kind::Double => value.parse::<f64>().is_ok(),
            Kind::String => known(value),
            Kind::List => value.is_empty() || value.split(',').map(str::trim).all(known),
            Kind::Password => true,
        }
    }
}

fn elements_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// The cleanup policies of a topic.
pub(crate) fn policies(given: &Given) -> impl Iterator<Item = &str> {
    elements_of(value(given, CLEANUP_POLICY))
}

/// The value of a topic's setting: the one that was given, or the default.
pub(crate) fn value<'a>(given: &'a Given, name: &str) -> &'a str {
    let default = || TOPIC.find(name).map_or("", |setting| setting.default);
    given.get(name).map_or_else(default, String::as_str)
}

/// Where the value of a topic's setting comes from.
pub(crate) fn source(given: &Given, name: &str) -> Source {
    if given.contains_key(name) { Source::DynamicTopic } else { Source::Default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_values() {
        for table in [&TOPIC, &BROKER] {
            for setting in table.settings {
                assert!(table.check(setting.name, setting.default).is_ok(), "{}", setting.name);
            }
            assert!(table.settings.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
        assert!(TOPIC.check("cleanup.policy", "compact, delete").is_ok());
        let long = "a".repeat(VALUE_BYTES_MAX + 1);
        for (name, value) in [
            ("cleanup.policy", "shred"),
            ("cleanup.policy", "delete,"),
            ("retention.ms", "a week"),
            ("no.such", "1"),
            ("follower.replication.throttled.replicas", &long),
        ] {
            let refusal = TOPIC.check(name, value).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::INVALID_CONFIG, "{name}={value}");
        }
        assert_eq!(BROKER.check("retention.ms", "1").unwrap_err().code, ErrorCode::INVALID_REQUEST);
    }

    #[test]
    fn settings_change_one_by_one() {
        let mut given = Given::new();
        let policy = CLEANUP_POLICY;
        for (name, change, now) in [
            (policy, Change::Append("compact"), Some("delete,compact")),
            (policy, Change::Append("delete, compact"), Some("delete,compact")),
            (policy, Change::Subtract("delete,nothing"), Some("compact")),
            (policy, Change::Subtract("compact"), Some("")),
            (policy, Change::Append("compact"), Some("compact")),
            (policy, Change::Delete, None),
            (policy, Change::Delete, None),
            ("no.such", Change::Delete, None),
            ("retention.ms", Change::Set("5"), Some("5")),
        ] {
            TOPIC.change(&mut given, name, change).unwrap();
            assert_eq!(given.get(name).map(String::as_str), now, "{name} {change:?}");
        }
        for (name, change) in [
            (policy, Change::Append("shred")),
            ("retention.ms", Change::Append("5")),
            ("retention.ms", Change::Subtract("5")),
            ("retention.ms", Change::Set("a week")),
            ("no.such", Change::Set("1")),
            ("no.such", Change::Append("1")),
        ] {
            let before = given.clone();
            let refusal = TOPIC.change(&mut given, name, change).unwrap_err();
            assert_eq!((refusal.code, &given), (ErrorCode::INVALID_CONFIG, &before), "{name} {change:?}");
        }
    }
}
