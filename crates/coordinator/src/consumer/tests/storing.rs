//! What is stored, and groups that are put together from it.

use super::*;

#[test]
fn a_heartbeat_that_changes_nothing_stores_nothing() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.pass(s(5));
    for heartbeat in [
        beat("a", 2),
        owning("a", 2, fixture.assigned("a")),
        full("a", 2, &["one"], fixture.assigned("a")),
        join("a", &["one"]),
    ] {
        assert_eq!(fixture.changes(heartbeat), []);
    }
}

#[test]
fn a_heartbeat_stores_no_more_than_it_changes() {
    let mut fixture = Fixture::with_two_members(prompt());
    let id = MemberId::from("a");
    let row = fixture.group.members["a"].row.clone();
    let moved = Heartbeat { client_host: "elsewhere".into(), ..beat("a", 2) };
    let put = MemberRow { client_host: "elsewhere".into(), ..row };
    assert_eq!(fixture.changes(moved.clone()), [Change::MemberPut(id.clone(), put)]);
    assert_eq!(fixture.changes(moved.clone()), []);

    fixture.accepted(join("c", &["one"]));
    let changes = fixture.changes(moved.clone());
    assert!(matches!(&changes[..], [Change::CurrentPut(of, _)] if *of == id), "{changes:?}");
    assert_eq!(fixture.changes(moved), []);
}

#[test]
fn a_join_stores_the_member_the_epochs_and_the_targets_that_changed() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.accepted(Heartbeat { topics: Some(vec![name("two")]), ..beat("b", 2) });
    let changes = fixture.changes(join("c", &["two"]));
    let kinds: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::GroupPut(_) => "group".to_string(),
            Change::AssignedPut(_) => "assigned".to_string(),
            Change::MemberPut(id, _) => format!("member {id}"),
            Change::TargetPut(id, _) => format!("target {id}"),
            Change::CurrentPut(id, _) => format!("current {id}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["member c", "group", "target b", "target c", "assigned", "current c"]);
}

#[test]
fn a_static_member_takes_its_rows_with_it() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(of_instance("i", join("a", &["one"])));
    fixture.accepted(of_instance("i", beat("a", -2)));
    fixture.accepted(of_instance("i", join("b", &["one"])));
    let ids = |ids: Vec<&MemberId>| ids.into_iter().map(MemberId::to_string).collect::<Vec<_>>();
    assert_eq!(ids(fixture.stored.members.keys().collect()), ["b"]);
    assert_eq!(ids(fixture.stored.targets.keys().collect()), ["b"]);
    assert_eq!(ids(fixture.stored.currents.keys().collect()), ["b"]);
}

#[test]
fn after_a_restart_sessions_begin_anew_and_members_go_on() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.pass(s(44));
    fixture.accepted(beat("a", 2));
    fixture.pass(Duration::from_millis(999));
    // The clock of another process.
    fixture.now = s(3);
    fixture.restart();
    assert_eq!(fixture.group.next_deadline(), Some(s(48)));
    for id in ["a", "b"] {
        assert_eq!(fixture.changes(beat(id, 2)), []);
    }
    assert_eq!(fixture.topics_changed(), [], "no topic has changed meanwhile");
    assert_eq!(fixture.group.state(), GroupState::Stable);
    assert_eq!(fixture.group.epoch(), GroupEpoch(2));
}

#[test]
fn topics_that_changed_before_a_restart_are_found_out_after_it() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.world.put("one", 1, 8);
    fixture.restart();
    fixture.topics_changed();
    assert_eq!(fixture.group.epoch(), GroupEpoch(3));
    assert_eq!(fixture.target("a").len() + fixture.target("b").len(), 8);
}

