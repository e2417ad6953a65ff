//! Joins of dynamic members, and how a generation comes about.

use super::*;

fn roster(all: &[(&str, &str)]) -> Vec<RosterEntry> {
    let entry = |(id, metadata): &(&str, &str)| RosterEntry {
        member_id: (*id).into(),
        instance_id: None,
        metadata: text(metadata),
    };
    all.iter().map(entry).collect()
}

#[test]
fn the_first_member_leads_and_is_told_of_all() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(new("a")), bench.join(new("b")));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    bench.pass(DELAY * 2);
    let expected = Joined {
        member_id: "a".into(),
        generation: Generation(1),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        leader: Some("a".into()),
        skip_assignment: false,
        members: roster(&[("a", "a"), ("b", "b")]),
    };
    assert_eq!(bench.joined(a), expected);
    assert_eq!(bench.joined(b), Joined { member_id: "b".into(), members: Vec::new(), ..expected });
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    assert_eq!(bench.stored, [], "nothing is stored before the assignments are there");
}

#[test]
fn session_timeouts_have_bounds() {
    let mut bench = Bench::new();
    for (timeout, is_allowed) in [(5_999, false), (6_000, true), (1_800_000, true), (1_800_001, false)] {
        let timeout = Duration::from_millis(timeout);
        let token = bench.join(Joining { session_timeout: timeout, ..new(&format!("{timeout:?}")) });
        assert_eq!(bench.waits(token), is_allowed, "{timeout:?}");
        if !is_allowed {
            assert_eq!(bench.refused(token), Refusal::InvalidSessionTimeout);
        }
    }
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut bench = Bench::new();
    let a = bench.join(new("a"));
    bench.pass(DELAY - Duration::from_millis(1));
    assert!(bench.waits(a));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.joined(a).generation, Generation(1));

    // Each member that comes makes it wait once more.
    let mut bench = Bench::new();
    let a = bench.join(new("a"));
    bench.pass(secs(2));
    bench.join(new("b"));
    bench.pass(secs(3));
    assert!(bench.waits(a), "b came");
    bench.pass(secs(1));
    assert_eq!(bench.joined(a).members.len(), 2, "nobody came in the last three seconds");

    // Up to the rebalance time-out that the first member had.
    let mut bench = Bench::new();
    let a = bench.join(Joining { rebalance_timeout: secs(7), ..new("a") });
    for second in 0..6 {
        bench.pass(secs(1));
        bench.join(new(&format!("b{second}")));
    }
    assert!(bench.waits(a));
    bench.pass(secs(1));
    assert_eq!(bench.joined(a).members.len(), 7);
}

#[test]
fn without_a_delay_the_first_rebalance_ends_with_the_next_tick() {
    let settings = ClassicSettings { initial_rebalance_delay: Duration::ZERO, ..ClassicSettings::default() };
    let mut bench = Bench::with(settings);
    let a = bench.join(new("a"));
    assert_eq!(bench.group.next_deadline(), Some(bench.now));
    bench.tick();
    assert_eq!(bench.joined(a).generation, Generation(1));
}

#[test]
fn new_members_are_told_their_id_first() {
    let mut bench = Bench::new();
    let asked = Joining { requires_member_id: true, ..new("a") };
    assert_eq!(bench.refused_join(asked.clone()), Refusal::MemberIdRequired("a".into()));
    assert_eq!(bench.group.state(), State::Empty);
    assert!(!bench.group.is_blank());
    let token = bench.join(Joining { requires_member_id: true, ..known("a") });
    bench.pass(DELAY);
    assert_eq!(bench.joined(token).member_id, "a".into());

    // An id that was never given out, or that nobody joined with in time, is unknown.
    let unknown = Joining { requires_member_id: true, ..known("b") };
    assert_eq!(bench.refused_join(unknown.clone()), Refusal::UnknownMember);
    bench.refused_join(Joining { fresh_id: "b".into(), ..asked });
    bench.pass(SESSION);
    assert_eq!(bench.refused_join(unknown), Refusal::UnknownMember);
}

