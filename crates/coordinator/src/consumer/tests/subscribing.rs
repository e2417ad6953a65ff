//! What members subscribe to, and topics that change.

use super::*;

#[test]
fn another_subscription_makes_another_target() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one"]));
    let more = fixture.accepted(Heartbeat { topics: Some(vec![name("two"), name("one")]), ..beat("a", 1) });
    assert_eq!((more.member_epoch, more.assignment.unwrap().len()), (MemberEpoch(2), 10));
    // The same again, in another order and twice, is nothing new.
    let same = Some(vec![name("one"), name("two"), name("one")]);
    assert_eq!(fixture.changes(Heartbeat { topics: same, ..beat("a", 2) }), []);
}

/// A target that waits for its time does not keep a member at topics that it does not want any more.
#[test]
fn what_a_member_does_not_want_it_gives_up_before_there_is_a_new_target() {
    let mut fixture = Fixture::with_two_members(ConsumerSettings { assignment_interval: s(10), ..prompt() });
    fixture.pass(s(10));
    fixture.accepted(join("c", &[]));
    fixture.accepted(Heartbeat { topics: Some(vec![name("one"), name("two")]), ..beat("b", 2) });
    assert_eq!(fixture.group.assignment_epoch(), GroupEpoch(3), "the next one is due in ten seconds");
    fixture.accepted(beat("a", 2));
    let owned = fixture.assigned("a");
    let told = fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("a", 3) });
    assert_eq!(fixture.group.state(), GroupState::Assigning);
    assert!(told.assignment.unwrap().iter().all(|partition| partition.topic == TopicId([2; 16])));
    assert_eq!(fixture.state_of("a"), MemberState::UnrevokedPartitions);
    // While it gives these up, it drops the rest as well.
    let two: Vec<_> = owned.iter().filter(|partition| partition.topic == TopicId([2; 16])).collect();
    let none = fixture.accepted(Heartbeat { topics: Some(vec![]), ..owning("a", 3, owned.clone()) });
    assert_eq!(none.assignment.is_some(), !two.is_empty());
    assert_eq!(fixture.group.members["a"].current.pending.keys(), owned);
    let done = fixture.accepted(owning("a", 3, ones([])));
    assert_eq!(done.member_epoch, MemberEpoch(3));
    assert_eq!(fixture.assigned("a"), ones([]));
}

#[test]
fn topics_that_change_make_another_target_where_they_matter() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one", "three"]));
    for change in [
        |world: &mut World| world.put("two", 2, 40),
        |world: &mut World| world.put("four", 4, 4),
        |_: &mut World| {},
    ] {
        change(&mut fixture.world);
        assert_eq!(fixture.topics_changed(), [], "nothing that the group subscribes to");
    }
    // More partitions, a topic that comes, one that is another under the same name, and one that goes.
    for (name, put, assigned) in
        [("one", Some((1, 7)), 7), ("three", Some((3, 2)), 9), ("three", Some((33, 2)), 9), ("one", None, 2)]
    {
        let epoch = fixture.group.epoch();
        match put {
            Some((id, partitions)) => fixture.world.put(name, id, partitions),
            None => drop(fixture.world.0.remove(name)),
        }
        fixture.topics_changed();
        assert_eq!(fixture.group.epoch(), GroupEpoch(epoch.0 + 1), "{name}");
        assert_eq!(fixture.topics_changed(), [], "{name}");
        assert_eq!(fixture.target("a").len(), assigned, "{name}");
        let kept = fixture.accepted(beat("a", epoch.0)).assignment.unwrap();
        fixture.accepted(owning("a", fixture.epoch_of("a"), kept));
        assert_eq!(fixture.assigned("a"), fixture.target("a"), "{name}");
    }
}

#[test]
fn an_empty_group_does_not_care_for_topics() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(beat("a", -1));
    fixture.accepted(beat("b", -1));
    fixture.world.put("one", 1, 60);
    assert_eq!(fixture.topics_changed(), []);
}