#[test]
fn a_restart_between_giving_up_and_getting_loses_nothing() {
    let mut fixture = Fixture::new(ConsumerSettings { session_timeout: s(1000), ..prompt() });
    fixture.accepted(join("a", &["one"]));
    fixture.restart();
    fixture.accepted(join("b", &["one"]));
    fixture.restart();
    fixture.accepted(beat("a", 1));
    fixture.pass(s(29));
    fixture.restart();
    assert_eq!(fixture.group.next_deadline(), Some(fixture.now + s(30)), "its time begins anew");
    assert_eq!(fixture.accepted(beat("b", 2)).assignment, None);
    fixture.accepted(owning("a", 1, ones([0, 1, 2])));
    fixture.restart();
    assert_eq!(fixture.accepted(beat("b", 2)).assignment, Some(ones([3, 4, 5])));
}

/// Rows of a version that stores less, or of a member without all of its rows.
#[test]
fn a_member_without_its_other_rows_begins_anew() {
    let mut fixture = Fixture::with_two_members(prompt());
    fixture.stored.currents.remove("a");
    fixture.stored.targets.remove("a");
    fixture.group = ConsumerGroup::restore(fixture.stored.clone(), prompt(), fixture.now);
    assert_eq!(fixture.assigned("a"), ones([]));
    let fenced = Refusal::FencedEpoch { received: MemberEpoch(2), current: MemberEpoch(0) };
    assert_eq!(
        fixture.group.heartbeat(Token(1), &beat("a", 2), &fixture.world, fixture.now).answers,
        [(Token(1), Err(fenced))]
    );
}

/// The hash is stored: another one for the same topics would move every group after an update.
#[test]
fn the_hash_over_topics_stays_what_it_is() {
    let mut fixture = Fixture::new(prompt());
    fixture.accepted(join("a", &["one", "two", "absent"]));
    assert_eq!(fixture.group.row.topics_hash, expected_hash(&[("one", 1, 6), ("two", 2, 4)]));
}

/// FNV-1a over the length of each name, the name, the id and the number of partitions, by definition.
fn expected_hash(topics: &[(&str, u8, u32)]) -> u64 {
    let bytes = topics.iter().flat_map(|(name, id, partitions)| {
        let length = (name.len() as u64).to_le_bytes();
        [&length[..], name.as_bytes(), &[*id; 16], &partitions.to_le_bytes()].concat()
    });
    bytes.fold(14_695_981_039_346_656_037, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    })
}

#[test]
fn a_group_tells_of_itself() {
    let mut fixture = Fixture::new(prompt());
    let heartbeat =
        Heartbeat { rack: Some("r1".into()), ..with_pattern("t.*", &["two"], join("a", &["one"])) };
    fixture.accepted(of_instance("i", heartbeat));
    fixture.accepted(join("b", &["one"]));
    fixture.world.0.remove("two");
    let description = fixture.group.describe(&fixture.world);
    let topic = |partitions: Vec<i32>| describe::DescribedTopic {
        id: TopicId([1; 16]),
        name: name("one"),
        partitions: partitions.into_iter().map(PartitionIndex).collect(),
    };
    let target = |id: &str| {
        let of_one = fixture
            .target(id)
            .iter()
            .filter(|at| at.topic == TopicId([1; 16]))
            .map(|at| at.partition.0)
            .collect::<Vec<_>>();
        vec![topic(of_one)]
    };
    let expected = GroupDescription {
        state: GroupState::Reconciling,
        group_epoch: GroupEpoch(2),
        assignment_epoch: GroupEpoch(2),
        assignor: Assignor::Uniform,
        members: vec![
            MemberDescription {
                member_id: "a".into(),
                instance_id: Some("i".into()),
                rack: Some("r1".into()),
                member_epoch: MemberEpoch(1),
                client_id: "client".into(),
                client_host: "host".into(),
                topics: vec![name("one")],
                pattern: Some(name("t.*")),
                assignment: vec![topic(vec![0, 1, 2, 3, 4, 5])],
                target: target("a"),
            },
            MemberDescription {
                member_id: "b".into(),
                instance_id: None,
                rack: None,
                member_epoch: MemberEpoch(2),
                client_id: "client".into(),
                client_host: "host".into(),
                topics: vec![name("one")],
                pattern: None,
                assignment: vec![],
                target: target("b"),
            },
        ],
    };
    assert_eq!(description, expected);
    assert_eq!(fixture.target("a").len() + fixture.target("b").len(), 10);
}
