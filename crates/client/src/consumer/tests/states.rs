//! What is fetched from whom, and what answers mean.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    config::{ClientConfig, ConsumerConfig, OffsetReset},
    consumer::{
        fetch::Asked,
        partition::{Item, Phase, Position, StartAt},
        state::{Plan, State, Step},
    },
    error::{Error, ErrorKind},
    jitter::Jitter,
    metadata::cluster::{Broker, Cluster, Leadership, Topic},
    net::{address::Address, wire::TooLong},
};

const SHARE: usize = 64 << 20;
const NEWEST: i16 = 18;

/// A consumer of partitions of a topic, of which partition n is led by broker n.
struct World {
    state: State,
    consuming: Arc<Consuming>,
    now: Instant,
    epoch: i32,
}

impl World {
    fn new(partitions: i32) -> Self {
        Self::with(partitions, |_, _| {})
    }

    fn with(partitions: i32, change: fn(&mut ConsumerConfig, &mut ClientConfig)) -> Self {
        let (mut config, mut client) = (ConsumerConfig::default(), ClientConfig::default());
        change(&mut config, &mut client);
        let state = State::new(Arc::new(config), Arc::new(client), Jitter::seeded(1));
        let mut world = Self { state, consuming: consuming(SHARE), now: Instant::now(), epoch: 5 };
        for partition in 0..partitions {
            world.state.start(&key(partition), StartAt::Offset(10), world.now);
        }
        world.led_by(|partition| partition);
        world
    }

    /// The cluster tells who leads, in a new epoch.
    fn led_by(&mut self, leader: impl Fn(i32) -> i32) {
        self.epoch += 1;
        let epoch = self.epoch;
        let led = |partition: i32| (partition, Leadership { leader: Some(leader(partition)), epoch });
        let topic = Topic { id: [1; 16], partitions: (0..100).map(led).collect() };
        let broker = |id: i32| (id, Broker { address: Address::new("localhost", 1), rack: None });
        let topics = BTreeMap::from([(Arc::from("orders"), Ok(topic))]);
        let cluster = Cluster { brokers: (0..100).map(broker).collect(), topics, ..Cluster::default() };
        self.state.refreshed(Some(Arc::new(cluster)), self.now);
    }

    fn plan(&mut self) -> Plan {
        self.plan_with(SHARE)
    }

    fn plan_with(&mut self, share: usize) -> Plan {
        self.state.plan(self.now, share)
    }

    /// The brokers that are fetched from.
    fn fetches(plan: &Plan) -> Vec<i32> {
        let fetch = |step: &Step| match step {
            Step::Fetch(source, ..) => Some(*source),
            _ => None,
        };
        plan.steps.iter().filter_map(fetch).collect()
    }

    fn ask(&mut self, source: i32) -> Asked {
        self.state.ask(source, NEWEST, 1 << 20, self.now).expect("there is something to fetch")
    }

    fn answered(&mut self, source: i32, asked: &Asked, session_id: i32, partitions: Vec<PartitionData>) {
        let room = room(&self.consuming, 1000);
        self.state.fetch_is_over(source);
        self.state.fetched(source, asked, answer(session_id, partitions), room, self.now);
    }

    /// One fetch from a broker and its answer.
    fn round(&mut self, source: i32, partitions: Vec<PartitionData>) -> Asked {
        let asked = self.ask(source);
        self.answered(source, &asked, 77, partitions);
        asked
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
    }

