//! A partition's log in memory: its batches, one behind the other.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use ottla_records::{BatchMut, LeaderEpoch, LogId, Offset, TimestampMs};
use parking_lot::Mutex;

use crate::{
    AppendError, Appended, EpochEnd, Log, LogBounds, LogSettings, Produced, Producers, Read, ReadError,
    ReadPiece, ReadRequest, Sequenced,
};

/// A log in memory.
pub struct MemoryLog {
    id: LogId,
    content: Mutex<Content>,
    settings: Mutex<LogSettings>,
    /// A bit for each appender that wants to hear of the high watermark.
    watchers: AtomicU64,
}

/// What survives a restart.
#[derive(Clone, Debug)]
pub(super) struct Content {
    log_start: Offset,
    next: Offset,
    leader_epoch: LeaderEpoch,
    batches: Vec<Batch>,
    producers: Producers,
    deleted: bool,
    /// Whether reads must go the way of those that wait for a disk.
    cold: bool,
}

#[derive(Clone, Debug)]
struct Batch {
    base: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    bytes: Bytes,
}

impl MemoryLog {
    pub(super) fn new(id: LogId, content: Content, settings: LogSettings) -> Self {
        Self { id, content: Mutex::new(content), settings: Mutex::new(settings), watchers: AtomicU64::new(0) }
    }

    /// The settings that were set last. Of what they ask for, a log in memory does nothing.
    pub fn settings(&self) -> LogSettings {
        self.settings.lock().clone()
    }

    /// Moves the log start to `offset`, but not past the end, and drops the batches that lie before it, as
    /// retention does.
    pub fn set_log_start(&self, offset: Offset) {
        let mut content = self.content.lock();
        content.log_start = offset.clamp(content.log_start, content.next);
        let log_start = content.log_start;
        content.batches.retain(|batch| batch.next > log_start);
    }

    /// Makes [`Log::read_now`] answer, from now on, that the disk would have to be waited for, wherever
    /// there is something to read.
    pub fn set_cold(&self, cold: bool) {
        self.content.lock().cold = cold;
    }

    pub(super) fn content(&self) -> Content {
        self.content.lock().clone()
    }

    pub(super) fn watchers(&self) -> u64 {
        self.watchers.load(Ordering::SeqCst)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.content.lock().deleted
    }

    pub(super) fn delete(&self) {
        let mut content = self.content.lock();
        content.deleted = true;
        content.batches = Vec::new();
    }

    /// Gives a batch its place and makes it readable. `now` only orders producers by when they last wrote.
    pub(super) fn append(
        &self,
        batch: &Produced,
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let mut content = self.content.lock();
        if content.deleted {
            return Err(AppendError::Deleted);
        }
        content.append(batch, epoch, now)
    }

    fn read_at(&self, request: ReadRequest, waiting: bool) -> Result<Option<Read>, ReadError> {
        let content = self.content.lock();
        let read = content.read(request)?;
        Ok((waiting || !content.cold || read.pieces.is_empty()).then_some(read))
    }
}

impl Content {
    /// A log without records that remembers at most `max_producers` idempotent producers.
    pub(super) fn new(max_producers: usize) -> Self {
        Self {
            log_start: Offset::ZERO,
            next: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            batches: Vec::new(),
            producers: Producers::new(max_producers),
            deleted: false,
            cold: false,
        }
    }

    fn bounds(&self) -> LogBounds {
        LogBounds { log_start: self.log_start, high_watermark: self.next, leader_epoch: self.leader_epoch }
    }

    fn append(
        &mut self,
        batch: &Produced,
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let appended = |base_offset, append_time, duplicate| Appended {
            base_offset,
            log_start: self.log_start,
            append_time,
            duplicate,
        };
        let idempotent = batch.header.has_producer_id();
        if idempotent
            && let Sequenced::Duplicate { base_offset, append_time } = self.producers.check(&batch.header)?
        {
            return Ok(appended(base_offset, append_time, true));
        }
        let base = self.next;
        let append_time = batch.stamp.append_time();
        let done = appended(base, append_time, false);
        let bytes = placed(batch, base, epoch)?;
        if idempotent {
            // Nothing can fail from here on, so it need never be undone.
            let _undo = self.producers.apply(&batch.header, base, append_time, now);
        }
        self.next = base.plus(i64::from(batch.header.last_offset_delta) + 1);
        self.leader_epoch = epoch;
        self.batches.push(Batch { base, next: self.next, epoch, bytes });
        Ok(done)
    }

