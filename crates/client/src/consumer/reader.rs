//! [`Consumer`]: what a program holds to read partitions.

use std::{
    collections::BTreeSet,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::{future::BoxFuture, stream::Stream};
use tokio::time::Instant;

use super::{
    chunk::{Chunk, Opener, Trouble},
    driver::{Driver, End, Shared},
    partition::{Item, Key, Partition, StartAt, Watermarks},
    record::{Record, Records},
    state::State,
};
use crate::{
    budget::Reservation,
    config::ConsumerConfig,
    error::{Error, ErrorKind},
    jitter::Jitter,
    kafka::Kafka,
    metrics::Lags,
};

/// How many bytes of records [`Consumer::recv_batch`] decompresses at a time, when it has some.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// Reads partitions that are chosen by hand.
///
/// It is for one reader, who calls it with `&mut self`: so a record costs no lock. Records are fetched ahead, whether it is
/// being read or not, as far as there is room. Of each partition, records come in their order; between partitions, what
/// came first.
///
/// # Errors
///
/// Whatever passes by itself (a broker that is down, a leader that moves) is waited out and tells nothing. An error is told
/// once, as what [`recv`](Self::recv) returns, in the order of the partition's records; other partitions go on.
///
/// | kind | what happened | what goes on |
/// |---|---|---|
/// | `OffsetOutOfRange` | the position is not in the log, or no longer; or the topic was created anew | nothing in that partition until [`seek`](Self::seek) |
/// | `DataCorruption` | a batch is damaged | nothing in that partition until [`seek`](Self::seek) |
/// | `Config` | a batch is larger than the memory budget | nothing in that partition until [`seek`](Self::seek) |
/// | `UnsupportedVersion` | a batch has a format or compression that is not in this build | nothing in that partition until [`seek`](Self::seek) |
/// | `UnknownTopic`, `Auth`, `UnsupportedVersion`, `Broker` | the cluster does not know the partition, or refuses it | it goes on being tried |
/// | `Closed` | the runtime that the client ran on has ended | nothing |
///
/// # Dropping
///
/// Dropping the future of a call loses no record. Dropping the consumer blocks nothing, and leaves nothing behind.
pub struct Consumer {
    kafka: Kafka,
    shared: Arc<Shared>,
    opener: Opener,
    /// What is read at the moment.
    chunk: Option<Box<Chunk>>,
    /// Room for a large batch, while it is claimed, and then.
    claiming: Option<BoxFuture<'static, Reservation>>,
    granted: Option<Reservation>,
    /// An error that was found behind records that were given before it.
    found: Option<(Key, Error)>,
    /// It was told that nothing comes any more.
    is_over: bool,
}

impl Consumer {
    pub(super) fn new(kafka: Kafka, config: Arc<ConsumerConfig>) -> Result<Self, Error> {
        static CONSUMERS: AtomicU64 = AtomicU64::new(0);
        let number = CONSUMERS.fetch_add(1, Ordering::Relaxed);
        let consuming = Arc::new(kafka.budget().consuming());
        let opener = Opener::new(consuming.clone(), kafka.counters().clone(), config.check_crcs);
        let shared = Shared::new(State::new(config, kafka.config().clone(), Jitter::new()));
        let lags: Arc<dyn Lags> = shared.clone();
        kafka.counters().watch(Arc::downgrade(&lags));
        let driver = Driver { kafka: kafka.clone(), shared: shared.clone(), consuming, number };
        kafka.running()?.drivers.add(driver.run(End(shared.clone())))?;
        Ok(Self {
            kafka,
            shared,
            opener,
            chunk: None,
            claiming: None,
            granted: None,
            found: None,
            is_over: false,
        })
    }

    /// Reads these partitions from now on, beside those that are read already. One that is read already goes on there.
    ///
    /// Nothing is waited for here: what the cluster does not know is told by [`recv`](Self::recv), once it has not known it
    /// for 5 seconds.
    pub fn assign<N: Into<Arc<str>>>(&mut self, partitions: impl IntoIterator<Item = (N, i32, StartAt)>) {
        let now = Instant::now();
        for (topic, partition, start) in partitions {
            let key = Key { topic: topic.into(), partition };
            self.let_go(&key);
            self.shared.state.lock().start(&key, start, now);
        }
        self.shared.changed.notify_one();
    }

    /// Reads all partitions that a topic has now, as [`assign`](Self::assign) does. Returns how many there are: 0 to that.
    ///
    /// Dropping the future either has assigned all of them, or none.
    ///
    /// # Errors
    /// `UnknownTopic`: there is no such topic. `Timeout`: no broker answers within
    /// [`call_timeout`](crate::KafkaBuilder::call_timeout).
    pub async fn assign_topic(&mut self, topic: impl Into<Arc<str>>, start: StartAt) -> Result<i32, Error> {
        let topic = topic.into();
        let described = self.kafka.admin().describe_topics([topic.to_string()]).await?;
        let described = described.into_iter().map(|(_, described)| described).next();
        let described = described.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::UnknownTopic, format!("there is no topic {topic}")))
        })?;
        let partitions: Vec<i32> = described.partitions.iter().map(|it| it.partition).collect();
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.assign(partitions.into_iter().map(|partition| (topic.clone(), partition, start)));
        Ok(count)
    }

    /// Reads these partitions no more. What was fetched of them ahead is dropped.
    pub fn unassign<'a>(&mut self, partitions: impl IntoIterator<Item = (&'a str, i32)>) {
        for (topic, partition) in partitions {
            let key = Key { topic: topic.into(), partition };
            self.let_go(&key);
            self.shared.state.lock().remove(&key);
        }
        self.shared.changed.notify_one();
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> Vec<(Arc<str>, i32)> {
        let state = self.shared.state.lock();
        state.partitions.keys().map(|key| (key.topic.clone(), key.partition)).collect()
    }

    /// Goes on somewhere else in a partition that is read. What was fetched ahead is dropped.
    ///
    /// # Errors
    /// `UnknownTopic`: the partition is not read.
    pub fn seek(&mut self, topic: &str, partition: i32, to: StartAt) -> Result<(), Error> {
        let key = self.key_of(topic, partition)?;
        self.let_go(&key);
        self.shared.state.lock().start(&key, to, Instant::now());
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Gives no more records of a partition, and fetches none, until [`resume`](Self::resume). What was fetched ahead waits,
    /// unless its room is needed.
    ///
    /// # Errors
    /// `UnknownTopic`: the partition is not read.
    pub fn pause(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        let key = self.key_of(topic, partition)?;
        let reading = self.chunk.take_if(|chunk| *chunk.key() == key);
        if reading.is_some() {
            self.end_claim();
        }
        self.shared.state.lock().pause(&key, reading);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Goes on with a partition that was paused.
    ///
    /// # Errors
    /// `UnknownTopic`: the partition is not read.
    pub fn resume(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        let key = self.key_of(topic, partition)?;
        self.shared.state.lock().resume(&key);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The offset of the next record of a partition that is to be given; `None` while that is looked up, and for a partition
    /// that is not read.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        let is_it = |key: &Key| *key.topic == *topic && key.partition == partition;
        match &self.chunk {
            Some(chunk) if is_it(chunk.key()) => Some(chunk.position().offset),
            _ => self.of(topic, partition, Partition::reader_position)?,
        }
    }

    /// What brokers told of a partition with the last answer; `None` before the first, and for a partition that is not read.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Option<Watermarks> {
        self.of(topic, partition, |partition| partition.watermarks)?
    }

    /// The next record, of whatever partition. It waits until there is one, which may be for ever.
    ///
    /// Dropping the future loses no record.
    ///
    /// # Errors
    /// See [`Consumer`].
    pub async fn recv(&mut self) -> Result<Record, Error> {
        if let Some(record) = self.next_record() {
            return Ok(record);
        }
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next records, all of one partition, as they came together. It waits until there is one, which may be for ever.
    ///
    /// Dropping the future loses no record.
    ///
    /// # Errors
    /// See [`Consumer`].
    pub async fn recv_batch(&mut self) -> Result<Records, Error> {
        poll_fn(|context| self.poll_recv_batch(context)).await
    }

    fn of<T>(&self, topic: &str, partition: i32, look: impl FnOnce(&Partition) -> T) -> Option<T> {
        let key = Key { topic: topic.into(), partition };
        self.shared.state.lock().partitions.get(&key).map(look)
    }

    fn key_of(&self, topic: &str, partition: i32) -> Result<Key, Error> {
        let key = Key { topic: topic.into(), partition };
        let is_read = self.shared.state.lock().partitions.contains_key(&key);
        let unread = || Error::new(ErrorKind::UnknownTopic, format!("{key} is not read; assign it first"));
        if is_read { Ok(key) } else { Err(unread()) }
    }

    /// Reads no further in what is read, if it is of this partition.
    fn let_go(&mut self, key: &Key) {
        if self.chunk.as_ref().is_some_and(|chunk| chunk.key() == key) {
            self.close_chunk();
        }
        self.found = self.found.take().filter(|(of, _)| of != key);
    }

    fn close_chunk(&mut self) {
        self.chunk = None;
        self.end_claim();
    }

    fn end_claim(&mut self) {
        self.granted = None;
        if self.claiming.take().is_some() {
            self.set_claiming(false);
        }
    }

    fn set_claiming(&self, is_claiming: bool) {
        self.shared.state.lock().is_claiming = is_claiming;
        self.shared.changed.notify_one();
    }

    /// The next record of the batch that is open.
    #[inline]
    fn next_record(&mut self) -> Option<Record> {
        self.chunk.as_mut()?.next_record()
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Record, Error>> {
        loop {
            if let Some(record) = self.next_record() {
                return Poll::Ready(Ok(record));
            }
            ready!(self.poll_opened(context))?;
        }
    }

    fn poll_recv_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Records, Error>> {
        loop {
            if let Some(records) = self.take_open() {
                return Poll::Ready(Ok(records));
            }
            ready!(self.poll_opened(context))?;
        }
    }

    /// All records of what is read that can be had without waiting.
    fn take_open(&mut self) -> Option<Records> {
        let chunk = self.chunk.as_mut()?;
        let first = chunk.take_open()?;
        let Key { topic, partition } = chunk.key().clone();
        let (mut decompressed, mut next_offset) = (first.own_bytes(), chunk.position().offset);
        let mut batches = vec![first];
        while decompressed < DECOMPRESSED_MAX {
            // What needs room, or is damaged, is met again when the reader comes to it.
            let Some(chunk) = &mut self.chunk else { break };
            let is_open = chunk.open_next(&mut self.opener, &mut self.granted);
            let open = chunk.take_open();
            if let Err(Trouble::Bad(error)) = is_open {
                self.stop_reading(error);
                break;
            }
            next_offset = chunk.position().offset;
            let Some(open) = open else { break };
            decompressed += open.own_bytes();
            batches.push(open);
        }
        Some(Records::new(topic, partition, batches, next_offset))
    }

    /// The same as [`poll_open`](Self::poll_open), where what the reader is told of is counted.
    fn poll_opened(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let opened = ready!(self.poll_open(context));
        if let Err(error) = &opened {
            self.kafka.counters().told(error.kind());
        }
        Poll::Ready(opened)
    }

    /// Opens the next batch with something to see, of whatever partition.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if let Some((_, error)) = self.found.take() {
                return Poll::Ready(Err(error));
            }
            if let Some(claiming) = &mut self.claiming {
                self.granted = Some(ready!(claiming.as_mut().poll(context)));
                self.claiming = None;
                self.set_claiming(false);
            }
            let Some(chunk) = &mut self.chunk else {
                ready!(self.poll_chunk(context))?;
                continue;
            };
            match chunk.open_next(&mut self.opener, &mut self.granted) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => self.close_chunk(),
                Err(Trouble::NeedsRoom(bytes)) => self.claim(bytes),
                Err(Trouble::Bad(error)) => self.stop_reading(error),
            }
        }
    }

    /// What is read cannot be read on. The reader is told when it comes there.
    fn stop_reading(&mut self, error: Error) {
        if let Some(chunk) = self.chunk.take() {
            let mut state = self.shared.state.lock();
            state.stop_reading(chunk.key(), chunk.generation(), chunk.position().offset);
            self.found = Some((chunk.key().clone(), error));
        }
        self.end_claim();
    }

    /// Claims room for a batch. What was fetched ahead makes way, or the claim could wait for what waits for it.
    fn claim(&mut self, bytes: usize) {
        let mut state = self.shared.state.lock();
        state.is_claiming = true;
        state.drop_ahead(|_| true);
        drop(state);
        let consuming = self.opener.consuming().clone();
        self.claiming = Some(Box::pin(async move { consuming.claim(bytes).await }));
    }

    /// Takes what comes next of whatever partition.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.state.lock();
        let Some((_, item, goes_on)) = state.take() else {
            if state.has_ended {
                let what = "the runtime that the client ran on has ended";
                return Poll::Ready(Err(Error::new(ErrorKind::Closed, what)));
            }
            state.set_reader(context.waker());
            return Poll::Pending;
        };
        drop(state);
        if goes_on {
            self.shared.changed.notify_one();
        }
        match item {
            Item::Chunk(chunk) => {
                self.chunk = Some(chunk);
                Poll::Ready(Ok(()))
            }
            Item::Failed(error) => Poll::Ready(Err(error)),
        }
    }
}

/// The records, one after the other, without an end; but after an error of kind `Closed` it ends.
impl Stream for Consumer {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_recv(context));
        self.is_over = next.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed);
        Poll::Ready(Some(next))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: BTreeSet<Arc<str>> = self.assignment().into_iter().map(|(topic, _)| topic).collect();
        f.debug_struct("Consumer").field("topics", &topics).finish_non_exhaustive()
    }
}
