//! The load: a task for each partition that offers records, and one that awaits their deliveries.
//!
//! What the program itself remembers of records is small. A record that waits for room is one for each partition. Of one
//! that was accepted, its number and its [`Delivery`] are kept until that is settled, 40 bytes for 10 KiB of the client's
//! budget. What was said goes to a file. Every sixteenth delivery is dropped, so that its failure goes to `on_failure`.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use ottla_client::{
    Kafka,
    producer::{Delivery, Producer, Record},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    failure::{Doing, Result},
    ledger::{Fate, Ledger, Name},
    options::{How, Options},
};

/// The topic that records go to.
pub const TOPIC: &str = "outage";
/// Its partitions.
pub const PARTITIONS: i32 = 12;
/// Bytes of each value.
pub const VALUE_BYTES: usize = 10 << 10;

/// Of so many deliveries one is dropped.
const LEAVES_ONE_OF: u64 = 16;
/// How long a close may take beyond the time-outs that end everything.
const CLOSE_GRACE: Duration = Duration::from_secs(30);

/// Records that are being offered.
pub struct Load {
    producer: Producer,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    said: Arc<Said>,
}

/// What was said of the records so far.
pub struct Said {
    pub ledger: Ledger,
    /// Records that were offered.
    pub offered: AtomicU64,
    /// Of these, those that were accepted.
    pub accepted: AtomicU64,
    /// By partition: deliveries that were awaited and went well.
    pub delivered: [AtomicU64; PARTITIONS as usize],
    /// When brokers were back.
    back: OnceLock<Instant>,
    /// By partition: the first delivery since.
    first: [OnceLock<Instant>; PARTITIONS as usize],
}

/// The value of a record, by which it is known again.
pub fn value(name: Name) -> Bytes {
    let mut word = [0; 16];
    word[..8].copy_from_slice(&i64::from(name.partition).to_le_bytes());
    word[8..].copy_from_slice(&name.number.to_le_bytes());
    word.repeat(VALUE_BYTES / word.len()).into()
}

/// Whose value it is; none where it is no record's of this program, or not as it was.
pub fn name_of(bytes: &[u8]) -> Option<Name> {
    let (partition, rest) = bytes.split_first_chunk::<8>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    let partition = i32::try_from(i64::from_le_bytes(*partition)).ok()?;
    let name = Name { partition, number: u64::from_le_bytes(*number) };
    (bytes == value(name)).then_some(name)
}

impl Said {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            ledger: Ledger::new().doing("a file for fates")?,
            offered: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            delivered: [const { AtomicU64::new(0) }; PARTITIONS as usize],
            back: OnceLock::new(),
            first: [const { OnceLock::new() }; PARTITIONS as usize],
        }))
    }

    /// Brokers are back since this moment.
    pub fn are_back(&self, since: Instant) {
        self.back.get_or_init(|| since);
    }

    /// When the first record of these partitions was delivered since brokers are back.
    pub fn first(&self, partitions: &[i32]) -> Option<Instant> {
        partitions.iter().filter_map(|partition| self.first[*partition as usize].get()).min().copied()
    }

    /// When each of these partitions had one; none if one has not.
    pub fn first_of_all(&self, partitions: &[i32]) -> Option<Instant> {
        let firsts: Option<Vec<_>> =
            partitions.iter().map(|partition| self.first[*partition as usize].get()).collect();
        firsts?.into_iter().max().copied()
    }

    fn delivered(&self, partition: i32) {
        self.delivered[partition as usize].fetch_add(1, Relaxed);
        if self.back.get().is_some() {
            self.first[partition as usize].get_or_init(Instant::now);
        }
    }
}

