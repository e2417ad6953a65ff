//! How partitions go from one member to another.

use super::*;
use crate::consumer::stored::MemberState::{Stable, UnreleasedPartitions, UnrevokedPartitions};

#[test]
fn a_partition_goes_over_when_its_owner_confirms_that_it_gave_it_up() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    let joined = fixture.accepted(join("b", &["one"]));
    assert_eq!((joined.member_epoch, joined.assignment), (MemberEpoch(2), Some(ones([]))));
    assert_eq!(fixture.state_of("b"), UnreleasedPartitions);
    assert_eq!(fixture.group.state(), GroupState::Reconciling);

    // a is told what it keeps, and stays in its epoch until it has only that.
    let told = fixture.accepted(beat("a", 1));
    assert_eq!((told.member_epoch, told.assignment), (MemberEpoch(1), Some(ones([0, 1, 2]))));
    assert_eq!(fixture.state_of("a"), UnrevokedPartitions);
    for still in [beat("a", 1), owning("a", 1, ones([0, 1, 2, 3, 4, 5])), owning("a", 1, ones([5]))] {
        let waiting = fixture.accepted(still);
        assert_eq!((waiting.member_epoch, waiting.assignment), (MemberEpoch(1), None));
        assert_eq!(fixture.accepted(beat("b", 2)).assignment, None);
    }

    let done = fixture.accepted(owning("a", 1, ones([0, 1, 2])));
    assert_eq!((done.member_epoch, done.assignment), (MemberEpoch(2), None));
    assert_eq!(fixture.state_of("a"), Stable);
    assert_eq!(fixture.accepted(beat("b", 2)).assignment, Some(ones([3, 4, 5])));
    assert_eq!(fixture.group.state(), GroupState::Stable);
}

/// Two members give up one after the other, and the third gets what there is.
#[test]
fn a_member_gets_what_is_free_while_it_waits_for_the_rest() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(join("c", &["one"]));
    for (id, before) in [("a", 0), ("b", 1)] {
        assert_eq!(fixture.assigned("c").len(), before);
        let kept = fixture.accepted(beat(id, 2)).assignment.unwrap();
        fixture.accepted(owning(id, 2, kept));
        assert_eq!(fixture.accepted(beat("c", 3)).assignment.unwrap().len(), before + 1);
    }
    assert_eq!(fixture.state_of("c"), Stable);
    assert_eq!(fixture.group.state(), GroupState::Stable);
}

#[test]
fn what_a_member_that_leaves_had_is_free_at_once() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.accepted(beat("a", 1));
    fixture.accepted(beat("a", -1));
    assert_eq!(fixture.group.epoch(), GroupEpoch(3));
    let all = fixture.accepted(beat("b", 2));
    assert_eq!((all.member_epoch, all.assignment), (MemberEpoch(3), Some(ones([0, 1, 2, 3, 4, 5]))));
}

/// The target changes while a member gives up partitions: it comes to the newest epoch, and gets back what it has
/// just given up for nobody.
#[test]
fn a_member_gets_back_what_it_gave_up_for_nobody() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.accepted(beat("a", 1));
    fixture.accepted(beat("b", -1));
    assert_eq!(fixture.target("a"), ones([0, 1, 2, 3, 4, 5]));
    let waiting = fixture.accepted(beat("a", 1));
    assert_eq!((waiting.member_epoch, waiting.assignment), (MemberEpoch(1), None), "it is asked no more");
    let back = fixture.accepted(owning("a", 1, ones([0, 1, 2])));
    assert_eq!((back.member_epoch, back.assignment), (MemberEpoch(3), Some(ones([0, 1, 2, 3, 4, 5]))));
}

#[test]
fn who_does_not_give_up_in_time_is_expelled() {
    let mut fixture = Fixture::new(ConsumerSettings { session_timeout: s(1000), ..prompt() });
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.pass(s(500));
    fixture.accepted(beat("a", 1));
    fixture.accepted(beat("b", 2));
    assert_eq!(fixture.group.next_deadline(), Some(fixture.now + s(30)));
    fixture.pass(s(29));
    assert!(fixture.is_member("a"));
    fixture.accepted(beat("a", 1));
    fixture.pass(s(1));
    assert!(!fixture.is_member("a"));
    assert_eq!(fixture.accepted(beat("b", 2)).assignment, Some(ones([0, 1, 2, 3, 4, 5])));
    assert_eq!(fixture.refused(beat("a", 1)), Refusal::UnknownMember { member_id: "a".into() });
}

#[test]
fn who_gives_up_in_time_has_no_deadline_but_its_session() {
    let mut fixture = Fixture::new(ConsumerSettings { session_timeout: s(1000), ..prompt() });
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.accepted(beat("a", 1));
    fixture.pass(s(29));
    fixture.accepted(owning("a", 1, ones([0, 1, 2])));
    fixture.pass(s(900));
    assert!(fixture.is_member("a"));
}

#[test]
fn targets_have_their_least_distance() {
    let mut fixture = Fixture::new(ConsumerSettings { assignment_interval: s(10), ..prompt() });
    fixture.accepted(join("a", &["one"]));
    assert_eq!(fixture.group.state(), GroupState::Stable, "the first one does not wait");
    fixture.pass(s(3));
    let joined = fixture.accepted(join("b", &["one"]));
    assert_eq!((joined.member_epoch, joined.assignment), (MemberEpoch(1), Some(ones([]))));
    assert_eq!(fixture.group.state(), GroupState::Assigning);
    fixture.accepted(join("c", &["one"]));
    assert_eq!(fixture.group.epoch(), GroupEpoch(3));
    assert_eq!(fixture.group.next_deadline(), Some(fixture.now + s(7)));
    fixture.pass(s(6));
    assert_eq!(fixture.group.assignment_epoch(), GroupEpoch(1));
    let changes = fixture.pass(s(1));
    assert!(changes.contains(&Change::AssignedPut(GroupEpoch(3))), "one target for both: {changes:?}");
    assert_eq!(fixture.group.state(), GroupState::Reconciling);

    // A group that was empty does not wait either.
    for id in ["a", "b", "c"] {
        fixture.accepted(beat(id, -1));
    }
    fixture.accepted(join("d", &["one"]));
    assert_eq!(fixture.assigned("d").len(), 6);
}

/// A heartbeat that comes before the tick does what the tick would do.
#[test]
fn a_heartbeat_computes_a_target_that_is_due() {
    let mut fixture = Fixture::new(ConsumerSettings { assignment_interval: s(10), ..prompt() });
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(full("a", 1, &["one", "two"], ones([0, 1, 2, 3, 4, 5])));
    fixture.now += s(10);
    assert_eq!(fixture.accepted(beat("a", 1)).member_epoch, MemberEpoch(2));
    assert_eq!(fixture.assigned("a").len(), 10);
}
