//! All that a consumer knows, and what it does next. Nothing here waits or reads a clock: times come in, steps go out.
//!
//! The reader and the driver share it behind a lock, which the reader takes once for all records of a chunk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    chunk::Chunk,
    offsets::{Check, Listing},
    partition::{Item, Key, Partition, Phase, Position, StartAt},
    session::Session,
};
use crate::{
    config::{ClientConfig, ConsumerConfig},
    error::{Error, ErrorKind},
    jitter::Jitter,
    metadata::cluster::Cluster,
};

/// The part of `fetch_max_wait` for which a broker is left alone that has nothing new, while one of its partitions has enough.
const QUIET_PART: u32 = 10;
/// And how long that is at least.
const QUIET_MIN: Duration = Duration::from_millis(10);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask for the cluster with these topics, after so many failures in a row.
    Refresh(Vec<Arc<str>>, u32),
    /// Look up offsets at a broker.
    List(i32, Vec<Listing>),
    /// Ask a broker whether positions are still in its log.
    Check(i32, Vec<Check>),
    /// Fetch from a broker, into so many bytes: at least the first number, at most the second.
    Fetch(i32, usize, usize),
}

/// What there is to be done, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) wake_at: Option<Instant>,
}

impl Plan {
    /// Looks again at this time, if not before.
    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    /// Whether it is not yet time.
    fn is_later(&mut self, not_before: Option<Instant>, now: Instant) -> bool {
        let later = not_before.filter(|at| *at > now);
        later.into_iter().for_each(|at| self.wake(at));
        later.is_some()
    }
}

/// A broker, as far as fetching goes.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) session: Session,
    pub(super) is_fetching: bool,
    pub(super) is_asked: bool,
    /// The bytes that the fetch under way may bring.
    pub(super) in_flight: usize,
    /// Failures in a row, and when to try again.
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    /// While some partitions have enough, the others had nothing new.
    pub(super) quiet_until: Option<Instant>,
    /// Those of which one has a batch of about so many bytes: each is fetched alone.
    pub(super) alone: VecDeque<Key>,
    pub(super) alone_bytes: usize,
}

/// What is known of how new the knowledge of the cluster is.
#[derive(Debug, Default)]
struct Refreshing {
    is_wanted: bool,
    is_under_way: bool,
    failures: u32,
    last: Option<Instant>,
}

/// All that a consumer knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Arc<ConsumerConfig>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) partitions: BTreeMap<Key, Partition>,
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) cluster: Option<Arc<Cluster>>,
    refreshing: Refreshing,
    /// Those with something for the reader.
    ready: VecDeque<Key>,
    /// The bytes of that.
    pub(super) untaken: usize,
    /// More would be fetched if less of that were there.
    is_short_of_room: bool,
    pub(super) jitter: Jitter,
    pub(super) last_generation: u64,
    pub(super) last_served: u64,
    /// The reader claims room for a large batch: nothing is fetched meanwhile.
    pub(super) is_claiming: bool,
    /// Nobody reads any more.
    pub(super) is_closed: bool,
    /// Nobody drives it any more.
    pub(super) has_ended: bool,
    reader: Option<Waker>,
}

impl State {
    pub(super) fn new(config: Arc<ConsumerConfig>, client: Arc<ClientConfig>, jitter: Jitter) -> Self {
        Self {
            config,
            client,
            partitions: BTreeMap::new(),
            brokers: BTreeMap::new(),
            cluster: None,
            refreshing: Refreshing::default(),
            ready: VecDeque::new(),
            untaken: 0,
            is_short_of_room: false,
            jitter,
            last_generation: 0,
            last_served: 0,
            is_claiming: false,
            is_closed: false,
            has_ended: false,
            reader: None,
        }
    }

    /// Reads a partition from here on, whether it was read before or not.
    pub(super) fn start(&mut self, key: &Key, start: StartAt, now: Instant) {
        self.last_generation += 1;
        let generation = self.last_generation;
        match self.partitions.get_mut(key) {
            Some(partition) => {
                self.untaken -= partition.untaken;
                partition.start(start, generation);
            }
            None => {
                self.partitions.insert(key.clone(), Partition::new(start, generation));
                match self.cluster.clone() {
                    Some(cluster) => self.lead(key, &cluster, now),
                    None => self.want_refresh(),
                }
            }
        }
    }

