//! Restarts.

use super::*;

#[test]
fn after_a_restart_members_go_on_and_nothing_is_rebalanced() {
    let mut bench = Bench::new();
    bench.join_all(vec![new("a"), new_static("s", "i")]);
    bench.sync_all(&["a", "s"]);
    let before = bench.group.describe();
    let mut bench = bench.restart();
    assert_eq!(bench.group.describe(), before);
    assert_eq!(bench.stored, []);
    bench.pass(SESSION - secs(1));
    for id in ["a", "s"] {
        assert_eq!(bench.heartbeat(id), Ok(()));
        let token = bench.sync(id, &[]);
        assert_eq!(bench.synced(token).assignment, text(&format!("for {id}")));
    }
    let s = bench.join(Joining {
        instance_id: Some("i".into()),
        protocols: protocols(&[("range", "i")]),
        ..known("s")
    });
    assert_eq!(bench.joined(s).generation, Generation(1), "it says what it said before");
    bench.pass(SESSION);
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn a_rebalance_that_was_under_way_is_lost() {
    let mut bench = Bench::stable(&["a", "b"]);
    let tokens = ["a", "b"].map(|id| bench.join(known(id)));
    assert_eq!(tokens.map(|token| bench.joined(token).generation), [Generation(2); 2]);
    let mut bench = bench.restart();
    let newer = Claim { generation: Generation(2), ..bench.claim("a") };
    assert_eq!(bench.group.heartbeat(&newer, bench.now), Err(Refusal::IllegalGeneration));
    let sync =
        bench.sync_as(Syncing { claim: newer, protocol_type: None, protocol: None, assignments: &[] }, &[]);
    assert_eq!(bench.refused(sync), Refusal::IllegalGeneration);
    assert_eq!(bench.group.may_commit(&newer, false, bench.now), Err(Refusal::IllegalGeneration));
    let a = bench.join(known("a"));
    let b = bench.join(known("b"));
    assert_eq!((bench.joined(a).generation, bench.joined(b).leader), (Generation(2), Some("a".into())));
}

#[test]
fn an_empty_group_keeps_its_generation_and_kind() {
    let mut bench = Bench::stable(&["a"]);
    bench.leave(&["a"]);
    let mut bench = bench.restart();
    assert_eq!((bench.group.state(), bench.group.generation()), (State::Empty, Generation(2)));
    assert_eq!(bench.group.protocol_type(), Some("consumer"));
    assert!(!bench.group.is_blank());
    let b = bench.join(new("b"));
    bench.pass(DELAY);
    assert_eq!(bench.joined(b).generation, Generation(3));
}

#[test]
fn all_protocols_are_remembered() {
    let both = |joining| Joining { protocols: protocols(&[("range", "r"), ("sticky", "s")]), ..joining };
    let mut bench = Bench::new();
    bench.join_all(vec![both(new("a")), both(new("b"))]);
    bench.sync_all(&["a", "b"]);
    let mut bench = bench.restart();
    let b = bench.join(both(known("b")));
    assert_eq!(bench.joined(b).generation, Generation(1));
    let c = bench.join(Joining { protocols: protocols(&[("sticky", "s")]), ..new("c") });
    assert!(bench.waits(c), "the others can do with sticky too");
}

#[test]
fn a_group_over_its_limit_joins_anew() {
    let bench = Bench::stable(&["a", "b", "c"]);
    let stored = bench.stored.last().cloned().unwrap();
    let settings = Arc::new(ClassicSettings { group_size_max: 3, ..ClassicSettings::default() });
    let (group, _) = ClassicGroup::restore(stored.clone(), settings, secs(0)).unwrap();
    assert_eq!(group.state(), State::Stable, "it has as many as it may have");
    let settings = Arc::new(ClassicSettings { group_size_max: 2, ..ClassicSettings::default() });
    let (group, effects) = ClassicGroup::restore(stored, settings, secs(0)).unwrap();
    assert_eq!(effects, ClassicEffects::default());
    let mut bench = Bench::over(group, secs(0));
    assert_eq!(bench.group.last_rebalance().unwrap().cause, Cause::OverCapacity);
    assert_eq!(bench.heartbeat("a"), Err(Refusal::RebalanceInProgress));
    let tokens = ["a", "b"].map(|id| bench.join(known(id)));
    assert_eq!(bench.refused_join(known("c")), Refusal::GroupMaxSizeReached);
    bench.pass(REBALANCE);
    assert_eq!(tokens.map(|token| bench.joined(token).generation), [Generation(2); 2]);
}

#[test]
fn what_no_group_has_stored_is_not_restored() {
    let bench = Bench::stable(&["a", "b"]);
    let good = bench.stored.last().cloned().unwrap();
    let spoil = |spoil: &dyn Fn(&mut Stored)| {
        let mut stored = good.clone();
        spoil(&mut stored);
        ClassicGroup::restore(stored, Arc::default(), secs(0)).map(drop)
    };
    assert_eq!(spoil(&|_| ()), Ok(()));
    type Spoil<'a> = &'a dyn Fn(&mut Stored);
    let table: [(Spoil<'_>, InvalidStored); 8] = [
        (&|stored| stored.generation = Generation(-1), InvalidStored::Generation(Generation(-1))),
        (&|stored| stored.protocol = None, InvalidStored::NoProtocol),
        (&|stored| stored.protocol_type = None, InvalidStored::NoProtocol),
        (&|stored| stored.leader = None, InvalidStored::Leader),
        (&|stored| stored.leader = Some("x".into()), InvalidStored::Leader),
        (&|stored| stored.members[1].member_id = "a".into(), InvalidStored::Member("a".into())),
        (
            &|stored| stored.members.iter_mut().for_each(|member| member.instance_id = Some("i".into())),
            InvalidStored::Instance("i".into()),
        ),
        (&|stored| stored.members[1].protocols = Arc::new([]), InvalidStored::Unsupported("b".into())),
    ];
    for (how, expected) in table {
        assert_eq!(spoil(how), Err(expected));
    }
}
