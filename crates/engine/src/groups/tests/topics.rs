//! Groups of KIP-848 hear of topics, and regular expressions follow them.

use consumer::Pattern;

use super::*;

/// Lets the group's only member send heartbeats until it has got so many partitions.
async fn until_assigned(world: &World, partitions: usize) {
    let assigned = async || {
        let description = world.groups.describe(GROUP).await.unwrap();
        let Some(GroupDescription::Consumer(group)) = description else { panic!("a consumer group") };
        let member = group.members.into_iter().next().expect("a member");
        let accepted =
            world.groups.consumer_heartbeat(GROUP, heartbeat(member.member_epoch.0, false)).await.unwrap();
        let got = accepted.assignment.map(|assignment| assignment.len());
        (got == Some(partitions)).then_some(())
    };
    world.until(assigned).await;
}

#[tokio::test]
async fn a_topic_that_is_subscribed_to_and_created_later_is_assigned() {
    let world = World::new().await;
    let joins = Heartbeat { topics: Some(vec!["orders".into(), "clicks".into()]), ..heartbeat(0, true) };
    let joined = world.groups.consumer_heartbeat(GROUP, joins).await.unwrap();
    assert_eq!(joined.assignment.as_ref().map(Assignment::len), Some(4));
    world.create("clicks", 3).await;
    until_assigned(&world, 7).await;
    let clicks = world.broker.topics().named("clicks").unwrap().id;
    world.broker.delete(clicks).await.unwrap();
    until_assigned(&world, 4).await;
}

#[tokio::test]
async fn topics_that_changed_while_nobody_looked_are_noticed_after_a_restart() {
    let mut world = World::new().await;
    let joins = Heartbeat { topics: Some(vec!["orders".into(), "clicks".into()]), ..heartbeat(0, true) };
    world.groups.consumer_heartbeat(GROUP, joins).await.unwrap();
    let (groups, running) = World::start(&world.broker).await;
    world.groups = groups;
    std::mem::replace(&mut world.running, running).await.unwrap();
    world.create("clicks", 3).await;
    world.restart().await;
    until_assigned(&world, 7).await;
}

#[tokio::test]
async fn a_regular_expression_stands_for_topics_that_come_and_go() {
    let mut world = World::new().await;
    world.create("order", 1).await;
    let pattern = world.groups.resolve("order.+").await;
    assert!(matches!(&pattern, Pattern::Resolved { topics, .. } if topics == &["orders".into()]));
    let joins = Heartbeat { topics: None, pattern: Some(pattern), ..heartbeat(0, true) };
    let joined = world.groups.consumer_heartbeat(GROUP, joins).await.unwrap();
    assert_eq!(joined.assignment.as_ref().map(Assignment::len), Some(4));
    world.clock.advance(Duration::from_secs(2));
    world.create("orders-eu", 2).await;
    until_assigned(&world, 6).await;
    // It is stored, and the next life goes on with it.
    world.restart().await;
    world.clock.advance(Duration::from_secs(2));
    let orders = world.broker.topics().named("orders").unwrap().id;
    world.broker.delete(orders).await.unwrap();
    until_assigned(&world, 2).await;
}

#[tokio::test]
async fn a_regular_expression_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let joins = async |pattern: &str| {
        let pattern = Some(world.groups.resolve(pattern).await);
        let joins = Heartbeat { topics: None, pattern, ..heartbeat(0, true) };
        world.groups.consumer_heartbeat(GROUP, joins).await
    };
    for pattern in ["orders(", "(a{1000}){1000}"] {
        let refused = joins(pattern).await.unwrap_err();
        let is_invalid = matches!(refused, GroupError::Consumer(consumer::Refusal::InvalidPattern { .. }));
        assert!(is_invalid, "{refused}");
    }
    assert_eq!(world.groups.resolve("").await, Pattern::None);
    assert!(joins("orders").await.is_ok());
}