    /// Reads a partition no more.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(partition) = self.partitions.remove(key) {
            self.untaken -= partition.untaken;
        }
    }

    /// Fetches a partition no more until further notice, and keeps what was fetched; or goes on with it.
    pub(super) fn set_paused(&mut self, key: &Key, is_paused: bool) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.is_paused = is_paused;
            self.announce(key);
        }
    }

    /// Puts a partition where the reader looks, if there is something of it.
    pub(super) fn announce(&mut self, key: &Key) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        if !partition.queue.is_empty() && !partition.is_paused && !partition.is_ready {
            partition.is_ready = true;
            self.ready.push_back(key.clone());
        }
    }

    /// The next thing for the reader, and whether the driver has something to do now.
    pub(super) fn take(&mut self) -> Option<(Key, Item, bool)> {
        let full = self.config.max_partition_fetch_bytes;
        while let Some(key) = self.ready.pop_front() {
            let Some(partition) = self.partitions.get_mut(&key) else { continue };
            partition.is_ready = false;
            if partition.is_paused {
                continue;
            }
            let Some(item) = partition.queue.pop_front() else { continue };
            let size = match &item {
                Item::Chunk(chunk) => chunk.size(),
                Item::Failed(_) => 0,
            };
            let was_full = partition.untaken >= full;
            partition.untaken -= size;
            self.untaken -= size;
            let goes_on = self.is_short_of_room || (was_full && partition.untaken < full);
            self.announce(&key);
            return Some((key, item, goes_on));
        }
        None
    }

    /// Puts a chunk where the reader finds it.
    pub(super) fn give(&mut self, key: &Key, chunk: Chunk) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.untaken += chunk.size();
            self.untaken += chunk.size();
            partition.queue.push_back(Item::Chunk(chunk));
            self.announce(key);
        }
    }

    /// Takes back a chunk that is not read on for now: it comes first when it is.
    pub(super) fn give_back(&mut self, key: &Key, chunk: Chunk) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.untaken += chunk.size();
            self.untaken += chunk.size();
            partition.queue.push_front(Item::Chunk(chunk));
            self.announce(key);
        }
    }

    /// The reader could not read a chunk on from here: the partition stays there.
    pub(super) fn stop_reading(&mut self, key: &Key, generation: u64, offset: i64) {
        self.last_generation += 1;
        let next_generation = self.last_generation;
        let of_chunk = |partition: &&mut Partition| partition.generation == generation;
        let Some(partition) = self.partitions.get_mut(key).filter(of_chunk) else { return };
        self.untaken -= partition.untaken;
        partition.start(StartAt::Offset(offset), next_generation);
        partition.phase = Phase::Stopped;
    }

    /// Lets go of what was fetched ahead, to be fetched again, as its room is needed.
    pub(super) fn drop_ahead(&mut self, which: impl Fn(&Partition) -> bool) {
        for partition in self.partitions.values_mut().filter(|partition| which(partition)) {
            let first = partition.queue.iter().find_map(|item| match item {
                Item::Chunk(chunk) => Some(chunk.start()),
                Item::Failed(_) => None,
            });
            // What ends in an error stays, or that would be told again.
            let Some(start) = first.filter(|_| partition.phase == Phase::Fetching) else { continue };
            self.untaken -= partition.untaken;
            partition.drop_queue();
            partition.position = start;
        }
    }

    /// Waits for something to take.
    pub(super) fn set_reader(&mut self, waker: &Waker) {
        match &mut self.reader {
            Some(reader) => reader.clone_from(waker),
            None => self.reader = Some(waker.clone()),
        }
    }

    /// Who is to be woken, if there is something to take.
    pub(super) fn reader_to_wake(&mut self) -> Option<Waker> {
        if self.ready.is_empty() && !self.has_ended { None } else { self.reader.take() }
    }

    /// The cluster has to be looked at anew.
    pub(super) fn want_refresh(&mut self) {
        self.refreshing.is_wanted = true;
    }

    /// The cluster as it is now; none where nobody answered.
    pub(super) fn refreshed(&mut self, cluster: Option<Arc<Cluster>>, now: Instant) {
        self.refreshing.is_under_way = false;
        self.refreshing.is_wanted = cluster.is_none();
        if let Some(cluster) = cluster {
            self.refreshing.last = Some(now);
            self.set_cluster(cluster, now);
        }
        let Refreshing { is_wanted, failures, .. } = &mut self.refreshing;
        *failures = if *is_wanted { failures.saturating_add(1) } else { 0 };
    }

    /// A partition is tried again after a backoff.
    pub(super) fn put_off(&mut self, key: &Key, now: Instant) {
        let (least, most) = (self.client.retry_backoff, self.client.retry_backoff_max);
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.failures = partition.failures.saturating_add(1);
            partition.not_before = Some(now + self.jitter.backoff(partition.failures, least, most));
        }
    }

    /// What is to be done now, where this consumer may hold `share` bytes.
    pub(super) fn plan(&mut self, now: Instant, share: usize) -> Plan {
        let mut plan = Plan::default();
        self.plan_refresh(&mut plan, now);
        let sources = self.plan_lookups(&mut plan, now);
        self.plan_fetches(&mut plan, sources, now, share);
        plan
    }

    fn plan_refresh(&mut self, plan: &mut Plan, now: Instant) {
        let Refreshing { is_wanted, is_under_way, failures, last } = &mut self.refreshing;
        if self.partitions.is_empty() || *is_under_way {
            return;
        }
        let due = last.map(|last| last + self.client.metadata_max_age);
        if *is_wanted || !plan.is_later(due, now) {
            *is_under_way = true;
            let topics: BTreeSet<&Arc<str>> = self.partitions.keys().map(|key| &key.topic).collect();
            plan.steps.push(Step::Refresh(topics.into_iter().cloned().collect(), *failures));
        }
    }

    /// Plans what has to be looked up. Returns the brokers from which something may be fetched.
    fn plan_lookups(&mut self, plan: &mut Plan, now: Instant) -> BTreeSet<i32> {
        let mut sources = BTreeSet::new();
        let mut listings: BTreeMap<i32, Vec<Listing>> = BTreeMap::new();
        let mut checks: BTreeMap<i32, Vec<Check>> = BTreeMap::new();
        for (key, partition) in &mut self.partitions {
            if partition.replica.is_some_and(|(_, until)| until <= now) {
                partition.replica = None;
            }
            let Some(source) = partition.source() else { continue };
            if partition.is_asking || plan.is_later(partition.not_before, now) {
                continue;
            }
            // Only who leads can look up.
            let leader = partition.leadership.leader.filter(|leader| !is_asked(&self.brokers, *leader));
            match (partition.phase, leader) {
                (Phase::Fetching, _) if !partition.is_paused => drop(sources.insert(source)),
                (Phase::Locating(_) | Phase::Ranging { .. }, Some(leader)) => {
                    partition.is_asking = true;
                    listings.entry(leader).or_default().push(Listing::of(key, partition));
                }
                (Phase::Validating, Some(leader)) => {
                    partition.is_asking = true;
                    checks.entry(leader).or_default().push(Check::of(key, partition));
                }
                _ => {}
            }
        }
        for leader in listings.keys().chain(checks.keys()) {
            self.brokers.entry(*leader).or_default().is_asked = true;
        }
        plan.steps.extend(listings.into_iter().map(|(leader, listings)| Step::List(leader, listings)));
        plan.steps.extend(checks.into_iter().map(|(leader, checks)| Step::Check(leader, checks)));
        sources
    }

    fn plan_fetches(&mut self, plan: &mut Plan, sources: BTreeSet<i32>, now: Instant, share: usize) {
        self.is_short_of_room = false;
        if self.is_claiming {
            return;
        }
        // The other half is for what is decompressed, and for records that are kept.
        let ahead_max = share / 2;
        let most = self.config.fetch_max_bytes;
        let least = self.config.max_partition_fetch_bytes.min(most).min(ahead_max).max(1);
        let fair = ahead_max / sources.len().max(1);
        for source in sources {
            let used = self.untaken + self.brokers.values().map(|broker| broker.in_flight).sum::<usize>();
            let full = self.has_full_partition(source);
            let broker = self.brokers.entry(source).or_default();
            let is_quiet = full && plan.is_later(broker.quiet_until, now);
            if broker.is_fetching || is_quiet || plan.is_later(broker.not_before, now) {
                continue;
            }
            if used > 0 && used + least > ahead_max {
                self.is_short_of_room = true;
                continue;
            }
            if !self.has_something_to_fetch(source, now) {
                continue;
            }
            let into = fair.min(ahead_max.saturating_sub(used)).clamp(least, most);
            let broker = self.brokers.entry(source).or_default();
            (broker.is_fetching, broker.in_flight) = (true, into);
            plan.steps.push(Step::Fetch(source, least, into));
        }
    }

    /// The partitions that can be fetched from a broker now, whether the reader has enough of them or not.
    pub(super) fn fetchable(&self, source: i32, now: Instant) -> impl Iterator<Item = (&Key, &Partition)> {
        self.partitions.iter().filter(move |(_, partition)| {
            partition.phase == Phase::Fetching
                && !partition.is_paused
                && partition.source() == Some(source)
                && partition.not_before.is_none_or(|at| at <= now)
        })
    }

    /// Whether so much of a partition waits for the reader that no more is fetched.
    pub(super) fn is_full(&self, partition: &Partition) -> bool {
        partition.untaken >= self.config.max_partition_fetch_bytes
    }

    fn has_full_partition(&self, source: i32) -> bool {
        let of_source = self.partitions.values().filter(|partition| partition.source() == Some(source));
        of_source.into_iter().any(|partition| !partition.is_paused && self.is_full(partition))
    }

    fn has_something_to_fetch(&self, source: i32, now: Instant) -> bool {
        self.fetchable(source, now).any(|(_, partition)| !self.is_full(partition))
    }

    /// How long a broker is left alone that has nothing new, while it has a partition of which there is enough.
    pub(super) fn quiet(&self) -> Duration {
        (self.config.fetch_max_wait / QUIET_PART).max(QUIET_MIN)
    }

    /// A fetch from a broker is over.
    pub(super) fn fetch_is_over(&mut self, source: i32) {
        let broker = self.brokers.entry(source).or_default();
        (broker.is_fetching, broker.in_flight) = (false, 0);
    }

    /// Lookups at a broker are over.
    pub(super) fn lookups_are_over(&mut self, leader: i32) {
        self.brokers.entry(leader).or_default().is_asked = false;
    }

    /// A fetch from a broker failed: it is tried again after a backoff, not before `again_at`, and elsewhere, if the
    /// cluster tells so.
    pub(super) fn fetch_failed(
        &mut self,
        source: i32,
        error: &Error,
        again_at: Option<Instant>,
        now: Instant,
    ) {
        let (least, most) = (self.client.retry_backoff, self.client.retry_backoff_max);
        let broker = self.brokers.entry(source).or_default();
        broker.session.end();
        broker.failures = broker.failures.saturating_add(1);
        let backoff = now + self.jitter.backoff(broker.failures, least, most);
        broker.not_before = Some(again_at.map_or(backoff, |at| at.max(backoff)));
        if broker.failures == 1 {
            tracing::warn!(broker = source, %error, "cannot fetch from a broker");
        }
        let will_pass =
            matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Timeout | ErrorKind::DataCorruption);
        let mut told = Vec::new();
        for (key, partition) in &mut self.partitions {
            if partition.source() == Some(source) && partition.phase == Phase::Fetching && !will_pass {
                partition.tell(error.clone());
                told.push(key.clone());
            }
            if partition.replica.is_some_and(|(replica, _)| replica == source) {
                partition.replica = None;
            }
        }
        told.iter().for_each(|key| self.announce(key));
        self.want_refresh();
    }

    /// A broker has answered a fetch.
    pub(super) fn fetch_succeeded(&mut self, source: i32) {
        let broker = self.brokers.entry(source).or_default();
        if std::mem::take(&mut broker.failures) > 0 {
            tracing::info!(broker = source, "fetching from the broker again");
        }
        broker.not_before = None;
    }

    /// The position of a partition was found.
    pub(super) fn located(&mut self, key: &Key, position: Position) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.succeeded();
            partition.go_on_at(position);
        }
    }

    /// Tells the reader that nothing goes on with a partition until it says where.
    pub(super) fn stop(&mut self, key: &Key, error: Error) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.stop(error);
            self.announce(key);
        }
    }

    /// Tells the reader, once, of what goes on to be tried.
    pub(super) fn tell(&mut self, key: &Key, error: Error) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.tell(error);
            self.announce(key);
        }
    }
}

fn is_asked(brokers: &BTreeMap<i32, Broker>, leader: i32) -> bool {
    brokers.get(&leader).is_some_and(|broker| broker.is_asked)
}
