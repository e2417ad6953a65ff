//! Sessions, and what they cost.

use super::*;

#[test]
fn a_silent_member_is_expelled_and_the_group_rebalances() {
    let mut bench = Bench::stable(&["a", "b"]);
    for _ in 0..3 {
        bench.pass(SESSION - secs(1));
        assert_eq!((bench.heartbeat("a"), bench.heartbeat("b")), (Ok(()), Ok(())));
    }
    bench.pass(SESSION - secs(1));
    assert_eq!(bench.heartbeat("b"), Ok(()));
    bench.pass(secs(1));
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::SessionEnded("a".into()));
    assert_eq!(
        (bench.heartbeat("a"), bench.heartbeat("b")),
        (Err(Refusal::UnknownMember), Err(Refusal::RebalanceInProgress))
    );
    let b = bench.join(known("b"));
    assert_eq!(bench.joined(b).members.len(), 1);
}

#[test]
fn the_last_member_leaves_an_empty_group() {
    let mut bench = Bench::stable(&["a"]);
    bench.pass(SESSION);
    assert_eq!((bench.group.state(), bench.group.next_deadline()), (State::Empty, None));
    let stored = bench.stored.last().unwrap();
    assert_eq!((stored.generation, stored.members.len()), (Generation(2), 0));
    assert_eq!((&stored.protocol, &stored.leader), (&None, &None));
    assert_eq!(stored.protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn heartbeats_need_the_generation() {
    for (mut bench, outcome) in [
        (Bench::stable(&["a"]), Ok(())),
        (Bench::completing(&["a"]), Ok(())),
        (Bench::new(), Err(Refusal::UnknownMember)),
    ] {
        assert_eq!(bench.heartbeat("a"), outcome);
        let next = Claim { generation: Generation(2), ..bench.claim("a") };
        assert_eq!(bench.group.heartbeat(&next, bench.now), outcome.and(Err(Refusal::IllegalGeneration)));
    }
}

#[test]
fn a_waiting_member_is_not_expelled_for_its_silence() {
    // It waits for a rebalance.
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), Joining { session_timeout: secs(100), ..new("b") }]);
    bench.sync_all(&["a", "b"]);
    let a = bench.join(known("a"));
    bench.pass(REBALANCE - secs(1));
    assert!(bench.waits(a));
    bench.pass(secs(1));
    // It waits for the leader's assignments; b has been expelled.
    assert_eq!(bench.joined(a).members.len(), 1);
    let mut bench = Bench::new();
    bench.join_all(vec![Joining { session_timeout: secs(100), ..new("a") }, new("b")]);
    let b = bench.sync("b", &[]);
    bench.pass(SESSION * 2);
    assert!(bench.waits(b));
    bench.sync("a", &[("b", "for b")]);
    bench.synced(b);
    // From its answer on it has to speak again.
    bench.pass(SESSION - secs(1));
    assert_eq!(bench.ids(), ["a", "b"]);
    bench.pass(secs(1));
    assert_eq!(bench.ids(), ["a"]);
}

#[test]
fn a_new_member_waits_for_five_minutes() {
    let mut bench = Bench::new();
    bench.join_all(vec![Joining { rebalance_timeout: secs(1000), ..new("a") }]);
    bench.sync_all(&["a"]);
    let b = bench.join(new("b"));
    let (mut waited, step) = (Duration::ZERO, secs(5));
    while waited < secs(300) {
        assert!(bench.waits(b), "{waited:?}");
        let _ = bench.heartbeat("a");
        bench.pass(step);
        waited += step;
    }
    assert_eq!(bench.refused(b), Refusal::UnknownMember);
    assert_eq!(bench.ids(), ["a"]);
}

#[test]
fn when_all_that_a_rebalance_waits_for_have_gone_it_completes() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    let a = bench.join(known("a"));
    bench.pass(SESSION - secs(1));
    assert!(bench.waits(a));
    bench.pass(secs(1));
    assert_eq!(bench.joined(a).members.len(), 1);
}

