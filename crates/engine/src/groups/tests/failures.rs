//! What happens when the disk is full, and when memory is.

use ottla_storage::StateStoreError;

use super::*;

fn is_full<T: std::fmt::Debug>(answer: Result<T, GroupError>) {
    assert!(matches!(answer, Err(GroupError::Store(StateStoreError::DiskFull))), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_answered_and_did_not_happen() {
    let world = World::new().await;
    let member = world.alone().await;
    let store = world.broker.storage().groups().clone();
    world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 1)]).await.unwrap();

    store.fail_changes(Some(StateStoreError::DiskFull));
    is_full(world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 2)]).await);
    let leaving = LeavingMember { member_id: member.member_id.clone(), instance_id: None, reason: None };
    is_full(world.groups.leave(GROUP, vec![leaving]).await);
    // What is read needs no room. The member is still there, in its generation.
    assert_eq!(world.committed(0).await, Some(1));
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();

    store.fail_changes(None);
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 3)]).await.unwrap();
    world.leave(member).await;

    store.fail_changes(Some(StateStoreError::DiskFull));
    is_full(world.groups.delete(GROUP).await);
    is_full(world.groups.delete_offsets(GROUP, vec![world.offset(0, 0).key]).await);
    is_full(world.groups.consumer_heartbeat(GROUP, heartbeat(0, true)).await);
    assert_eq!(world.committed(0).await, Some(3));
    store.fail_changes(None);
    world.groups.delete(GROUP).await.unwrap();
    assert_eq!(world.committed(0).await, None);
}

#[tokio::test]
async fn who_waits_when_assignments_cannot_be_stored_is_told() {
    let world = World::new().await;
    let first = world.alone().await;
    let rejoins = Joining { member_id: Some((&*first.member_id).into()), ..joining(None, "unused") };
    let (follower, leader) =
        tokio::join!(world.groups.join(GROUP, joining(None, "b")), world.groups.join(GROUP, rejoins));
    let (leader, follower) = (leader.unwrap(), follower.unwrap());
    world.broker.storage().groups().fail_changes(Some(StateStoreError::DiskFull));
    let sync = |joined: &Joined, assignments| {
        let member = member(joined);
        world.groups.sync(GROUP, SyncRequest { member, protocol_type: None, protocol: None, assignments })
    };
    let all = vec![(leader.member_id.clone(), Bytes::new()), (follower.member_id.clone(), Bytes::new())];
    let (waited, brought) = tokio::join!(sync(&follower, Vec::new()), sync(&leader, all));
    is_full(waited);
    is_full(brought);
    // The group is as it was stored last, in the generation before.
    let refused = world.groups.heartbeat(GROUP, member(&follower)).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::UnknownMember)), "{refused}");
    world.groups.heartbeat(GROUP, first).await.unwrap();
}

#[tokio::test]
async fn groups_grow_as_far_as_memory_goes_and_those_that_are_there_go_on() {
    let mut settings = BrokerSettings::default();
    settings.apply("memory.budget", "32MiB").unwrap();
    let world = World::with(settings).await;
    let member = world.alone().await;
    let fill = Bytes::from(vec![b'x'; 100_000]);
    let mut joined = 0;
    let refused = loop {
        let protocols = vec![Protocol { name: "range".into(), metadata: fill.clone() }];
        let joins = Joining { protocols, ..joining(None, "a") };
        match world.groups.join(&format!("large-{joined}"), joins).await {
            Ok(_) => joined += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, GroupError::NoMemory), "{refused}");
    // Three quarters of a quarter.
    assert!((55..=63).contains(&joined), "{joined}");
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 1)]).await.unwrap();
    // What a group gives back others have.
    for number in 0..joined {
        let group = format!("large-{number}");
        let leaving = LeavingMember { member_id: "a".into(), instance_id: None, reason: None };
        world.groups.leave(&group, vec![leaving]).await.unwrap();
    }
    assert!(world.broker.memory().free() > world.broker.memory().total() / 2);
    world.groups.join("again", joining(None, "a")).await.unwrap();
}

#[tokio::test]
async fn names_that_somebody_makes_up_cost_no_memory_for_long() {
    let world = World::new().await;
    for number in 0..1000 {
        let member = Member { member_id: "m".into(), instance_id: None, generation: 1 };
        world.groups.heartbeat(&format!("made-up-{number}"), member).await.unwrap_err();
    }
    assert_eq!(world.groups.list().await.unwrap(), []);
    assert!(world.broker.memory().free() >= world.broker.memory().total() - (4 << 20));
}
