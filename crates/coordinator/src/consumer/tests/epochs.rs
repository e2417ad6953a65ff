//! In which epochs a member may come, and who may commit and fetch offsets in them.

use super::*;

/// A member that went from epoch 1 to 2, and has 0, 1 and 2 of topic 1.
#[test]
fn a_member_may_come_in_its_epoch_or_in_the_one_before_with_what_it_may_have() {
    let fenced =
        |received| Some(Refusal::FencedEpoch { received: MemberEpoch(received), current: MemberEpoch(2) });
    let cases: Vec<(Heartbeat, Option<Refusal>)> = vec![
        (beat("a", 2), None),
        (owning("a", 2, ones([0, 1, 2])), None),
        // Whatever it has: that is looked at only where it matters.
        (owning("a", 2, ones([0, 5])), None),
        (beat("a", 3), fenced(3)),
        (owning("a", 3, ones([])), fenced(3)),
        (owning("a", 1, ones([0, 1, 2])), None),
        (owning("a", 1, ones([1])), None),
        (owning("a", 1, ones([])), None),
        (owning("a", 1, ones([0, 5])), fenced(1)),
        (owning("a", 1, [at(9, 0)].into_iter().collect()), fenced(1)),
        (beat("a", 1), fenced(1)),
        (join("a", &["one"]), None),
    ];
    for (heartbeat, expected) in cases {
        let mut fixture = Fixture::with_two_members(prompt());
        let answer = fixture.send(&heartbeat);
        assert_eq!(answer.as_ref().err(), expected.as_ref(), "{heartbeat:?}");
        if let Ok(accepted) = answer {
            assert_eq!(accepted.member_epoch, MemberEpoch(2));
        }
    }
}

#[test]
fn an_epoch_before_the_previous_one_is_fenced() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(join("c", &["one"]));
    let kept = fixture.accepted(beat("a", 2)).assignment.unwrap();
    fixture.accepted(owning("a", 2, kept.clone()));
    assert_eq!(fixture.epoch_of("a"), 3);
    let fenced = Refusal::FencedEpoch { received: MemberEpoch(1), current: MemberEpoch(3) };
    assert_eq!(fixture.refused(owning("a", 1, kept.clone())), fenced);
    fixture.accepted(owning("a", 2, kept));
}

/// The answer with the new epoch is lost, and so is the one to the heartbeat after it, with which the member got
/// more in the same epoch.
#[test]
fn the_epoch_before_stays_known_while_the_member_stays_in_its_epoch() {
    let mut fixture = Fixture::with_two_members(prompt());
    let had = fixture.assigned("a");
    fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("b", 2) });
    assert_eq!(fixture.accepted(beat("a", 2)).member_epoch, MemberEpoch(3));
    fixture.accepted(owning("b", 2, ones([])));
    for _ in 0..3 {
        let got = fixture.accepted(full("a", 2, &["one"], had.clone()));
        assert_eq!((got.member_epoch, got.assignment), (MemberEpoch(3), Some(ones([0, 1, 2, 3, 4, 5]))));
    }
}

/// What a member got and did not hear of, it is told when it comes in the epoch before.
#[test]
fn a_member_that_missed_an_answer_is_told_again() {
    let mut fixture = Fixture::with_two_members(prompt());
    assert_eq!(fixture.accepted(beat("a", 2)).assignment, None);
    let again = fixture.accepted(owning("a", 1, ones([])));
    assert_eq!(again.assignment, Some(fixture.assigned("a")));
    let full = fixture.accepted(full("a", 2, &["one"], fixture.assigned("a")));
    assert_eq!(full.assignment, Some(fixture.assigned("a")));
}

