use std::collections::BTreeSet;

use ottla_protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_records::{ProducerEpoch, ProducerId};
use parking_lot::Mutex;

use super::*;
use crate::budget::Budget;

const WALL: TimestampMs = TimestampMs(1_000);
const LINGER: u64 = 5;
const BUDGET: usize = 1 << 20;

struct World {
    accumulator: Accumulator,
    failures: Arc<Mutex<Vec<(Record, Error)>>>,
}

impl World {
    /// A producer that has its identity, and knows nothing of the cluster.
    fn new(partitioning: Partitioning) -> Self {
        let failures = Arc::new(Mutex::new(Vec::new()));
        let noted = failures.clone();
        let settings = Settings {
            limits: Limits { batch_bytes: 1000, linger: at(LINGER), delivery_timeout: at(60_000) },
            request_bytes: 3000,
            max_wait: at(10_000),
            is_idempotent: true,
            partitioning,
            backoff: (at(100), at(1000)),
            on_failure: Arc::new(move |record, error| noted.lock().push((record, error))),
        };
        let budget = Arc::new(Budget::new(BUDGET)).producing();
        let mut accumulator = Accumulator::new(settings, budget, Arc::default(), Jitter::seeded(1));
        let identity = Identity { id: ProducerId(1), epoch: ProducerEpoch(0) };
        accumulator.set_identity(identity, at(0));
        Self { accumulator, failures }
    }

    /// The topic has partitions that these brokers lead; 0 stands for none.
    fn learn(&mut self, leaders: &[i32], now: u64) {
        let partition = |(partition_index, leader): (i32, &i32)| MetadataResponsePartition {
            partition_index,
            leader_id: if *leader == 0 { -1 } else { *leader },
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("orders".into()),
            partitions: (0..).zip(leaders).map(partition).collect(),
            ..MetadataResponseTopic::default()
        };
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: "a".into(),
            port: 9092,
            ..MetadataResponseBroker::default()
        };
        let brokers = (1..4).map(broker).collect();
        let response = MetadataResponse { brokers, topics: vec![topic], ..MetadataResponse::default() };
        let cluster = Arc::new(Cluster::told(&response, None).unwrap());
        self.accumulator.learn(&cluster, WALL, at(now));
        self.tell();
    }

    fn tell(&mut self) {
        mem::take(&mut self.accumulator.turn).tell();
    }

    fn take(&mut self, record: &Record, now: u64) -> Result<Taken, Refusal> {
        let taken = self.accumulator.take(record, WALL, || at(now), None);
        self.tell();
        taken
    }

    fn send(&mut self, partition: i32, bytes: usize, now: u64) -> Delivery {
        let record = Record::new("orders").partition(partition).value(vec![b'x'; bytes]);
        self.take(&record, now).unwrap().delivery
    }

    /// All requests that are to be sent now, broker by broker.
    fn ship(&mut self, now: u64) -> Vec<(i32, Vec<Shipment>)> {
        self.accumulator.tick(at(now));
        self.tell();
        let mut requests = Vec::new();
        for broker in self.accumulator.recipients(at(now)) {
            loop {
                let shipments = self.accumulator.ship(broker, at(now));
                if shipments.is_empty() {
                    break;
                }
                requests.push((broker, shipments));
            }
        }
        requests
    }

    fn written(&mut self, (broker, shipments): (i32, Vec<Shipment>), now: u64) {
        self.accumulator.answered(broker, Duration::ZERO, at(now));
        for shipment in shipments {
            self.accumulator.ended(shipment.slot, shipment.batch, Ended::Written(Some(0)), at(now));
        }
        self.tell();
    }

    fn refused(&mut self, (broker, shipments): (i32, Vec<Shipment>), now: u64) {
        self.accumulator.answered(broker, Duration::ZERO, at(now));
        let error = Error::new(ErrorKind::Retriable, "another broker leads it");
        for shipment in shipments {
            let ended = Ended::Again(Attempt::Refused, error.clone());
            self.accumulator.ended(shipment.slot, shipment.batch, ended, at(now));
        }
        self.tell();
    }

    fn held(&self) -> usize {
        self.accumulator.budget.held()
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn partitions(requests: &[(i32, Vec<Shipment>)]) -> Vec<(i32, Vec<i32>)> {
    let of = |shipments: &[Shipment]| shipments.iter().map(|shipment| shipment.partition).collect();
    requests.iter().map(|(broker, shipments)| (*broker, of(shipments))).collect()
}

#[test]
fn a_request_has_a_batch_of_each_partition_as_far_as_they_go_into_it() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1, 1, 1, 1, 1, 2], 0);
    let deliveries: Vec<_> = (0..12).map(|number| world.send(number % 6, 900, 0)).collect();
    let requests = world.ship(1);
    // The first batch of each is full, and the first under an identity goes alone.
    assert_eq!(partitions(&requests), [(1, vec![0, 1, 2, 3]), (1, vec![4]), (2, vec![5])]);
    assert!(
        requests
            .iter()
            .flat_map(|(_, shipments)| shipments)
            .all(|shipment| shipment.header.record_count == 1)
    );
    requests.into_iter().for_each(|request| world.written(request, 2));
    assert_eq!(partitions(&world.ship(2)), [], "the others may take more records");
    let requests = world.ship(LINGER);
    assert_eq!(partitions(&requests), [(1, vec![0, 1, 2, 3]), (1, vec![4]), (2, vec![5])]);
    requests.into_iter().for_each(|request| world.written(request, 6));
    assert_eq!((world.held(), world.accumulator.unsettled()), (0, 0));
    assert_eq!(world.accumulator.looks_at(at(6)), None);
    drop(deliveries);
    assert!(world.failures.lock().is_empty());
}

