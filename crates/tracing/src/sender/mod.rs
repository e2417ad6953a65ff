//! The sink's thread: it takes events out of the queue and sees to it that each has an end.
//!
//! Kafka counts as something that works or does not ([`Circuit`]). While it works, events are handed to the producer as fast as
//! the queue gives them; the producer tells only of those that fail ([`Fates::failed`]). While it does not, one event at a time
//! is under way as the probe, and the others wait in the queue: Kafka may come back at any time. Only where the queue
//! grows so full that it would soon refuse events does the sink give the oldest to the fallback, or drop those that this does
//! not take, for the sake of those behind them. It begins as something that does not work, so that a
//! topic that is missing or a password that is wrong costs one event at a time.

mod fates;
mod gaps;
mod silence;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ottla_client::{
    Error, ErrorKind, Kafka, Producer, Record,
    producer::{Delivery, Header, RecordMetadata, SendError},
};
use tokio::time::{sleep, sleep_until};
use tracing::Level;

use self::{
    fates::{Fates, TARGET, level_value, now},
    gaps::Gaps,
    silence::Silence,
};
use crate::{circuit::Circuit, clock, fallback::Outlet, queue::Taken, shared::Shared};

/// The header of each record that tells its level.
const LEVEL_HEADER: &str = "level";
/// The header that tells the target, where that is wanted.
const TARGET_HEADER: &str = "target";
/// How long Kafka is left alone after it has failed: at first, and in the end.
const REST: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often somebody who waits for Kafka looks at what else there is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long Kafka may take nothing before the queue is relieved: where it is half full, and where it is nearly full.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(200));
/// How often it is looked at whether Kafka acknowledges anything.
const SILENCE_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// What the sink's thread is to do.
pub(crate) struct Settings {
    pub(crate) topic: Arc<str>,
    /// What each record has, beside its level and its target.
    pub(crate) headers: Vec<(Arc<str>, Bytes)>,
    /// How long the first event waits for others.
    pub(crate) linger: Duration,
}

/// See the module.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    producer: Producer,
    fates: Arc<Fates>,
    settings: Settings,
    level_header: Arc<str>,
    target_header: Arc<str>,
    kafka: Kafka,
    circuit: Circuit,
    probe: Option<Probe>,
    /// Since when Kafka takes nothing of what is to be handed over.
    stuck: Option<Instant>,
    gaps: Gaps,
}

/// An event that is under way to see whether Kafka takes it.
struct Probe {
    delivery: Delivery,
    /// It is still in the hands of the sink: if it fails it is tried again.
    is_in_hand: bool,
}

impl Sender {
    /// # Errors
    /// Those of [`ottla_client::producer::ProducerBuilder::build`].
    pub(crate) fn new(
        shared: Arc<Shared>,
        kafka: &Kafka,
        outlet: Outlet,
        settings: Settings,
    ) -> Result<Self, Error> {
        let fates = Arc::new(Fates::new(shared.clone(), outlet));
        let told = fates.clone();
        let producer =
            kafka.producer().on_failure(move |record, error| told.failed(&record, error)).build()?;
        Ok(Self {
            shared,
            producer,
            fates,
            settings,
            level_header: LEVEL_HEADER.into(),
            target_header: TARGET_HEADER.into(),
            kafka: kafka.clone(),
            circuit: Circuit::open(REST.0, REST.1, now()),
            probe: None,
            stuck: None,
            gaps: Gaps::default(),
        })
    }

