//! The broker's settings: what was given, and what it comes to.
//!
//! Invariant: the public fields are always what the given values come to, together with the defaults; only
//! [`BrokerSettings::apply`] changes them.

use std::{collections::BTreeMap, fmt, time::Duration};

use ottla_coordinator::assignor::Assignor;

use super::{
    error::{Scope, SettingError},
    table::{BROKER, Setting},
    value::{Value, Values},
};

/// No request is larger than this, whatever the memory budget.
const REQUEST_BYTES_MAX: u64 = 100 << 20;

/// All settings of a broker, as they act.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `connections.max.idle.ms`; `None` for no limit.
    pub connections_max_idle: Option<Duration>,
    /// `default.replication.factor`, at least 1.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `durability`.
    pub durability: Durability,
    /// `fetch.max.bytes`, at least 1024.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`; 0 turns sessions off.
    pub fetch_sessions_max: u32,
    /// `group.consumer.assignment.interval.ms`.
    pub group_consumer_assignment_interval: Duration,
    /// `group.consumer.assignors`, at least one.
    pub group_consumer_assignors: Vec<Assignor>,
    /// `group.consumer.heartbeat.interval.ms`.
    pub group_consumer_heartbeat_interval: Duration,
    /// `group.consumer.max.size`, at least 1.
    pub group_consumer_max_size: u32,
    /// `group.consumer.session.timeout.ms`.
    pub group_consumer_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay: Duration,
    /// `group.max.session.timeout.ms`.
    pub group_session_timeout_max: Duration,
    /// `group.max.size`, at least 1.
    pub group_max_size: u32,
    /// `group.min.session.timeout.ms`.
    pub group_session_timeout_min: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `max.connections`.
    pub max_connections: u32,
    /// `memory.budget` in bytes, at least 32 MiB.
    pub memory_budget: u64,
    /// `message.max.bytes`, brought down to the largest request.
    pub message_max_bytes: u32,
    /// `node.id`, from 0 on.
    pub node_id: i32,
    /// `num.network.threads`, at least 1; `None` where it follows from the machine.
    pub network_threads: Option<usize>,
    /// `num.partitions`, at least 1.
    pub num_partitions: u32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: u32,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `socket.request.max.bytes`, brought down to a quarter of the memory budget and to 100 MiB.
    pub socket_request_max_bytes: u32,
    /// `strict.replication`.
    pub strict_replication: bool,
    /// `wal.max` in bytes, at least 16 MiB; `None` where it follows from the file system.
    pub wal_max: Option<u64>,
    given: BTreeMap<&'static str, Value>,
}

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// Once it is on the disk.
    Fsync,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fsync => f.write_str("fsync"),
        }
    }
}

/// A size that was given and counts as less.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reduced {
    /// The setting.
    pub name: &'static str,
    /// What was given, in bytes.
    pub given: u64,
    /// What it counts as, in bytes.
    pub counts: u32,
}

impl fmt::Display for Reduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, given, counts } = self;
        write!(f, "{name} is {given}, but a request has at most {counts} bytes with this memory.budget")
    }
}

impl BrokerSettings {
    /// Sets one setting, by its name or an alias, from text; an earlier value of it is replaced.
    ///
    /// # Errors
    /// [`SettingError`] where there is no such setting or the value does not fit; nothing is changed then.
    pub fn apply(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        let setting = Setting::find(BROKER, name).ok_or_else(|| Self::unknown(name))?;
        let mut given = std::mem::take(&mut self.given);
        let parsed = setting.parse(text).map(|value| given.insert(setting.name, value));
        *self = Self::of(given);
        parsed.map(|_| ())
    }

    /// The error for a name that no broker setting has, with the setting that was probably meant.
    pub fn unknown(name: &str) -> SettingError {
        SettingError::unknown(Scope::Broker, name)
    }

