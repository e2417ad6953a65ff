//! What drives a producer: it sends what is ready to whoever leads it, and keeps the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use ottla_protocol::messages::{
    init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
    produce::ProduceRequest,
};
use ottla_records::{Compressor, ProducerEpoch, ProducerId};
use tokio::{sync::oneshot, time::Instant};
use tracing::Instrument;

use super::{
    accumulator::Ended,
    request::{Batch, Outgoing, ends, outgoing, refused_all, unanswered},
    sequencer::Identity,
    shared::Shared,
};
use crate::{
    config::{Acks, ProducerConfig},
    error::{Error, ErrorKind},
    kafka::{ANSWER_MAX, Kafka, Whom},
    logging::Seldom,
    metadata::cluster::Cluster,
    net::{
        connection::{Connection, Failure, Sent, State},
        pool::{Peer, Purpose},
        versions::Versions,
        wire::read_answer,
    },
};

/// How long nobody has to tell where a broker is before it is asked for again.
const UNKNOWN_AGAIN: Duration = Duration::from_millis(500);

/// After which time it is known that nobody tells of the cluster, and is asked for again.
const REFRESH_WITHIN: Duration = Duration::from_secs(2);

/// What drives a producer until its end.
pub(super) struct Driver {
    shared: Arc<Shared>,
    kafka: Kafka,
    config: Arc<ProducerConfig>,
    compressor: Option<Compressor>,
    events: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>,
    links: BTreeMap<i32, Link>,
    refresh: Refresh,
    is_asking_for_identity: bool,
}

/// What has happened.
enum Event {
    /// An attempt to connect to a broker has ended.
    Connected(i32),
    Answered {
        broker: i32,
        version: i16,
        batches: Vec<Batch>,
        answer: Result<bytes::Bytes, Failure>,
    },
    Identity(Result<Identity, Error>),
    Refreshed(Result<Arc<Cluster>, Error>),
}

/// The way to a broker.
#[derive(Default)]
struct Link {
    is_connecting: bool,
    /// It could not be reached; not before then is it tried again.
    down_until: Option<Instant>,
    log: Seldom,
}