#[test]
fn a_pending_member_is_waited_for() {
    let mut bench = Bench::stable(&["a"]);
    bench.refused_join(Joining { requires_member_id: true, ..new("b") });
    let a = bench.join(known("a"));
    assert!(bench.waits(a), "b is going to join");
    let b = bench.join(known("b"));
    assert_eq!((bench.joined(a).members.len(), bench.joined(b).generation), (2, Generation(2)));

    // For its session time-out, in which it has to join.
    let mut bench = Bench::stable(&["a"]);
    bench.refused_join(Joining { requires_member_id: true, ..new("b") });
    let a = bench.join(known("a"));
    bench.pass(SESSION - secs(1));
    assert!(bench.waits(a));
    bench.pass(secs(1));
    assert_eq!(bench.joined(a).members.len(), 1);
}

#[test]
fn a_pending_member_cannot_be_static() {
    let mut bench = Bench::stable(&["a"]);
    bench.refused_join(Joining { requires_member_id: true, ..new("b") });
    let token = bench.join(Joining { instance_id: Some("i".into()), ..known("b") });
    assert_eq!(bench.refused(token), Refusal::UnknownMember);
}

#[test]
fn ids_are_given_out_up_to_a_limit() {
    let mut bench = Bench::with(ClassicSettings { pending_members_max: 2, ..ClassicSettings::default() });
    let asked = |id: &str| Joining { requires_member_id: true, ..new(id) };
    for id in ["a", "b"] {
        assert_eq!(bench.refused_join(asked(id)), Refusal::MemberIdRequired(id.into()));
    }
    assert_eq!(bench.refused_join(asked("c")), Refusal::TooManyPendingMembers);
    bench.pass(SESSION);
    assert_eq!(bench.refused_join(asked("d")), Refusal::MemberIdRequired("d".into()));
}

#[test]
fn protocols_must_fit() {
    let none = || Joining { protocols: Vec::new(), ..new("b") };
    let other_type = || Joining { protocol_type: "connect".into(), ..new("b") };
    let other_name = || Joining { protocols: protocols(&[("sticky", "")]), ..new("b") };
    let no_type = || Joining { protocol_type: "".into(), ..new("b") };

    let mut bench = Bench::new();
    for joining in [none(), no_type()] {
        assert_eq!(bench.refused_join(joining), Refusal::InconsistentProtocol);
    }
    let mut bench = Bench::stable(&["a"]);
    for joining in [none(), other_type(), other_name(), no_type()] {
        assert_eq!(bench.refused_join(joining), Refusal::InconsistentProtocol);
    }
    let token = bench.join(Joining { protocols: protocols(&[("sticky", "")]), ..known("a") });
    assert_eq!(bench.refused(token), Refusal::InconsistentProtocol);
    assert_eq!(bench.group.state(), State::Stable);

    // An empty group takes any type.
    bench.leave(&["a"]);
    let token = bench.join(other_type());
    bench.pass(DELAY);
    assert_eq!(bench.joined(token).protocol_type.as_deref(), Some("connect"));
}

