//! Who may commit offsets.

use super::*;

/// Makes a commit to a group and says what came of it.
fn commit(
    bench: &mut Bench,
    member_id: &str,
    instance_id: Option<&str>,
    generation: i32,
) -> Result<(), Refusal> {
    let claim = Claim { member_id, instance_id, generation: Generation(generation) };
    let outcome = bench.group.may_commit(&claim, false, bench.now);
    bench.group.check();
    outcome
}

#[test]
fn commits_are_checked() {
    use Refusal::{FencedInstance, IllegalGeneration, RebalanceInProgress, UnknownMember};
    type Case<'a> = (&'a str, Option<&'a str>, i32, [Result<(), Refusal>; 4]);
    let all = |refusal: Refusal| [(); 3].map(|()| Err(refusal.clone()));
    let [unknown, illegal, fenced] = [UnknownMember, IllegalGeneration, FencedInstance].map(all);
    let after_empty = |empty: Result<(), Refusal>, [a, b, c]: [Result<(), Refusal>; 3]| [empty, a, b, c];
    // What comes of each in an empty group, and in one that prepares, completes a rebalance, or is stable.
    let table: [Case<'_>; 12] = [
        ("", None, -1, after_empty(Ok(()), unknown.clone())),
        ("", None, 1, after_empty(Err(UnknownMember), unknown.clone())),
        ("x", None, -1, after_empty(Ok(()), unknown.clone())),
        ("x", None, 1, after_empty(Err(UnknownMember), unknown.clone())),
        ("a", None, 1, [Err(UnknownMember), Ok(()), Err(RebalanceInProgress), Ok(())]),
        ("a", None, 0, after_empty(Err(UnknownMember), illegal.clone())),
        ("a", None, 2, after_empty(Err(UnknownMember), illegal.clone())),
        ("a", None, -1, after_empty(Ok(()), illegal)),
        ("s", Some("i"), 1, [Err(UnknownMember), Ok(()), Err(RebalanceInProgress), Ok(())]),
        ("a", Some("i"), 1, after_empty(Err(UnknownMember), fenced.clone())),
        ("", Some("i"), -1, after_empty(Ok(()), fenced)),
        ("s", Some("j"), 1, after_empty(Err(UnknownMember), unknown)),
    ];
    for (member, instance, generation, expected) in table {
        let completing = || {
            let mut bench = Bench::new();
            bench.join_all(vec![new("a"), new_static("s", "i")]);
            bench
        };
        let stable = || {
            let mut bench = completing();
            bench.sync_all(&["a", "s"]);
            bench
        };
        let preparing = || {
            let mut bench = stable();
            bench.join(new("c"));
            bench
        };
        let groups = [Bench::new(), preparing(), completing(), stable()];
        for (mut bench, expected) in groups.into_iter().zip(expected) {
            let state = bench.group.state();
            let outcome = commit(&mut bench, member, instance, generation);
            assert_eq!(outcome, expected, "{member:?} {instance:?} {generation} in {state}");
        }
    }
}

#[test]
fn commits_in_transactions_go_by_other_rules() {
    let table = [
        ("", -1, Ok(()), Ok(())),
        ("a", 1, Err(Refusal::UnknownMember), Ok(())),
        ("a", 0, Err(Refusal::UnknownMember), Err(Refusal::IllegalGeneration)),
        ("x", -1, Ok(()), Err(Refusal::UnknownMember)),
    ];
    for (member_id, generation, empty, other) in table {
        let claim = Claim { member_id, instance_id: None, generation: Generation(generation) };
        assert_eq!(Bench::new().group.may_commit(&claim, true, secs(1)), empty, "{claim:?}");
        for mut bench in [Bench::completing(&["a"]), Bench::stable(&["a"])] {
            assert_eq!(bench.group.may_commit(&claim, true, bench.now), other, "{claim:?}");
        }
    }
    // They are no heartbeats.
    let mut bench = Bench::stable(&["a"]);
    bench.pass(SESSION - secs(1));
    let claim = bench.claim("a");
    assert_eq!(bench.group.may_commit(&claim, true, bench.now), Ok(()));
    bench.pass(secs(1));
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let mut bench = Bench::stable(&["a", "b"]);
    for round in 0..5 {
        bench.pass(SESSION - secs(1));
        assert_eq!(commit(&mut bench, "a", None, 1), Ok(()), "{round}");
        if round == 0 {
            // b is expelled later, and a goes on committing in the rebalance.
            assert_eq!(bench.group.state(), State::Stable);
        }
    }
    assert_eq!((bench.ids(), bench.group.state()), (vec!["a".to_owned()], State::PreparingRebalance));
}

#[test]
fn a_dead_group_takes_no_commits() {
    let mut bench = Bench::new();
    bench.group.delete().unwrap();
    assert_eq!(commit(&mut bench, "", None, -1), Err(Refusal::CoordinatorNotAvailable));
}
