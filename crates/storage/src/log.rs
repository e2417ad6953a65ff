//! Partition logs: appending with tickets, reading in pieces, and the store that holds them all.
//!
//! Invariants that every implementation keeps: offsets of a log are dense; a record is readable only once it
//! is durable; a ticket is answered with success only once its batch is durable; the high watermark never
//! goes back.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use ottla_records::{
    BatchHeader, BatchMut, LeaderEpoch, LogId, Offset, ProducerEpoch, Sequence, TimestampMs,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{DiskFile, GroupStore, OffsetStore, TopicStore};

/// The settings of a topic that its logs act on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// `segment.bytes`: a segment that would grow past this is closed first.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment whose first record is older than this, by record timestamps, is closed at the
    /// next append.
    pub segment_age: Duration,
    /// `index.interval.bytes`: how far apart the entries of the offset index are.
    pub index_interval_bytes: u32,
    /// `retention.bytes`: oldest whole segments are deleted while the rest holds at least this much; `None`
    /// keeps all.
    pub retention_bytes: Option<u64>,
}

impl Default for LogSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_age: Duration::from_secs(7 * 24 * 3600),
            index_interval_bytes: 4096,
            retention_bytes: None,
        }
    }
}

/// A record batch that has passed the broker's checks and may be appended.
#[derive(Clone, Debug)]
pub struct Produced {
    /// The whole batch, as it came.
    pub bytes: Bytes,
    /// Its header.
    pub header: BatchHeader,
    /// What to change of its timestamps.
    pub stamp: Stamp,
}

/// What to change of a batch's timestamps at the append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stamp {
    /// Nothing.
    Keep,
    /// Every record gets this time (`message.timestamp.type=LogAppendTime`).
    AppendTime(TimestampMs),
    /// The header claims another greatest timestamp than the records have; this is theirs.
    MaxTimestamp(TimestampMs),
}

impl Stamp {
    /// The time of the append, where the batch bears it.
    pub fn append_time(self) -> Option<TimestampMs> {
        match self {
            Self::AppendTime(time) => Some(time),
            Self::Keep | Self::MaxTimestamp(_) => None,
        }
    }

    /// Makes the change in a batch that was checked.
    pub fn apply(self, batch: &mut BatchMut<'_>) {
        match self {
            Self::Keep => {}
            Self::AppendTime(time) => batch.set_append_time(time),
            Self::MaxTimestamp(time) => batch.set_max_timestamp(time),
        }
    }
}

/// What became of an append, once it is durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// The offset of the batch's first record.
    pub base_offset: Offset,
    /// The log start offset at the time.
    pub log_start: Offset,
    /// The broker's stamp, where the batch bears one.
    pub append_time: Option<TimestampMs>,
    /// Whether the batch was there already: an idempotent producer had sent it again.
    pub duplicate: bool,
}

/// Why a batch was not appended. Nothing of it is in the log then, except for
/// [`Failed`](Self::Failed), where that is not known.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AppendError {
    /// An idempotent producer's batch does not follow the last one it wrote here.
    #[error("producer {producer} sent sequence {got} where {expected} was expected")]
    OutOfOrderSequence {
        /// The producer id.
        producer: i64,
        /// The sequence number that would follow.
        expected: Sequence,
        /// The one that came.
        got: Sequence,
    },
    /// A newer instance of the producer has written here.
    #[error("producer {producer} sent epoch {got}, but epoch {current} has written here")]
    StaleProducerEpoch {
        /// The producer id.
        producer: i64,
        /// The newest epoch that wrote here.
        current: ProducerEpoch,
        /// The one that came.
        got: ProducerEpoch,
    },
    /// The disk is full; writing goes on by itself when there is room again.
    #[error("the disk of the data directory is full")]
    DiskFull,
    /// The log has been deleted.
    #[error("the partition has been deleted")]
    Deleted,
    /// The batch is larger than the store can take at once.
    #[error("a batch of {bytes} bytes is larger than the {limit} bytes the store takes at once")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The largest that would pass.
        limit: usize,
    },
    /// The store has stopped; whether the batch is durable is not known.
    #[error("storage has stopped: {0}")]
    Failed(Arc<str>),
}

/// Where a log begins and ends, as a reader may see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogBounds {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The offset behind the last durable record.
    pub high_watermark: Offset,
    /// The leader epoch of the last record, or of the log's beginning.
    pub leader_epoch: LeaderEpoch,
}

/// What a reader wants.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset wanted; the batch that holds it comes whole.
    pub offset: Offset,
    /// Most bytes to give; the last batch may come cut off.
    pub max_bytes: usize,
    /// Give the first batch whole even if it is larger than `max_bytes`.
    pub at_least_one: bool,
}

/// A part of a file that may be sent as it is.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file; holding it keeps the bytes there, even past a deletion.
    pub file: Arc<dyn DiskFile>,
    /// Where the range begins.
    pub at: u64,
    /// How long it is.
    pub len: u32,
}

/// Consecutive bytes of a log.
#[derive(Clone, Debug)]
pub enum ReadPiece {
    /// In memory.
    Memory(Bytes),
    /// In a file whose pages are resident and whose batches have been checked.
    File(FileRange),
}

impl ReadPiece {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(range) => range.len as usize,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a reader got.
#[derive(Clone, Debug)]
pub struct Read {
    /// The log's bounds at the time.
    pub bounds: LogBounds,
    /// Record batches one behind the other; empty at the high watermark.
    pub pieces: Vec<ReadPiece>,
    /// There is more behind them than was given, though more was asked for: so much is not copied at once.
    pub more: bool,
}

impl Read {
    /// The length of all pieces in bytes.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(ReadPiece::len).sum()
    }
}

