//! A snapshot of the cluster.

use std::collections::BTreeMap;

use ottla_protocol::messages::metadata::{MetadataResponse, MetadataResponseBroker};

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
}

/// A broker of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Broker {
    pub(crate) address: Address,
    pub(crate) rack: Option<String>,
}

impl Cluster {
    /// What a broker told.
    ///
    /// # Errors
    /// It names no broker, as one does that has just begun: another may know more.
    pub(crate) fn told(response: &MetadataResponse) -> Result<Self, Error> {
        let brokers: BTreeMap<i32, Broker> = response.brokers.iter().filter_map(broker).collect();
        if brokers.is_empty() {
            return Err(Error::new(
                ErrorKind::Retriable,
                "a broker answered that does not know the cluster yet",
            ));
        }
        let controller = Some(response.controller_id).filter(|id| brokers.contains_key(id));
        Ok(Self { id: response.cluster_id.as_ref().map(|id| id.to_string()), controller, brokers })
    }

    pub(crate) fn addresses(&self) -> BTreeMap<i32, Address> {
        self.brokers.iter().map(|(id, broker)| (*id, broker.address.clone())).collect()
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
        Cluster::told(&MetadataResponse { brokers, controller_id, ..MetadataResponse::default() })
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
