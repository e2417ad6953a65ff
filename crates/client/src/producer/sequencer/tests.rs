//! The sequencer, case by case.

use super::*;

const ME: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(0) };
const LATER: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(1) };

fn number(batch: u64) -> BatchNumber {
    BatchNumber(batch)
}

/// A partition that a record was written to, and to which batches of ten records were given then, numbered from 0.
fn with(batches: u64) -> Sequencer {
    let mut sequencer = Sequencer::default();
    sequencer.push(number(99), 10);
    assert_eq!(sends(&mut sequencer, ME), [(99, 0)]);
    assert_eq!(sequencer.ended(number(99), Attempt::Written), Fate::Delivered);
    (0..batches).for_each(|batch| sequencer.push(number(batch), 10));
    sequencer
}

fn sends(sequencer: &mut Sequencer, identity: Identity) -> Vec<(u64, i32)> {
    let next = || match sequencer.next(identity) {
        Next::Send { batch, identity: under, base_sequence } => {
            assert_eq!(under, identity);
            Some((batch.0, base_sequence))
        }
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn five_are_under_way_and_each_that_is_written_makes_room() {
    let mut sequencer = with(7);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20), (2, 30), (3, 40), (4, 50)]);
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Delivered);
    assert_eq!(sends(&mut sequencer, ME), [(5, 60)]);
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Forgotten);
}

#[test]
fn after_a_failure_they_go_one_at_a_time_with_the_same_sequences() {
    let mut sequencer = with(4);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20), (2, 30), (3, 40)]);
    sequencer.push(number(4), 10);
    assert_eq!(sequencer.ended(number(0), Attempt::Unknown), Fate::Again);
    assert_eq!(sends(&mut sequencer, ME), [], "three are still out");
    for batch in 1..4 {
        assert_eq!(sequencer.ended(number(batch), Attempt::OutOfOrder), Fate::Again);
    }
    for batch in 0..4 {
        assert_eq!(sends(&mut sequencer, ME), [(batch, batch as i32 * 10 + 10)]);
        assert_eq!(sequencer.ended(number(batch), Attempt::Written), Fate::Delivered);
    }
    assert_eq!(sends(&mut sequencer, ME), [(4, 50)]);
}

#[test]
fn what_may_be_written_is_given_up_as_that_and_its_sequences_with_it() {
    let mut sequencer = with(2);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20)]);
    sequencer.push(number(2), 10);
    assert_eq!(sequencer.abandon(number(0)), Some(Written::Maybe));
    assert_eq!(sends(&mut sequencer, ME), [], "the other is still out");
    // It was refused, so it is not written, and goes before what came later.
    assert_eq!(sequencer.ended(number(1), Attempt::OutOfOrder), Fate::Again);
    assert_eq!(sequencer.next(ME), Next::AnotherIdentity);
    // The first goes alone.
    assert_eq!(sends(&mut sequencer, LATER), [(1, 0)]);
    assert_eq!(sequencer.ended(number(1), Attempt::Written), Fate::Delivered);
    assert_eq!(sends(&mut sequencer, LATER), [(2, 10)]);
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Forgotten);
}

#[test]
fn an_attempt_without_an_answer_is_not_made_anew_under_other_sequences() {
    let mut sequencer = with(2);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20)]);
    for batch in 0..2 {
        assert_eq!(sequencer.ended(number(batch), Attempt::Unknown), Fate::Again);
    }
    assert_eq!(sequencer.abandon(number(0)), Some(Written::Maybe));
    assert_eq!(sends(&mut sequencer, ME), [(1, 20)]);
    assert_eq!(sequencer.ended(number(1), Attempt::OutOfOrder), Fate::Failed(Written::Maybe));
    assert!(sequencer.is_idle());
}

#[test]
fn what_was_never_sent_or_only_refused_is_not_written() {
    let mut sequencer = with(3);
    assert_eq!(sequencer.abandon(number(2)), Some(Written::No));
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20)]);
    assert_eq!(sequencer.ended(number(1), Attempt::Refused), Fate::Again);
    assert_eq!(sequencer.abandon(number(1)), Some(Written::No));
    // Nobody has seen its sequences.
    sequencer.push(number(3), 5);
    assert_eq!(sends(&mut sequencer, ME), [], "the other is still out");
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Delivered);
    assert_eq!(sends(&mut sequencer, ME), [(3, 20)]);
    assert_eq!(sequencer.abandon(number(1)), None);
}

#[test]
fn a_gap_before_others_ends_the_sequences() {
    let mut sequencer = with(2);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20)]);
    assert_eq!(sequencer.ended(number(0), Attempt::Failed), Fate::Failed(Written::No));
    assert_eq!(sequencer.ended(number(1), Attempt::OutOfOrder), Fate::Again);
    assert_eq!(sequencer.next(ME), Next::AnotherIdentity);
    assert_eq!(sends(&mut sequencer, LATER), [(1, 0)]);
}

#[test]
fn another_identity_is_taken_when_nothing_is_under_way() {
    let mut sequencer = with(2);
    assert_eq!(sequencer.next(ME), Next::Send { batch: number(0), identity: ME, base_sequence: 10 });
    assert_eq!(sequencer.next(LATER), Next::Nothing);
    assert_eq!(sequencer.ended(number(0), Attempt::Refused), Fate::Again);
    // It keeps what it was sent with.
    assert_eq!(sequencer.next(LATER), Next::Send { batch: number(0), identity: ME, base_sequence: 10 });
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Delivered);
    assert_eq!(sends(&mut sequencer, LATER), [(1, 0)]);
}

#[test]
fn parts_of_a_batch_have_its_sequences() {
    let mut sequencer = with(2);
    assert_eq!(sends(&mut sequencer, ME), [(0, 10), (1, 20)]);
    let parts = [(number(10), 4), (number(11), 6)];
    assert!(!sequencer.split(number(0), &parts), "it is out");
    assert_eq!(sequencer.ended(number(0), Attempt::Refused), Fate::Again);
    assert_eq!(sequencer.ended(number(1), Attempt::OutOfOrder), Fate::Again);
    assert!(!sequencer.split(number(0), &parts[..1]), "records are missing");
    assert!(sequencer.split(number(0), &parts));
    for (batch, base_sequence) in [(10, 10), (11, 14), (1, 20)] {
        assert_eq!(sends(&mut sequencer, ME), [(batch, base_sequence)]);
        assert_eq!(sequencer.ended(number(batch), Attempt::Written), Fate::Delivered);
    }
}

#[test]
fn sequences_never_go_round() {
    let mut sequencer = Sequencer::default();
    sequencer.push(number(0), i32::MAX);
    sequencer.push(number(1), 1);
    assert_eq!(sends(&mut sequencer, ME), [(0, 0)]);
    assert_eq!(sequencer.ended(number(0), Attempt::Written), Fate::Delivered);
    assert_eq!(sequencer.next(ME), Next::AnotherIdentity);
    assert_eq!(sends(&mut sequencer, LATER), [(1, 0)]);
}
