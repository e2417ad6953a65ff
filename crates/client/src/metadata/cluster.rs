//! A snapshot of the cluster.

use std::{collections::BTreeMap, sync::Arc};

use ottla_protocol::{
    ErrorCode,
    messages::metadata::{
        MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    },
};

use crate::{
    error::{Error, ErrorKind},
    net::address::Address,
};

/// The cluster at some moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cluster {
    pub(crate) id: Option<String>,
    /// The broker that changes topics; unknown during an election.
    pub(crate) controller: Option<i32>,
    pub(crate) brokers: BTreeMap<i32, Broker>,
    /// The topics that were asked for, or why they cannot be described.
    pub(crate) topics: BTreeMap<Arc<str>, Result<Topic, ErrorCode>>,
}

/// A topic.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Topic {
    /// Its id (KIP-516); zero where brokers have none.
    pub(crate) id: [u8; 16],
    pub(crate) partitions: BTreeMap<i32, Leadership>,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<i32>,
    /// How often it has changed; -1 where brokers do not tell (KIP-320).
    pub(crate) epoch: i32,
}

/// A broker of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Broker {
    pub(crate) address: Address,
    pub(crate) rack: Option<String>,
}

impl Cluster {
    /// What a broker told, where `before` was known before: a broker that is behind does not take back who leads.
    ///
    /// # Errors
    /// It names no broker, as one does that has just begun: another may know more.
    pub(crate) fn told(response: &MetadataResponse, before: Option<&Self>) -> Result<Self, Error> {
        let brokers: BTreeMap<i32, Broker> = response.brokers.iter().filter_map(broker).collect();
        if brokers.is_empty() {
            return Err(Error::new(
                ErrorKind::Retriable,
                "a broker answered that does not know the cluster yet",
            ));
        }
        let controller = Some(response.controller_id).filter(|id| brokers.contains_key(id));
        let topics = response.topics.iter().filter_map(|told| {
            let name: Arc<str> = Arc::from(told.name.as_deref()?);
            let known = before.and_then(|before| before.topics.get(&name)?.as_ref().ok());
            let topic =
                if told.error_code.is_none() { Ok(Topic::told(told, known)) } else { Err(told.error_code) };
            Some((name, topic))
        });
        let (id, topics) = (response.cluster_id.as_ref().map(|id| id.to_string()), topics.collect());
        Ok(Self { id, controller, brokers, topics })
    }

    /// The broker that leads a partition.
    ///
    /// # Errors
    /// `UnknownTopic`, or `Retriable` where nobody leads it at the moment.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Result<i32, Error> {
        let unknown = |why: String| Error::new(ErrorKind::UnknownTopic, why);
        let known = match self.topics.get(topic) {
            Some(Ok(known)) => known,
            Some(Err(code)) => return Err(Error::refused(*code, &format!("describing topic {topic}"), None)),
            None => return Err(unknown(format!("the cluster does not tell of topic {topic}"))),
        };
        let count = known.partitions.len();
        let led = known.partitions.get(&partition).ok_or_else(|| {
            unknown(format!("topic {topic} has {count} partitions, and no partition {partition}"))
        })?;
        led.leader.filter(|leader| self.brokers.contains_key(leader)).ok_or_else(|| {
            let what = format!("no broker leads partition {partition} of topic {topic} at the moment");
            Error::new(ErrorKind::Retriable, what)
        })
    }

    pub(crate) fn addresses(&self) -> BTreeMap<i32, Address> {
        self.brokers.iter().map(|(id, broker)| (*id, broker.address.clone())).collect()
    }
}

