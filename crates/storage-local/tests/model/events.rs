//! What may happen to a store.

use proptest::{collection::vec, prelude::*};

/// An append to one of the logs.
#[derive(Clone, Copy, Debug)]
pub struct Append {
    pub log: usize,
    pub records: usize,
    /// Bytes of the first record's value.
    pub size: usize,
    /// How much later than the one before its records were made, in milliseconds.
    pub later_ms: i64,
    pub kind: Kind,
}

/// Who appends.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Plain,
    /// An idempotent producer.
    Idempotent {
        producer: usize,
        sends: Sends,
    },
}

/// What an idempotent producer sends.
#[derive(Clone, Copy, Debug)]
pub enum Sends {
    /// The batch that follows its last one.
    Next,
    /// One of the last batches again, counted back from the newest; more than five back is forgotten.
    Again(usize),
    /// A batch behind a gap of so many records.
    Gap(i32),
    /// The next batch, with the epoch before.
    OldEpoch,
    /// The first batch of its next epoch.
    NewEpoch,
    /// A batch of its next epoch that is not the first.
    NewEpochMidway,
}

#[derive(Clone, Debug)]
pub enum Event {
    Append(Append),
    /// Several at once, before any is answered.
    Appends(Vec<Append>),
    /// Reads at a place given in 1/65536 of the way through the log, one past its ends included.
    Read {
        log: usize,
        place: u16,
        max_bytes: usize,
        at_least_one: bool,
    },
    /// Asks for the end of an epoch, counted from the epoch now.
    EpochEnd {
        log: usize,
        back: i32,
    },
    /// Time goes on, so that checkpoints and retention may happen.
    Pause,
    /// A stop in order and a start.
    Restart,
    /// A power cut when nothing is under way.
    Crash {
        image: u64,
    },
    /// A power cut while these are under way.
    CrashAmid {
        appends: Vec<Append>,
        image: u64,
    },
}

pub const LOGS: usize = 3;
pub const PRODUCERS: usize = 2;

fn append() -> impl Strategy<Value = Append> {
    let sends = prop_oneof![
        8 => Just(Sends::Next),
        3 => (0..8_usize).prop_map(Sends::Again),
        1 => (1..5_i32).prop_map(Sends::Gap),
        1 => Just(Sends::OldEpoch),
        1 => Just(Sends::NewEpoch),
        1 => Just(Sends::NewEpochMidway),
    ];
    let idempotent = (0..PRODUCERS, sends).prop_map(|(producer, sends)| Kind::Idempotent { producer, sends });
    let kind = prop_oneof![Just(Kind::Plain), idempotent];
    let size = prop_oneof![5 => 0..3000_usize, 1 => 8000..20_000_usize];
    let later = prop_oneof![5 => 0..500_i64, 1 => 3000..9000_i64];
    (0..LOGS, 1..5_usize, size, later, kind).prop_map(|(log, records, size, later_ms, kind)| Append {
        log,
        records,
        size,
        later_ms,
        kind,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let max_bytes = prop_oneof![0..100_usize, 100..10_000_usize, Just(1 << 20)];
    let read = (0..LOGS, any::<u16>(), max_bytes, any::<bool>()).prop_map(
        |(log, place, max_bytes, at_least_one)| Event::Read { log, place, max_bytes, at_least_one },
    );
    prop_oneof![
        6 => append().prop_map(Event::Append),
        6 => vec(append(), 2..12).prop_map(Event::Appends),
        6 => read,
        2 => (0..LOGS, -1..4_i32).prop_map(|(log, back)| Event::EpochEnd { log, back }),
        2 => Just(Event::Pause),
        1 => Just(Event::Restart),
        1 => any::<u64>().prop_map(|image| Event::Crash { image }),
        1 => (vec(append(), 1..12), any::<u64>())
            .prop_map(|(appends, image)| Event::CrashAmid { appends, image }),
    ]
}

pub fn events() -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 1..60)
}
