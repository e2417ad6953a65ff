//! Configurations of topics and brokers: what they are.

use ottla_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsSynonym,
};

use super::{
    Admin,
    share::{Shared, ask_all},
    unanswered,
};
use crate::{
    error::{Error, ErrorKind},
    metadata::cluster::Cluster,
};

/// The first version of DescribeConfigs that tells sources and synonyms (KIP-226, Kafka 1.1).
const SOURCES_FROM: i16 = 1;
/// The number of topics among resources.
const TOPIC: i8 = 2;
/// The number of brokers among resources.
const BROKER: i8 = 4;

/// What has a configuration.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ConfigResource {
    /// The topic with this name.
    Topic(String),
    /// The broker with this id, which alone is asked.
    Broker(i32),
    /// What was given for all brokers while they ran (`kafka-configs.sh --entity-default`).
    AllBrokers,
}

impl ConfigResource {
    /// The topic with this name.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::Topic(name.into())
    }

    /// As brokers number and name it.
    pub(super) fn wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (TOPIC, name.clone()),
            Self::Broker(id) => (BROKER, id.to_string()),
            Self::AllBrokers => (BROKER, String::new()),
        }
    }

    /// The broker to ask, another one after each failure where any will do.
    pub(super) fn asked_of(&self, cluster: &Cluster, failures: u32) -> Result<i32, Error> {
        match self {
            Self::Broker(id) => Ok(*id),
            Self::Topic(_) | Self::AllBrokers => {
                let turn = failures as usize % cluster.brokers.len().max(1);
                let nobody = || Error::new(ErrorKind::Retriable, "the cluster has no brokers at the moment");
                cluster.brokers.keys().nth(turn).copied().ok_or_else(nobody)
            }
        }
    }

    /// As errors name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic {name}"),
            Self::Broker(id) => format!("broker {id}"),
            Self::AllBrokers => "all brokers".to_owned(),
        }
    }
}

/// The configuration of a resource.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigDescription {
    /// Its settings, by their names.
    pub entries: Vec<ConfigEntry>,
}

impl ConfigDescription {
    /// The setting with this name, such as `retention.ms`; `None` if the resource has none.
    pub fn get(&self, name: &str) -> Option<&ConfigEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// A setting.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it has none, or where it is a secret.
    pub value: Option<String>,
    /// Where its value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is a secret, such as a password, which brokers tell nobody.
    pub is_sensitive: bool,
    /// What its value could come from, among it the value itself; the first that is there holds (KIP-226). If it is deleted,
    /// the next one does.
    pub synonyms: Vec<ConfigSynonym>,
}

impl ConfigEntry {
    /// Whether nobody has given a value, so that Kafka's own default holds.
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::DefaultConfig
    }
}

/// A setting that the value of another could come from, or that setting itself at another level.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// Its name, as `log.retention.ms` for the `retention.ms` of a topic.
    pub name: String,
    /// Its value; `None` where it has none, or where it is a secret.
    pub value: Option<String>,
    /// Where that value comes from.
    pub source: ConfigSource,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// It was given for the topic.
    DynamicTopicConfig,
    /// It was given for this broker while it ran.
    DynamicBrokerConfig,
    /// It was given for all brokers while they ran.
    DynamicDefaultBrokerConfig,
    /// The broker was started with it.
    StaticBrokerConfig,
    /// Nobody has given one.
    DefaultConfig,
    /// From somewhere that this client does not know.
    Unknown,
}

impl ConfigSource {
    fn numbered(number: i8) -> Self {
        match number {
            1 => Self::DynamicTopicConfig,
            2 => Self::DynamicBrokerConfig,
            3 => Self::DynamicDefaultBrokerConfig,
            4 => Self::StaticBrokerConfig,
            5 => Self::DefaultConfig,
            _ => Self::Unknown,
        }
    }
}

impl Admin {
    /// The configurations of topics and brokers: of each all its settings, or why they are not told, in the order in which
    /// they were named.
    ///
    /// Of [`ConfigResource::AllBrokers`] there are only the settings that were given.
    ///
    /// # Errors
    /// No broker answers in time. A resource's own error does not hold up the others: `UnknownTopic`, or `Timeout` where a
    /// broker that is asked for itself does not answer.
    pub async fn describe_configs(
        &self,
        resources: impl IntoIterator<Item = ConfigResource>,
    ) -> Result<Vec<(ConfigResource, Result<ConfigDescription, Error>)>, Error> {
        let asked = resources.into_iter().map(|resource| (resource, ())).collect();
        ask_all::<DescribeConfigs>(&self.kafka, &[], asked).await
    }
}

struct DescribeConfigs;

impl Shared for DescribeConfigs {
    type Key = ConfigResource;
    type Wanted = ();
    type Request = DescribeConfigsRequest;
    type Told = ConfigDescription;

    const LEAST: i16 = SOURCES_FROM;

    fn broker(cluster: &Cluster, resource: &ConfigResource, failures: u32) -> Result<i32, Error> {
        resource.asked_of(cluster, failures)
    }

    fn request(part: &[(&ConfigResource, &())]) -> DescribeConfigsRequest {
        let resource = |(resource, ()): &(&ConfigResource, &())| {
            let (resource_type, name) = resource.wire();
            DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: None,
                ..DescribeConfigsResource::default()
            }
        };
        DescribeConfigsRequest {
            resources: part.iter().map(resource).collect(),
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        }
    }

    fn told(answer: &DescribeConfigsResponse, resource: &ConfigResource) -> Result<ConfigDescription, Error> {
        let (resource_type, name) = resource.wire();
        let mut told = answer.results.iter();
        let told = told.find(|told| told.resource_type == resource_type && *told.resource_name == *name);
        let told = told.ok_or_else(|| unanswered(&resource.name()))?;
        if !told.error_code.is_none() {
            let doing = format!("describing the configuration of {}", resource.name());
            return Err(Error::refused(told.error_code, &doing, told.error_message.as_deref()));
        }
        let mut entries: Vec<_> = told.configs.iter().map(entry).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ConfigDescription { entries })
    }
}

fn entry(told: &DescribeConfigsResourceResult) -> ConfigEntry {
    let synonym = |told: &DescribeConfigsSynonym| ConfigSynonym {
        name: told.name.to_string(),
        value: told.value.as_ref().map(ToString::to_string),
        source: ConfigSource::numbered(told.source),
    };
    ConfigEntry {
        name: told.name.to_string(),
        value: told.value.as_ref().map(ToString::to_string),
        source: ConfigSource::numbered(told.config_source),
        is_read_only: told.read_only,
        is_sensitive: told.is_sensitive,
        synonyms: told.synonyms.iter().map(synonym).collect(),
    }
}