#[test]
fn a_member_that_times_out_ends_even_the_first_wait() {
    let mut bench =
        Bench::with(ClassicSettings { initial_rebalance_delay: secs(60), ..ClassicSettings::default() });
    let a = bench.join(new("a"));
    bench.refused_join(Joining { requires_member_id: true, ..new("b") });
    bench.pass(SESSION);
    assert_eq!(bench.joined(a).generation, Generation(1), "b has gone, and all others have joined");
}

#[test]
fn members_that_ask_for_no_time_do_not_make_a_tick_endless() {
    let quick = |joining| Joining { rebalance_timeout: Duration::ZERO, ..joining };
    let mut bench = Bench::new();
    let tokens = [quick(new_static("a", "i")), quick(new("b"))].map(|joining| bench.join(joining));
    bench.pass(DELAY * 2);
    tokens.into_iter().for_each(|token| drop(bench.joined(token)));
    assert_eq!(bench.group.state(), State::Empty, "they could not sync in no time");
}

#[test]
fn times_at_the_end_of_all_time_are_handled() {
    let settings = ClassicSettings { session_timeout_max: Duration::MAX, ..ClassicSettings::default() };
    let mut bench = Bench::with(settings);
    bench.join(Joining { rebalance_timeout: Duration::MAX, session_timeout: Duration::MAX, ..new("a") });
    bench.pass(DELAY);
    bench.sync("a", &[]);
    assert_eq!(bench.group.state(), State::Stable);
    bench.now = Duration::MAX;
    bench.tick();
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn heartbeats_leave_the_next_deadline_alone() {
    let ids: Vec<_> = (0..100).map(|number| format!("member-{number:03}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let mut bench = Bench::stable(&ids);
    let deadline = bench.group.next_deadline();
    for id in &ids {
        bench.now += Duration::from_millis(10);
        let claim = bench.claim(id);
        assert_eq!(bench.group.heartbeat(&claim, bench.now), Ok(()));
        assert_eq!(bench.group.next_deadline(), deadline);
    }
    // When it comes, it moves on without anybody being expelled.
    bench.now = deadline.unwrap();
    bench.tick();
    assert_eq!(bench.ids().len(), 100);
}

#[test]
fn members_that_come_and_go_leave_nothing_behind() {
    let mut bench = Bench::stable(&["a"]);
    for number in 0..1000 {
        let id = format!("b{number}");
        bench.join(new(&id));
        bench.leave(&[&id]);
        bench.refused_join(Joining { requires_member_id: true, ..new(&id) });
        bench.leave(&[&id]);
    }
    assert!(bench.group.sessions.len() <= 18, "{} entries", bench.group.sessions.len());
}

#[test]
fn a_group_of_two_is_small() {
    let metadata = "x".repeat(200);
    let own = || protocols(&[("range", &metadata), ("cooperative-sticky", &metadata)]);
    let client = |number| Joining {
        client_id: "orders-service-consumer".into(),
        protocols: own(),
        ..new(&format!("orders-service-consumer-1b4e28ba-2fa1-11d2-883f-0016d3cca42{number}"))
    };
    let mut bench = Bench::new();
    bench.join_all(vec![client(1), client(2)]);
    let ids = bench.ids();
    let assignment = "y".repeat(300);
    let assignments: Vec<_> = ids.iter().map(|id| (id.as_str(), assignment.as_str())).collect();
    bench.sync(&ids[1], &[]);
    bench.sync(&ids[0], &assignments);
    let held = bench.group.held_bytes();
    assert!((3000..6 * 1024).contains(&held), "{held} bytes");
}

#[test]
fn a_group_holds_its_own_copies_of_what_comes() {
    let frame = Bytes::from(vec![b'x'; 1 << 20]);
    let mut bench = Bench::new();
    let protocols = vec![Protocol { name: "range".into(), metadata: frame.slice(0..10) }];
    bench.join_all(vec![Joining { protocols, ..new("a") }]);
    let token = bench.token();
    {
        let assignments = [("a".into(), frame.slice(0..10))];
        let claim = bench.claim("a");
        let syncing = Syncing { claim, protocol_type: None, protocol: None, assignments: &assignments };
        let effects = bench.group.sync(token, syncing, bench.now);
        bench.take(effects);
    }
    assert_eq!(bench.synced(token).assignment, frame.slice(0..10));
    assert!(frame.is_unique(), "the group holds the whole frame");
}
