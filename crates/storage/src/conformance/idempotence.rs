//! The promises towards idempotent producers.

use std::sync::Arc;

use ottla_records::{Offset, ProducerEpoch, Sequence};

use super::harness::{User, batch, batch_of, batches};
use crate::{AppendError, Appended, Log, Storage};

pub(super) async fn idempotence<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    the_last_five_batches_are_known(user, log).await;
    gaps_are_refused(user, log).await;
    a_new_epoch_fences_the_old_one(user, log).await;
    batches_in_flight_are_known_too(user, log).await;
    let mut next = Offset(0);
    for stored in batches(log, 0).await {
        assert_eq!(stored.header().base_offset, next, "what was refused left a gap");
        next = stored.header().next_offset();
    }
    assert_eq!(log.bounds().high_watermark, next);
}

/// Producer 1 writes six batches of two from a sequence that nobody has seen on, and each again.
async fn the_last_five_batches_are_known<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    const FIRST: i32 = 40;
    for i in 0..6 {
        let appended = user.append(log, batch_of((1, 0), FIRST + 2 * i, 2)).await.unwrap();
        assert_eq!((appended.base_offset, appended.duplicate), (Offset(2 * i64::from(i)), false));
    }
    for i in 1..6 {
        let again = user.append(log, batch_of((1, 0), FIRST + 2 * i, 2)).await.unwrap();
        assert_eq!((again.base_offset, again.duplicate), (Offset(2 * i64::from(i)), true));
    }
    assert_out_of_order(user.append(log, batch_of((1, 0), FIRST, 2)).await, FIRST + 12);
    assert_eq!(log.bounds().high_watermark, Offset(12));
    user.append(log, batch_of((1, 0), FIRST + 12, 1)).await.unwrap();
}

async fn gaps_are_refused<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    user.append(log, batch_of((2, 0), 0, 3)).await.unwrap();
    assert_out_of_order(user.append(log, batch_of((2, 0), 4, 1)).await, 3);
    assert_out_of_order(user.append(log, batch_of((2, 0), 1, 3)).await, 3);
    user.append(log, batch("a plain producer is not asked", 1)).await.unwrap();
    let end = log.bounds().high_watermark;
    assert_eq!(user.append(log, batch_of((2, 0), 3, 1)).await.unwrap().base_offset, end);
}

async fn a_new_epoch_fences_the_old_one<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    user.append(log, batch_of((3, 4), 0, 1)).await.unwrap();
    assert_out_of_order(user.append(log, batch_of((3, 5), 1, 1)).await, 0);
    user.append(log, batch_of((3, 5), 0, 1)).await.unwrap();
    let stale =
        AppendError::StaleProducerEpoch { producer: 3, current: ProducerEpoch(5), got: ProducerEpoch(4) };
    assert_eq!(user.append(log, batch_of((3, 4), 1, 1)).await, Err(stale));
    user.append(log, batch_of((3, 5), 1, 1)).await.unwrap();
}

async fn batches_in_flight_are_known_too<S: Storage>(user: &mut User<S>, log: &Arc<S::Log>) {
    let end = log.bounds().high_watermark;
    let tickets: Vec<_> =
        [0, 0, 1, 3, 2].map(|sequence| user.start(log, batch_of((4, 0), sequence, 1))).into();
    let mut answers = Vec::new();
    for ticket in tickets {
        answers.push(user.finish(ticket).await);
    }
    let place = |answer: &Result<Appended, AppendError>| {
        answer.as_ref().ok().map(|appended| (appended.base_offset.0 - end.0, appended.duplicate))
    };
    let places: Vec<_> = answers.iter().map(place).collect();
    assert_eq!(
        places,
        [Some((0, false)), Some((0, true)), Some((1, false)), None, Some((2, false))],
        "{answers:?}"
    );
}

pub(super) fn assert_out_of_order(answer: Result<Appended, AppendError>, wanted: i32) {
    match answer {
        Err(AppendError::OutOfOrderSequence { expected, .. }) => assert_eq!(expected, Sequence(wanted)),
        other => panic!("{other:?} where sequence {wanted} was expected"),
    }
}
