//! Members that go, and static members that come back.

use super::*;

/// Static members a and b of instances i and j, which have reached the target.
fn with_static_members() -> Fixture {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(of_instance("i", join("a", &["one"])));
    fixture.accepted(of_instance("j", join("b", &["one"])));
    let kept = fixture.accepted(of_instance("i", beat("a", 1))).assignment.unwrap();
    fixture.accepted(of_instance("i", owning("a", 1, kept)));
    fixture.accepted(of_instance("j", beat("b", 2)));
    assert_eq!(fixture.group.state(), GroupState::Stable);
    fixture
}

#[test]
fn a_session_ends_when_it_is_not_renewed() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.pass(s(44));
    fixture.accepted(beat("a", 2));
    assert_eq!(fixture.pass(s(1)).first(), Some(&Change::MemberRemoved("b".into())));
    assert_eq!(fixture.group.epoch(), GroupEpoch(3));
    assert_eq!(fixture.target("a").len(), 6, "at once, without a heartbeat");
    fixture.pass(s(43));
    assert!(fixture.is_member("a"));
    fixture.pass(s(1));
    assert_eq!(fixture.group.state(), GroupState::Empty);
    assert_eq!(fixture.group.next_deadline(), None);
}

/// Also one that is refused for its epoch does not renew its session.
#[test]
fn a_refused_heartbeat_renews_nothing() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.pass(s(44));
    fixture.refused(beat("a", 7));
    fixture.pass(s(1));
    assert_eq!(fixture.group.state(), GroupState::Empty);
}

#[test]
fn who_leaves_is_told_so() {
    let mut fixture = Fixture::with_two_members(prompt());
    let left = fixture.accepted(beat("a", -1));
    let expected = Accepted {
        member_id: "a".into(),
        member_epoch: MemberEpoch(-1),
        heartbeat_interval: Duration::ZERO,
        assignment: None,
    };
    assert_eq!(left, expected);
    assert!(!fixture.is_member("a"));
}

#[test]
fn a_static_member_that_leaves_for_now_keeps_its_place() {
    let mut fixture = with_static_members();
    let had = fixture.assigned("a");
    let left = fixture.accepted(of_instance("i", beat("a", -2)));
    assert_eq!(left.member_epoch, MemberEpoch(-2));
    assert_eq!(fixture.group.epoch(), GroupEpoch(2), "nothing is assigned anew");
    assert_eq!(fixture.changes(of_instance("i", beat("a", -2))), [], "it is away already");
    assert_eq!(
        fixture.refused(of_instance("i", beat("a", 2))),
        Refusal::FencedEpoch { received: MemberEpoch(2), current: MemberEpoch(-2) }
    );

    let back = fixture.accepted(of_instance("i", join("a2", &["one"])));
    assert_eq!((back.member_epoch, back.assignment), (MemberEpoch(2), Some(had)));
    assert_eq!(fixture.group.epoch(), GroupEpoch(2));
    assert!(!fixture.is_member("a"));
    assert_eq!(fixture.group.state(), GroupState::Stable);
}

#[test]
fn a_static_member_may_come_back_under_its_own_id_and_with_another_subscription() {
    let mut fixture = with_static_members();
    fixture.accepted(of_instance("i", beat("a", -2)));
    let back = fixture.accepted(of_instance("i", join("a", &["two"])));
    assert_eq!(back.member_epoch, MemberEpoch(3));
    assert_eq!(back.assignment, Some((0..4).map(|n| at(2, n)).collect()));
    let took = fixture.accepted(of_instance("j", beat("b", 2)));
    assert_eq!(took.assignment, Some(ones([0, 1, 2, 3, 4, 5])));
}

#[test]
fn a_static_member_that_does_not_come_back_goes_when_its_session_ends() {
    let mut fixture = with_static_members();
    fixture.pass(s(10));
    fixture.accepted(of_instance("i", beat("a", -2)));
    fixture.accepted(of_instance("j", beat("b", 2)));
    fixture.pass(s(34));
    assert!(fixture.is_member("a"));
    fixture.pass(s(1));
    assert!(!fixture.is_member("a"), "leaving for now has not renewed the session");
    assert_eq!(fixture.accepted(of_instance("i", join("a2", &["one"]))).member_epoch, MemberEpoch(4));
}

#[test]
fn an_instance_belongs_to_one_member() {
    let mut fixture = with_static_members();
    let instance = InstanceId::from("i");
    let unreleased =
        |owner: &str| Refusal::UnreleasedInstance { instance_id: instance.clone(), owner: owner.into() };
    let fenced = Refusal::FencedInstance { instance_id: instance.clone(), owner: "a".into() };
    assert_eq!(fixture.refused(of_instance("i", join("x", &["one"]))), unreleased("a"));
    assert_eq!(fixture.refused(of_instance("i", join("a", &["one"]))), unreleased("a"));
    for epoch in [2, -1, -2] {
        assert_eq!(fixture.refused(of_instance("i", beat("x", epoch))), fenced);
    }
    fixture.accepted(of_instance("i", beat("a", -2)));
    fixture.accepted(of_instance("i", join("a2", &["one"])));
    assert_eq!(fixture.refused(of_instance("i", join("a", &["one"]))), unreleased("a2"));
    let fenced = Refusal::FencedInstance { instance_id: instance, owner: "a2".into() };
    assert_eq!(fixture.refused(of_instance("i", beat("a", 2))), fenced);
}

#[test]
fn a_member_keeps_its_instance_id() {
    let mut fixture = with_static_members();
    fixture.accepted(join("c", &["one"]));
    fixture.accepted(of_instance("i", beat("a", -2)));
    let other = Refusal::Invalid(Invalid::OtherInstanceId);
    for (instance, id) in [("k", "c"), ("i", "c"), ("i", "b"), ("k", "b")] {
        assert_eq!(fixture.refused(of_instance(instance, join(id, &["one"]))), other, "{instance} {id}");
    }
    // Without one it is still the member that it was.
    fixture.accepted(join("b", &["one"]));
    assert_eq!(fixture.group.members["b"].row.instance_id, Some("j".into()));
}

#[test]
fn a_static_member_leaves_for_good_as_others_do() {
    for heartbeat in [of_instance("i", beat("a", -1)), beat("a", -1)] {
        let mut fixture = with_static_members();
        fixture.accepted(heartbeat);
        assert!(!fixture.is_member("a"));
        fixture.accepted(of_instance("i", join("x", &["one"])));
    }
}

/// What it was to give up is free when it leaves, and it does not come back to it.
#[test]
fn a_static_member_that_leaves_while_it_gives_up_frees_that() {
    let mut fixture = with_static_members();
    fixture.accepted(join("c", &["one"]));
    fixture.accepted(of_instance("i", beat("a", 2)));
    assert_eq!(fixture.state_of("a"), MemberState::UnrevokedPartitions);
    fixture.accepted(of_instance("i", beat("a", -2)));
    assert_eq!(fixture.accepted(beat("c", 3)).assignment.unwrap().len(), 1);
    fixture.pass(s(31));
    assert!(fixture.is_member("a"), "it has nothing to give up any more");
    let back = fixture.accepted(of_instance("i", join("a2", &["one"])));
    assert_eq!((back.member_epoch, back.assignment.unwrap().len()), (MemberEpoch(3), 2));
}
