//! Who may join, and what of a heartbeat is refused.

use super::*;

/// A heartbeat that joins, with something wrong.
fn wrong(change: impl FnOnce(&mut Heartbeat)) -> Heartbeat {
    let mut heartbeat = join("a", &["one"]);
    change(&mut heartbeat);
    heartbeat
}

#[test]
fn what_is_wrong_with_a_heartbeat_is_told() {
    let cases: Vec<(Heartbeat, Invalid)> = vec![
        (wrong(|beat| beat.member_id = "".into()), Invalid::EmptyMemberId),
        (wrong(|beat| beat.member_id = " ".into()), Invalid::EmptyMemberId),
        (beat("", 5), Invalid::EmptyMemberId),
        (beat("", -1), Invalid::EmptyMemberId),
        (of_instance("i", beat("", -2)), Invalid::EmptyMemberId),
        (wrong(|beat| beat.instance_id = Some("".into())), Invalid::EmptyInstanceId),
        (wrong(|beat| beat.instance_id = Some("\t ".into())), Invalid::EmptyInstanceId),
        (wrong(|beat| beat.rack = Some("".into())), Invalid::EmptyRack),
        (wrong(|beat| beat.rebalance_timeout = None), Invalid::NoRebalanceTimeout),
        (wrong(|beat| beat.owned = None), Invalid::OwnsPartitions),
        (wrong(|beat| beat.owned = Some(ones([0]))), Invalid::OwnsPartitions),
        (wrong(|beat| beat.topics = None), Invalid::NoSubscription),
        (beat("a", -2), Invalid::NoInstanceId),
        (beat("a", -3), Invalid::UnknownEpoch),
        (beat("a", i32::MIN), Invalid::UnknownEpoch),
    ];
    for (heartbeat, reason) in cases {
        let mut fixture = Fixture::new(prompt());
        assert_eq!(fixture.refused(heartbeat.clone()), Refusal::Invalid(reason), "{heartbeat:?}");
        assert_eq!(fixture.group.state(), GroupState::Empty);
    }
}

/// In version 0 the broker makes the member id, but only for a member that joins.
#[test]
fn a_fresh_member_id_is_used_where_none_was_sent() {
    let mut fixture = Fixture::new(prompt());
    let fresh = |id: &str, epoch| Heartbeat {
        fresh_member_id: Some("fresh".into()),
        ..full(id, epoch, &["one"], Assignment::new())
    };
    assert_eq!(fixture.accepted(fresh("", 0)).member_id, MemberId::from("fresh"));
    assert_eq!(fixture.accepted(fresh("own", 0)).member_id, MemberId::from("own"));
    assert_eq!(fixture.refused(fresh("", 1)), Refusal::Invalid(Invalid::EmptyMemberId));
}

#[test]
fn only_assignors_of_the_settings_are_taken() {
    let mut fixture = Fixture::new(ConsumerSettings { assignors: vec![Assignor::Uniform], ..prompt() });
    for assignor in ["range", "sticky", ""] {
        let heartbeat = wrong(|beat| beat.assignor = Some(assignor.into()));
        let supported = vec![Assignor::Uniform];
        assert_eq!(
            fixture.refused(heartbeat),
            Refusal::UnsupportedAssignor { assignor: assignor.into(), supported }
        );
    }
    fixture.accepted(wrong(|beat| beat.assignor = Some("uniform".into())));
}

#[test]
fn a_full_group_takes_those_that_are_in_it() {
    let mut fixture = Fixture::new(ConsumerSettings { max_size: 1, ..prompt() });
    fixture.accepted(join("a", &["one"]));
    assert_eq!(fixture.refused(join("b", &["one"])), Refusal::GroupFull { max_size: 1 });
    assert_eq!(fixture.refused(beat("b", 1)), Refusal::GroupFull { max_size: 1 });
    fixture.accepted(beat("a", 1));
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(beat("a", -1));
    fixture.accepted(join("b", &["one"]));
}

#[test]
fn who_is_not_a_member_must_join() {
    let mut fixture = Fixture::new(prompt());
    for epoch in [1, -1] {
        let unknown = Refusal::UnknownMember { member_id: "a".into() };
        assert_eq!(fixture.refused(beat("a", epoch)), unknown);
    }
    for epoch in [1, -1, -2] {
        let unknown = Refusal::UnknownInstance { instance_id: "i".into() };
        assert_eq!(fixture.refused(of_instance("i", beat("a", epoch))), unknown);
    }
}

