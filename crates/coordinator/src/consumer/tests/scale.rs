//! What a group costs.

use super::*;

/// A group of `members` that all have reached the target, and a topic with five partitions for each of them.
fn large(members: u32) -> Fixture {
    let mut fixture =
        Fixture::new(ConsumerSettings { assignment_interval: s(1), ..ConsumerSettings::default() });
    fixture.world.put("one", 1, members * 5);
    for member in 0..members {
        let heartbeat = join(&format!("m{member:05}"), &["one"]);
        let effects = fixture.group.heartbeat(Token(1), &heartbeat, &fixture.world, fixture.now);
        assert!(effects.answers[0].1.is_ok());
    }
    fixture.now += s(1);
    fixture.group.tick(&fixture.world, fixture.now);
    for _ in 0..2 {
        for member in 0..members {
            let id = format!("m{member:05}");
            let heartbeat = owning(&id, fixture.epoch_of(&id), fixture.target(&id));
            fixture.group.heartbeat(Token(1), &heartbeat, &fixture.world, fixture.now);
        }
    }
    assert_eq!(fixture.group.state(), GroupState::Stable);
    fixture
}

/// Of a thousand members only the first and the last join of a second lead to a target; a quadratic step would
/// make this test take minutes.
#[test]
fn a_group_of_a_thousand_members_settles() {
    let mut fixture = large(1000);
    assert_eq!(fixture.group.assignment_epoch(), fixture.group.epoch());
    for member in 0..1000 {
        assert_eq!(fixture.assigned(&format!("m{member:05}")).len(), 5);
    }
    // An idle heartbeat has no effects, and one entry per member is in the queue of deadlines.
    let epoch = fixture.epoch_of("m00007");
    let effects = fixture.group.heartbeat(Token(1), &beat("m00007", epoch), &fixture.world, fixture.now);
    assert_eq!(effects.changes, []);
    fixture.now += s(45);
    let effects = fixture.group.tick(&fixture.world, fixture.now);
    let removed = effects.changes.iter().filter(|change| matches!(change, Change::MemberRemoved(_))).count();
    assert_eq!(removed, 1000);
    let epochs = effects.changes.iter().filter(|change| matches!(change, Change::GroupPut(_))).count();
    assert_eq!(epochs, 1, "those that go together raise the epoch once");
}

/// What the parts of a group of two members take, counted by their capacities, and by what a map of the standard
/// library takes at most for each of its entries.
#[test]
fn an_idle_group_of_two_members_takes_little_memory() {
    let fixture = Fixture::with_two_members(prompt());
    let group = &fixture.group;
    // At least half of a hash map's slots are used where it has more than four of them; each has a byte besides.
    let map = |capacity: usize, entry: usize| (capacity.next_power_of_two().max(4) * 2) * (entry + 1) + 16;
    // A node of a tree holds eleven entries.
    let tree = |len: usize, entry: usize| len.div_ceil(5).max(1) * (11 * entry + 16);
    let text = |text: &str| text.len() + 16;
    let mut bytes = size_of::<ConsumerGroup>();
    bytes += map(group.members.len(), size_of::<(MemberId, group::Member)>());
    bytes += map(group.held.len(), size_of::<TopicPartition>());
    bytes += map(2, size_of::<(MemberId, Duration)>()) + tree(2, size_of::<(Duration, MemberId)>());
    bytes += tree(1, size_of::<(Arc<str>, usize)>());
    for (id, member) in &group.members {
        let entries = member.current.assigned.len() + member.target.len();
        bytes += entries * 2 * size_of::<(TopicPartition, MemberEpoch)>();
        bytes += text(id.as_str()) + text(&member.row.client_id) + text(&member.row.client_host);
        bytes += member.row.topics.iter().map(|topic| text(topic) + size_of::<Arc<str>>()).sum::<usize>();
    }
    assert!(bytes < 6 * 1024, "{bytes} bytes");
}