/// a has 0, 1, 2 since epoch 1, in which it has been; b has 3, 4, 5 since epoch 2.
#[test]
fn offsets_are_committed_by_members_in_the_right_epoch() {
    use CommitVia::{Commit, OldCommit, Transaction};
    let fixture = Fixture::with_two_members(prompt());
    let kept = fixture.assigned("a").iter().next().unwrap();
    let got = fixture.assigned("b").iter().next().unwrap();
    let unknown = |id: &str| Err(OffsetRefusal::UnknownMember { member_id: id.into() });
    let stale = |received| {
        Err(OffsetRefusal::StaleEpoch { received: MemberEpoch(received), current: MemberEpoch(2) })
    };
    let partition = |received| Err(OffsetRefusal::StalePartition { received: MemberEpoch(received) });
    for (id, epoch, via, at, expected) in [
        ("a", 2, Commit, kept, Ok(())),
        // In its own epoch a member is trusted.
        ("a", 2, Commit, got, Ok(())),
        ("a", 2, Transaction, kept, Ok(())),
        ("a", 2, OldCommit, kept, Err(OffsetRefusal::OldVersion)),
        ("a", 3, Commit, kept, stale(3)),
        ("a", 1, Commit, kept, Ok(())),
        ("a", 1, Commit, got, partition(1)),
        ("b", 1, Commit, got, partition(1)),
        ("a", 0, Commit, kept, partition(0)),
        ("a", -1, Commit, kept, partition(-1)),
        ("x", 2, Commit, kept, unknown("x")),
        ("x", 2, OldCommit, kept, unknown("x")),
        ("", -1, Commit, kept, unknown("")),
        ("", -1, Transaction, kept, Ok(())),
    ] {
        let commits = fixture.group.may_commit(&id.into(), None, MemberEpoch(epoch), via);
        let result = commits.and_then(|commits| commits.check(at));
        assert_eq!(result, expected, "{id} in {epoch} via {via:?}");
    }
    // With an instance id, a transaction has a member to check.
    let result = fixture.group.may_commit(&"".into(), Some(&"i".into()), MemberEpoch(-1), Transaction);
    assert_eq!(result.err(), unknown("").err());
}

#[test]
fn what_a_member_is_to_give_up_it_may_still_commit() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.accepted(beat("a", 1));
    assert_eq!(fixture.state_of("a"), MemberState::UnrevokedPartitions);
    let pending = fixture.group.members["a"].current.pending.iter().next().unwrap();
    let commits = |fixture: &Fixture, epoch| {
        let commits = fixture.group.may_commit(&"a".into(), None, MemberEpoch(epoch), CommitVia::Commit);
        commits.and_then(|commits| commits.check(pending))
    };
    assert_eq!(commits(&fixture, 1), Ok(()));
    fixture.accepted(owning("a", 1, fixture.assigned("a")));
    assert_eq!(commits(&fixture, 1), Err(OffsetRefusal::StalePartition { received: MemberEpoch(1) }));
}

#[test]
fn anybody_commits_to_an_empty_group_without_an_epoch() {
    let fixture = Fixture::new(prompt());
    let commit = |id: &str, epoch| {
        fixture.group.may_commit(&id.into(), None, MemberEpoch(epoch), CommitVia::OldCommit).map(drop)
    };
    assert_eq!(commit("", -1), Ok(()));
    assert_eq!(commit("x", -1), Ok(()));
    assert_eq!(commit("x", 1), Err(OffsetRefusal::UnknownMember { member_id: "x".into() }));
}

#[test]
fn offsets_are_fetched_by_members_in_their_epoch_and_by_anybody_without_one() {
    let fixture = Fixture::with_two_members(prompt());
    let unknown = |id: &str| Err(OffsetRefusal::UnknownMember { member_id: id.into() });
    let stale = |received| {
        Err(OffsetRefusal::StaleEpoch { received: MemberEpoch(received), current: MemberEpoch(2) })
    };
    for (id, epoch, expected) in [
        (None, -1, Ok(())),
        (None, 2, unknown("")),
        (Some("a"), 2, Ok(())),
        (Some("a"), 1, stale(1)),
        (Some("a"), 3, stale(3)),
        (Some("a"), -1, stale(-1)),
        (Some("x"), -1, unknown("x")),
    ] {
        let id = id.map(MemberId::from);
        assert_eq!(
            fixture.group.may_fetch_offsets(id.as_ref(), MemberEpoch(epoch)),
            expected,
            "{id:?} {epoch}"
        );
    }
}
