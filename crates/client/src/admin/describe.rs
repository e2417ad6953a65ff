//! What a cluster consists of.

use ottla_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{Admin, TopicListing};
use crate::{error::Error, kafka::Whom, metadata::EMPTY_IS_NONE_FROM};

/// A cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// Its id; brokers before 0.10.1 have none.
    pub cluster_id: Option<String>,
    /// The broker that changes topics, if there is one at the moment.
    pub controller: Option<i32>,
    /// Its brokers, by their ids.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub id: i32,
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// Where it stands, by the names that the cluster uses.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id, by which a topic differs from an earlier one of the same name (KIP-516); `None` where brokers have none.
    pub id: Option<[u8; 16]>,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// Its partitions, by their numbers.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, if one does at the moment.
    pub leader: Option<i32>,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// Those of them that have all of it.
    pub in_sync: Vec<i32>,
}

impl Admin {
    /// The cluster and its brokers.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let cluster = self.kafka.refresh(self.kafka.deadline()).await?;
        let brokers = cluster.brokers.iter().map(|(id, broker)| BrokerDescription {
            id: *id,
            address: broker.address.to_string(),
            rack: broker.rack.clone(),
        });
        let brokers = brokers.collect();
        Ok(ClusterDescription { cluster_id: cluster.id.clone(), controller: cluster.controller, brokers })
    }

    /// All topics, by their names.
    ///
    /// # Errors
    /// No broker answers in time, or refuses.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, Error> {
        let answer = self.metadata(None).await?;
        let listing = |topic: MetadataResponseTopic| {
            Some(TopicListing { name: topic.name?.to_string(), is_internal: topic.is_internal })
        };
        let mut topics: Vec<_> = answer.topics.into_iter().filter_map(listing).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// Topics by their names: each with its description, or why there is none, in the order in which they were named.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn describe_topics<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<(String, Result<TopicDescription, Error>)>, Error> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let answer = self.metadata(Some(&names)).await?;
        let described = names.into_iter().map(|name| {
            let told = answer.topics.iter().find(|topic| topic.name.as_deref() == Some(&*name));
            let description = match told {
                Some(topic) if topic.error_code.is_none() => Ok(description(&name, topic)),
                Some(topic) => {
                    Err(Error::refused(topic.error_code, &format!("describing topic {name}"), None))
                }
                None => Err(super::unanswered(&format!("topic {name}"))),
            };
            (name, description)
        });
        Ok(described.collect())
    }

    async fn metadata(&self, names: Option<&[String]>) -> Result<MetadataResponse, Error> {
        let topic =
            |name: &String| MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.kafka.call(Whom::Any, EMPTY_IS_NONE_FROM, &request, self.kafka.deadline(), |_| Ok(())).await
    }
}

fn description(name: &str, topic: &MetadataResponseTopic) -> TopicDescription {
    let partition = |told: &MetadataResponsePartition| PartitionDescription {
        partition: told.partition_index,
        leader: Some(told.leader_id).filter(|id| *id >= 0),
        replicas: told.replica_nodes.clone(),
        in_sync: told.isr_nodes.clone(),
    };
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.partition);
    let id = Some(topic.topic_id).filter(|id| !id.is_zero()).map(|id| *id.as_bytes());
    TopicDescription { name: name.to_owned(), id, is_internal: topic.is_internal, partitions }
}
