//! The listing of settings that DescribeConfigs answers with.
//!
//! It was compared with what Apache Kafka 4.3.1 lists, and differs on purpose in one point: where
//! `log.roll.hours` alone was given, Kafka calls the resulting `segment.ms` a default, and this listing says
//! where it comes from.

use super::{
    broker::BrokerSettings,
    table::{Setting, TOPIC},
    topic::{Resolved, TopicSettings, from_broker},
    value::{Kind, Value, Values},
};

/// Where a value comes from, by Kafka's names (KIP-226).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Given for the topic.
    DynamicTopicConfig,
    /// Given for the broker, in its file or flags.
    StaticBrokerConfig,
    /// The default.
    DefaultConfig,
}

/// A setting as a client sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Its value; `None` where there is none, or it must not be shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether it cannot be altered.
    pub read_only: bool,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    /// Its type.
    pub kind: Kind,
    /// What it does.
    pub documentation: &'static str,
    /// All values that were given or are defaults, the one that counts first.
    pub synonyms: Vec<Synonym>,
}

/// One of the values from which a setting gets its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Synonym {
    /// The setting that has the value: this one, or a broker setting that is its default.
    pub name: &'static str,
    /// The value, in that setting's own unit; `None` where it must not be shown.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Lists the settings of a topic, by name, without those that Kafka does not list.
pub fn describe_topic<'a>(
    topic: &'a TopicSettings,
    broker: &'a BrokerSettings,
) -> impl Iterator<Item = Described> + use<'a> {
    TOPIC.iter().filter(|setting| !setting.internal).map(|setting| describe(setting, topic, broker))
}

fn describe(setting: &'static Setting, topic: &TopicSettings, broker: &BrokerSettings) -> Described {
    let source = match (topic.given(setting.name), from_broker(setting, broker)) {
        (Some(_), _) => Source::DynamicTopicConfig,
        (None, Some(_)) => Source::StaticBrokerConfig,
        (None, None) => Source::DefaultConfig,
    };
    let shown = |value: &Value| (!setting.kind.is_sensitive()).then(|| value.to_string());
    Described {
        name: setting.name,
        value: Resolved { topic, broker }.value(setting.name).as_ref().and_then(shown),
        source,
        read_only: false,
        sensitive: setting.kind.is_sensitive(),
        kind: setting.kind,
        documentation: setting.doc,
        synonyms: synonyms(setting, topic, broker, shown),
    }
}

/// What was given for the topic, then for the broker, then the broker setting's default.
fn synonyms(
    setting: &'static Setting,
    topic: &TopicSettings,
    broker: &BrokerSettings,
    shown: impl Fn(&Value) -> Option<String>,
) -> Vec<Synonym> {
    let explicit = topic.given(setting.name).map(|value| (setting.name, shown(value)));
    let given = setting.broker.iter().filter_map(|name| Some((*name, shown(broker.given(name)?))));
    // Of several broker settings, the first one has no default: it is what the next one says.
    let default = match setting.broker {
        [name] => setting.default_value().map(|value| (*name, shown(&value))),
        _ => None,
    };
    let synonym = |source| move |(name, value)| Synonym { name, value, source };
    explicit
        .map(synonym(Source::DynamicTopicConfig))
        .into_iter()
        .chain(given.map(synonym(Source::StaticBrokerConfig)))
        .chain(default.map(synonym(Source::DefaultConfig)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// What Apache Kafka 4.3.1 listed for a topic with the settings of the test below, less the value of
    /// `min.insync.replicas` that its controller sets for the cluster.
    const KAFKA: &str = include_str!("kafka-described-topic.txt");

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

    fn name(source: Source) -> &'static str {
        match source {
            Source::DynamicTopicConfig => "DYNAMIC_TOPIC_CONFIG",
            Source::StaticBrokerConfig => "STATIC_BROKER_CONFIG",
            Source::DefaultConfig => "DEFAULT_CONFIG",
        }
    }

    fn line(it: &Described) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
        let mut line = format!(
            "{} [{}] {} ro={} sens={} {}",
            it.name,
            text(&it.value),
            name(it.source),
            it.read_only,
            it.sensitive,
            it.kind.kafka_name(),
        );
        for synonym in &it.synonyms {
            write!(line, " {{{}:{}={}}}", name(synonym.source), synonym.name, text(&synonym.value)).unwrap();
        }
        line
    }

    #[test]
    fn a_topic_is_listed_as_apache_kafka_lists_it() {
        let topic = topic(&[("segment.ms", "1000"), ("cleanup.policy", "compact")]);
        let broker = broker(&[("log.segment.bytes", "2097152"), ("log.retention.bytes", "5000000")]);
        let ours: Vec<String> = describe_topic(&topic, &broker).map(|it| line(&it)).collect();
        assert_eq!(ours, KAFKA.lines().collect::<Vec<_>>());
    }

    #[test]
    fn hours_are_told_as_hours() {
        let (topic, broker) = (topic(&[]), broker(&[("log.roll.hours", "24")]));
        let listed = describe_topic(&topic, &broker).find(|it| it.name == "segment.ms").unwrap();
        assert_eq!(
            line(&listed),
            "segment.ms [86400000] STATIC_BROKER_CONFIG ro=false sens=false LONG \
             {STATIC_BROKER_CONFIG:log.roll.hours=24}",
        );
    }
}