/// Why a read failed.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The offset lies before the log start or behind the high watermark.
    #[error("offset {offset} is outside of [{}, {}]", bounds.log_start, bounds.high_watermark)]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// What there is.
        bounds: LogBounds,
    },
    /// What is stored there fails its checks.
    #[error("the log is damaged at offset {offset}: {detail}")]
    Damaged {
        /// The first offset that cannot be read.
        offset: Offset,
        /// File, position and what is wrong.
        detail: Arc<str>,
    },
    /// The log has been deleted.
    #[error("the partition has been deleted")]
    Deleted,
    /// The disk did not give the bytes.
    #[error("reading failed: {0}")]
    Failed(Arc<str>),
}

/// The answer to OffsetForLeaderEpoch (KIP-320): the largest epoch not above the one asked for, and where it
/// ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EpochEnd {
    /// The epoch found.
    pub epoch: LeaderEpoch,
    /// The offset behind its last record.
    pub end_offset: Offset,
}

/// One partition's log, as readers on any thread see it.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Its id, which no other log ever had.
    fn id(&self) -> LogId;

    /// Where it begins and ends now.
    fn bounds(&self) -> LogBounds;

    /// Reads what is in memory, without waiting; `None` where the disk would have to be waited for.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read_now(&self, request: ReadRequest) -> Result<Option<Read>, ReadError>;

    /// Reads, from disk if need be.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(
        self: &Arc<Self>,
        request: ReadRequest,
    ) -> impl Future<Output = Result<Read, ReadError>> + Send + 'static;

    /// Reads bytes that an earlier read has given, and that were not kept: up to `len` of them, from `skip` bytes
    /// behind the start of the batch that holds `offset`. At least one, since they were there.
    ///
    /// # Errors
    /// See [`ReadError`]. Retention may have deleted them meanwhile.
    fn read_again(
        self: &Arc<Self>,
        offset: Offset,
        skip: u64,
        len: usize,
    ) -> impl Future<Output = Result<Bytes, ReadError>> + Send + 'static;

    /// Finds where an epoch ended; `None` for an epoch before the first one known.
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd>;

    /// Asks that the appender with this number hears of every advance of the high watermark. Whoever calls
    /// this looks at [`bounds`](Self::bounds) afterwards: an advance before the call is not reported.
    fn watch(&self, appender: usize);

    /// Takes a [`watch`](Self::watch) back.
    fn unwatch(&self, appender: usize);

    /// Puts new settings to work from the next append on.
    fn set_settings(&self, settings: LogSettings);
}

/// The sending half of a [`Ticket`].
pub type TicketSender = oneshot::Sender<Result<Appended, AppendError>>;

/// A promise to say what became of an append, in the order of appends.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<Appended, AppendError>>);

impl Ticket {
    /// A ticket and what answers it. A sender that is dropped answers [`AppendError::Failed`].
    pub fn new() -> (TicketSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Ticket {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(answer) => answer,
            Err(_) => Err(AppendError::Failed("it was shut down before the append was durable".into())),
        })
    }
}

/// What one commit has to tell one thread.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Tickets of this thread's appends with their answers.
    pub answers: Vec<(TicketSender, Result<Appended, AppendError>)>,
    /// Logs which this thread watches and whose high watermark has advanced.
    pub advanced: Vec<LogId>,
}

/// Where a thread receives its [`Delivery`]s: one for each commit that concerns it.
pub type DeliveryReceiver = mpsc::UnboundedReceiver<Delivery>;

/// A thread's own way of appending. Appends through one appender keep their order.
pub trait Appender: Send + 'static {
    /// The kind of log it appends to.
    type Log: Log;

    /// The number by which logs know this appender.
    fn number(&self) -> usize;

    /// Waits until there is room for `bytes` more. The bound is soft: an append that did not wait is taken
    /// all the same.
    fn ready(&self, bytes: usize) -> impl Future<Output = ()>;

    /// Takes a batch, without waiting, and returns the ticket that tells when it is durable.
    fn append(&self, log: &Arc<Self::Log>, batch: Produced) -> Ticket;
}

/// Why the store could not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum StorageError {
    /// The disk is full.
    #[error("the disk of the data directory is full")]
    DiskFull,
    /// It has stopped.
    #[error("storage has stopped: {0}")]
    Failed(Arc<str>),
}

/// All logs of a broker, and the small state beside them.
pub trait Storage: Send + Sync + 'static {
    /// A partition's log.
    type Log: Log;
    /// A thread's way of appending.
    type Appender: Appender<Log = Self::Log>;
    /// Topics and their settings.
    type Topics: TopicStore;
    /// Groups, their members and committed offsets.
    type Groups: GroupStore + OffsetStore;

    /// The small state of topics.
    fn topics(&self) -> &Self::Topics;

    /// The small state of groups.
    fn groups(&self) -> &Self::Groups;

    /// The leader epoch in which this life of the broker writes.
    fn leader_epoch(&self) -> LeaderEpoch;

    /// Makes an appender for the calling thread, and where it receives its answers. There are at most 64.
    fn appender(&self) -> (Self::Appender, DeliveryReceiver);

    /// Opens the log with this id: one that was recovered, or an empty one. Each id is opened once.
    fn open_log(&self, id: LogId, settings: LogSettings) -> Arc<Self::Log>;

    /// Deletes a log: when this returns, no restart brings its records back. Appends and reads fail from now
    /// on.
    fn delete_log(
        &self,
        log: &Arc<Self::Log>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send + 'static;

    /// Makes everything durable, writes what a fast start needs, and stops. Appends fail from now on.
    fn close(&self) -> impl Future<Output = Result<(), StorageError>> + Send;
}