/// Asking for metadata.
#[derive(Default)]
struct Refresh {
    is_under_way: bool,
    /// How often in a row what was learnt did not help.
    failures: u32,
    last: Option<Duration>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        kafka: Kafka,
        config: Arc<ProducerConfig>,
        compressor: Option<Compressor>,
    ) -> Self {
        Self {
            shared,
            kafka,
            config,
            compressor,
            events: FuturesUnordered::new(),
            links: BTreeMap::new(),
            refresh: Refresh::default(),
            is_asking_for_identity: false,
        }
    }

    /// Drives the producer until it is closed and nothing is left, or its time is over. Where this is dropped before, all
    /// that is left fails as well.
    pub(super) async fn run(mut self) {
        let _end = End(self.shared.clone());
        let Ok(running) = self.kafka.running() else { return };
        let (runtime, mut found) = (running.runtime.clone(), running.metadata.found());
        // Where nobody can learn of the cluster any more, the client's runtime has ended.
        while found.has_changed().is_ok() {
            let now = self.shared.now();
            let Some(looks_at) = self.turn(now) else { return };
            let looks_at = self.shared.instant(looks_at.min(self.next_link()));
            tokio::select! {
                biased;
                Some(event) = self.events.next() => self.happened(event),
                Ok(()) = found.changed() => self.learn(found.borrow_and_update().clone()),
                () = self.shared.woken() => {}
                () = runtime.sleep_until(looks_at) => {}
            }
        }
    }

    /// Does what is to be done now, and returns when to look again; `None` at the end.
    fn turn(&mut self, now: Duration) -> Option<Duration> {
        let recipients = self.shared.change(|state| {
            state.accumulator.tick(now);
            state.accumulator.recipients(now)
        });
        for broker in recipients {
            if let Some((connection, versions)) = self.link(broker) {
                while self.ship(broker, &connection, &versions, now) {}
            }
        }
        self.see_to_identity(now);
        self.see_to_metadata(now);
        let again = self.metadata_due();
        self.shared.change(|state| {
            let is_over =
                state.ends_at.is_some_and(|ends_at| ends_at <= now || state.accumulator.unsettled() == 0);
            if is_over {
                return None;
            }
            let next = state.accumulator.looks_at(now);
            Some(next.into_iter().chain(state.ends_at).chain(again).min().unwrap_or(Duration::MAX))
        })
    }

    /// The connection to a broker, where it can be used at once.
    fn link(&mut self, broker: i32) -> Option<(Connection, Arc<Versions>)> {
        let link = self.links.entry(broker).or_default();
        let now = Instant::now();
        if link.is_connecting || link.down_until.is_some_and(|until| until > now) {
            return None;
        }
        let pool = &self.kafka.running().ok()?.pool;
        match pool.connection(&Peer::Broker(broker), Purpose::Produce, now) {
            Ok(connection) => match connection.state() {
                State::Up(versions) => {
                    if link.down_until.take().is_some() {
                        self.shared.change(|state| state.accumulator.set_down(broker, false));
                        link.log.say(now, || tracing::info!(broker, "a broker can be reached again"));
                    }
                    Some((connection, versions))
                }
                State::Connecting | State::Down { .. } => {
                    link.is_connecting = true;
                    let connected = async move {
                        // Why it could not be made is asked for again when it is used.
                        let _ = connection.versions().await;
                        Event::Connected(broker)
                    };
                    self.events.push(Box::pin(connected));
                    None
                }
            },
            Err(unavailable) => {
                if link.down_until.is_none() {
                    let error = &unavailable.error;
                    link.log.say(now, || tracing::warn!(broker, %error, "a broker cannot be reached"));
                }
                link.down_until = Some(unavailable.again_at.unwrap_or(now + UNKNOWN_AGAIN));
                self.shared.change(|state| state.accumulator.set_down(broker, true));
                None
            }
        }
    }

    /// When a broker that could not be reached is to be tried again, since the producer began.
    fn next_link(&self) -> Duration {
        let now = Instant::now();
        let waits = self.links.values().filter_map(|link| link.down_until).filter(|until| *until > now);
        waits.min().map_or(Duration::MAX, |until| self.shared.since_began(until))
    }

    /// Sends one request to a broker, if there is something to send.
    fn ship(&mut self, broker: i32, connection: &Connection, versions: &Versions, now: Duration) -> bool {
        let shipments = self.shared.change(|state| state.accumulator.ship(broker, now));
        if shipments.is_empty() {
            return false;
        }
        self.shared.counters.sent(shipments.len() as u64);
        let timeout = self.kafka.config().request_timeout;
        // A broker that waits for replicas tells so before it counts as silent.
        let waits = timeout.mul_f64(0.8);
        let made = outgoing(&shipments, versions, self.config.acks, waits, self.compressor.as_mut());
        let Outgoing { version, request, records, batches } = match made {
            Ok(made) => made,
            Err(error) => {
                self.shared.counters.ended(shipments.len() as u64);
                self.shared.change(|state| {
                    state.accumulator.answered(broker, Duration::ZERO, now);
                    for (slot, batch, ended) in refused_all(shipments, &error) {
                        state.accumulator.ended(slot, batch, ended, now);
                    }
                });
                return true;
            }
        };
        let answer_max = (self.config.acks != Acks::None).then_some(ANSWER_MAX);
        let sent = connection.send(version, &request, &records, answer_max, Instant::now() + timeout);
        let answered = async move {
            let answer = match sent {
                Ok(answered) => answered.await.unwrap_or_else(|_| Err(gone())),
                Err(error) => Err(Failure { sent: Sent::No, error }),
            };
            Event::Answered { broker, version, batches, answer }
        };
        let span = tracing::debug_span!("produce", broker, batches = shipments.len());
        self.events.push(Box::pin(answered.instrument(span)));
        true
    }

    fn happened(&mut self, event: Event) {
        let now = self.shared.now();
        match event {
            Event::Connected(broker) => self.links.entry(broker).or_default().is_connecting = false,
            Event::Answered { broker, version, batches, answer } => {
                self.answered(broker, version, batches, answer, now)
            }
            Event::Identity(identity) => {
                self.is_asking_for_identity = false;
                self.shared.change(|state| match identity {
                    Ok(identity) => state.accumulator.set_identity(identity, now),
                    Err(error) if is_for_good(&error) => state.accumulator.fail_all(&error, now),
                    // Whoever has records is asked for again.
                    Err(_) => {}
                });
            }
            Event::Refreshed(refreshed) => {
                self.refresh.is_under_way = false;
                if let Err(error) = refreshed {
                    self.shared.change(|state| state.accumulator.not_learnt(error));
                }
            }
        }
    }

    fn answered(
        &mut self,
        broker: i32,
        version: i16,
        batches: Vec<Batch>,
        answer: Result<bytes::Bytes, Failure>,
        now: Duration,
    ) {
        self.shared.counters.ended(batches.len() as u64);
        let is_told = self.config.acks != Acks::None;
        let read = answer.and_then(|frame| {
            let read = is_told.then(|| read_answer::<ProduceRequest>(&frame, version));
            read.transpose().map_err(|error| Failure { sent: Sent::Maybe, error })
        });
        let (ended, throttle) = match read {
            Ok(Some(answer)) => {
                let throttle = Duration::from_millis(answer.throttle_time_ms.max(0).unsigned_abs().into());
                (ends(batches, &answer), throttle)
            }
            Ok(None) => {
                let written = |batch| (batch, Ended::Written(None));
                (batches.into_iter().map(written).collect(), Duration::ZERO)
            }
            Err(failure) => (unanswered(batches, &failure), Duration::ZERO),
        };
        self.shared.change(|state| {
            state.accumulator.answered(broker, throttle, now);
            for (Batch { slot, number, .. }, ended) in ended {
                state.accumulator.ended(slot, number, ended, now);
            }
        });
    }

    fn learn(&mut self, cluster: Option<Arc<Cluster>>) {
        let Some(cluster) = cluster else { return };
        let (now, wall) = (self.shared.now(), super::shared::wall());
        // They may be somewhere else now.
        self.links.values_mut().for_each(|link| link.down_until = link.down_until.map(|_| Instant::now()));
        let known: BTreeSet<i32> = cluster.brokers.keys().copied().collect();
        self.links.retain(|broker, link| known.contains(broker) || link.is_connecting);
        self.shared.change(|state| state.accumulator.learn(&cluster, wall, now));
    }

    /// Gets another identity, if one is needed.
    fn see_to_identity(&mut self, now: Duration) {
        let wanted = self.shared.change(|state| state.accumulator.identity_wanted());
        match wanted {
            Some(Some(Identity { id, epoch })) if epoch.0 < i16::MAX => {
                let next = Identity { id, epoch: ProducerEpoch(epoch.0 + 1) };
                self.shared.change(|state| state.accumulator.set_identity(next, now));
                self.shared.wake();
            }
            Some(_) if !self.is_asking_for_identity => {
                self.is_asking_for_identity = true;
                let kafka = self.kafka.clone();
                self.events.push(Box::pin(async move { Event::Identity(new_identity(&kafka).await) }));
            }
            _ => {}
        }
    }

    /// Asks for metadata, if it is out of date.
    fn see_to_metadata(&mut self, now: Duration) {
        if self.refresh.is_under_way {
            return;
        }
        let is_old = self.metadata_due().is_some_and(|due| due <= now);
        let topics = self.shared.change(|state| {
            let wanted = state.accumulator.metadata_wanted();
            wanted.or_else(|| is_old.then(|| state.accumulator.topics_in_use()))
        });
        let Some(topics) = topics else { return };
        let last = self.refresh.last.replace(now);
        if topics.is_empty() {
            return;
        }
        let is_recent = |last: Duration| now.saturating_sub(last) < 2 * self.kafka.config().retry_backoff_max;
        self.refresh.failures = if last.is_some_and(is_recent) { self.refresh.failures + 1 } else { 0 };
        self.refresh.is_under_way = true;
        let (kafka, failures) = (self.kafka.clone(), self.refresh.failures);
        let refreshed = async move {
            let metadata = &kafka.running()?.metadata;
            metadata.refresh(&topics, Instant::now() + REFRESH_WITHIN, failures).await
        };
        self.events.push(Box::pin(async move { Event::Refreshed(refreshed.await) }));
    }

    /// When what is known of the cluster is too old, whatever happens.
    fn metadata_due(&self) -> Option<Duration> {
        let age = self.kafka.config().metadata_max_age;
        self.refresh.last.map(|last| last.saturating_add(age)).filter(|_| !self.refresh.is_under_way)
    }
}

