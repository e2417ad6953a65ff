//! Members join, stay and leave, and go on after a restart.

use super::*;

#[tokio::test]
async fn a_member_goes_on_after_a_restart_without_a_rebalance() {
    let mut world = World::new().await;
    let member = world.alone().await;
    world.restart().await;
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.groups.commit(GROUP, claim(&member), vec![world.offset(1, 7)]).await.unwrap();
    assert_eq!(world.committed(1).await, Some(7));
    let Some(GroupDescription::Classic(described)) = world.groups.describe(GROUP).await.unwrap() else {
        panic!("a classic group")
    };
    assert_eq!((described.state, described.members.len()), (classic::State::Stable, 1));
    assert_eq!(described.members[0].assignment, "all");
}

#[tokio::test]
async fn a_session_begins_anew_with_a_restart_and_ends_in_time() {
    let mut world = World::new().await;
    let member = world.alone().await;
    world.clock.advance(Duration::from_secs(9));
    world.restart().await;
    world.clock.advance(Duration::from_secs(9));
    world.groups.heartbeat(GROUP, member.clone()).await.unwrap();
    world.clock.advance(Duration::from_secs(11));
    world.until_memberless().await;
    let refused = world.groups.heartbeat(GROUP, member).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::UnknownMember)), "{refused}");
    let stored = world.broker.storage().groups().load_group(GROUP).await.unwrap().unwrap();
    assert_eq!((stored.members.len(), stored.row.epoch), (0, 2));
    assert!(stored.row.empty_since.is_some());
}

#[tokio::test]
async fn commits_of_strangers_and_of_the_past_are_refused() {
    let world = World::new().await;
    world.groups.commit(GROUP, nobody(), vec![world.offset(0, 1)]).await.unwrap();
    let member = world.alone().await;
    let commit = |claim| world.groups.commit(GROUP, claim, vec![world.offset(0, 2)]);
    let refused = commit(nobody()).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::UnknownMember)), "{refused}");
    let refused = commit(CommitClaim { epoch: 7, ..claim(&member) }).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::IllegalGeneration)), "{refused}");
    assert_eq!(world.committed(0).await, Some(1));
    commit(claim(&member)).await.unwrap();
    assert_eq!(world.committed(0).await, Some(2));
}

#[tokio::test]
async fn a_group_is_deleted_with_its_offsets_once_it_is_empty_and_is_new_then() {
    let world = World::new().await;
    let member = world.alone().await;
    world.groups.commit(GROUP, claim(&member), vec![world.offset(0, 2)]).await.unwrap();
    let refused = world.groups.delete(GROUP).await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::NonEmptyGroup)), "{refused}");
    world.leave(member).await;
    world.groups.delete(GROUP).await.unwrap();
    assert_eq!(world.committed(0).await, None);
    assert_eq!(world.broker.storage().groups().load_group(GROUP).await.unwrap(), None);
    assert_eq!(world.alone().await.generation, 1);
}

#[tokio::test]
async fn a_consumer_group_is_stored_by_the_row_and_goes_on() {
    let mut world = World::new().await;
    let joined = world.groups.consumer_heartbeat(GROUP, heartbeat(0, true)).await.unwrap();
    assert_eq!(joined.assignment.as_ref().map(Assignment::len), Some(4));
    let stored = world.broker.storage().groups().load_group(GROUP).await.unwrap().unwrap();
    assert_eq!((stored.row.kind, stored.members.len()), (GroupKind::Consumer, 1));
    world.restart().await;
    let again =
        world.groups.consumer_heartbeat(GROUP, heartbeat(joined.member_epoch.0, false)).await.unwrap();
    assert_eq!((again.member_epoch, again.assignment), (joined.member_epoch, None));
    let refused = world.groups.join(GROUP, joining(None, "a")).await.unwrap_err();
    assert!(matches!(refused, GroupError::OtherProtocol), "{refused}");
    world.groups.consumer_heartbeat(GROUP, heartbeat(-1, false)).await.unwrap();
    assert_eq!(world.alone().await.generation, 1);
}

#[tokio::test]
async fn groups_without_members_are_forgotten_and_read_again() {
    let world = World::new().await;
    let member = world.alone().await;
    world.leave(member).await;
    for round in 0..3 {
        for number in 0..20 {
            let group = format!("other-{number}");
            world.groups.commit(&group, nobody(), vec![world.offset(0, round)]).await.unwrap();
        }
    }
    for number in 0..20 {
        let key = world.offset(0, 0).key;
        let group = format!("other-{number}");
        let rows = world.broker.storage().groups().read_offsets(&group, vec![key]).await.unwrap();
        assert_eq!(rows[0].offset, Offset(2));
    }
    // The first generation was left, which began the second.
    assert_eq!(world.alone().await.generation, 3);
}
