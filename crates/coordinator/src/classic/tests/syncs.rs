//! Syncs: assignments, and members that do not ask for theirs.

use super::*;

#[test]
fn each_gets_what_the_leader_gave_and_the_group_is_stored_first() {
    let mut bench = Bench::completing(&["a", "b", "c"]);
    let b = bench.sync("b", &[("b", "a follower's word counts for nothing")]);
    assert!(bench.waits(b));
    assert_eq!(bench.stored, []);
    let token = bench.token();
    let assignments = [("b", "first"), ("x", "nobody"), ("a", "for a"), ("b", "for b")];
    let assignments = assignments.map(|(id, assignment)| (MemberId::from(id), text(assignment)));
    let claim = bench.claim("a");
    let syncing = Syncing { claim, protocol_type: None, protocol: None, assignments: &assignments };
    let effects = bench.group.sync(token, syncing, bench.now);
    let [Change::Store(stored)] = &effects.changes[..] else { panic!("{effects:?}") };
    let given: Vec<_> =
        stored.members.iter().map(|member| (member.member_id.as_str(), &member.assignment[..])).collect();
    assert_eq!(given, [("a", &b"for a"[..]), ("b", b"for b"), ("c", b"")]);
    assert_eq!(effects.answers.len(), 2, "they come with the change that they wait for");
    bench.take(effects);
    let expected = |assignment: &str| Synced {
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignment: text(assignment),
    };
    assert_eq!((bench.synced(token), bench.synced(b)), (expected("for a"), expected("for b")));
    let c = bench.sync("c", &[]);
    assert_eq!(bench.synced(c), expected(""), "the last of those that come twice, and nothing for others");
}

#[test]
fn a_stable_group_gives_assignments_again() {
    let mut bench = Bench::stable(&["a", "b"]);
    for id in ["a", "b", "b"] {
        let token = bench.sync(id, &[("a", "new"), ("b", "new")]);
        assert_eq!(bench.synced(token).assignment, text(&format!("for {id}")));
    }
    assert_eq!(bench.stored.len(), 1);
}

#[test]
fn what_is_wrong_with_a_sync() {
    let claim =
        |member_id, generation| Claim { member_id, instance_id: None, generation: Generation(generation) };
    let plain = |claim| Syncing { claim, protocol_type: None, protocol: None, assignments: &[] };
    let a = plain(claim("a", 1));
    let table = [
        (a, None),
        (Syncing { protocol_type: Some("consumer"), protocol: Some("range"), ..a }, None),
        (plain(claim("x", 1)), Some(Refusal::UnknownMember)),
        (plain(claim("", 1)), Some(Refusal::UnknownMember)),
        (plain(claim("a", 0)), Some(Refusal::IllegalGeneration)),
        (plain(claim("a", 2)), Some(Refusal::IllegalGeneration)),
        (plain(claim("a", -1)), Some(Refusal::IllegalGeneration)),
        (Syncing { protocol_type: Some("connect"), ..a }, Some(Refusal::InconsistentProtocol)),
        (Syncing { protocol: Some("sticky"), ..a }, Some(Refusal::InconsistentProtocol)),
    ];
    for (syncing, refusal) in table {
        for mut bench in [Bench::completing(&["a"]), Bench::stable(&["a"])] {
            let token = bench.sync_as(syncing, &[]);
            match refusal.clone() {
                None => drop(bench.synced(token)),
                Some(refusal) => assert_eq!(bench.refused(token), refusal, "{syncing:?}"),
            }
        }
        let token = Bench::new().sync_as(syncing, &[]);
        let mut empty = Bench::new();
        assert_eq!(empty.sync_as(syncing, &[]), token);
        assert_eq!(empty.refused(token), Refusal::UnknownMember);
    }
}

#[test]
fn a_rebalance_refuses_the_syncs_that_wait() {
    let mut bench = Bench::completing(&["a", "b"]);
    let b = bench.sync("b", &[]);
    let c = bench.join(new("c"));
    assert_eq!(bench.refused(b), Refusal::RebalanceInProgress);
    let b = bench.sync("b", &[]);
    assert_eq!(bench.refused(b), Refusal::RebalanceInProgress);
    let (a, b) = (bench.join(known("a")), bench.join(known("b")));
    for token in [a, b, c] {
        assert_eq!(bench.joined(token).generation, Generation(2));
    }
    bench.sync_all(&["a", "b", "c"]);
}

#[test]
fn a_rebalance_between_joins_and_assignments_takes_the_old_assignments() {
    let mut bench = Bench::stable(&["a"]);
    let assignment = |bench: &Bench| bench.group.describe().members[0].assignment.clone();
    bench.join(known("a"));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    assert_eq!(assignment(&bench), text("for a"));
    bench.join(new("b"));
    assert_eq!(assignment(&bench), text(""));
}

#[test]
fn a_sync_that_is_sent_again_takes_the_place_of_the_first() {
    let mut bench = Bench::completing(&["a", "b"]);
    let (first, second) = (bench.sync("b", &[]), bench.sync("b", &[]));
    assert_eq!(bench.refused(first), Refusal::RebalanceInProgress);
    bench.sync("a", &[("b", "for b")]);
    assert_eq!(bench.synced(second).assignment, text("for b"));
}

#[test]
fn who_does_not_sync_in_time_is_expelled() {
    // All but one have synced; its heartbeats do not help it.
    let mut bench = Bench::completing(&["a", "b", "c"]);
    let began = bench.now;
    bench.sync("a", &[]);
    bench.sync("b", &[]);
    let until = began + REBALANCE - Duration::from_millis(1);
    while bench.now + secs(1) < until {
        bench.pass(secs(1));
        for id in ["a", "b", "c"] {
            assert_eq!(bench.heartbeat(id), Ok(()));
        }
    }
    bench.pass(until - bench.now);
    assert_eq!(bench.group.state(), State::Stable);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::SyncsMissing(1));
    assert_eq!(bench.heartbeat("c"), Err(Refusal::UnknownMember));

    // It is the leader that has not: the others hear of the rebalance.
    let mut bench = Bench::completing(&["a", "b"]);
    let b = bench.sync("b", &[]);
    for _ in 0..60 {
        bench.pass(secs(1));
        let _ = bench.heartbeat("a");
    }
    assert_eq!(bench.refused(b), Refusal::RebalanceInProgress);
    assert_eq!((bench.ids(), bench.leader()), (vec!["b".to_owned()], "b".to_owned()));
}

#[test]
fn nothing_is_due_for_syncs_once_all_have_come() {
    let mut bench = Bench::stable(&["a"]);
    for _ in 0..100 {
        bench.pass(secs(1));
        assert_eq!(bench.heartbeat("a"), Ok(()));
    }
    assert_eq!((bench.group.state(), bench.group.generation()), (State::Stable, Generation(1)));
}
