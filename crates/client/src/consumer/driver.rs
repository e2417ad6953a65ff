//! What drives a consumer: it does what the state says is to be done, and tells the state what came of it.
//!
//! It is one future among those of [`Drivers`](crate::drivers::Drivers), with one request under way for each broker at most,
//! and lookups beside.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use ottla_protocol::messages::{
    fetch::{FetchRequest, FetchResponse},
    list_offsets::ListOffsetsResponse,
    offset_for_leader_epoch::OffsetForLeaderEpochResponse,
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tracing::Instrument;

use super::{
    fetch::{Asked, FIRST_VERSION, isolation_level},
    offsets::{CHECK_FROM, Check, Listing, ONE_OFFSET_FROM, check_request, listing_request},
    partition::Partition,
    state::{State, Step},
};
use crate::{
    budget::{Consuming, Reservation},
    error::{Error, ErrorKind},
    kafka::Kafka,
    metadata::cluster::Cluster,
    metrics::{Counters, Lags},
    net::{
        connection::Connection,
        pool::{Peer, Purpose},
        wire::{TooLong, read_answer},
    },
};

/// How long a broker may be silent beyond what it may wait before the cluster is asked who leads now.
const SILENCE: Duration = Duration::from_secs(1);

/// What the reader and the driver share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Rung for the driver when the reader has changed something.
    pub(super) changed: Notify,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Changes the state, and wakes the reader if there is something for it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        let reader = state.reader_to_wake();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        changed
    }
}

impl Lags for Shared {
    fn lag(&self) -> u64 {
        self.state.lock().partitions.values().map(Partition::lag).sum()
    }
}

/// A fetch that is under way, in what is counted.
struct UnderWay {
    counters: Arc<Counters>,
    /// How many bytes it brought; none unless it was answered.
    brought: Option<u64>,
}

impl UnderWay {
    fn begin(counters: &Arc<Counters>) -> Self {
        counters.fetch_sent();
        Self { counters: counters.clone(), brought: None }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counters.fetch_ended(self.brought);
    }
}

/// Tells the reader when there is no driver any more, whatever has ended it.
pub(super) struct End(pub(super) Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|state| state.has_ended = true);
    }
}

/// What drives a consumer.
pub(super) struct Driver {
    pub(super) kafka: Kafka,
    pub(super) shared: Arc<Shared>,
    pub(super) consuming: Arc<Consuming>,
    /// The number of the consumer, for its connections.
    pub(super) number: u64,
}

/// What came of a step.
enum Done {
    Refreshed(Option<Arc<Cluster>>),
    Listed(i32, Vec<Listing>, Result<ListOffsetsResponse, Error>),
    Checked(i32, Vec<Check>, Result<OffsetForLeaderEpochResponse, Error>),
    Fetched(i32, Box<Result<Option<Fetched>, Failed>>),
}

/// An answer to a fetch.
struct Fetched {
    asked: Asked,
    answer: FetchResponse,
    room: Reservation,
}

/// Why there is none.
struct Failed {
    error: Error,
    /// When the broker can be connected to again, where that is known.
    again_at: Option<Instant>,
    /// What was asked, where the answer was too long to be taken.
    too_long: Option<(Box<Asked>, TooLong)>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, again_at: None, too_long: None }
    }
}

impl Driver {
    /// Drives until the reader has gone.
    pub(super) async fn run(self, end: End) {
        // What is left of it goes when this ends, also where it never began.
        let _end = end;
        let driver = Arc::new(self);
        if let Ok(running) = driver.kafka.running() {
            let mut found = running.metadata.found();
            let mut under_way = FuturesUnordered::new();
            while let Some(wake_at) = driver.begin_what_is_due(&mut under_way) {
                tokio::select! {
                    () = driver.shared.changed.notified() => {}
                    Some(done) = under_way.next() => driver.take(done),
                    Ok(()) = found.changed() => driver.take_news(found.borrow_and_update().clone()),
                    () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                }
            }
            drop(under_way);
            running.pool.forget(Purpose::Fetch(driver.number));
        }
    }

    /// Begins what is to be done now. Returns when to look again; none at the end.
    fn begin_what_is_due(
        self: &Arc<Self>,
        under_way: &mut FuturesUnordered<BoxFuture<'static, Done>>,
    ) -> Option<Option<Instant>> {
        let (now, share) = (Instant::now(), self.consuming.share());
        let mut state = self.shared.state.lock();
        if state.is_closed {
            return None;
        }
        let plan = state.plan(now, share);
        drop(state);
        under_way.extend(plan.steps.into_iter().map(|step| self.clone().begin(step)));
        Some(plan.wake_at)
    }

