//! Static members (KIP-345) and leaders that need not assign (KIP-814).

use super::*;

/// A stable group of two static members, which are `s` with instance id `i`, the leader, and `t` with `j`.
fn stable() -> Bench {
    let mut bench = Bench::new();
    bench.join_all(vec![new_static("s", "i"), new_static("t", "j")]);
    bench.sync_all(&["s", "t"]);
    bench
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_and_nothing_is_rebalanced() {
    let mut bench = stable();
    let t2 = bench.join(new_static("t2", "j"));
    let joined = bench.joined(t2);
    assert_eq!((joined.member_id, joined.generation), ("t2".into(), Generation(1)));
    assert_eq!(
        (joined.leader, joined.skip_assignment, joined.members),
        (Some("s".into()), false, Vec::new())
    );
    assert_eq!(bench.group.state(), State::Stable);
    let sync = bench.sync("t2", &[]);
    assert_eq!(bench.synced(sync).assignment, text("for t"));
    // It is stored, before it is told so.
    let stored: Vec<_> = bench.stored[1].members.iter().map(|member| member.member_id.as_str()).collect();
    assert_eq!((bench.stored.len(), stored), (2, vec!["s", "t2"]));
    assert_eq!(bench.stored[1].members[1].assignment, text("for t"));
}

#[test]
fn the_one_before_is_fenced() {
    let mut bench = stable();
    bench.join(new_static("t2", "j"));
    let old = Claim { instance_id: Some("j"), ..bench.claim("t") };
    let nameless = bench.claim("t");
    assert_eq!(bench.group.heartbeat(&old, bench.now), Err(Refusal::FencedInstance));
    assert_eq!(bench.group.heartbeat(&nameless, bench.now), Err(Refusal::UnknownMember));
    let sync =
        bench.sync_as(Syncing { claim: old, protocol_type: None, protocol: None, assignments: &[] }, &[]);
    assert_eq!(bench.refused(sync), Refusal::FencedInstance);
    let join = Joining { instance_id: Some("j".into()), ..known("t") };
    assert_eq!(bench.refused_join(join), Refusal::FencedInstance);
    let join = Joining { instance_id: Some("k".into()), ..known("t2") };
    assert_eq!(bench.refused_join(join), Refusal::UnknownMember);
}

#[test]
fn what_the_one_before_waits_for_is_refused() {
    let mut bench = stable();
    let s = bench.join(Joining { instance_id: Some("i".into()), ..known("s") });
    let s2 = bench.join(new_static("s2", "i"));
    assert_eq!(bench.refused(s), Refusal::FencedInstance);
    assert!(bench.waits(s2));
    let t = bench.join(known("t"));
    assert_eq!(bench.joined(s2).members.len(), 2, "it is the leader that the one before was");
    assert_eq!(bench.joined(t).leader, Some("s2".into()));

    let mut bench = Bench::new();
    bench.join_all(vec![new_static("s", "i"), new_static("t", "j")]);
    let t = bench.sync("t", &[]);
    let t2 = bench.join(new_static("t2", "j"));
    assert_eq!(bench.refused(t), Refusal::FencedInstance);
    assert!(bench.waits(t2));
    assert_eq!(bench.group.state(), State::PreparingRebalance, "the leader assigns to the id before");
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::StaticMemberReplaced("t2".into()));
}

#[test]
fn a_leader_that_comes_back_need_not_assign() {
    let mut bench = stable();
    let s2 = bench.join(new_static("s2", "i"));
    let joined = bench.joined(s2);
    assert_eq!((joined.leader, joined.skip_assignment), (Some("s2".into()), true));
    let roster: Vec<_> = joined.members.iter().map(|member| member.instance_id.clone().unwrap()).collect();
    assert_eq!(roster, ["i".into(), "j".into()]);
    // One that could not understand this takes another for the leader.
    let s3 = bench.join(Joining { skips_assignment: false, ..new_static("s3", "i") });
    let joined = bench.joined(s3);
    assert_eq!(
        (joined.leader, joined.skip_assignment, joined.members),
        (Some("s2".into()), false, Vec::new())
    );
    assert_eq!(bench.leader(), "s3");
}

#[test]
fn other_metadata_is_stored_and_rebalances_only_when_the_protocol_changes() {
    let both = |id: &str, own: &[(&str, &str)]| Joining { protocols: protocols(own), ..new_static(id, id) };
    let mut bench = Bench::new();
    bench.join_all(vec![
        both("s", &[("range", "s"), ("sticky", "s")]),
        both("t", &[("range", "t"), ("sticky", "t")]),
    ]);
    bench.sync_all(&["s", "t"]);
    let back = Joining {
        instance_id: Some("t".into()),
        ..both("t2", &[("range", "other topics"), ("sticky", "t")])
    };
    let t2 = bench.join(back);
    assert_eq!(bench.joined(t2).generation, Generation(1));
    assert_eq!(bench.group.describe().members[1].metadata, text("other topics"));
    let t3 = bench.join(Joining { instance_id: Some("t".into()), ..both("t3", &[("sticky", "t")]) });
    assert!(bench.waits(t3));
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::StaticMemberReplaced("t3".into()));
    bench.join(known("s"));
    assert_eq!(
        bench.refused_join(Joining { instance_id: Some("s".into()), ..both("s2", &[("x", "")]) }),
        Refusal::InconsistentProtocol
    );
}

