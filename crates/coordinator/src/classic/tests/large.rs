//! Ten thousand members: no step takes time that grows with their square, or this would not end in a second.

use super::*;

const MEMBERS: u64 = 10_000;

#[test]
fn ten_thousand_members_join_sync_and_vanish() {
    let settings = Arc::new(ClassicSettings::default());
    let mut group = ClassicGroup::new(settings);
    let now = secs(1);
    let id = |number: u64| format!("member-{number:05}");
    for number in 0..MEMBERS {
        let effects = group.join(Token(number), new(&id(number)), now);
        assert_eq!(effects, ClassicEffects::default());
    }
    group.tick(now + DELAY);
    let now = now + DELAY * 2;
    let joined = group.tick(now).answers;
    assert_eq!(joined.len() as u64, MEMBERS);
    let rosters = joined.iter().map(|(_, answer)| match answer {
        Answer::Joined(joined) => joined.members.len() as u64,
        other => panic!("{other:?}"),
    });
    assert_eq!(rosters.sum::<u64>(), MEMBERS, "the leader alone is told of all");

    let assignments: Vec<_> =
        (0..MEMBERS).map(|number| (MemberId::from(&*id(number)), text("work"))).collect();
    let mut synced = 0;
    for number in (0..MEMBERS).rev() {
        let id = id(number);
        let claim = Claim { member_id: &id, instance_id: None, generation: Generation(1) };
        let syncing = Syncing { claim, protocol_type: None, protocol: None, assignments: &assignments };
        synced += group.sync(Token(MEMBERS + number), syncing, now).answers.len() as u64;
        assert_eq!(group.heartbeat(&claim, now), Ok(()));
    }
    assert_eq!((synced, group.state()), (MEMBERS, State::Stable));

    // The first to vanish begins a rebalance, and the last ends it.
    let effects = group.tick(now + SESSION);
    assert_eq!((effects.changes.len(), group.state()), (1, State::Empty));
    assert_eq!(group.next_deadline(), None);
}
