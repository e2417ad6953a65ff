//! FindCoordinator, versions 0 to 6.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
};
use ottla_storage::memory::{MemoryOptions, MemoryStorage};
use ottla_testing_internal::{Setup, TestBroker, TestClient};

use crate::support::Log;

/// Asks for one key, and answers in the form of version 4.
fn find(client: &mut TestClient, version: i16, key_type: i8, key: &str) -> Coordinator {
    let mut request = FindCoordinatorRequest { key_type, ..FindCoordinatorRequest::default() };
    if version >= 4 {
        request.coordinator_keys = vec![key.into()];
    } else {
        request.key = key.into();
    }
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    if version >= 4 {
        let [coordinator] = &answer.coordinators[..] else { panic!("{answer:?}") };
        assert_eq!(coordinator.key, *key);
        return coordinator.clone();
    }
    let FindCoordinatorResponse { error_code, error_message, node_id, host, port, .. } = answer;
    Coordinator { key: key.into(), node_id, host, port, error_code, error_message, ..Coordinator::default() }
}

#[test]
fn every_version_finds_this_broker_for_every_group() {
    let broker = TestBroker::start(&["node.id=7"]);
    let mut client = broker.client();
    for version in FindCoordinatorRequest::VERSIONS {
        for group in ["readers", "", "never joined"] {
            let found = find(&mut client, version, 0, group);
            assert_eq!(found.error_code, ErrorCode::NONE, "version {version}");
            let address = (found.node_id, &*found.host, found.port);
            assert_eq!(address, (7, "127.0.0.1", i32::from(broker.address().port())));
        }
    }
}

#[test]
fn the_address_is_the_advertised_one() {
    let setup = Setup { advertise: Some(("broker.example", 9094)), ..Setup::default() };
    let broker = TestBroker::over(MemoryStorage::new(MemoryOptions::default()), &setup);
    for version in [0, 6] {
        let found = find(&mut broker.client(), version, 0, "readers");
        assert_eq!((&*found.host, found.port), ("broker.example", 9094));
    }
}

#[test]
fn several_keys_are_answered_once_each() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in 4..=6 {
        let coordinator_keys: Vec<Str> = ["a", "b", "a", ""].map(Str::from).to_vec();
        let request = FindCoordinatorRequest { coordinator_keys, ..FindCoordinatorRequest::default() };
        let answer = client.call(version, &request);
        let keys: Vec<&str> = answer.coordinators.iter().map(|it| &*it.key).collect();
        assert_eq!(keys, ["a", "b", ""]);
        let none = client.call(version, &FindCoordinatorRequest::default());
        assert!(none.coordinators.is_empty());
    }
}

#[test]
fn what_is_not_there_is_refused_with_the_reason() {
    let log = Log::from_now_on();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in 1..=6 {
        for (key_type, why) in [(1, "transactions"), (2, "share groups"), (3, "key type"), (-1, "key type")] {
            let found = find(&mut client, version, key_type, "shop");
            assert_eq!(found.error_code, ErrorCode::INVALID_REQUEST, "version {version}");
            assert_eq!((found.node_id, &*found.host, found.port), (-1, "", -1));
            assert!(found.error_message.unwrap().contains(why), "version {version}");
        }
    }
    let peer = client.local_address().to_string();
    for what in ["coordinator of transactions", "coordinator of share groups"] {
        assert_eq!(log.lines(&[&peer, what]).len(), 1);
    }
}