    /// Takes events until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let silence = tell_of_silence(self.kafka.clone(), self.fates.clone(), self.settings.topic.clone());
        let silence = tokio::spawn(silence);
        self.take_events().await;
        self.end().await;
        silence.abort();
    }

    async fn take_events(&mut self) {
        loop {
            self.flush_if_wanted();
            let gap_at = self.gap_at();
            tokio::select! {
                () = self.shared.queue.something() => {}
                settled = settled(&mut self.probe) => {
                    self.probe_settled(settled);
                    continue;
                }
                () = at(gap_at) => {
                    self.tell_of_gaps();
                    continue;
                }
            }
            tokio::select! {
                () = self.shared.queue.a_whole_chunk() => {}
                () = sleep(self.settings.linger) => {}
            }
            match self.shared.queue.take() {
                Some(chunk) => {
                    for event in chunk.events() {
                        self.hand_over(&event).await;
                    }
                    self.shared.queue.done(chunk);
                }
                None if self.shared.queue.closing().is_some() => return,
                None => {}
            }
            // The client runs on this thread as well.
            tokio::task::yield_now().await;
        }
    }

    /// Sees to it that an event has an end, or is on its way to it.
    async fn hand_over(&mut self, event: &Taken) {
        loop {
            if let Some(error) = self.fates.trouble() {
                self.kafka_failed(&error);
            }
            let is_done = if self.circuit.is_closed() {
                self.send(event).await
            } else {
                self.wait_for_kafka(event).await
            };
            if is_done {
                return;
            }
        }
    }

    /// Hands an event to the producer, when that has room. Whether the event is done with.
    async fn send(&mut self, event: &Taken) -> bool {
        let rejected = match self.producer.try_send(self.record(event)) {
            Ok(delivery) => {
                // A failure is told by `on_failure`.
                drop(delivery);
                self.stuck = None;
                return true;
            }
            Err(rejected) => rejected,
        };
        if rejected.kind() != ErrorKind::Backpressure {
            return self.rejected(event, rejected.error());
        }
        let since = *self.stuck.get_or_insert_with(now);
        let producer = self.producer.clone();
        let mut sent = pin!(producer.enqueue(rejected.into_record()));
        loop {
            if self.is_to_go(since) {
                self.fates.divert(event.level, &event.value);
                return true;
            }
            tokio::select! {
                sent = &mut sent => return match sent {
                    Ok(delivery) => {
                        drop(delivery);
                        self.stuck = None;
                        true
                    }
                    Err(rejected) if rejected.kind() == ErrorKind::Backpressure => false,
                    Err(rejected) => self.rejected(event, rejected.error()),
                },
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Kafka has failed: sends the event as a probe, or waits for the one that is under way. Whether the event is done with.
    async fn wait_for_kafka(&mut self, event: &Taken) -> bool {
        let since = *self.stuck.get_or_insert_with(now);
        // Whether this event is the probe.
        let mut is_probe = false;
        loop {
            if self.probe.is_none() && self.circuit.allows(now()) {
                match self.producer.try_send(self.record_of_its_own(event)) {
                    Ok(delivery) => {
                        self.fates.probes().begin();
                        self.probe = Some(Probe { delivery, is_in_hand: true });
                        is_probe = true;
                    }
                    Err(rejected) => {
                        if self.rejected(event, rejected.error()) {
                            return true;
                        }
                    }
                }
            }
            if self.is_to_go(since) {
                match &mut self.probe {
                    // It may be taken yet.
                    Some(probe) if is_probe => probe.is_in_hand = false,
                    _ => self.fates.divert(event.level, &event.value),
                }
                return true;
            }
            tokio::select! {
                settled = settled(&mut self.probe) => {
                    let has_ended = self.probe_settled(settled);
                    if is_probe && has_ended {
                        return true;
                    }
                    if self.circuit.is_closed() {
                        return false;
                    }
                    is_probe = false;
                }
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The producer does not take an event. Whether the event is done with, as it will never take it.
    fn rejected(&mut self, event: &Taken, error: &Error) -> bool {
        if error.kind() == ErrorKind::InvalidRecord {
            self.fates.divert(event.level, &event.value);
            return true;
        }
        self.kafka_failed(error);
        false
    }

    fn kafka_failed(&mut self, error: &Error) {
        self.circuit.failed(now());
        let topic = &self.settings.topic;
        let what = match error.kind() {
            ErrorKind::UnknownTopic => format!(
                "logs wait: the topic {topic} does not exist, and is not created by itself: create it, or set another"
            ),
            ErrorKind::Auth => {
                format!("logs wait: this client may not write to the topic {topic}: {error}")
            }
            _ => format!("logs wait: Kafka does not take them for the topic {topic}: {error}"),
        };
        self.fates.warn(&what);
    }

    /// Learns from what has become of the probe. Whether its event has had its end: it is in Kafka, or Kafka will never take it, or
    /// it is not in hand any more.
    fn probe_settled(&mut self, settled: Result<RecordMetadata, SendError>) -> bool {
        let is_in_hand = self.probe.take().is_some_and(|probe| probe.is_in_hand);
        self.fates.probes().end();
        let Err(failed) = settled else {
            self.kafka_works();
            return true;
        };
        let kind = failed.kind();
        let is_about_the_event = matches!(kind, ErrorKind::InvalidRecord | ErrorKind::Broker);
        if is_about_the_event || !is_in_hand {
            self.fates.divert_record(failed.record());
        }
        if kind == ErrorKind::InvalidRecord {
            self.kafka_works();
        } else {
            self.kafka_failed(failed.error());
        }
        is_about_the_event || !is_in_hand
    }

    fn kafka_works(&mut self) {
        self.circuit.worked();
        self.stuck = None;
    }

    /// Whether an event is to go out of the way, as Kafka takes nothing since then.
    fn is_to_go(&self, since: Instant) -> bool {
        let now = now();
        if let Some(until) = self.shared.queue.closing() {
            return now >= until;
        }
        let waited = now.saturating_duration_since(since);
        let queue = &self.shared.queue;
        (waited >= PATIENCE.1 && queue.is_nearly_full() || waited >= PATIENCE.0 && queue.is_half_full())
            && self.fates.is_able(now)
    }

    /// Begins a flush of the producer, if somebody waits for one and all that it is about was handed over.
    fn flush_if_wanted(&self) {
        let Some(to) = self.shared.queue.begin_flush() else { return };
        let (shared, producer, fates) = (self.shared.clone(), self.producer.clone(), self.fates.clone());
        let probes = fates.probes().begun();
        tokio::spawn(async move {
            // It ends at the latest when the producer does.
            let _ = producer.flush(clock::LONG).await;
            // What becomes of a probe is done by the sender, after the producer has told it.
            while fates.probes().ended() < probes {
                sleep(Duration::from_millis(1)).await;
            }
            shared.queue.flushed(to);
        });
    }

    /// When it is to be told that events are missing: not while it goes on.
    fn gap_at(&self) -> Option<Instant> {
        let queue = &self.shared.queue;
        let can_be_told = self.circuit.is_closed() && !queue.is_half_full();
        if can_be_told { self.gaps.due(&queue.counts(), now()) } else { None }
    }

    /// Tells, in a record of the sink's own, how many events are missing.
    fn tell_of_gaps(&mut self) {
        let counts = self.shared.queue.counts();
        let missing = self.gaps.told(&counts, now());
        let message = missing.to_string();
        let fields = [("dropped", missing.dropped.total()), ("lost", missing.lost.total())];
        let shared = self.shared.clone();
        shared.encoder.own(Level::WARN, TARGET, &message, &fields, clock::wall(), |entry| {
            shared.queue.count(|counts| counts.accepted.warn += 1);
            let event = Taken::copied(&entry);
            match self.producer.try_send(self.record(&event)) {
                Ok(delivery) => drop(delivery),
                Err(_) => self.fates.divert(Level::WARN, entry.value),
            }
        });
    }

    /// Sees to it that what the producer has has an end in the time that is left, as far as that can be.
    async fn end(&mut self) {
        if self.circuit.is_closed() {
            self.tell_of_gaps_if_any();
        }
        let until = self.shared.queue.closing().unwrap_or_else(now);
        self.producer.close(until.saturating_duration_since(now())).await;
        if self.probe.is_some() {
            let settled = settled(&mut self.probe).await;
            self.probe_settled(settled);
        }
        // Kafka gets no more: what else is missing is told in the fallback.
        self.tell_of_gaps_if_any();
    }

    fn tell_of_gaps_if_any(&mut self) {
        if self.gaps.due(&self.shared.queue.counts(), now()).is_some() {
            self.tell_of_gaps();
        }
    }

    fn record(&self, event: &Taken) -> Record {
        let mut headers = Vec::with_capacity(2 + self.settings.headers.len());
        headers.push(Header { name: self.level_header.clone(), value: Some(level_value(event.level)) });
        if let Some(target) = &event.target {
            headers.push(Header { name: self.target_header.clone(), value: Some(target.clone()) });
        }
        for (name, value) in &self.settings.headers {
            headers.push(Header { name: name.clone(), value: Some(value.clone()) });
        }
        Record {
            topic: self.settings.topic.clone(),
            partition: None,
            key: event.key.clone(),
            value: Some(event.value.clone()),
            headers,
            timestamp: Some(event.timestamp),
        }
    }

    /// A record that shares no memory with the queue: it may wait for a topic for long.
    fn record_of_its_own(&self, event: &Taken) -> Record {
        self.record(&event.of_its_own())
    }
}

/// Tells, now and then, that Kafka takes nothing: until the first delivery fails, nothing else would.
async fn tell_of_silence(kafka: Kafka, fates: Arc<Fates>, topic: Arc<str>) {
    let mut silence = Silence::new(now());
    loop {
        sleep(SILENCE_LOOKED_AT_EVERY).await;
        let producer = kafka.metrics().producer;
        let queued = producer.records_queued;
        if silence.goes_on(producer.records_delivered, queued, now()) {
            let what = "logs wait: for some time Kafka has acknowledged none";
            fates.warn(&format!("{what} for the topic {topic}; {queued} are on their way"));
        }
    }
}

/// What becomes of the probe, if there is one.
async fn settled(probe: &mut Option<Probe>) -> Result<RecordMetadata, SendError> {
    match probe {
        Some(probe) => (&mut probe.delivery).await,
        None => std::future::pending().await,
    }
}

/// Waits until then, if there is a then.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}