    fn begin(self: Arc<Self>, step: Step) -> BoxFuture<'static, Done> {
        match step {
            Step::Refresh(topics, failures) => {
                Box::pin(async move { Done::Refreshed(self.refresh(topics, failures).await) })
            }
            Step::List(leader, listings) => Box::pin(async move {
                let answer = self.list(leader, &listings).await;
                Done::Listed(leader, listings, answer)
            }),
            Step::Check(leader, checks) => Box::pin(async move {
                let answer = self.check(leader, &checks).await;
                Done::Checked(leader, checks, answer)
            }),
            Step::Fetch(source, least, into) => {
                let span = tracing::debug_span!("fetch", broker = source);
                let fetching =
                    async move { Done::Fetched(source, Box::new(self.fetch(source, least, into).await)) };
                Box::pin(fetching.instrument(span))
            }
        }
    }

    /// Tells the state what came of a step.
    fn take(&self, done: Done) {
        let now = Instant::now();
        self.shared.change(|state| match done {
            Done::Refreshed(cluster) => state.refreshed(cluster, now),
            Done::Listed(leader, listings, answer) => {
                state.lookups_are_over(leader);
                state.listed(listings, answer, now);
            }
            Done::Checked(leader, checks, answer) => {
                state.lookups_are_over(leader);
                state.checked(checks, answer, now);
            }
            Done::Fetched(source, fetched) => {
                state.fetch_is_over(source);
                match *fetched {
                    Ok(None) => {}
                    Ok(Some(Fetched { asked, answer, room })) => {
                        state.fetched(source, &asked, answer, room, now);
                    }
                    Err(Failed { too_long: Some((asked, too_long)), .. }) => {
                        state.too_long(source, &asked, too_long, self.consuming.most());
                    }
                    Err(Failed { error, again_at, .. }) => state.fetch_failed(source, &error, again_at, now),
                }
            }
        });
    }

    /// Takes what others have found out of the cluster.
    fn take_news(&self, cluster: Option<Arc<Cluster>>) {
        if let Some(cluster) = cluster {
            self.shared.change(|state| state.set_cluster(cluster, Instant::now()));
        }
    }

    async fn refresh(&self, topics: Vec<Arc<str>>, failures: u32) -> Option<Arc<Cluster>> {
        let metadata = &self.kafka.running().ok()?.metadata;
        // The backoff comes on top. Where nobody answers, the task of metadata logs it.
        let deadline = self.kafka.deadline() + self.kafka.config().retry_backoff_max;
        metadata.refresh(&topics, deadline, failures).await.ok()
    }

    async fn list(&self, leader: i32, listings: &[Listing]) -> Result<ListOffsetsResponse, Error> {
        let level = isolation_level(self.shared.state.lock().config.isolation_level);
        let request = listing_request(listings, level);
        let answer = self.kafka.ask(leader, ONE_OFFSET_FROM, |_| request.clone(), self.answer_by());
        self.or_refresh(Duration::ZERO, answer).await
    }

    async fn check(&self, leader: i32, checks: &[Check]) -> Result<OffsetForLeaderEpochResponse, Error> {
        let request = check_request(checks);
        let answer = self.kafka.ask(leader, CHECK_FROM, |_| request.clone(), self.answer_by());
        self.or_refresh(Duration::ZERO, answer).await
    }

    fn answer_by(&self) -> Instant {
        Instant::now() + self.kafka.config().request_timeout
    }

    /// Waits for a broker. Where it is silent for too long, somebody else may lead by now: that is found out while it is
    /// waited for.
    async fn or_refresh<T>(&self, may_wait: Duration, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = sleep(may_wait + SILENCE) => {
                    self.shared.state.lock().want_refresh();
                    self.shared.changed.notify_one();
                }
            }
        }
    }

    /// Fetches from a broker, into `most` bytes or what is free of them, but at least `least`. Nothing comes where nothing
    /// is left to be fetched by the time that there are connection and room.
    async fn fetch(&self, source: i32, least: usize, most: usize) -> Result<Option<Fetched>, Failed> {
        let connection = self.connection(source)?;
        let versions = self.or_refresh(Duration::ZERO, connection.versions()).await?;
        let newest = versions.from::<FetchRequest>(FIRST_VERSION)?;
        let alone = self.shared.state.lock().bytes_alone(source);
        let mut room = match alone {
            Some(bytes) => self.room_alone(bytes.min(self.consuming.most())).await,
            None => self.room(least, most).await,
        };
        let asked = self.shared.state.lock().ask(source, newest, room.bytes(), Instant::now());
        let Some(asked) = asked else { return Ok(None) };
        let answer_max = asked.answer_max(room.bytes());
        // The connection itself ends when there is no answer within `request_timeout`.
        let deadline = self.answer_by() + self.kafka.config().request_timeout;
        let sent = connection.send(asked.version, &asked.request, &[], Some(answer_max), deadline)?;
        let mut under_way = UnderWay::begin(self.kafka.counters());
        let may_wait = Duration::from_millis(u64::try_from(asked.request.max_wait_ms).unwrap_or(0));
        let frame = match self.or_refresh(may_wait, sent).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(failure)) => {
                let too_long = TooLong::find(&failure.error).filter(|too_long| too_long.length > 0);
                let too_long = too_long.map(|too_long| (Box::new(asked), too_long));
                return Err(Failed { error: failure.error, again_at: None, too_long });
            }
            Err(_) => return Err(Error::new(ErrorKind::Closed, "the client was closed").into()),
        };
        under_way.brought = Some(frame.len() as u64);
        room.shrink_to(frame.len());
        let answer = read_answer::<FetchRequest>(&frame, asked.version)?;
        Ok(Some(Fetched { asked, answer, room }))
    }

    fn connection(&self, source: i32) -> Result<Connection, Failed> {
        let running = self.kafka.running()?;
        let purpose = Purpose::Fetch(self.number);
        running.pool.connection(&Peer::Broker(source), purpose, Instant::now()).map_err(|unavailable| {
            Failed { error: unavailable.error, again_at: unavailable.again_at, too_long: None }
        })
    }

    async fn room_alone(&self, bytes: usize) -> Reservation {
        self.shared.state.lock().begin_to_wait_for_room();
        let room = self.consuming.claim(bytes).await;
        self.shared.state.lock().waiting_for_room -= 1;
        room
    }

    async fn room(&self, least: usize, most: usize) -> Reservation {
        if let Some(room) = self.consuming.try_reserve_for_fetch(least, most) {
            return room;
        }
        self.shared.state.lock().begin_to_wait_for_room();
        let room = self.consuming.reserve_for_fetch(least, most).await;
        self.shared.state.lock().waiting_for_room -= 1;
        room
    }
}
