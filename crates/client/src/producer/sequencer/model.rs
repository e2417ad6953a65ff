//! The sequencer against a broker that keeps Kafka's rules, over a network that loses, refuses and delays: whatever
//! happens, the log holds what the fates say.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
};

use proptest::{prelude::*, test_runner::Config};

use super::*;

/// Batches of which a broker remembers the sequences.
const REMEMBERED: usize = 5;

/// A partition's log, and what its broker knows of the producer.
#[derive(Default)]
struct Log {
    batches: Vec<BatchNumber>,
    epoch: Option<i16>,
    next_sequence: i32,
    remembered: VecDeque<i32>,
}

impl Log {
    fn append(&mut self, request: Request) -> Attempt {
        let Request { batch, identity, base_sequence, records } = request;
        let epoch = identity.epoch.0;
        match self.epoch {
            Some(known) if epoch < known => return Attempt::Fenced,
            Some(known) if epoch == known => {
                if self.remembered.contains(&base_sequence) {
                    return Attempt::Written;
                }
                if base_sequence != self.next_sequence {
                    return Attempt::OutOfOrder;
                }
            }
            Some(_) if base_sequence != 0 => return Attempt::OutOfOrder,
            Some(_) => self.remembered.clear(),
            // A broker that knows nothing of the producer takes what comes.
            None => {}
        }
        self.epoch = Some(epoch);
        self.next_sequence = base_sequence + records;
        self.remembered.push_back(base_sequence);
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_front();
        }
        self.batches.push(batch);
        Attempt::Written
    }
}

#[derive(Clone, Copy, Debug)]
struct Request {
    batch: BatchNumber,
    identity: Identity,
    base_sequence: i32,
    records: i32,
}

#[derive(Clone, Debug)]
enum Action {
    Push(i32),
    Send,
    /// The broker answers the first request.
    Answer,
    /// It refuses it, as one that does not lead the partition.
    Refuse,
    /// It does the work, and does not know whether others have it.
    Unsure,
    /// No attempt will help the batch.
    Fail,
    /// The connection ends: so many requests have come to the broker, and the others may come late.
    Cut(usize),
    /// A request of a connection that has ended comes to the broker.
    ComesLate(usize),
    /// A batch is given up.
    Abandon(usize),
    /// Another partition needed another identity.
    AnotherIdentity,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..4).prop_map(Action::Push),
        8 => Just(Action::Send),
        6 => Just(Action::Answer),
        2 => Just(Action::Refuse),
        1 => Just(Action::Unsure),
        1 => Just(Action::Fail),
        2 => (0_usize..6).prop_map(Action::Cut),
        2 => (0_usize..8).prop_map(Action::ComesLate),
        2 => (0_usize..8).prop_map(Action::Abandon),
        1 => Just(Action::AnotherIdentity),
    ]
}

struct World {
    sequencer: Sequencer,
    identity: Identity,
    log: Log,
    sent: VecDeque<Request>,
    late: Vec<Request>,
    records: BTreeMap<BatchNumber, i32>,
    fates: BTreeMap<BatchNumber, Fate>,
}

impl World {
    fn new() -> Self {
        Self {
            sequencer: Sequencer::default(),
            identity: Identity { id: ProducerId(1), epoch: ProducerEpoch(0) },
            log: Log::default(),
            sent: VecDeque::new(),
            late: Vec::new(),
            records: BTreeMap::new(),
            fates: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Push(records) => {
                let batch = BatchNumber(self.records.len() as u64);
                self.records.insert(batch, *records);
                self.sequencer.push(batch, *records);
            }
            Action::Send => self.send(),
            Action::Answer => self.answer(|log, request| log.append(request)),
            Action::Refuse => self.answer(|_, _| Attempt::Refused),
            Action::Fail => self.answer(|_, _| Attempt::Failed),
            Action::Unsure => self.answer(|log, request| {
                log.append(request);
                Attempt::Unknown
            }),
            Action::Cut(come) => {
                let sent = std::mem::take(&mut self.sent);
                for (place, request) in sent.into_iter().enumerate() {
                    if place < *come {
                        self.log.append(request);
                    } else {
                        self.late.push(request);
                    }
                    self.ended(request.batch, Attempt::Unknown);
                }
            }
            Action::ComesLate(which) => {
                if *which < self.late.len() {
                    let request = self.late.remove(*which);
                    self.log.append(request);
                }
            }
            Action::Abandon(which) => {
                let unsettled = self.records.keys().filter(|batch| !self.fates.contains_key(batch));
                if let Some(batch) = unsettled.copied().nth(*which) {
                    let written = self.sequencer.abandon(batch).expect("it is not settled");
                    self.fates.insert(batch, Fate::Failed(written));
                }
            }
            Action::AnotherIdentity => self.another_identity(),
        }
    }

    fn another_identity(&mut self) {
        self.identity.epoch.0 += 1;
    }

    fn send(&mut self) {
        let is_ready = self.sequencer.is_ready(false);
        let next = self.sequencer.next(self.identity);
        assert!(is_ready || next == Next::Nothing);
        match next {
            Next::Send { batch, identity, base_sequence } => {
                let records = self.records[&batch];
                self.sent.push_back(Request { batch, identity, base_sequence, records });
                assert!(self.sent.len() <= UNDER_WAY_MAX);
            }
            Next::AnotherIdentity => self.another_identity(),
            Next::Nothing => {}
        }
    }

    fn answer(&mut self, answer: impl FnOnce(&mut Log, Request) -> Attempt) {
        if let Some(request) = self.sent.pop_front() {
            let attempt = answer(&mut self.log, request);
            self.ended(request.batch, attempt);
        }
    }

    fn ended(&mut self, batch: BatchNumber, attempt: Attempt) {
        let fate = self.sequencer.ended(batch, attempt);
        let is_settled = self.fates.contains_key(&batch);
        assert_eq!(fate == Fate::Forgotten, is_settled, "{batch:?}");
        if matches!(fate, Fate::Delivered | Fate::Failed(_)) {
            self.fates.insert(batch, fate);
        }
    }

    /// Nothing fails any more: everything comes to its end.
    fn calm_down(&mut self) {
        for _ in 0..20 * (self.records.len() + 1) {
            self.send();
            self.answer(|log, request| log.append(request));
        }
        assert!(self.sequencer.is_idle(), "something waits for ever");
    }

    fn check(&self) {
        for batch in self.records.keys() {
            let times = self.log.batches.iter().filter(|logged| *logged == batch).count();
            match self.fates.get(batch) {
                Some(Fate::Delivered) => assert_eq!(times, 1, "{batch:?} was delivered"),
                Some(Fate::Failed(Written::No)) => assert_eq!(times, 0, "{batch:?} was not written"),
                Some(Fate::Failed(Written::Maybe)) => assert!(times <= 1, "{batch:?} is there {times} times"),
                other => panic!("{batch:?}: {other:?}"),
            }
        }
        let delivered = self.log.batches.iter().filter(|batch| self.fates[batch] == Fate::Delivered);
        assert!(delivered.is_sorted(), "out of order: {:?}", self.log.batches);
    }
}

fn cases() -> u32 {
    env::var("OTTLA_PRODUCER_CASES").map_or(1000, |cases| cases.parse().expect("a number"))
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_log_holds_what_the_fates_say(actions in prop::collection::vec(action(), 1..120)) {
        let mut world = World::new();
        actions.iter().for_each(|action| world.act(action));
        world.calm_down();
        while !world.late.is_empty() {
            world.act(&Action::ComesLate(0));
        }
        world.check();
    }
}