    fn read(&self, request: ReadRequest) -> Result<Read, ReadError> {
        if self.deleted {
            return Err(ReadError::Deleted);
        }
        let bounds = self.bounds();
        if request.offset < bounds.log_start || request.offset > bounds.high_watermark {
            return Err(ReadError::OutOfRange { offset: request.offset, bounds });
        }
        let first = self.batches.partition_point(|batch| batch.next <= request.offset);
        let mut bytes = 0_usize;
        let fits = |batch: &&Batch| {
            let whole_first = request.at_least_one && bytes == 0;
            bytes = bytes.saturating_add(batch.bytes.len());
            whole_first || bytes <= request.max_bytes
        };
        let wanted = self.batches[first..].iter().take_while(fits);
        let pieces = wanted.map(|batch| ReadPiece::Memory(batch.bytes.clone())).collect();
        Ok(Read { bounds, pieces, more: false })
    }

    fn read_again(&self, offset: Offset, skip: u64, len: usize) -> Result<Bytes, ReadError> {
        let request = ReadRequest { offset, max_bytes: usize::MAX, at_least_one: true };
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        for piece in self.read(request)?.pieces {
            let ReadPiece::Memory(bytes) = piece else { continue };
            if skip < bytes.len() {
                return Ok(bytes.slice(skip..bytes.len().min(skip + len)));
            }
            skip -= bytes.len();
        }
        Err(ReadError::Failed("the records that were read are gone".into()))
    }

    fn end_of_epoch(&self, wanted: LeaderEpoch) -> Option<EpochEnd> {
        let after = self.batches.partition_point(|batch| batch.epoch <= wanted);
        let found = after.checked_sub(1).map(|last| self.batches[last].epoch);
        match self.batches.get(after) {
            Some(next) => Some(EpochEnd { epoch: found.unwrap_or(wanted), end_offset: next.base }),
            None if found == Some(wanted) => Some(EpochEnd { epoch: wanted, end_offset: self.next }),
            None => None,
        }
    }
}

/// The batch as it is stored.
fn placed(batch: &Produced, base: Offset, epoch: LeaderEpoch) -> Result<Bytes, AppendError> {
    let mut bytes = BytesMut::from(&batch.bytes[..]);
    let mut copy = BatchMut::parse(&mut bytes)
        .map_err(|error| AppendError::Failed(format!("an append was no record batch: {error}").into()))?;
    batch.stamp.apply(&mut copy);
    copy.set_base_offset(base);
    copy.set_leader_epoch(epoch);
    Ok(bytes.freeze())
}

impl Log for MemoryLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn bounds(&self) -> LogBounds {
        self.content.lock().bounds()
    }

    fn read_now(&self, request: ReadRequest) -> Result<Option<Read>, ReadError> {
        self.read_at(request, false)
    }

    fn read(
        self: &Arc<Self>,
        request: ReadRequest,
    ) -> impl Future<Output = Result<Read, ReadError>> + Send + 'static {
        let log = self.clone();
        async move {
            let content = log.content.lock();
            content.read(request)
        }
    }

    fn read_again(
        self: &Arc<Self>,
        offset: Offset,
        skip: u64,
        len: usize,
    ) -> impl Future<Output = Result<Bytes, ReadError>> + Send + 'static {
        let log = self.clone();
        async move { log.content.lock().read_again(offset, skip, len) }
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.content.lock().end_of_epoch(epoch)
    }

    fn watch(&self, appender: usize) {
        self.watchers.fetch_or(1 << (appender % 64), Ordering::SeqCst);
    }

    fn unwatch(&self, appender: usize) {
        self.watchers.fetch_and(!(1 << (appender % 64)), Ordering::SeqCst);
    }

    fn set_settings(&self, settings: LogSettings) {
        *self.settings.lock() = settings;
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("id", &self.id).finish_non_exhaustive()
    }
}