#[test]
fn the_protocol_is_voted_for_among_those_that_all_support() {
    type Own<'a> = &'a [(&'a str, &'a str)];
    let (r, s, t) = (("range", ""), ("sticky", ""), ("topic", ""));
    let table: [(&[Own<'_>], &str); 5] = [
        (&[&[r, s]], "range"),
        (&[&[r, s], &[s, r], &[s, r]], "sticky"),
        (&[&[t, r, s], &[t, s, r], &[s]], "sticky"),
        (&[&[s, r], &[r, s]], "range"), // one vote each: the first name
        (&[&[s, s, r], &[r, s], &[s, r]], "sticky"), // a name that comes twice counts once
    ];
    for (members, chosen) in table {
        let mut bench = Bench::new();
        let tokens = members.iter().enumerate().map(|(number, own)| {
            bench.join(Joining { protocols: protocols(own), ..new(&number.to_string()) })
        });
        let tokens: Vec<_> = tokens.collect();
        bench.pass(DELAY * 2);
        assert_eq!(bench.joined(tokens[0]).protocol.as_deref(), Some(chosen), "{members:?}");
    }
}

#[test]
fn a_new_member_rebalances_a_stable_group() {
    let mut bench = Bench::stable(&["a", "b"]);
    let c = bench.join(Joining { reason: Some("scaled up".into()), ..new("c") });
    let why = bench.group.last_rebalance().unwrap();
    assert_eq!(
        *why,
        Rebalance { cause: Cause::MemberJoined("c".into()), client_reason: Some("scaled up".into()) }
    );
    assert_eq!(bench.heartbeat("a"), Err(Refusal::RebalanceInProgress));
    let a = bench.join(known("a"));
    assert!(bench.waits(a) && bench.waits(c));
    let b = bench.join(known("b"));
    assert_eq!(bench.joined(a).members.len(), 3);
    assert_eq!((bench.joined(b).generation, bench.joined(c).generation), (Generation(2), Generation(2)));
}

#[test]
fn a_join_that_changes_nothing_rebalances_nothing() {
    let mut bench = Bench::stable(&["a", "b"]);
    let b = bench.join(known("b"));
    let joined = bench.joined(b);
    assert_eq!(
        (joined.generation, joined.leader, joined.members),
        (Generation(1), Some("a".into()), Vec::new())
    );
    assert_eq!(bench.group.state(), State::Stable);

    // It may have missed the answer to its first join, the leader too.
    let mut bench = Bench::completing(&["a", "b"]);
    let (a, b) = (bench.join(known("a")), bench.join(known("b")));
    assert_eq!((bench.joined(a).members.len(), bench.joined(b).members.len()), (2, 0));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
}

#[test]
fn a_changed_member_or_the_leader_rebalances() {
    let changed = |id: &str| Joining { protocols: protocols(&[("range", "other topics")]), ..known(id) };
    let reordered =
        |id: &str| Joining { protocols: protocols(&[("range", id), ("sticky", "")]), ..known(id) };
    let table = [
        (Bench::stable(&["a", "b"]), changed("b"), Cause::MetadataChanged("b".into())),
        (Bench::stable(&["a", "b"]), reordered("b"), Cause::MetadataChanged("b".into())),
        (Bench::stable(&["a", "b"]), known("a"), Cause::LeaderRejoined("a".into())),
        (Bench::completing(&["a", "b"]), changed("b"), Cause::MetadataChanged("b".into())),
    ];
    for (mut bench, joining, cause) in table {
        let token = bench.join(joining);
        assert!(bench.waits(token), "{cause:?}");
        assert_eq!(bench.group.state(), State::PreparingRebalance);
        assert_eq!(bench.group.last_rebalance().unwrap().cause, cause);
    }
    // A leader alone is in the next generation at once.
    let mut bench = Bench::stable(&["a"]);
    let token = bench.join(known("a"));
    assert_eq!(bench.joined(token).generation, Generation(2));
}

#[test]
fn a_join_that_is_sent_again_takes_the_place_of_the_first() {
    let mut bench = Bench::stable(&["a", "b"]);
    let (first, second) = (bench.join(known("a")), bench.join(known("a")));
    assert_eq!(bench.refused(first), Refusal::RebalanceInProgress);
    bench.join(known("b"));
    assert_eq!(bench.joined(second).generation, Generation(2));
}

#[test]
fn who_does_not_join_in_time_is_expelled() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    let b = bench.join(Joining { protocols: protocols(&[("range", "new")]), ..known("b") });
    for _ in 0..59 {
        bench.pass(secs(1));
        for id in ["a", "c"] {
            assert_eq!(bench.heartbeat(id), Err(Refusal::RebalanceInProgress));
        }
    }
    assert!(bench.waits(b));
    bench.pass(secs(1));
    let joined = bench.joined(b);
    assert_eq!((joined.leader, joined.members), (Some("b".into()), roster(&[("b", "new")])));
    assert_eq!(bench.heartbeat("a"), Err(Refusal::UnknownMember));
    assert_eq!(bench.refused_join(known("c")), Refusal::UnknownMember);
}

#[test]
fn the_longest_rebalance_timeout_counts() {
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), Joining { rebalance_timeout: secs(100), ..new("b") }]);
    bench.sync_all(&["a", "b"]);
    let a = bench.join(known("a"));
    for _ in 0..99 {
        bench.pass(secs(1));
        bench.heartbeat("b").unwrap_err();
    }
    assert!(bench.waits(a));
    bench.pass(secs(1));
    assert_eq!(bench.joined(a).members.len(), 1);
}