impl Topic {
    fn told(told: &MetadataResponseTopic, known: Option<&Self>) -> Self {
        let id = *told.topic_id.as_bytes();
        // One that was created anew has begun to count anew.
        let known = known.filter(|known| known.id == id);
        let newest = |told: &MetadataResponsePartition| {
            let leader = Some(told.leader_id).filter(|id| *id >= 0);
            let told_now = Leadership { leader, epoch: told.leader_epoch };
            let before = known.and_then(|known| known.partitions.get(&told.partition_index)).copied();
            let newest = before.filter(|before| before.epoch > told_now.epoch && told_now.epoch >= 0);
            (told.partition_index, newest.unwrap_or(told_now))
        };
        Self { id, partitions: told.partitions.iter().map(newest).collect() }
    }
}

/// One that can be connected to.
fn broker(told: &MetadataResponseBroker) -> Option<(i32, Broker)> {
    let port = u16::try_from(told.port).ok().filter(|port| *port != 0)?;
    if told.host.is_empty() {
        return None;
    }
    let rack = told.rack.as_ref().map(|rack| rack.to_string());
    Some((told.node_id, Broker { address: Address::new(&*told.host, port), rack }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker_at(node_id: i32, host: &str, port: i32) -> MetadataResponseBroker {
        MetadataResponseBroker { node_id, host: host.into(), port, ..MetadataResponseBroker::default() }
    }

    fn told(brokers: Vec<MetadataResponseBroker>, controller_id: i32) -> Result<Cluster, Error> {
        Cluster::told(&MetadataResponse { brokers, controller_id, ..MetadataResponse::default() }, None)
    }

    /// A snapshot with one partition, which this broker leads in this epoch.
    fn led(before: Option<&Cluster>, id: u8, leader_id: i32, leader_epoch: i32) -> Cluster {
        let partition = MetadataResponsePartition { leader_id, leader_epoch, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some("orders".into()),
            topic_id: [id; 16].into(),
            partitions: vec![partition],
            ..MetadataResponseTopic::default()
        };
        let brokers = vec![broker_at(1, "a", 9092), broker_at(2, "b", 9092)];
        let response = MetadataResponse { brokers, topics: vec![topic], ..MetadataResponse::default() };
        Cluster::told(&response, before).unwrap()
    }

    #[test]
    fn a_broker_that_is_behind_does_not_take_back_who_leads() {
        let newest = led(None, 1, 2, 5);
        for (id, leader, epoch, leads) in
            [(1, 1, 4, 2), (1, 1, 5, 1), (1, 1, 6, 1), (1, 1, -1, 1), (2, 1, 0, 1)]
        {
            assert_eq!(
                led(Some(&newest), id, leader, epoch).leader("orders", 0).unwrap(),
                leads,
                "{id} {epoch}"
            );
        }
    }

    #[test]
    fn what_has_no_leader_says_why() {
        let kind =
            |cluster: &Cluster, topic: &str, partition| cluster.leader(topic, partition).unwrap_err().kind();
        for nobody in [-1, 7] {
            assert_eq!(kind(&led(None, 1, nobody, 0), "orders", 0), ErrorKind::Retriable);
        }
        assert_eq!(kind(&led(None, 1, 1, 0), "orders", 1), ErrorKind::UnknownTopic);
        assert_eq!(kind(&led(None, 1, 1, 0), "events", 0), ErrorKind::UnknownTopic);
    }

    #[test]
    fn brokers_that_cannot_be_connected_to_are_left_out() {
        let brokers = vec![
            broker_at(1, "a", 9092),
            broker_at(2, "b", 0),
            broker_at(3, "", 9092),
            broker_at(4, "c", 70000),
        ];
        let cluster = told(brokers, 1).unwrap();
        assert_eq!(cluster.brokers.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(cluster.controller, Some(1));
        assert_eq!(cluster.addresses()[&1].to_string(), "a:9092");
    }

    #[test]
    fn a_controller_that_is_no_broker_is_unknown() {
        for controller in [-1, 2] {
            assert_eq!(told(vec![broker_at(1, "a", 9092)], controller).unwrap().controller, None);
        }
        assert_eq!(told(vec![], 1).unwrap_err().kind(), ErrorKind::Retriable);
    }
}
