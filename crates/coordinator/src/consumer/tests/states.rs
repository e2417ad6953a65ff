//! A tour through all changes of state that the diagram has.

use super::*;

#[test]
fn every_change_of_state_in_the_diagram_can_happen() {
    let slow = || ConsumerSettings { assignment_interval: s(10), ..prompt() };
    let mut tours = Vec::new();

    // The first member, one that comes too early, and the target that both have waited for.
    let mut fixture = Fixture::new(slow());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["one"]));
    fixture.pass(s(10));
    fixture.accepted(beat("a", 1));
    // Too early again, and all go.
    fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("b", 1) });
    fixture.accepted(beat("a", -1));
    fixture.accepted(beat("b", -1));
    fixture.step(|group, _| group.delete().unwrap());
    tours.push(fixture);

    // The only member reaches the target in the step that computes it, and goes while all is stable.
    let mut fixture = Fixture::new(slow());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(Heartbeat { topics: Some(vec![name("one"), name("two")]), ..beat("a", 1) });
    fixture.now += s(10);
    fixture.accepted(beat("a", 1));
    fixture.accepted(beat("a", -1));
    tours.push(fixture);

    // A member waits, gets, gives up, and goes while the group is on its way.
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(join("c", &["one"]));
    for id in ["a", "b"] {
        let kept = fixture.accepted(beat(id, 2)).assignment.unwrap();
        fixture.accepted(owning(id, 2, kept));
    }
    fixture.accepted(beat("c", 3));
    fixture.accepted(beat("a", -1));
    fixture.accepted(beat("b", -1));
    fixture.accepted(beat("c", -1));
    tours.push(fixture);

    // Subscriptions are exchanged: each gives up what the other waits for.
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    fixture.accepted(join("b", &["two"]));
    fixture.accepted(beat("a", 1));
    fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("a", 2) });
    fixture.accepted(Heartbeat { topics: Some(vec![name("one")]), ..beat("b", 2) });
    fixture.accepted(owning("a", 2, ones([])));
    fixture.accepted(owning("b", 2, ones([])));
    fixture.accepted(beat("a", 4));
    tours.push(fixture);

    // One that has all is to get what another still has.
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("b", 2) });
    fixture.accepted(beat("a", 2));
    fixture.accepted(beat("b", -1));
    fixture.accepted(beat("a", 3));
    tours.push(fixture);

    // One that waits for more does not want what it has got already.
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(join("c", &["one"]));
    let kept = fixture.accepted(beat("a", 2)).assignment.unwrap();
    fixture.accepted(owning("a", 2, kept));
    fixture.accepted(beat("c", 3));
    assert_eq!(fixture.state_of("c"), MemberState::UnreleasedPartitions);
    assert_eq!(fixture.assigned("c").len(), 1);
    fixture.accepted(Heartbeat { topics: Some(vec![]), ..beat("c", 3) });
    tours.push(fixture);

    let group: BTreeSet<_> = tours.iter().flat_map(|tour| tour.group_changes.clone()).collect();
    let member: BTreeSet<_> = tours.iter().flat_map(|tour| tour.member_changes.clone()).collect();
    assert_eq!(group, GROUP.into());
    assert_eq!(member, MEMBER.into());
}