    fn error(&mut self) -> Error {
        match self.state.take() {
            Some((_, Item::Failed(error), _)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn offset(&self, partition: i32) -> i64 {
        self.state.partitions[&key(partition)].position.offset
    }
}

/// Partition and offset of all that is named.
fn named(asked: &Asked) -> Vec<(i32, i64)> {
    let partitions = asked.request.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
}

#[test]
fn each_leader_is_fetched_from_and_only_what_changes_is_named() {
    let mut world = World::new(2);
    assert_eq!(World::fetches(&world.plan()), [0, 1]);
    assert!(World::fetches(&world.plan()).is_empty(), "one at a time");
    let asked = world.round(0, vec![told(0, batch(10, 5, 6))]);
    assert_eq!((named(&asked), asked.request.topics[0].topic_id), (vec![(0, 10)], [1; 16].into()));
    assert_eq!(asked.request.topics[0].partitions[0].current_leader_epoch, 6);
    assert_eq!(World::fetches(&world.plan()), [0]);
    let asked = world.ask(0);
    assert_eq!(
        (named(&asked), asked.request.session_id, asked.request.session_epoch),
        (vec![(0, 15)], 77, 1)
    );
    world.answered(0, &asked, 77, vec![]);
    assert_eq!(named(&world.ask(0)), []);
}

#[test]
fn an_answer_to_what_is_not_wanted_any_more_is_nothing() {
    let mut world = World::new(1);
    let asked = world.ask(0);
    world.state.start(&key(0), StartAt::Offset(3), world.now);
    world.answered(0, &asked, 77, vec![told(0, batch(10, 5, 6))]);
    assert!(world.state.take().is_none());
    assert_eq!(world.offset(0), 3);
    let asked = world.ask(0);
    world.state.remove(&key(0));
    world.answered(0, &asked, 77, vec![told(0, batch(3, 5, 6))]);
    assert!(world.state.take().is_none());
    // A partition that nobody asked for.
    let mut world = World::new(1);
    world.round(0, vec![told(9, batch(10, 5, 6))]);
    assert!(world.state.take().is_none());
}

#[test]
fn a_replica_nearby_is_read_until_it_fails_or_time_is_over() {
    let mut world = World::with(1, |_, client| client.client_rack = Some("b".into()));
    let prefer = |replica| PartitionData { preferred_read_replica: replica, ..told(0, Bytes::new()) };
    assert_eq!(&*world.round(0, vec![prefer(4)]).request.rack_id, "b");
    assert_eq!(World::fetches(&world.plan()), [4]);
    world.round(4, vec![told(0, batch(10, 5, 6))]);
    assert_eq!(World::fetches(&world.plan()), [4]);
    // It is behind: the leader is asked, and does not hear of the rack, or it would name the replica again.
    world.round(4, vec![failed(0, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    assert!(World::fetches(&world.plan()).is_empty());
    world.later(Duration::from_secs(1));
    assert_eq!(World::fetches(&world.plan()), [0]);
    let asked = world.round(0, vec![prefer(4)]);
    assert_eq!((&*asked.request.rack_id, named(&asked)), ("", vec![(0, 15)]));
    assert_eq!(World::fetches(&world.plan()), [0]);
    world.state.fetch_is_over(0);
    world.later(Duration::from_secs(60));
    assert_eq!(World::fetches(&world.plan()), [0]);
    assert_eq!(&*world.round(0, vec![prefer(4)]).request.rack_id, "b");
    assert_eq!(World::fetches(&world.plan()), [4]);
    // It cannot be connected to.
    world.state.fetch_is_over(4);
    let error = Error::new(ErrorKind::Retriable, "refused");
    world.state.fetch_failed(4, &error, None, world.now);
    assert_eq!(World::fetches(&world.plan()), [0]);
    world.later(Duration::from_secs(60));
    world.plan();
    world.round(0, vec![prefer(4)]);
    assert_eq!(World::fetches(&world.plan()), [4]);
    world.round(4, vec![]);
    world.later(Duration::from_secs(300));
    assert_eq!(World::fetches(&world.plan()), [0], "the leader may know a better one now");
    // No broker that the cluster knows.
    world.round(0, vec![prefer(1000)]);
    assert_eq!(World::fetches(&world.plan()), [0]);
}

#[test]
fn what_the_reader_has_enough_of_is_left_out_and_does_not_hold_up_the_others() {
    let mut world = World::with(2, |config, _| config.max_partition_fetch_bytes = 100);
    world.led_by(|_| 0);
    world.plan();
    assert_eq!(world.round(0, vec![told(0, batch(10, 20, 6))]).request.max_wait_ms, 500);
    assert_eq!(World::fetches(&world.plan()), [0]);
    let asked = world.ask(0);
    let forgotten: Vec<i32> =
        asked.request.forgotten_topics_data.iter().flat_map(|topic| topic.partitions.clone()).collect();
    assert_eq!((asked.request.max_wait_ms, named(&asked), forgotten), (0, vec![], vec![0]));
    world.answered(0, &asked, 77, vec![]);
    // There was nothing new: the broker is left alone until there is room, or for a moment.
    let plan = world.plan();
    assert!(World::fetches(&plan).is_empty());
    assert_eq!(plan.wake_at, Some(world.now + Duration::from_millis(50)));
    let Some((_, Item::Chunk(_), true)) = world.state.take() else { panic!("the driver has to look again") };
    assert_eq!(World::fetches(&world.plan()), [0]);
    assert_eq!((world.ask(0).request.max_wait_ms, world.offset(0)), (500, 30));
}

#[test]
fn brokers_take_turns_where_there_is_not_room_for_all() {
    let mut world = World::with(4, |config, _| config.max_partition_fetch_bytes = 100);
    let mut turns = Vec::new();
    for _ in 0..4 {
        let fetches = World::fetches(&world.plan_with(450));
        fetches.iter().for_each(|source| world.state.fetch_is_over(*source));
        turns.extend(fetches);
    }
    assert_eq!(turns, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn nothing_is_fetched_ahead_of_what_may_be_held() {
    let mut world = World::with(1, |config, _| config.max_partition_fetch_bytes = 1 << 20);
    let size = batch(10, 20, 6).len();
    world.plan_with(2 * size);
    world.round(0, vec![told(0, batch(10, 20, 6))]);
    assert!(World::fetches(&world.plan_with(2 * size)).is_empty());
    let Some((_, Item::Chunk(_), true)) = world.state.take() else { panic!("the driver has to look again") };
    assert_eq!(World::fetches(&world.plan_with(2 * size)), [0]);
    assert_eq!(world.state.untaken, 0);
}

#[test]
fn a_batch_that_came_cut_off_is_asked_for_alone() {
    let mut world = World::with(3, |config, _| config.max_partition_fetch_bytes = 200);
    world.led_by(|_| 0);
    let large = batch(10, 50, 6);
    world.round(0, vec![told(0, batch(10, 1, 6)), told(1, large.slice(..200))]);
    world.later(Duration::from_secs(1));
    assert_eq!(world.state.bytes_alone(0), Some(large.len()));
    let asked = world.ask(0);
    assert_eq!(
        (named(&asked), asked.request.session_epoch, asked.request.max_wait_ms),
        (vec![(1, 10)], -1, 0)
    );
    assert!(asked.answer_max(large.len()) > large.len());
    world.answered(0, &asked, 0, vec![told(1, large)]);
    assert_eq!((world.offset(1), world.state.bytes_alone(0)), (60, None));
    // The session goes on as it was.
    let asked = world.ask(0);
    assert_eq!((asked.request.session_id, asked.request.session_epoch), (77, 1));
}

#[test]
fn an_answer_that_is_too_long_is_asked_for_partition_by_partition() {
    let mut world = World::new(2);
    world.led_by(|_| 0);
    let asked = world.ask(0);
    let most = 5000;
    world.state.fetch_is_over(0);
    world.state.too_long(0, &asked, TooLong { length: 9000, max: 1000 }, most);
    for partition in [0, 1] {
        assert_eq!(world.state.bytes_alone(0), Some(most));
        let asked = world.ask(0);
        assert_eq!(named(&asked), [(partition, 10)]);
        if partition == 0 {
            world.answered(0, &asked, 0, vec![told(0, batch(10, 1, 6))]);
        } else {
            world.state.too_long(0, &asked, TooLong { length: 9000, max: 1000 }, most);
        }
    }
    world.state.take();
    let error = world.error();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("partition 1 of topic orders at offset 10 has 9000 bytes"), "{error}");
    assert_eq!(named(&world.ask(0)), [(0, 11)], "it stays there");
}

#[test]
fn an_answer_that_makes_no_sense_stops_the_partition() {
    let mut unknown = batch(10, 1, 6).to_vec();
    unknown[16] = 9;
    for (records, expected) in [
        (
            batch(3, 5, 6),
            "offset 10 of partition 0 of topic orders was asked for, and what came ends before it",
        ),
        (
            unknown.into(),
            "a batch of partition 0 of topic orders at offset 10 is damaged; seek past it to go on",
        ),
    ] {
        let mut world = World::new(1);
        world.round(0, vec![told(0, records)]);
        let error = world.error();
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::DataCorruption, expected));
        assert_eq!(world.state.partitions[&key(0)].phase, Phase::Stopped);
        assert!(World::fetches(&world.plan()).is_empty());
    }
}

#[test]
fn what_was_read_is_checked_under_a_new_leader_before_more_is() {
    let mut world = World::new(1);
    world.led_by(|_| 3);
    assert_eq!(World::fetches(&world.plan()), [3], "nothing was read yet");
    world.round(3, vec![told(0, batch(10, 5, 7))]);
    world.led_by(|_| 4);
    let plan = world.plan();
    assert!(matches!(&plan.steps[..], [Step::Check(4, checks)] if checks.len() == 1), "{plan:?}");
    assert!(world.plan().steps.is_empty(), "it is under way");
}

#[test]
fn what_was_fetched_ahead_is_fetched_again_where_it_made_room() {
    let mut world = World::new(1);
    world.round(0, vec![told(0, batch(10, 5, 6))]);
    world.round(0, vec![told(0, batch(15, 5, 7))]);
    let Some((_, Item::Chunk(first), _)) = world.state.take() else { panic!("a chunk came") };
    assert_eq!(first.position().offset, 10);
    world.state.drop_ahead(|_| true);
    assert!(world.state.take().is_none());
    assert_eq!(world.offset(0), 15);
    // An answer that comes while room is claimed makes way as well.
    let asked = world.ask(0);
    world.state.is_claiming = true;
    world.answered(0, &asked, 77, vec![told(0, batch(15, 5, 7))]);
    assert!(world.state.take().is_none() && world.plan().steps.is_empty());
    assert_eq!((world.offset(0), world.state.untaken), (15, 0));
}

#[test]
fn an_error_is_told_once_until_it_is_over() {
    let mut world = World::new(1);
    for _ in 0..3 {
        world.round(0, vec![failed(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED)]);
        world.later(Duration::from_secs(2));
    }
    assert_eq!(world.error().kind(), ErrorKind::Auth);
    assert!(world.state.take().is_none());
    world.round(0, vec![told(0, Bytes::new())]);
    world.round(0, vec![failed(0, ErrorCode::TOPIC_AUTHORIZATION_FAILED)]);
    assert_eq!(world.error().kind(), ErrorKind::Auth);
}

#[test]
fn a_rule_goes_on_where_the_logs_part_after_a_truncation() {
    for (rule, end, phase) in [
        (OffsetReset::None, 7, Phase::Stopped),
        (OffsetReset::Latest, 7, Phase::Fetching),
        (OffsetReset::None, -1, Phase::Stopped),
    ] {
        let mut world = World::new(1);
        world.state.config = Arc::new(ConsumerConfig { offset_reset: rule, ..ConsumerConfig::default() });
        world.state.truncated(&key(0), end);
        assert_eq!(world.state.partitions[&key(0)].phase, phase);
        if rule == OffsetReset::None {
            assert_eq!(world.error().kind(), ErrorKind::OffsetOutOfRange);
        } else {
            assert_eq!(world.offset(0), 7);
        }
    }
}

#[test]
fn a_log_that_has_grown_anew_after_it_was_cut_is_checked() {
    for (epoch, phase) in [(Some(0), Phase::Validating), (None, Phase::Fetching)] {
        let mut world = World::new(1);
        let partition = world.state.partitions.get_mut(&key(0)).unwrap();
        partition.position = Position { offset: 10, epoch };
        partition.phase = Phase::Ranging { start: Some(0) };
        world.state.out_of_range(&key(0), 0, 20);
        assert_eq!(world.state.partitions[&key(0)].phase, phase);
    }
}