#[test]
fn the_leader_stays_while_it_joins_and_another_is_chosen_when_it_does_not() {
    let mut bench = Bench::stable(&["b", "a", "c"]);
    assert_eq!(bench.leader(), "b");
    let tokens = ["c", "a", "b"].map(|id| {
        let protocols = protocols(&[("range", "new")]);
        bench.join(Joining { protocols, ..known(id) })
    });
    assert_eq!(bench.joined(tokens[0]).leader, Some("b".into()));
    bench.sync_all(&["a", "b", "c"]);
    bench.leave(&["b"]);
    assert_eq!(bench.leader(), "a");
    let c = bench.join(known("c"));
    bench.pass(REBALANCE);
    assert_eq!(bench.joined(c).leader, Some("c".into()), "a has not joined");
}

#[test]
fn a_group_has_room_for_so_many_members() {
    let settings = ClassicSettings { group_size_max: 2, ..ClassicSettings::default() };
    // While it waits for its first members, those that have joined count.
    let mut bench = Bench::with(settings.clone());
    let a = bench.join(new("a"));
    bench.join(new("b"));
    assert_eq!(bench.refused_join(new("c")), Refusal::GroupMaxSizeReached);
    let a2 = bench.join(known("a"));
    assert_eq!(bench.refused(a), Refusal::RebalanceInProgress);
    bench.pass(DELAY * 2);
    assert_eq!(bench.joined(a2).members.len(), 2);

    // Later its members do, and those that were given an id only do not.
    for join_again in [true, false] {
        assert_eq!(bench.refused_join(new("c")), Refusal::GroupMaxSizeReached);
        if join_again {
            let b = bench.join(known("b"));
            bench.joined(b);
            bench.sync_all(&["a", "b"]);
        }
    }

    // A member that was given its id before the group was full is forgotten.
    let mut bench = Bench::with(settings);
    for id in ["a", "b", "c"] {
        bench.refused_join(Joining { requires_member_id: true, ..new(id) });
    }
    bench.join(known("a"));
    bench.join(known("b"));
    assert_eq!(bench.refused_join(known("c")), Refusal::GroupMaxSizeReached);
    bench.pass(DELAY * 2);
    assert_eq!(bench.refused_join(known("c")), Refusal::GroupMaxSizeReached);
    bench.leave(&["b"]);
    assert_eq!(bench.refused_join(known("c")), Refusal::UnknownMember);
}

#[test]
fn after_the_limit_was_lowered_the_last_to_join_find_no_room() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    bench.group.set_settings(Arc::new(ClassicSettings { group_size_max: 2, ..ClassicSettings::default() }));
    let a = bench.join(known("a"));
    let c = bench.join(known("c"));
    assert_eq!(bench.refused_join(known("b")), Refusal::GroupMaxSizeReached);
    assert_eq!(bench.ids(), ["a", "c"]);
    bench.pass(REBALANCE);
    assert_eq!((bench.joined(a).members.len(), bench.joined(c).generation), (2, Generation(2)));
}

#[test]
fn reasons_are_cut() {
    let mut bench = Bench::stable(&["a"]);
    bench.join(Joining { reason: Some("ä".repeat(1000).into()), ..new("b") });
    let reason = bench.group.last_rebalance().unwrap().client_reason.clone().unwrap();
    assert_eq!(&*reason, "ä".repeat(255));
}

#[test]
fn the_number_after_the_last_generation_is_one() {
    let mut bench = Bench::stable(&["a"]);
    bench.group.generation = Generation(i32::MAX);
    let token = bench.join(known("a"));
    assert_eq!(bench.joined(token).generation, Generation(1));
}
