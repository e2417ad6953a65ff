//! Offsets: fetched, deleted with their topic or by themselves, and gone when their time is over.

use super::*;

/// Longer than any offset is kept here.
const LONG: Duration = Duration::from_secs(8 * 24 * 3600);

fn key(world: &World, partition: i32) -> OffsetKey {
    world.offset(partition, 0).key
}

/// A member joins under a protocol type, and says that it subscribes to the topic named in its metadata.
async fn joined(world: &World, protocol_type: &str, metadata: &'static str) -> Member {
    let protocols =
        vec![Protocol { name: "range".into(), metadata: Bytes::from_static(metadata.as_bytes()) }];
    let joins = Joining { protocol_type: protocol_type.into(), protocols, ..joining(None, "a") };
    let joined = world.groups.join(GROUP, joins).await.unwrap();
    let member = member(&joined);
    let assignments = vec![(joined.member_id, Bytes::new())];
    let request = SyncRequest { member: member.clone(), protocol_type: None, protocol: None, assignments };
    world.groups.sync(GROUP, request).await.unwrap();
    member
}

#[tokio::test]
async fn offsets_go_with_their_topic() {
    let world = World::new().await;
    let clicks = world.create("clicks", 1).await;
    let other = OffsetRow {
        key: OffsetKey { topic: clicks.id, partition: PartitionIndex(0) },
        topic_name: "clicks".into(),
        ..world.offset(0, 5)
    };
    world.groups.commit(GROUP, nobody(), vec![world.offset(0, 1), other.clone()]).await.unwrap();
    world.broker.delete(clicks.id).await.unwrap();
    let page = world.groups.fetch_offset_page(GROUP, None, None, 10).await.unwrap();
    assert_eq!(page.rows, [world.offset(0, 1)]);
}

#[tokio::test]
async fn offsets_of_topics_that_are_gone_are_deleted_at_the_start() {
    let mut world = World::new().await;
    let gone = OffsetRow {
        key: OffsetKey { topic: TopicId([9; 16]), partition: PartitionIndex(0) },
        topic_name: "gone".into(),
        ..world.offset(0, 5)
    };
    let store = world.broker.storage().groups().clone();
    store.commit_offsets(GROUP, vec![gone.clone(), world.offset(0, 1)]).await.unwrap();
    world.restart().await;
    let keys = vec![gone.key, key(&world, 0)];
    assert_eq!(world.groups.fetch_offsets(GROUP, None, keys).await.unwrap(), [world.offset(0, 1)]);
}

#[tokio::test]
async fn members_of_kip_848_fetch_in_their_epoch_and_everybody_without_a_name() {
    let world = World::new().await;
    let joined = world.groups.consumer_heartbeat(GROUP, heartbeat(0, true)).await.unwrap();
    let fetch = |claim| world.groups.fetch_offsets(GROUP, claim, Vec::new());
    let claim = |member_id: &str, epoch| FetchClaim { member_id: Some(member_id.into()), epoch };
    fetch(None).await.unwrap();
    fetch(Some(FetchClaim { member_id: None, epoch: MemberEpoch(-1) })).await.unwrap();
    fetch(Some(claim("m", joined.member_epoch))).await.unwrap();
    for (member, epoch) in [("m", MemberEpoch(7)), ("stranger", joined.member_epoch)] {
        let refused = fetch(Some(claim(member, epoch))).await.unwrap_err();
        assert!(matches!(refused, GroupError::Offset(_)), "{refused}");
    }
}

#[tokio::test]
async fn offsets_of_a_topic_that_is_subscribed_to_are_not_deleted() {
    let world = World::new().await;
    let delete = async || world.groups.delete_offsets(GROUP, vec![key(&world, 0), key(&world, 1)]).await;
    assert!(matches!(delete().await, Err(GroupError::NotFound)));
    world.groups.commit(GROUP, nobody(), vec![world.offset(0, 1)]).await.unwrap();
    let member = joined(&world, "consumer", "orders").await;
    assert_eq!(delete().await.unwrap(), [false, false]);
    assert_eq!(world.committed(0).await, Some(1));
    world.leave(member).await;
    let member = joined(&world, "connect", "orders").await;
    let refused = delete().await.unwrap_err();
    assert!(matches!(refused, GroupError::Classic(Refusal::NonEmptyGroup)), "{refused}");
    world.leave(member).await;
    joined(&world, "consumer", "clicks").await;
    assert_eq!(delete().await.unwrap(), [true, true]);
    assert_eq!(world.committed(0).await, None);
}