#[test]
fn a_regular_expression_is_a_subscription() {
    let mut fixture = Fixture::new(prompt());
    let only = |id| Heartbeat { topics: None, ..join(id, &[]) };
    let joined = fixture.accepted(with_pattern("t.*", &["two"], only("a")));
    assert_eq!(joined.assignment.unwrap().len(), 4);
    assert_eq!(fixture.group.patterns().collect::<Vec<_>>(), [&name("t.*")]);
    assert_eq!(fixture.stored.patterns[&name("t.*")], [name("two")]);

    // Names and an expression together are both.
    let both = fixture.accepted(with_pattern("t.*", &["two"], join("b", &["one"])));
    assert_eq!(fixture.target("a").len() + fixture.target("b").len(), 10);
    assert!(both.member_epoch > joined.member_epoch);

    // It stands for more now, as one of the members or the caller finds.
    fixture.world.put("three", 3, 2);
    let (now, epoch) = (fixture.now, fixture.group.epoch());
    let resolved = [(name("t.*"), vec![name("two"), name("three")]), (name("x"), vec![name("one")])];
    let changes = fixture.step(|group, world| group.patterns_resolved(resolved.clone(), world, now)).changes;
    assert!(changes.contains(&Change::PatternPut(name("t.*"), vec![name("three"), name("two")])));
    assert_eq!(fixture.group.epoch(), GroupEpoch(epoch.0 + 1), "once, for the expression and the topic");
    assert_eq!(fixture.target("a").len() + fixture.target("b").len(), 12);
    let again = fixture.step(|group, world| group.patterns_resolved(resolved, world, now)).changes;
    assert_eq!(again, []);
    let epoch = fixture.epoch_of("b");
    fixture.accepted(with_pattern("t.*", &["two"], beat("b", epoch)));
    assert_eq!(fixture.target("a").len() + fixture.target("b").len(), 10);

    // It is forgotten with the last member that has it.
    let epoch = fixture.epoch_of("b");
    fixture.accepted(Heartbeat { pattern: Some(Pattern::None), ..beat("b", epoch) });
    assert_eq!(fixture.group.patterns().count(), 1);
    fixture.accepted(beat("a", -1));
    assert_eq!(fixture.group.patterns().count(), 0);
    assert!(fixture.stored.patterns.is_empty());
    assert_eq!(fixture.group.subscribed_topics().collect::<Vec<_>>(), [&name("one")]);
    assert!(fixture.group.subscribes_to("one") && !fixture.group.subscribes_to("two"));
    assert_eq!(fixture.group.member_count(), 1);
}

#[test]
fn an_expression_that_cannot_be_compiled_is_refused() {
    let mut fixture = Fixture::new(prompt());
    let refused = |text: &str, heartbeat| Heartbeat {
        pattern: Some(Pattern::Refused { text: text.into(), reason: "missing )".into() }),
        ..heartbeat
    };
    let invalid = Refusal::InvalidPattern { text: "(".into(), reason: "missing )".into() };
    assert_eq!(invalid.to_string(), "the regular expression `(` is not valid: missing )");
    assert_eq!(fixture.refused(refused("(", join("a", &["one"]))), invalid);
    fixture.accepted(with_pattern("(", &["one"], join("a", &[])));
    // What could be compiled when the member came is not looked at again.
    assert_eq!(fixture.changes(refused("(", beat("a", 1))), []);
    fixture.accepted(with_pattern(")", &["one"], beat("a", 1)));
    assert_eq!(fixture.refused(refused("(", beat("a", 2))), invalid);
}

/// Another expression for the same topics counts as another subscription, as in Kafka.
#[test]
fn expressions_of_members_are_counted() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(with_pattern("o.*", &["one"], join("a", &[])));
    fixture.accepted(with_pattern("o.*", &["one"], join("b", &[])));
    fixture.accepted(with_pattern("on.", &["one"], beat("b", 2)));
    assert_eq!(fixture.group.epoch(), GroupEpoch(3));
    assert_eq!(fixture.group.patterns().count(), 2);
    fixture.accepted(beat("a", -1));
    assert_eq!(fixture.group.patterns().collect::<Vec<_>>(), [&name("on.")]);
    assert_eq!(fixture.group.subscribed_topics().count(), 1);
}