#[test]
fn what_fails_waits_unless_another_broker_leads() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1], 0);
    let _delivery = world.send(0, 10, 0);
    let request = world.ship(LINGER).remove(0);
    world.refused(request, 10);
    assert!(world.accumulator.metadata_wanted().is_some());
    assert_eq!(partitions(&world.ship(10)), []);
    let again = world.accumulator.looks_at(at(10)).unwrap();
    assert!(again >= at(90) && again <= at(130), "{again:?}");
    let request = world.ship(130).remove(0);
    world.refused(request, 130);
    world.learn(&[1], 131);
    assert_eq!(partitions(&world.ship(131)), [], "nothing has changed");
    let held = world.held();
    world.learn(&[2], 132);
    assert_eq!(world.held(), held);
    let requests = world.ship(132);
    assert_eq!(partitions(&requests), [(2, vec![0])]);
    requests.into_iter().for_each(|request| world.written(request, 133));
    assert_eq!(world.held(), 0);
}

#[test]
fn a_broker_takes_five_requests_at_a_time_and_none_while_it_is_throttled() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1; 20], 0);
    let _deliveries: Vec<_> = (0..20).map(|partition| world.send(partition, 2000, 0)).collect();
    let mut requests = world.ship(LINGER);
    assert_eq!(requests.len(), 5);
    let (broker, shipments) = requests.remove(0);
    world.accumulator.answered(broker, at(50), at(10));
    for shipment in shipments {
        world.accumulator.ended(shipment.slot, shipment.batch, Ended::Written(None), at(10));
    }
    assert!(world.ship(10).is_empty() && world.ship(59).is_empty());
    assert_eq!(world.accumulator.looks_at(at(59)), Some(at(60)));
    assert_eq!(world.ship(60).len(), 1);
}

#[test]
fn records_that_may_go_anywhere_go_to_those_who_answer() {
    let mut world = World::new(Partitioning::Random);
    world.learn(&[1, 2, 3, 0], 0);
    let chosen = |world: &mut World, now| {
        let mut chosen = BTreeSet::new();
        for _ in 0..50 {
            let record = Record::new("orders").value("x");
            let slot = world.accumulator.topic(&record.topic);
            chosen.insert(world.accumulator.choose(slot, &record).unwrap());
            let _ = now;
        }
        chosen.into_iter().map(|slot| world.accumulator.slots[slot].index).collect::<Vec<_>>()
    };
    let mut all = chosen(&mut world, 0);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    let _delivery = world.send(0, 10, 0);
    let request = world.ship(LINGER).remove(0);
    world.accumulator.tick(at(1004));
    let mut all = chosen(&mut world, 1004);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    assert_eq!(world.accumulator.looks_at(at(1004)), Some(at(1005)));
    world.accumulator.tick(at(1005));
    let mut all = chosen(&mut world, 1005);
    all.sort_unstable();
    assert_eq!(all, [1, 2], "broker 1 is silent");
    world.written(request, 1100);
    world.accumulator.queues.entry(2).or_default();
    world.accumulator.set_down(2, true);
    let mut all = chosen(&mut world, 1100);
    all.sort_unstable();
    assert_eq!(all, [0, 2], "broker 2 cannot be reached");
}

#[test]
fn records_without_a_key_fill_one_batch_after_the_other() {
    let mut world = World::new(Partitioning::java());
    world.learn(&[1, 1, 1, 1], 0);
    let record = Record::new("orders").value(vec![b'x'; 100]);
    let _deliveries: Vec<_> = (0..40).map(|_| world.take(&record, 0).unwrap().delivery).collect();
    let counts: Vec<i32> = world
        .ship(LINGER)
        .into_iter()
        .flat_map(|(_, shipments)| shipments)
        .map(|shipment| shipment.header.record_count)
        .collect();
    assert!(counts.iter().filter(|count| **count == 8).count() >= counts.len() - 1, "{counts:?}");
}

