//! Configurations of topics and brokers: how they are changed, setting by setting.

use std::collections::BTreeMap;

use ottla_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::{
    Admin,
    configs::ConfigResource,
    share::{Shared, ask_all},
    unanswered,
};
use crate::{
    error::{Error, ErrorKind},
    metadata::cluster::Cluster,
};

/// What to change in the configuration of a topic or of brokers. What is not named stays as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "it is changed by Admin::alter_configs"]
pub struct ConfigChanges {
    resource: ConfigResource,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Change {
    name: String,
    operation: Operation,
    value: Option<String>,
}

/// How a setting is changed, with Kafka's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl ConfigChanges {
    /// No changes yet.
    pub fn of(resource: ConfigResource) -> Self {
        Self { resource, changes: Vec::new() }
    }

    /// Gives a setting a value.
    pub fn set(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(name.into(), Operation::Set, Some(value.into()))
    }

    /// Takes away what was given for a setting, so that its default holds again.
    pub fn delete(self, name: impl Into<String>) -> Self {
        self.with(name.into(), Operation::Delete, None)
    }

    /// Adds elements to a setting that is a list, such as `cleanup.policy`: several with commas between them. What is in
    /// it already is not added again.
    pub fn append(self, name: impl Into<String>, elements: impl Into<String>) -> Self {
        self.with(name.into(), Operation::Append, Some(elements.into()))
    }

    /// Takes elements away from a setting that is a list: several with commas between them.
    pub fn subtract(self, name: impl Into<String>, elements: impl Into<String>) -> Self {
        self.with(name.into(), Operation::Subtract, Some(elements.into()))
    }

    fn with(mut self, name: String, operation: Operation, value: Option<String>) -> Self {
        self.changes.push(Change { name, operation, value });
        self
    }
}

impl Admin {
    /// Changes configurations of topics and brokers, setting by setting (KIP-339): what became of each resource, in the
    /// order in which they were first named. All changes of a resource are made, or none is. One that is given more than
    /// once is changed once, in all that was named for it; brokers refuse two changes of one setting.
    ///
    /// Brokers before Kafka 2.3 can only replace a configuration as a whole, which would undo what somebody else has changed
    /// at the same time, and cannot give back secrets: they are not asked to.
    ///
    /// Dropping the future takes nothing back: configurations may be changed.
    ///
    /// # Errors
    /// No broker answers in time. A resource's own error does not hold up the others: `UnknownTopic`; `UnsupportedVersion`
    /// where its broker is older than Kafka 2.3; `Broker` where a setting does not exist, cannot have the value, or cannot
    /// be changed while the broker runs.
    pub async fn alter_configs(
        &self,
        changes: impl IntoIterator<Item = ConfigChanges>,
    ) -> Result<Vec<(ConfigResource, Result<(), Error>)>, Error> {
        let altered = ask_all::<AlterConfigs>(&self.kafka, &[], joined(changes)).await?.into_iter();
        let explained = altered.map(|(resource, result)| {
            let result = result.map_err(|error| explained(&resource, error));
            (resource, result)
        });
        Ok(explained.collect())
    }
}

/// The changes of each resource together, in the order in which resources were first named.
fn joined(changes: impl IntoIterator<Item = ConfigChanges>) -> Vec<(ConfigResource, Vec<Change>)> {
    let mut joined: Vec<(ConfigResource, Vec<Change>)> = Vec::new();
    let mut places: BTreeMap<ConfigResource, usize> = BTreeMap::new();
    for ConfigChanges { resource, changes } in changes {
        let place = *places.entry(resource.clone()).or_insert_with(|| {
            joined.push((resource, Vec::new()));
            joined.len() - 1
        });
        joined[place].1.extend(changes);
    }
    joined
}

/// Says what is too old for what, where a broker is.
fn explained(resource: &ConfigResource, error: Error) -> Error {
    if error.kind() != ErrorKind::UnsupportedVersion {
        return error;
    }
    let what = format!(
        "changing single settings of {} needs Kafka 2.3 or later; older brokers only replace all settings at once",
        resource.name()
    );
    Error::because(ErrorKind::UnsupportedVersion, what, error)
}

struct AlterConfigs;

impl Shared for AlterConfigs {
    type Key = ConfigResource;
    type Wanted = Vec<Change>;
    type Request = IncrementalAlterConfigsRequest;
    type Told = ();

    const LEAST: i16 = 0;

    fn broker(cluster: &Cluster, resource: &ConfigResource, failures: u32) -> Result<i32, Error> {
        resource.asked_of(cluster, failures)
    }

    fn request(part: &[(&ConfigResource, &Vec<Change>)]) -> IncrementalAlterConfigsRequest {
        let config = |change: &Change| AlterableConfig {
            name: change.name.as_str().into(),
            config_operation: change.operation as i8,
            value: change.value.as_deref().map(Into::into),
            ..AlterableConfig::default()
        };
        let resource = |(resource, changes): &(&ConfigResource, &Vec<Change>)| {
            let (resource_type, name) = resource.wire();
            AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: changes.iter().map(config).collect(),
                ..AlterConfigsResource::default()
            }
        };
        IncrementalAlterConfigsRequest {
            resources: part.iter().map(resource).collect(),
            ..IncrementalAlterConfigsRequest::default()
        }
    }

    fn told(answer: &IncrementalAlterConfigsResponse, resource: &ConfigResource) -> Result<(), Error> {
        let (resource_type, name) = resource.wire();
        let mut told = answer.responses.iter();
        let told = told.find(|told| told.resource_type == resource_type && *told.resource_name == *name);
        let told = told.ok_or_else(|| unanswered(&resource.name()))?;
        if told.error_code.is_none() {
            return Ok(());
        }
        let doing = format!("changing the configuration of {}", resource.name());
        Err(Error::refused(told.error_code, &doing, told.error_message.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_resource_are_made_together() {
        let (orders, broker) = (ConfigResource::topic("orders"), ConfigResource::Broker(1));
        let joined = joined([
            ConfigChanges::of(orders.clone()).set("retention.ms", "1"),
            ConfigChanges::of(broker.clone()).delete("num.io.threads"),
            ConfigChanges::of(orders.clone()).append("cleanup.policy", "compact").subtract("x", "y"),
        ]);
        let told = joined.iter().map(|(resource, changes)| {
            (resource, changes.iter().map(|change| (&*change.name, change.operation)).collect::<Vec<_>>())
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (
                    &orders,
                    vec![
                        ("retention.ms", Operation::Set),
                        ("cleanup.policy", Operation::Append),
                        ("x", Operation::Subtract)
                    ]
                ),
                (&broker, vec![("num.io.threads", Operation::Delete)]),
            ]
        );
    }
}
