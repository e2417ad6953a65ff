//! Topics that come and go.

use ottla_protocol::{
    ErrorCode,
    messages::{
        create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse},
        delete_topics::{DeleteTopicState, DeleteTopicsRequest},
    },
};

use super::{Admin, BROKER_TIMEOUT_MS, unanswered};
use crate::{
    error::{Error, ErrorKind},
    kafka::Whom,
};

/// The first version of CreateTopics that takes the broker's defaults for partitions and replicas (KIP-464, Kafka 2.4).
const DEFAULTS_FROM: i16 = 4;
/// The number that stands for the broker's default.
const BROKERS_DEFAULT: i16 = -1;
/// The first version of DeleteTopics that takes a list in which topics may be named by id.
const STATES_FROM: i16 = 6;

/// A topic, as a list tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
}

/// A topic to create.
#[derive(Clone, Debug)]
#[must_use = "it is created by Admin::create_topics"]
pub struct NewTopic {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    settings: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's numbers of partitions and replicas. Brokers before 2.4 want both to be given.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication_factor: None, settings: Vec::new() }
    }

    /// With so many partitions.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// With so many replicas of each.
    pub fn replication_factor(mut self, replicas: i16) -> Self {
        self.replication_factor = Some(replicas);
        self
    }

    /// With a setting of its own, such as `retention.ms`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    fn wants_defaults(&self) -> bool {
        self.partitions.is_none() || self.replication_factor.is_none()
    }

    fn creatable(&self) -> CreatableTopic {
        let setting = |(name, value): &(String, String)| CreatableTopicConfig {
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
            ..CreatableTopicConfig::default()
        };
        CreatableTopic {
            name: self.name.as_str().into(),
            num_partitions: self.partitions.unwrap_or(BROKERS_DEFAULT.into()),
            replication_factor: self.replication_factor.unwrap_or(BROKERS_DEFAULT),
            configs: self.settings.iter().map(setting).collect(),
            ..CreatableTopic::default()
        }
    }
}

impl Admin {
    /// Creates topics: what became of each, in the order in which they were given.
    ///
    /// Dropping the future takes nothing back: topics may be created.
    ///
    /// # Errors
    /// The controller does not answer in time. A topic's own error does not hold up the others.
    pub async fn create_topics(
        &self,
        topics: impl IntoIterator<Item = NewTopic>,
    ) -> Result<Vec<(String, Result<(), Error>)>, Error> {
        let topics: Vec<NewTopic> = topics.into_iter().collect();
        let request = CreateTopicsRequest {
            topics: topics.iter().map(NewTopic::creatable).collect(),
            timeout_ms: BROKER_TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let least = if topics.iter().any(NewTopic::wants_defaults) { DEFAULTS_FROM } else { 0 };
        let judge =
            |answer: &CreateTopicsResponse| by_controller(answer.topics.iter().map(|topic| topic.error_code));
        let answer = self.kafka.call(Whom::Controller, least, &request, self.kafka.deadline(), judge).await?;
        let created = topics.into_iter().map(|NewTopic { name, .. }| {
            let told = answer.topics.iter().find(|topic| *topic.name == *name);
            let told = told.map(|told| (told.error_code, told.error_message.as_deref()));
            let result = outcome(&name, "creating", told);
            (name, result)
        });
        Ok(created.collect())
    }

    /// Deletes topics, with all that is in them: what became of each, in the order in which they were named.
    ///
    /// Dropping the future takes nothing back: topics may be deleted.
    ///
    /// # Errors
    /// The controller does not answer in time. A topic's own error does not hold up the others.
    pub async fn delete_topics<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<(String, Result<(), Error>)>, Error> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let state =
            |name: &String| DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
        // Each version takes the one or the other.
        let old = DeleteTopicsRequest {
            topic_names: names.iter().map(|name| name.as_str().into()).collect(),
            timeout_ms: BROKER_TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let new = DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            timeout_ms: BROKER_TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let answer = self
            .kafka
            .call_with(
                Whom::Controller,
                0,
                |version| if version < STATES_FROM { old.clone() } else { new.clone() },
                self.kafka.deadline(),
                |answer| by_controller(answer.responses.iter().map(|topic| topic.error_code)),
            )
            .await?;
        let deleted = names.into_iter().map(|name| {
            let told = answer.responses.iter().find(|topic| topic.name.as_deref() == Some(&*name));
            let told = told.map(|told| (told.error_code, told.error_message.as_deref()));
            let result = outcome(&name, "deleting", told);
            (name, result)
        });
        Ok(deleted.collect())
    }
}

/// Whether the broker that answered was the controller: if not, another is asked.
pub(super) fn by_controller(codes: impl IntoIterator<Item = ErrorCode>) -> Result<(), Error> {
    match codes.into_iter().any(|code| code == ErrorCode::NOT_CONTROLLER) {
        true => Err(Error::new(ErrorKind::Retriable, "another broker has become the controller")),
        false => Ok(()),
    }
}

/// What a broker told of a topic, with its reason, if it told anything.
pub(super) fn outcome(name: &str, doing: &str, told: Option<(ErrorCode, Option<&str>)>) -> Result<(), Error> {
    match told {
        Some((ErrorCode::NONE, _)) => Ok(()),
        Some((code, reason)) => Err(Error::refused(code, &format!("{doing} topic {name}"), reason)),
        None => Err(unanswered(&format!("topic {name}"))),
    }
}