    /// What was given for a setting; not its default.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.given.get(name)
    }

    /// What was given for sizes that cannot be had under the memory budget, to be told at the start.
    pub fn reduced(&self) -> Vec<Reduced> {
        let sizes = [
            ("socket.request.max.bytes", self.socket_request_max_bytes),
            ("message.max.bytes", self.message_max_bytes),
        ];
        let reduced = sizes.into_iter().filter_map(|(name, counts)| match self.given(name) {
            Some(Value::Number(given)) => Some(Reduced { name, given: u64::try_from(*given).ok()?, counts }),
            _ => None,
        });
        reduced.filter(|reduced| reduced.given > reduced.counts.into()).collect()
    }

    fn of(given: BTreeMap<&'static str, Value>) -> Self {
        let values = GivenOrDefault(&given);
        let millis = |name| Duration::from_millis(values.number(name));
        let memory_budget: u64 = values.number("memory.budget");
        let request_max = u32::try_from((memory_budget / 4).min(REQUEST_BYTES_MAX)).unwrap_or(u32::MAX);
        let socket_request_max_bytes = request_max.min(values.number("socket.request.max.bytes"));
        let idle_ms: i64 = values.number("connections.max.idle.ms");
        Self {
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            connections_max_idle: u64::try_from(idle_ms).ok().map(Duration::from_millis),
            default_replication_factor: values.number("default.replication.factor"),
            delete_topics: values.boolean("delete.topic.enable"),
            // The table allows nothing else yet.
            durability: Durability::Fsync,
            fetch_max_bytes: values.number("fetch.max.bytes"),
            fetch_sessions_max: values.number("max.incremental.fetch.session.cache.slots"),
            group_consumer_assignment_interval: millis("group.consumer.assignment.interval.ms"),
            group_consumer_assignors: assignors(values.value("group.consumer.assignors")),
            group_consumer_heartbeat_interval: millis("group.consumer.heartbeat.interval.ms"),
            group_consumer_max_size: values.number("group.consumer.max.size"),
            group_consumer_session_timeout: millis("group.consumer.session.timeout.ms"),
            group_initial_rebalance_delay: millis("group.initial.rebalance.delay.ms"),
            group_session_timeout_max: millis("group.max.session.timeout.ms"),
            group_max_size: values.number("group.max.size"),
            group_session_timeout_min: millis("group.min.session.timeout.ms"),
            retention_check_interval: millis("log.retention.check.interval.ms"),
            max_connections: values.number("max.connections"),
            memory_budget,
            message_max_bytes: socket_request_max_bytes.min(values.number("message.max.bytes")),
            node_id: values.number("node.id"),
            network_threads: values
                .value("num.network.threads")
                .map(|_| values.number("num.network.threads")),
            num_partitions: values.number("num.partitions"),
            offset_metadata_max_bytes: values.number("offset.metadata.max.bytes"),
            offsets_retention: Duration::from_secs(60 * values.number::<u64>("offsets.retention.minutes")),
            offsets_retention_check_interval: millis("offsets.retention.check.interval.ms"),
            producer_id_expiration: millis("producer.id.expiration.ms"),
            socket_request_max_bytes,
            strict_replication: values.boolean("strict.replication"),
            wal_max: values.value("wal.max").map(|_| values.number("wal.max")),
            given,
        }
    }
}

/// The assignors of a list, whose names the table has checked; the default where it is empty.
fn assignors(value: Option<Value>) -> Vec<Assignor> {
    let names = match value {
        Some(Value::List(names)) => names,
        _ => Vec::new(),
    };
    let named: Vec<_> = names.iter().filter_map(|name| Assignor::named(name)).collect();
    if named.is_empty() { Assignor::ALL.to_vec() } else { named }
}

impl Default for BrokerSettings {
    /// Nothing given.
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}

struct GivenOrDefault<'a>(&'a BTreeMap<&'static str, Value>);