fn gone() -> Failure {
    Failure { sent: Sent::Maybe, error: Error::new(ErrorKind::Closed, "the client was closed") }
}

/// Whether no other attempt at an identity helps.
fn is_for_good(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Timeout)
}

/// A producer id that nobody has had.
async fn new_identity(kafka: &Kafka) -> Result<Identity, Error> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..InitProducerIdRequest::default()
    };
    let judge = |answer: &InitProducerIdResponse| match answer.error_code {
        code if code.is_none() => Ok(()),
        code => {
            let error = Error::refused(code, "getting a producer id", None);
            if error.kind() != ErrorKind::Auth {
                return Err(error);
            }
            let what = format!(
                "{error}: an idempotent producer needs the permission IdempotentWrite on the cluster, or from Kafka 2.8 on \
                 Write on a topic; without it, set idempotence (enable.idempotence) to false, and what is sent again may be \
                 written twice"
            );
            Err(Error::because(ErrorKind::Auth, what, error))
        }
    };
    let deadline = kafka.deadline();
    let answer = kafka.call(Whom::Any, 0, &request, deadline, judge).await?;
    Ok(Identity { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) })
}

/// Whatever is not settled when nothing drives the producer any more fails.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let now = self.0.now();
        let ended: Vec<oneshot::Sender<()>> = self.0.change(|state| {
            let closed = Error::new(ErrorKind::Closed, "the producer was closed");
            state.accumulator.stop(closed.clone());
            state.accumulator.fail_all(&closed, now);
            state.has_ended = true;
            std::mem::take(&mut state.closing)
        });
        // Whoever waits hears that nothing is left: by a message, or by its sender's end.
        drop(ended);
    }
}
