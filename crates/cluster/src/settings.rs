//! The settings of topics and brokers that DescribeConfigs and CreateTopics know, with Kafka's defaults.
//!
//! Four of a topic have an effect: `max.message.bytes`, `message.timestamp.type`, `min.insync.replicas`, and `cleanup.policy`, where `compact`
//! means that records need keys. The others are kept and described.

use std::collections::BTreeMap;

pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(crate) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(crate) const TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub(crate) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// Kafka's number for a value that was given for a topic.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
/// Kafka's number for a value that a broker was started with.
pub(crate) const STATIC_BROKER_CONFIG: i8 = 4;
/// Kafka's number for a default.
const DEFAULT_CONFIG: i8 = 5;

/// The type of a setting, with Kafka's number for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A setting of a topic.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The values that it may have; empty if its type alone says it.
    values: &'static [&'static str],
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

/// The settings of topics of Kafka 4.3, ascending.
pub(crate) const TOPIC: &[Setting] = &[
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

/// Checks a setting that is given for a topic; tells what is wrong with it.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(setting) = TOPIC.iter().find(|setting| setting.name == name) else {
        return Err(format!("there is no topic setting '{name}'"));
    };
    let known = |value: &str| setting.values.is_empty() || setting.values.contains(&value);
    let fits = match setting.kind {
        Kind::Boolean => matches!(value, "true" | "false"),
        Kind::Int => value.parse::<i32>().is_ok(),
        Kind::Long => value.parse::<i64>().is_ok(),
        Kind::Double => value.parse::<f64>().is_ok(),
        Kind::String => known(value),
        Kind::List => value.split(',').map(str::trim).all(known),
    };
    if fits { Ok(()) } else { Err(format!("'{value}' is no value for '{name}'")) }
}

/// The cleanup policies of a topic.
pub(crate) fn policies(given: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    value(given, CLEANUP_POLICY).split(',').map(str::trim)
}

/// The value of a topic's setting: the one that was given, or the default.
pub(crate) fn value<'a>(given: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    let default = || TOPIC.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
    given.get(name).map_or_else(default, String::as_str)
}

/// Kafka's number for where the value of a topic's setting comes from.
pub(crate) fn source(given: &BTreeMap<String, String>, name: &str) -> i8 {
    if given.contains_key(name) { DYNAMIC_TOPIC_CONFIG } else { DEFAULT_CONFIG }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_values() {
        for setting in TOPIC {
            // A list of throttled replicas may be empty.
            assert_eq!(check(setting.name, setting.default), Ok(()), "{}", setting.name);
        }
        assert!(TOPIC.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(check("cleanup.policy", "compact, delete").is_ok());
        for (name, value) in [("cleanup.policy", "shred"), ("retention.ms", "a week"), ("no.such", "1")] {
            assert!(check(name, value).is_err(), "{name}={value}");
        }
    }
}