#[test]
fn records_for_a_topic_that_is_not_known_wait_in_order_and_not_for_ever() {
    let mut world = World::new(Partitioning::ByHand);
    let mut first = world.send(0, 10, 0);
    let mut second = world.send(0, 20, 5000);
    assert_eq!(world.accumulator.metadata_wanted().unwrap(), ["orders".into()]);
    assert!(world.held() > 0 && world.ship(9_999).is_empty());
    assert_eq!(world.accumulator.looks_at(at(9_999)), Some(at(10_000)));
    world.accumulator.tick(at(10_000));
    world.tell();
    let error = first.try_get().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::No)));
    assert_eq!(error.record().timestamp, Some(WALL.0));
    world.learn(&[1], 10_001);
    let number = world.accumulator.flush(at(10_001));
    assert!(!world.accumulator.is_flushed(number));
    let requests = world.ship(10_001);
    requests.into_iter().for_each(|request| world.written(request, 10_002));
    assert!(world.accumulator.is_flushed(number) && world.held() == 0);
    assert_eq!(second.try_get().unwrap().unwrap().offset, Some(0));
}

#[test]
fn topics_that_do_not_exist_leave_nothing_behind() {
    let mut world = World::new(Partitioning::ByHand);
    for topic in 0..1000 {
        let taken = world.take(&Record::new(format!("topic-{topic}")).partition(0).value("x"), topic);
        drop(taken.unwrap().delivery);
        world.accumulator.tick(at(topic + 10_000));
        world.tell();
    }
    assert!(world.accumulator.topics.len() <= 1 && world.accumulator.by_name.is_empty());
    assert_eq!((world.failures.lock().len(), world.held()), (1000, 0));
}

#[test]
fn a_topic_that_does_not_exist_is_asked_for_no_more_when_nobody_waits_for_it() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1], 0);
    drop(world.take(&Record::new("nothing").partition(0).value("x"), 0).unwrap().delivery);
    assert!(world.accumulator.metadata_wanted().is_some());
    world.learn(&[1], 1);
    assert!(world.accumulator.metadata_wanted().is_some(), "somebody waits");
    world.accumulator.tick(at(10_000));
    world.tell();
    world.learn(&[1], 10_001);
    assert!(world.accumulator.metadata_wanted().is_none());
}

#[test]
fn another_identity_waits_for_all_that_is_under_way_and_then_all_goes_on() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1], 0);
    let _first = world.send(0, 900, 0);
    let request = world.ship(LINGER).remove(0);
    world.written(request, 6);
    let _lost = world.send(0, 900, 6);
    let lost = world.ship(11).remove(0);
    let mut later = world.send(0, 900, 59_000);
    // Its deadline passes while nobody knows what became of it.
    assert_eq!(partitions(&world.ship(60_006)), []);
    let wanted = world.accumulator.identity_wanted().unwrap().unwrap();
    assert_eq!(wanted.epoch, ProducerEpoch(0));
    assert!(world.ship(60_007).is_empty() && world.accumulator.identity_wanted().is_none());
    world.accumulator.set_identity(Identity { epoch: ProducerEpoch(1), ..wanted }, at(60_008));
    let requests = world.ship(60_008);
    let header = requests[0].1[0].header;
    assert_eq!((header.producer_epoch.0, header.base_sequence.0), (1, 0));
    requests.into_iter().for_each(|request| world.written(request, 60_009));
    assert!(later.try_get().unwrap().is_ok());
    world.written(lost, 60_010);
    assert_eq!((world.held(), world.accumulator.unsettled()), (0, 0));
}

#[test]
fn a_full_lane_says_so_and_leaves_room_to_others() {
    let mut world = World::new(Partitioning::ByHand);
    world.learn(&[1, 2], 0);
    let record = Record::new("orders").partition(0).value(vec![b'x'; 900]);
    let mut deliveries = Vec::new();
    loop {
        match world.take(&record, 0) {
            Ok(taken) => deliveries.push(taken.delivery),
            Err(Refusal::NoRoom { lane, .. }) => break assert_eq!(lane, Lane::Broker(1)),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    let half = world.held();
    assert!(half.abs_diff(BUDGET / 2) < 4000, "{half}");
    let _other = world.send(1, 900, 0);
    world.learn(&[2, 2], 1);
    assert!(matches!(world.take(&record, 1), Err(Refusal::NoRoom { lane: Lane::Broker(2), .. })));
    world.learn(&[2, 1], 2);
    let _other = world.send(1, 900, 2);
}