#[tokio::test]
async fn the_list_has_groups_in_memory_and_in_rows() {
    let world = World::new().await;
    joined(&world, "connect", "").await;
    for number in 0..5 {
        let group = format!("simple-{number}");
        world.groups.commit(&group, nobody(), vec![world.offset(0, 1)]).await.unwrap();
    }
    world.groups.consumer_heartbeat("new", heartbeat(0, true)).await.unwrap();
    assert_eq!(world.groups.describe("nothing").await.unwrap(), None);
    let listed = world.groups.list().await.unwrap();
    let told: Vec<_> =
        listed.iter().map(|group| (&*group.id, group.kind, &*group.protocol_type, group.state)).collect();
    let simple = |id| (id, GroupKind::Classic, "", "Empty");
    let all = [
        ("new", GroupKind::Consumer, "consumer", "Stable"),
        (GROUP, GroupKind::Classic, "connect", "Stable"),
        simple("simple-0"),
        simple("simple-1"),
        simple("simple-2"),
        simple("simple-3"),
        simple("simple-4"),
    ];
    assert_eq!(told, all);
    let Some(GroupDescription::Classic(simple)) = world.groups.describe("simple-4").await.unwrap() else {
        panic!("a classic group")
    };
    assert_eq!(simple.state, classic::State::Empty);
    world.groups.delete("simple-4").await.unwrap();
    assert!(matches!(world.groups.delete("simple-4").await, Err(GroupError::NotFound)));
    assert!(matches!(world.groups.delete("nothing").await, Err(GroupError::NotFound)));
}

#[tokio::test]
async fn a_commit_of_a_generation_to_a_group_that_is_not_there_says_so() {
    let world = World::new().await;
    let claim = CommitClaim { member_id: "m".into(), epoch: 3, ..nobody() };
    let refused = world.groups.commit(GROUP, claim, vec![world.offset(0, 1)]).await.unwrap_err();
    assert!(matches!(refused, GroupError::NotFound), "{refused}");
}

/// An offset that is committed now.
fn now(world: &World, partition: i32) -> OffsetRow {
    OffsetRow { committed_at: world.broker.clock().wall(), ..world.offset(partition, 1) }
}

#[tokio::test]
async fn the_offsets_of_a_group_without_members_expire_and_the_group_with_them() {
    let world = World::new().await;
    let member = joined(&world, "consumer", "orders").await;
    world.groups.commit(GROUP, claim(&member), vec![now(&world, 0)]).await.unwrap();
    world.groups.commit("simple", nobody(), vec![now(&world, 0)]).await.unwrap();
    world.clock.advance(LONG / 2);
    world.until_memberless().await;
    world.groups.commit("late", nobody(), vec![now(&world, 0)]).await.unwrap();
    world.clock.advance(LONG / 2);
    let left = async || {
        let ids: Vec<_> = world.groups.list().await.unwrap().into_iter().map(|group| group.id).collect();
        (ids == ["late".into(), GROUP.into()]).then_some(())
    };
    // The member was expelled when its time was over, and from then on the group's offsets count.
    world.until(left).await;
    assert_eq!(world.committed(0).await, Some(1));
    world.clock.advance(LONG);
    world.until(async || world.groups.list().await.unwrap().is_empty().then_some(())).await;
    assert_eq!(world.broker.storage().groups().load_group(GROUP).await.unwrap(), None);
    assert_eq!(world.committed(0).await, None);
}

#[tokio::test]
async fn offsets_of_topics_that_no_member_subscribes_to_expire() {
    let world = World::new().await;
    let clicks = world.create("clicks", 1).await;
    let other = OffsetRow {
        key: OffsetKey { topic: clicks.id, partition: PartitionIndex(0) },
        topic_name: "clicks".into(),
        ..now(&world, 0)
    };
    world.groups.commit(GROUP, nobody(), vec![now(&world, 0), other.clone()]).await.unwrap();
    world.clock.advance(LONG);
    let joins = Heartbeat { topics: Some(vec!["clicks".into()]), ..heartbeat(0, true) };
    world.groups.consumer_heartbeat(GROUP, joins).await.unwrap();
    world.until(async || world.committed(0).await.is_none().then_some(())).await;
    assert_eq!(world.groups.fetch_offsets(GROUP, None, vec![other.key]).await.unwrap(), [other]);
}

#[tokio::test]
async fn a_group_without_members_and_offsets_is_forgotten() {
    let world = World::new().await;
    let member = joined(&world, "consumer", "orders").await;
    world.leave(member).await;
    assert_eq!(world.groups.list().await.unwrap().len(), 1);
    world.clock.advance(LONG);
    world.until(async || world.groups.list().await.unwrap().is_empty().then_some(())).await;
}

#[tokio::test]
async fn commits_that_follow_each_other_are_stored_in_their_order() {
    const COMMITS: i64 = 200;
    let world = World::new().await;
    let member = world.alone().await;
    // From a thread for each partition, which does not wait for one commit before the next.
    let committing = (0..4).map(|partition| {
        let (groups, member) = (world.groups.clone(), member.clone());
        let offsets: Vec<_> = (1..=COMMITS).map(|offset| world.offset(partition, offset)).collect();
        tokio::task::spawn_blocking(move || {
            let commit = async |offset| groups.commit(GROUP, claim(&member), vec![offset]).await.unwrap();
            let commits = offsets.into_iter().map(|offset| Box::pin(commit(offset))).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(join_in_order(commits));
        })
    });
    for committing in committing.collect::<Vec<_>>() {
        committing.await.unwrap();
    }
    for partition in 0..4 {
        assert_eq!(world.committed(partition).await, Some(COMMITS));
    }
}

/// Polls all of them, the first one first, until all have ended.
async fn join_in_order<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