impl Values for GivenOrDefault<'_> {
    fn value(&self, name: &'static str) -> Option<Value> {
        self.0.get(name).cloned().or_else(|| Setting::find(BROKER, name)?.default_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Kind, Valid};

    fn with(given: &[(&str, &str)]) -> BrokerSettings {
        let mut settings = BrokerSettings::default();
        for (name, text) in given {
            settings.apply(name, text).unwrap();
        }
        settings
    }

    #[test]
    fn every_value_that_is_valid_fits_its_field() {
        for setting in BROKER {
            let ends = match setting.valid {
                Valid::AtLeast(min) | Valid::BetweenOr(min, ..) => vec![min],
                Valid::Between(min, max) => vec![min, max],
                Valid::Any if setting.kind == Kind::Boolean => continue,
                Valid::Any => vec![i64::MIN],
                Valid::OneOf(_) | Valid::ThrottledReplicas => continue,
            };
            let largest = match setting.kind {
                Kind::Int => i64::from(i32::MAX),
                _ => i64::MAX,
            };
            for number in ends.into_iter().chain([largest]) {
                let text = number.to_string();
                if setting.parse(&text).is_ok() {
                    let settings = with(&[(setting.name, &text)]);
                    assert_eq!(settings.given(setting.name), Some(&Value::Number(number)));
                }
            }
        }
    }

    #[test]
    fn defaults_are_kafkas() {
        let settings = BrokerSettings::default();
        assert!(settings.auto_create_topics && settings.delete_topics && !settings.strict_replication);
        assert_eq!(
            (settings.num_partitions, settings.node_id, settings.max_connections),
            (1, 0, 2_147_483_647)
        );
        assert_eq!(settings.message_max_bytes, 1_048_588);
        assert_eq!(settings.memory_budget, 256 << 20);
        assert_eq!(settings.connections_max_idle, Some(Duration::from_secs(600)));
        assert_eq!((settings.wal_max, settings.network_threads), (None, None));
        assert!(settings.reduced().is_empty());
    }

    #[test]
    fn requests_fit_the_memory_budget() {
        let request_max = |given: &[_]| with(given).socket_request_max_bytes;
        assert_eq!(request_max(&[]), 64 << 20);
        assert_eq!(request_max(&[("memory.budget", "32MiB")]), 8 << 20);
        assert_eq!(request_max(&[("memory.budget", "1GiB")]), 100 << 20);
        assert_eq!(request_max(&[("memory.budget", "8388607TiB")]), 100 << 20);
        assert_eq!(request_max(&[("socket.request.max.bytes", "1000")]), 1000);

        let settings = with(&[("message.max.bytes", "50000000"), ("memory.budget", "32MiB")]);
        assert_eq!(settings.message_max_bytes, 8 << 20);
        assert_eq!(
            settings.reduced().iter().map(Reduced::to_string).collect::<Vec<_>>(),
            [
                "message.max.bytes is 50000000, but a request has at most 8388608 bytes with this memory.budget"
            ],
        );
    }

    #[test]
    fn a_refused_value_changes_nothing() {
        let mut settings = with(&[("num.partitions", "7")]);
        for (name, text, message) in [
            ("num.partitions", "0", "invalid value \"0\" for num.partitions: must be at least 1"),
            (
                "memory.budget",
                "16MiB",
                "invalid value \"16MiB\" for memory.budget: must be at least 33554432 (32 MiB)",
            ),
            ("durability", "os", "invalid value \"os\" for durability: must be fsync"),
            ("num.partition", "3", "unknown broker setting \"num.partition\"; did you mean num.partitions?"),
        ] {
            assert_eq!(settings.apply(name, text).unwrap_err().to_string(), message);
        }
        assert_eq!(settings, with(&[("num.partitions", "7")]));
    }

    #[test]
    fn an_alias_is_the_same_setting() {
        assert_eq!(with(&[("broker.id", "5")]), with(&[("node.id", "5")]));
        assert_eq!(with(&[("connections.max.idle.ms", "-1")]).connections_max_idle, None);
    }
}