#[test]
fn a_static_member_that_leaves_without_a_word_is_missed_after_its_session() {
    let mut bench = stable();
    bench.pass(SESSION - secs(1));
    let t2 = bench.join(new_static("t2", "j"));
    bench.joined(t2);
    bench.heartbeat("s").unwrap();
    bench.pass(SESSION - secs(1));
    assert_eq!(bench.ids(), ["s", "t2"]);
    bench.pass(secs(1));
    assert_eq!(bench.ids(), [""; 0]);
}

#[test]
fn a_replaced_member_brings_its_own_timeouts() {
    let mut bench = stable();
    bench.join(Joining { session_timeout: secs(100), ..new_static("t2", "j") });
    bench.heartbeat("t2").unwrap();
    for _ in 0..11 {
        bench.pass(SESSION - secs(1));
        let _ = bench.heartbeat("s");
    }
    assert_eq!(bench.ids(), ["s", "t2"]);
    bench.pass(secs(1));
    assert_eq!(bench.ids(), ["s"]);
}

#[test]
fn a_rebalance_waits_for_static_members_and_then_keeps_them() {
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), Joining { session_timeout: secs(200), ..new_static("s", "i") }]);
    bench.sync_all(&["a", "s"]);
    let a = bench.join(known("a"));
    bench.pass(REBALANCE);
    assert_eq!(bench.joined(a).members.len(), 2, "s has not joined, and is not lost");
    let sync = bench.sync("a", &[("s", "for s"), ("a", "for a")]);
    bench.synced(sync);
    // But it has to ask for its assignment.
    for _ in 0..60 {
        bench.pass(secs(1));
        let _ = bench.heartbeat("a");
    }
    assert_eq!(bench.ids(), ["a"]);
}

#[test]
fn a_rebalance_that_nobody_joins_is_tried_again() {
    let slow = |id, instance| Joining { session_timeout: secs(100), ..new_static(id, instance) };
    let mut bench = Bench::new();
    bench.join_all(vec![slow("s", "i"), slow("t", "j"), slow("u", "k")]);
    bench.sync_all(&["s", "t", "u"]);
    bench.leave(&["s"]);
    bench.pass(REBALANCE + secs(1));
    assert_eq!((bench.group.state(), bench.group.generation()), (State::PreparingRebalance, Generation(1)));
    let t = bench.join(known("t"));
    bench.pass(REBALANCE);
    assert_eq!(bench.joined(t).leader, Some("t".into()));

    // Without a rebalance time-out as well, and without a tick that never ends.
    let quick = |id, instance| Joining { rebalance_timeout: Duration::ZERO, ..slow(id, instance) };
    let mut bench = Bench::new();
    let tokens = [quick("s", "i"), quick("t", "j")].map(|joining| bench.join(joining));
    bench.now += DELAY;
    let effects = bench.group.tick(bench.now);
    bench.take(effects);
    assert!(tokens.iter().all(|token| bench.answered.contains(token)));
    bench.pass(secs(1000));
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn a_sync_that_the_one_before_owed_is_owed_by_the_next() {
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), new_static("s", "i")]);
    bench.sync("a", &[("a", "for a"), ("s", "for s")]);
    let s2 = bench.join(new_static("s2", "i"));
    bench.joined(s2);
    let sync = bench.sync("s2", &[]);
    assert_eq!(bench.synced(sync).assignment, text("for s"));
    for _ in 0..100 {
        bench.pass(secs(1));
        for id in ["a", "s2"] {
            assert_eq!(bench.heartbeat(id), Ok(()));
        }
    }

    // And it is expelled if it does not.
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), new_static("s", "i")]);
    bench.sync("a", &[("a", "for a"), ("s", "for s")]);
    bench.join(new_static("s2", "i"));
    for _ in 0..60 {
        assert_eq!(bench.ids(), ["a", "s2"]);
        bench.pass(secs(1));
        for id in ["a", "s2"] {
            let _ = bench.heartbeat(id);
        }
    }
    assert_eq!(bench.ids(), ["a"]);
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::SyncsMissing(1));
}

#[test]
fn static_members_are_not_asked_to_join_with_an_id() {
    let mut bench = Bench::new();
    let token = bench.join(Joining { requires_member_id: true, ..new_static("s", "i") });
    bench.pass(DELAY);
    assert_eq!(bench.joined(token).member_id, "s".into());
}
