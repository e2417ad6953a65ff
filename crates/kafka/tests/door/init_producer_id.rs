//! InitProducerId, versions 0 to 5.

use std::collections::HashSet;

use ottla_protocol::{
    ErrorCode, Message,
    messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};
use ottla_testing_internal::TestBroker;

use crate::support::Log;

fn outcome(answer: &InitProducerIdResponse) -> (ErrorCode, i64, i16, i32) {
    (answer.error_code, answer.producer_id, answer.producer_epoch, answer.throttle_time_ms)
}

#[test]
fn every_version_gives_each_producer_an_id_of_its_own() {
    let broker = TestBroker::start(&[]);
    let (mut one, mut other) = (broker.client(), broker.client());
    let mut ids = HashSet::new();
    for version in InitProducerIdRequest::VERSIONS {
        for client in [&mut one, &mut other] {
            let answer = client.call(version, &InitProducerIdRequest::default());
            assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
            assert!(answer.producer_id >= 0 && ids.insert(answer.producer_id), "{answer:?}");
        }
    }
}

#[test]
fn ids_are_not_given_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = || {
        let broker = TestBroker::in_directory(dir.path(), &[]);
        broker.client().call(5, &InitProducerIdRequest::default()).producer_id
    };
    let (first, second) = (id(), id());
    assert!(second > first, "{first} {second}");
}

#[test]
fn a_producer_that_tells_its_id_gets_a_new_one() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let first = client.call(5, &InitProducerIdRequest::default());
    for version in 3..=5 {
        let request = InitProducerIdRequest {
            producer_id: first.producer_id,
            producer_epoch: first.producer_epoch,
            ..InitProducerIdRequest::default()
        };
        let answer = client.call(version, &request);
        assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
        assert_ne!(answer.producer_id, first.producer_id);
    }
}

#[test]
fn an_id_without_its_epoch_is_refused() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in 3..=5 {
        for (producer_id, producer_epoch) in [(7, -1), (-1, 7)] {
            let request =
                InitProducerIdRequest { producer_id, producer_epoch, ..InitProducerIdRequest::default() };
            let answer = client.call(version, &request);
            assert_eq!(outcome(&answer), (ErrorCode::INVALID_REQUEST, -1, -1, 0));
        }
    }
}

#[test]
fn transactions_are_refused_and_logged_once() {
    let log = Log::from_now_on();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in InitProducerIdRequest::VERSIONS {
        for name in ["", "shop-1"] {
            let request = InitProducerIdRequest {
                transactional_id: Some(name.into()),
                transaction_timeout_ms: 60_000,
                ..InitProducerIdRequest::default()
            };
            assert_eq!(outcome(&client.call(version, &request)), (ErrorCode::INVALID_REQUEST, -1, -1, 0));
            assert!(!ErrorCode::INVALID_REQUEST.is_retriable());
        }
    }
    let lines = log.lines(&[&client.local_address().to_string(), "transactional"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}
