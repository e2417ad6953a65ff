//! A topic's settings: what was given explicitly, and what it comes to on this broker.

use std::{collections::BTreeMap, time::Duration};

use ottla_records::TimestampType;
use ottla_storage::LogSettings;

use super::{
    broker::BrokerSettings,
    error::{Scope, SettingError},
    table::{Setting, TOPIC},
    value::{Value, Values},
};

/// The settings that were given for one topic, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicSettings {
    given: BTreeMap<&'static str, Value>,
}

/// What a topic's settings come to: what was given for it, else for the broker, else the default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EffectiveTopicSettings {
    /// `segment.bytes`, at least 1 MiB.
    pub segment_bytes: u32,
    /// `segment.ms`, at least 1.
    pub segment_ms: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`, brought down to the largest request.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`, from 0 on.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`, from 0 on.
    pub timestamp_after_max_ms: i64,
    /// `retention.bytes`; `None` where nothing is deleted, by it or for want of the policy `delete`.
    pub retention_bytes: Option<u64>,
    /// Whether records must have keys: `cleanup.policy` has `compact`.
    pub keys_required: bool,
    /// `min.insync.replicas`, at least 1; what is above the number of replicas counts as that number.
    pub min_insync_replicas: u32,
}

impl TopicSettings {
    /// Checks settings by Kafka's names, as CreateTopics gives them and the topic store holds them. Of two
    /// values for one setting the later one counts.
    ///
    /// # Errors
    /// [`SettingError`] for the first that is unknown, has no value or does not fit, or where two contradict
    /// each other.
    pub fn validate<N: AsRef<str>, V: AsRef<str>>(
        settings: impl IntoIterator<Item = (N, Option<V>)>,
    ) -> Result<Self, SettingError> {
        let mut given = BTreeMap::new();
        for (name, text) in settings {
            let name = name.as_ref();
            let setting =
                Setting::find(TOPIC, name).ok_or_else(|| SettingError::unknown(Scope::Topic, name))?;
            let text = text.ok_or(SettingError::Null { name: setting.name })?;
            given.insert(setting.name, setting.parse(text.as_ref())?);
        }
        let settings = Self { given };
        settings.refuse_tiering()?;
        settings.compare_lags()?;
        Ok(settings)
    }

    /// What was given for a setting; not its default.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.given.get(name)
    }

    /// What was given, by name and as text that [`validate`](Self::validate) takes back: for the topic store.
    pub fn to_stored(&self) -> BTreeMap<String, String> {
        self.given.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect()
    }

    /// What the settings come to on a broker.
    pub fn resolve(&self, broker: &BrokerSettings) -> EffectiveTopicSettings {
        let values = Resolved { topic: self, broker };
        let retention_bytes: i64 = values.number("retention.bytes");
        let append_time = values.has("message.timestamp.type", "LogAppendTime");
        EffectiveTopicSettings {
            segment_bytes: values.number("segment.bytes"),
            segment_ms: values.number("segment.ms"),
            index_interval_bytes: values.number("index.interval.bytes"),
            max_message_bytes: broker.socket_request_max_bytes.min(values.number("max.message.bytes")),
            timestamp_type: if append_time { TimestampType::AppendTime } else { TimestampType::CreateTime },
            timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            keys_required: values.has("cleanup.policy", "compact"),
            retention_bytes: match values.has("cleanup.policy", "delete") {
                true => u64::try_from(retention_bytes).ok(),
                false => None,
            },
            min_insync_replicas: values.number("min.insync.replicas"),
        }
    }

    fn refuse_tiering(&self) -> Result<(), SettingError> {
        let name = "remote.storage.enable";
        match self.given(name) {
            Some(value @ Value::Boolean(true)) => Err(SettingError::Invalid {
                name,
                value: value.to_string(),
                demand: "must be false, there is no tiered storage".into(),
            }),
            _ => Ok(()),
        }
    }

    fn compare_lags(&self) -> Result<(), SettingError> {
        let (lesser, greater) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let values = Resolved { topic: self, broker: &BrokerSettings::default() };
        let (lesser_value, greater_value) = (values.number(lesser), values.number(greater));
        if lesser_value > greater_value {
            return Err(SettingError::Conflict { lesser, lesser_value, greater, greater_value });
        }
        Ok(())
    }
}

impl EffectiveTopicSettings {
    /// The part that the topic's logs act on.
    pub fn log_settings(&self) -> LogSettings {
        LogSettings {
            segment_bytes: self.segment_bytes,
            segment_age: Duration::from_millis(self.segment_ms),
            index_interval_bytes: self.index_interval_bytes,
            retention_bytes: self.retention_bytes,
        }
    }
}

/// What a topic setting gets from the broker's settings: the first that was given of those that are its
/// default in Kafka, with the setting's name, in the topic setting's unit.
pub(super) fn from_broker(setting: &Setting, broker: &BrokerSettings) -> Option<(&'static str, Value)> {
    setting.broker.iter().find_map(|name| Some((*name, in_topic_unit(name, broker.given(name)?))))
}

fn in_topic_unit(broker_name: &str, value: &Value) -> Value {
    let factor = match broker_name.rsplit('.').next() {
        Some("hours") => 3_600_000,
        Some("minutes") => 60_000,
        _ => 1,
    };
    match value {
        Value::Number(number) => Value::Number(number.saturating_mul(factor)),
        other => other.clone(),
    }
}

pub(super) struct Resolved<'a> {
    pub topic: &'a TopicSettings,
    pub broker: &'a BrokerSettings,
}

impl Values for Resolved<'_> {
    fn value(&self, name: &'static str) -> Option<Value> {
        let setting = Setting::find(TOPIC, name)?;
        let given = self.topic.given(name).cloned();
        given.or_else(|| Some(from_broker(setting, self.broker)?.1)).or_else(|| setting.default_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(given: &[(&str, &str)]) -> TopicSettings {
        TopicSettings::validate(given.iter().map(|(name, text)| (name, Some(text)))).unwrap()
    }

    fn broker(given: &[(&str, &str)]) -> BrokerSettings {
        let mut settings = BrokerSettings::default();
        for (name, text) in given {
            settings.apply(name, text).unwrap();
        }
        settings
    }

    fn refusal(name: &str, text: Option<&str>) -> String {
        TopicSettings::validate([(name, text)]).unwrap_err().to_string()
    }

    #[test]
    fn what_apache_kafka_takes_is_taken_and_shown_as_it_shows_it() {
        // Each of these was tried on Apache Kafka 4.3.1.
        for (name, text, shown) in [
            ("segment.bytes", " 2000000 ", "2000000"),
            ("segment.bytes", "+2000000", "2000000"),
            ("cleanup.policy", "compact", "compact"),
            ("cleanup.policy", "compact, delete", "compact,delete"),
            ("cleanup.policy", "", ""),
            ("preallocate", "TRUE", "true"),
            ("follower.replication.throttled.replicas", "*", "*"),
            ("retention.bytes", "-5", "-5"),
            ("compression.gzip.level", "-1", "-1"),
            ("min.cleanable.dirty.ratio", "1e-1", "0.1"),
            ("internal.segment.bytes", "20", "20"),
            ("remote.log.copy.disable", "true", "true"),
            ("compression.type", " gzip ", "gzip"),
            ("min.insync.replicas", "3", "3"),
        ] {
            let settings = topic(&[(name, text)]);
            assert_eq!(settings.given(name).unwrap().to_string(), shown, "{name}={text}");
            let stored = settings.to_stored();
            let again = TopicSettings::validate(stored.iter().map(|(name, text)| (name, Some(text))));
            assert_eq!(again, Ok(settings), "{name}={text}");
        }
    }

    #[test]
    fn what_apache_kafka_refuses_is_refused() {
        for (name, text, message) in [
            (
                "segment.bytes",
                Some("10"),
                "invalid value \"10\" for segment.bytes: must be at least 1048576 (1 MiB)",
            ),
            (
                "segment.bytes",
                Some("abc"),
                "invalid value \"abc\" for segment.bytes: must be a whole number from -2147483648 to 2147483647",
            ),
            (
                "cleanup.policy",
                Some("foo"),
                "invalid value \"foo\" for cleanup.policy: each element must be one of: compact, delete",
            ),
            (
                "cleanup.policy",
                Some("compact,,delete"),
                "invalid value \"compact,,delete\" for cleanup.policy: must not have empty elements",
            ),
            (
                "compression.type",
                Some("GZIP"),
                "invalid value \"GZIP\" for compression.type: must be one of: uncompressed, zstd, lz4, snappy, \
                 gzip, producer",
            ),
            (
                "message.timestamp.type",
                Some("logappendtime"),
                "invalid value \"logappendtime\" for message.timestamp.type: must be one of: CreateTime, \
                 LogAppendTime",
            ),
            (
                "compression.gzip.level",
                Some("0"),
                "invalid value \"0\" for compression.gzip.level: must be from 1 to 9, or -1",
            ),
            (
                "remote.storage.enable",
                Some("true"),
                "invalid value \"true\" for remote.storage.enable: must be false, there is no tiered storage",
            ),
            ("retention.ms", Some("-2"), "invalid value \"-2\" for retention.ms: must be at least -1"),
            (
                "segment.bytes",
                None,
                "segment.bytes has no value: give one, or leave the setting out for its default",
            ),
            (
                "retention.byte",
                Some("1"),
                "unknown topic setting \"retention.byte\"; did you mean retention.bytes?",
            ),
        ] {
            assert_eq!(refusal(name, text), message);
        }
    }

    #[test]
    fn compaction_lags_must_not_cross() {
        let lags = [("max.compaction.lag.ms", Some("5")), ("min.compaction.lag.ms", Some("10"))];
        assert_eq!(
            TopicSettings::validate(lags).unwrap_err().to_string(),
            "min.compaction.lag.ms (10) must be at most max.compaction.lag.ms (5)",
        );
    }

    #[test]
    fn a_topic_without_settings_is_as_kafkas_defaults_say() {
        let effective = topic(&[]).resolve(&BrokerSettings::default());
        assert_eq!(effective.log_settings(), LogSettings::default());
        assert_eq!(effective.max_message_bytes, 1_048_588);
        assert_eq!(effective.timestamp_type, TimestampType::CreateTime);
        assert_eq!(effective.timestamp_before_max_ms, i64::MAX);
        assert_eq!(effective.timestamp_after_max_ms, 3_600_000);
    }

    #[test]
    fn the_topic_comes_before_the_broker() {
        let broker = broker(&[
            ("log.segment.bytes", "2000000"),
            ("log.retention.bytes", "5000000"),
            ("log.roll.hours", "24"),
            ("log.message.timestamp.type", "LogAppendTime"),
            ("message.max.bytes", "2000"),
        ]);
        let effective =
            topic(&[("segment.bytes", "3000000"), ("max.message.bytes", "3000")]).resolve(&broker);
        assert_eq!(effective.segment_bytes, 3_000_000);
        assert_eq!(effective.max_message_bytes, 3000);
        assert_eq!(effective.retention_bytes, Some(5_000_000));
        assert_eq!(effective.segment_ms, 24 * 3_600_000);
        assert_eq!(effective.timestamp_type, TimestampType::AppendTime);
    }

    #[test]
    fn milliseconds_come_before_hours() {
        let broker = broker(&[("log.roll.ms", "1000"), ("log.roll.hours", "24")]);
        assert_eq!(topic(&[]).resolve(&broker).segment_ms, 1000);
        assert_eq!(topic(&[("segment.ms", "7")]).resolve(&broker).segment_ms, 7);
    }

    #[test]
    fn nothing_is_deleted_without_the_policy_delete() {
        let broker = broker(&[("log.retention.bytes", "5000000")]);
        for (policy, retention) in
            [("compact", None), ("", None), ("delete", Some(5_000_000)), ("compact,delete", Some(5_000_000))]
        {
            let effective = topic(&[("cleanup.policy", policy)]).resolve(&broker);
            assert_eq!(effective.retention_bytes, retention, "{policy}");
        }
    }

    #[test]
    fn a_batch_is_never_larger_than_a_request() {
        let small = broker(&[("memory.budget", "32MiB")]);
        let settings = topic(&[("max.message.bytes", "2147483647")]);
        assert_eq!(settings.resolve(&small).max_message_bytes, 8 << 20);
        assert_eq!(settings.resolve(&BrokerSettings::default()).max_message_bytes, 64 << 20);
    }

    #[test]
    fn every_value_that_is_valid_resolves() {
        for setting in TOPIC {
            for number in [i64::MIN, i32::MIN.into(), -2, -1, 0, 1, 4, 1 << 20, i32::MAX.into(), i64::MAX] {
                if let Ok(settings) = TopicSettings::validate([(setting.name, Some(number.to_string()))]) {
                    settings.resolve(&BrokerSettings::default());
                }
            }
        }
    }
}
