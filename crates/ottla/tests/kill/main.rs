//! The broker, killed under load: whatever it has acknowledged is there afterwards, exactly once.
//!
//! Four connections write to two topics, two of them idempotently, while a fifth creates and deletes topics;
//! the process is killed (SIGKILL) in the middle, started again, read back whole, and so on.
//! `OTTLA_KILLS=1000 cargo test --release -p ottla --test kill` kills it more often than the ordinary run.

mod client;
mod process;
mod turnover;
mod writer;

use std::{sync::mpsc, thread, time::Duration};

use client::Client;
use ottla_protocol::ErrorCode;
use ottla_storage::{Random, SeededRandom};
use process::Broker;
use turnover::Turnover;
use writer::{End, TOPICS, Writer, verify};

/// Everything outside of the broker that outlives it.
struct World {
    data: tempfile::TempDir,
    writers: Vec<Writer>,
    turnover: Turnover,
}

impl World {
    fn new() -> Self {
        let writers = (0..4).map(|number| Writer::new(number, number % 2 == 0)).collect();
        let world = Self { data: tempfile::tempdir().unwrap(), writers, turnover: Turnover::default() };
        let broker = Broker::start(world.data.path());
        let mut client = Client::connect(broker.address).unwrap();
        for (name, segment_bytes) in TOPICS {
            let settings = [("segment.bytes", segment_bytes)];
            assert_eq!(client.create_topic(name, 2, &settings).unwrap(), ErrorCode::NONE);
        }
        broker.kill();
        world
    }

    /// Starts the broker, compares, lets everybody work until `acknowledgements` requests have been answered,
    /// and has `end` end it.
    fn life<T>(&mut self, acknowledgements: u64, end: impl FnOnce(Broker) -> T) -> (T, Vec<End>) {
        let broker = Broker::start(self.data.path());
        let address = broker.address;
        self.verify(&broker);
        let (acknowledged, heard) = mpsc::channel();
        let (writers, turnover) = (&mut self.writers, &mut self.turnover);
        thread::scope(|scope| {
            let work = |writer| {
                let acknowledged = acknowledged.clone();
                scope.spawn(move || Writer::write(writer, address, &acknowledged))
            };
            let working: Vec<_> = writers.iter_mut().map(work).collect();
            drop(acknowledged);
            scope.spawn(|| turnover.run(address));
            let heard = (0..acknowledgements).take_while(|_| heard.recv().is_ok()).count();
            let ended = end(broker);
            let ends = working.into_iter().map(|writer| writer.join().unwrap()).collect();
            assert_eq!(heard as u64, acknowledgements, "the writers stopped: {ends:?}");
            (ended, ends)
        })
    }

    fn verify(&mut self, broker: &Broker) {
        let mut client = Client::connect(broker.address).unwrap();
        verify(&mut client, &mut self.writers);
        self.turnover.verify(&mut client);
    }
}

#[test]
fn a_killed_broker_has_everything_it_acknowledged() {
    let kills = std::env::var("OTTLA_KILLS").map_or(10, |count| count.parse().unwrap());
    let random = SeededRandom::new(3);
    let mut world = World::new();
    for kill in 0..kills {
        // Mostly soon, sometimes only after the write-ahead log went round.
        let limit = if kill % 4 == 3 { 3000 } else { 200 };
        let ((), ends) = world.life(1 + random.next_u64() % limit, Broker::kill);
        for end in ends {
            if let End::Refused(error) = end {
                panic!("a healthy broker refused a batch with {error:?}");
            }
        }
        if kill % 2 == 0 {
            Broker::start_and_kill(world.data.path(), Duration::from_millis(random.next_u64() % 60));
        }
    }
    let broker = Broker::start(world.data.path());
    world.verify(&broker);
}

#[test]
fn a_broker_that_is_told_to_stop_ends_in_order_under_load() {
    let mut world = World::new();
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let (status, _) = world.life(150, Broker::terminate);
        assert_eq!(status.code(), Some(0));
    }
    let broker = Broker::start(world.data.path());
    world.verify(&broker);
    let mut client = Client::connect(broker.address).unwrap();
    for partition in [("plain", 0), ("small-segments", 1)] {
        let batches = client.read_all(partition).unwrap();
        epochs.extend(batches.iter().map(|batch| batch.header().leader_epoch.0));
    }
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "the leader epoch rises with unclean stops only");
}