impl Load {
    /// Begins to offer records.
    ///
    /// # Errors
    /// The client does not take its settings.
    pub fn start(options: &Options, kafka: &Kafka, runtime: &Runtime) -> Result<Self> {
        let said = Said::new()?;
        let noting = said.clone();
        let producer = kafka
            .producer()
            .delivery_timeout(options.delivery_timeout)
            .max_wait(options.delivery_timeout)
            .on_failure(move |record, error| match record.value.as_deref().and_then(name_of) {
                Some(name) => noting.ledger.note(name, Fate::of(&error)),
                None => tracing::error!(?record, "a record came back that was not offered"),
            })
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let (leaves, missed) = match options.how {
            // How many of the living's were delivered is counted by deliveries that are awaited, and their rate is fixed.
            How::KillOne => (None, MissedTickBehavior::Burst),
            How::Kill | How::Stop | How::Swallow => (Some(LEAVES_ONE_OF), MissedTickBehavior::Skip),
        };
        for partition in 0..PARTITIONS {
            let (deliveries, delivering) = mpsc::unbounded_channel();
            let offering = Offering {
                partition,
                pause: Duration::from_secs(PARTITIONS as u64) / options.offered(),
                leaves,
                missed,
                producer: producer.clone(),
                said: said.clone(),
                deliveries,
            };
            tasks.spawn_on(offering.run(stopped.clone()), runtime.handle());
            tasks.spawn_on(settle(partition, said.clone(), delivering), runtime.handle());
        }
        Ok(Self { producer, stop, tasks, said })
    }

    /// What was said so far.
    pub fn said(&self) -> &Arc<Said> {
        &self.said
    }

    /// Offers no more, closes the producer, and waits until the fate of all is known.
    ///
    /// # Errors
    /// A task has panicked.
    pub async fn stop(mut self, options: &Options) -> Result<Arc<Said>> {
        self.stop.send_replace(true);
        self.producer.close(options.delivery_timeout + options.request_timeout + CLOSE_GRACE).await;
        while let Some(ended) = self.tasks.join_next().await {
            ended.doing("offering records")?;
        }
        Ok(self.said)
    }
}

/// What offers records to one partition.
struct Offering {
    partition: i32,
    /// From one record to the next.
    pause: Duration,
    leaves: Option<u64>,
    /// What becomes of records that were due while one before them waited for room.
    missed: MissedTickBehavior,
    producer: Producer,
    said: Arc<Said>,
    deliveries: mpsc::UnboundedSender<(Name, Delivery)>,
}

impl Offering {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(self.missed);
        for number in 0.. {
            let name = Name { partition: self.partition, number };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                () = self.offer(name) => {}
                // Who gives up waiting has not sent the record: it is to be in no log.
                _ = stopped.wait_for(|stopped| *stopped) => return self.said.ledger.note(name, Fate::Rejected),
            }
        }
    }

    async fn offer(&self, name: Name) {
        self.said.offered.fetch_add(1, Relaxed);
        let record = Record::new(TOPIC).partition(name.partition).value(value(name));
        let Ok(delivery) = self.producer.enqueue(record).await else {
            self.said.ledger.note(name, Fate::Rejected);
            return;
        };
        self.said.accepted.fetch_add(1, Relaxed);
        if self.leaves.is_some_and(|one_of| name.number.is_multiple_of(one_of)) {
            // Before it is dropped, which may tell of a failure.
            self.said.ledger.note(name, Fate::Left);
            drop(delivery);
        } else if self.deliveries.send((name, delivery)).is_err() {
            self.said.ledger.note(name, Fate::Unsaid);
        }
    }
}

/// Awaits the deliveries of a partition, in order.
async fn settle(partition: i32, said: Arc<Said>, mut delivering: mpsc::UnboundedReceiver<(Name, Delivery)>) {
    while let Some((name, delivery)) = delivering.recv().await {
        let fate = match delivery.await {
            Ok(told) => {
                said.delivered(partition);
                Fate::Delivered(told.offset)
            }
            Err(error) => Fate::of(error.error()),
        };
        said.ledger.note(name, fate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_whose_it_is() {
        let name = Name { partition: 11, number: 1 << 40 };
        let mut bytes = value(name).to_vec();
        assert_eq!((bytes.len(), name_of(&bytes)), (VALUE_BYTES, Some(name)));
        assert_eq!(name_of(&bytes[16..]), None, "it is cut off");
        bytes[5000] ^= 1;
        assert_eq!(name_of(&bytes), None, "it is not as it was");
        assert_eq!(name_of(b"short"), None);
    }
}