#[test]
fn the_first_member_gets_all() {
    let mut fixture = Fixture::new(prompt());
    let accepted = fixture.accepted(join("a", &["one", "two", "absent"]));
    let all: Assignment = (0..6).map(|n| at(1, n)).chain((0..4).map(|n| at(2, n))).collect();
    assert_eq!(accepted.member_epoch, MemberEpoch(1));
    assert_eq!(accepted.heartbeat_interval, s(5));
    assert_eq!(accepted.assignment, Some(all));
    assert_eq!(fixture.group.state(), GroupState::Stable);
}

/// One that subscribes to nothing is a member all the same, and the group leaves epoch 0.
#[test]
fn a_member_may_subscribe_to_nothing() {
    let mut fixture = Fixture::new(prompt());
    let accepted = fixture.accepted(join("a", &[]));
    assert_eq!((accepted.member_epoch, accepted.assignment), (MemberEpoch(1), Some(Assignment::new())));
    let epoch = fixture.accepted(join("b", &[])).member_epoch;
    assert_eq!((epoch, fixture.group.epoch()), (MemberEpoch(1), GroupEpoch(1)));
}

#[test]
fn a_member_that_joins_again_gets_what_it_had() {
    let mut fixture = Fixture::with_two_members(prompt());
    let had = fixture.assigned("a");
    let accepted = fixture.accepted(join("a", &["one"]));
    assert_eq!((accepted.member_epoch, accepted.assignment), (MemberEpoch(2), Some(had)));
    assert_eq!(fixture.group.epoch(), GroupEpoch(2));
}

#[test]
fn a_deleted_group_refuses_all() {
    let mut fixture = Fixture::with_two_members(prompt());
    assert!(fixture.group.delete().is_err());
    fixture.accepted(beat("a", -1));
    fixture.accepted(beat("b", -1));
    let effects = fixture.step(|group, _| group.delete().unwrap());
    assert_eq!(effects.changes, [Change::GroupRemoved]);
    assert_eq!(fixture.group.delete().unwrap(), Effects::default());
    assert_eq!(fixture.stored, Stored::default());
    assert_eq!(fixture.group.state(), GroupState::Dead);
    assert_eq!(fixture.refused(join("a", &["one"])), Refusal::Dead);
    assert_eq!(fixture.refused(beat("a", -1)), Refusal::Dead);
}

#[test]
fn the_assignor_that_most_ask_for_is_taken() {
    let asking =
        |id: &str, assignor: &str| Heartbeat { assignor: Some(assignor.into()), ..join(id, &["one", "two"]) };
    let mut fixture = Fixture::new(prompt());
    assert_eq!(fixture.group.assignor(), Assignor::Uniform);
    fixture.accepted(asking("a", "range"));
    assert_eq!(fixture.group.assignor(), Assignor::Range);
    fixture.accepted(asking("b", "uniform"));
    assert_eq!(fixture.group.assignor(), Assignor::Uniform, "the first of the settings");
    let epoch = fixture.group.epoch();
    fixture.accepted(Heartbeat { assignor: Some("range".into()), ..beat("b", 2) });
    assert_eq!(fixture.group.assignor(), Assignor::Range);
    assert_eq!(fixture.group.epoch(), GroupEpoch(epoch.0 + 1), "another assignor makes another target");
    assert_eq!(
        fixture.target("a"),
        [0, 1, 2].map(|n| at(1, n)).into_iter().chain([0, 1].map(|n| at(2, n))).collect()
    );
    fixture.accepted(beat("a", -1));
    fixture.accepted(beat("b", -1));
    assert_eq!(fixture.group.assignor(), Assignor::Uniform);
}

#[test]
fn refusals_say_what_is_wrong() {
    let cases = [
        (Refusal::Invalid(Invalid::EmptyRack), "the rack must not be empty"),
        (
            Refusal::UnsupportedAssignor { assignor: "x".into(), supported: Assignor::ALL.to_vec() },
            "the assignor x is not supported; these are: uniform, range",
        ),
        (
            Refusal::FencedEpoch { received: MemberEpoch(3), current: MemberEpoch(5) },
            "the member says that it is in epoch 3 but is in 5; it must give up all partitions and join again",
        ),
    ];
    for (refusal, text) in cases {
        assert_eq!(refusal.to_string(), text);
    }
}
