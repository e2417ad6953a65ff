//! Leaving, deletion and closing.

use super::*;

fn leaving<'a>(member_id: &'a str, instance_id: Option<&'a str>) -> Leaving<'a> {
    Leaving { member_id, instance_id, reason: None }
}

#[test]
fn a_member_that_leaves_rebalances_the_others() {
    for mut bench in [Bench::stable(&["a", "b", "c"]), Bench::completing(&["a", "b", "c"])] {
        assert_eq!(bench.leave(&["a"]), [Ok(())]);
        assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::MembersLeft(1));
        assert_eq!(bench.group.state(), State::PreparingRebalance);
        assert_eq!(bench.heartbeat("a"), Err(Refusal::UnknownMember));
        let (b, c) = (bench.join(known("b")), bench.join(known("c")));
        assert_eq!((bench.joined(b).members.len(), bench.joined(c).generation), (2, Generation(2)));
    }
}

#[test]
fn many_leave_at_once_and_each_is_told_what_became_of_it() {
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), new("b"), new_static("s", "i"), new_static("t", "j"), new("last")]);
    bench.refused_join(Joining { requires_member_id: true, ..new("pending") });
    let all = [
        leaving("a", None),
        leaving("a", None),
        leaving("x", None),
        leaving("", None),
        leaving("", Some("i")),
        leaving("", Some("i")),
        leaving("b", Some("j")),
        leaving("t", Some("j")),
        leaving("b", Some("x")),
        Leaving { reason: Some("too slow"), ..leaving("b", None) },
        leaving("pending", None),
        leaving("pending", None),
    ];
    let unknown = || Err(Refusal::UnknownMember);
    let expected = [
        Ok(()),
        unknown(),
        unknown(),
        unknown(),
        Ok(()),
        unknown(),
        Err(Refusal::FencedInstance),
        Ok(()),
        unknown(),
        Ok(()),
        Ok(()),
        unknown(),
    ];
    assert_eq!(bench.leave_as(&all), expected);
    assert_eq!(bench.ids(), ["last"]);
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::MembersLeft(5));
    assert_eq!(bench.leave_as(&[]), []);
}

#[test]
fn the_reason_is_that_of_the_first_that_left() {
    let mut bench = Bench::stable(&["a", "b"]);
    let because = |id, reason| Leaving { reason: Some(reason), ..leaving(id, None) };
    bench.leave_as(&[because("x", "unknown"), because("b", "scaled down")]);
    assert_eq!(bench.group.last_rebalance().unwrap().client_reason.as_deref(), Some("scaled down"));
}

#[test]
fn the_last_to_leave_leaves_an_empty_group_stored() {
    let mut bench = Bench::stable(&["a", "b"]);
    assert_eq!(bench.leave(&["a", "b"]), [Ok(()), Ok(())]);
    assert_eq!((bench.group.state(), bench.group.generation()), (State::Empty, Generation(2)));
    assert_eq!(bench.stored.last().unwrap().members, []);
    assert_eq!(bench.leave(&["a"]), [Err(Refusal::UnknownMember)]);
    assert_eq!(bench.stored.len(), 2);
}

#[test]
fn what_a_leaving_member_waits_for_is_refused() {
    let mut bench = Bench::completing(&["a", "b"]);
    let sync = bench.sync("b", &[]);
    bench.leave(&["b"]);
    assert_eq!(bench.refused(sync), Refusal::UnknownMember);
    let mut bench = Bench::stable(&["a", "b"]);
    let join = bench.join(known("a"));
    bench.leave(&["a"]);
    assert_eq!(bench.refused(join), Refusal::UnknownMember);
}

#[test]
fn a_rebalance_completes_when_the_last_it_waits_for_leaves() {
    let mut bench = Bench::stable(&["a", "b"]);
    let a = bench.join(known("a"));
    bench.leave(&["b"]);
    assert_eq!(bench.joined(a).members.len(), 1);
    // But the wait for the first members goes on.
    let mut bench = Bench::new();
    let a = bench.join(new("a"));
    bench.join(new("b"));
    bench.leave(&["b"]);
    assert!(bench.waits(a));
    bench.leave(&["a"]);
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert_eq!(
        bench.refused_join(Joining { protocol_type: "sr".into(), ..new("c") }),
        Refusal::InconsistentProtocol
    );
    bench.pass(DELAY * 2);
    assert_eq!((bench.group.state(), bench.group.generation()), (State::Empty, Generation(1)));
}

#[test]
fn only_an_empty_group_is_deleted() {
    let mut preparing = Bench::new();
    preparing.join(new("a"));
    for mut bench in [preparing, Bench::completing(&["a"]), Bench::stable(&["a"])] {
        assert_eq!(bench.group.delete(), Err(Refusal::NonEmptyGroup));
    }
    let mut bench = Bench::new();
    bench.refused_join(Joining { requires_member_id: true, ..new("a") });
    assert_eq!(bench.group.delete(), Ok(()));
    assert_eq!(bench.group.delete(), Err(Refusal::GroupNotFound));
    assert_eq!((bench.group.state(), bench.group.next_deadline()), (State::Dead, None));
    for joining in [new("a"), known("a")] {
        assert_eq!(bench.refused_join(joining), Refusal::CoordinatorNotAvailable);
    }
    let sync = bench.sync("a", &[]);
    assert_eq!(bench.refused(sync), Refusal::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat("a"), Err(Refusal::CoordinatorNotAvailable));
    let token = bench.token();
    let effects = bench.group.leave(token, &[leaving("a", None)], bench.now);
    bench.take(effects);
    assert_eq!(bench.refused(token), Refusal::CoordinatorNotAvailable);
}

#[test]
fn a_closed_group_refuses_all_that_wait() {
    let mut preparing = Bench::stable(&["a", "b"]);
    let join = preparing.join(known("a"));
    let mut completing = Bench::completing(&["a", "b"]);
    let sync = completing.sync("b", &[]);
    for (mut bench, token) in [(preparing, join), (completing, sync)] {
        let effects = bench.group.close();
        assert_eq!(effects.changes, []);
        bench.take(effects);
        assert_eq!(bench.refused(token), Refusal::NotCoordinator);
        assert_eq!(bench.refused_join(new("c")), Refusal::CoordinatorNotAvailable);
        assert_eq!(bench.group.next_deadline(), None);
    }
}

#[test]
fn a_group_is_described() {
    let mut bench = Bench::stable(&["a"]);
    let member = |metadata: &str| DescribedMember {
        member_id: "a".into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        metadata: text(metadata),
        assignment: text("for a"),
    };
    let stable = Description {
        state: State::Stable,
        generation: Generation(1),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        leader: Some("a".into()),
        members: vec![member("a")],
    };
    assert_eq!(bench.group.describe(), stable);
    bench.join(known("a"));
    let completing = Description {
        state: State::CompletingRebalance,
        generation: Generation(2),
        protocol: None,
        members: vec![member("")],
        ..stable.clone()
    };
    assert_eq!(bench.group.describe(), completing);
    bench.leave(&["a"]);
    let empty = Description {
        state: State::Empty,
        generation: Generation(3),
        protocol: None,
        leader: None,
        members: Vec::new(),
        ..stable
    };
    assert_eq!(bench.group.describe(), empty);
}
