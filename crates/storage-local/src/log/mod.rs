//! A partition's log on this machine: what is in memory of it, and the lock around that.

mod again;
mod ahead;
mod content;
pub(crate) mod epochs;
mod read;
mod seek;
pub(crate) mod view;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ottla_records::{LeaderEpoch, LogId, Offset};
use ottla_storage::{EpochEnd, Log, LogBounds, LogSettings, Read, ReadError, ReadRequest};
use parking_lot::{Mutex, MutexGuard};

pub(crate) use self::read::{Readers, read_batch};
use self::view::View;

/// For so many runs of the flusher a log counts as read after somebody has read its segments.
const READ_LATELY: u32 = 64;

/// A log on local disk.
pub struct LocalLog {
    id: LogId,
    view: Mutex<View>,
    settings: Mutex<LogSettings>,
    /// A bit for each appender that wants to hear of the high watermark.
    watchers: AtomicU64,
    /// Whether the flusher has been told that there is something to flush.
    queued: AtomicBool,
    deleted: AtomicBool,
    /// How many more times the flusher finds that the segments are being read.
    read_lately: AtomicU32,
    /// Held while the flusher writes segments, and while a deletion removes them.
    files: Mutex<()>,
    readers: Arc<Readers>,
}

impl LocalLog {
    pub(crate) fn new(id: LogId, view: View, settings: LogSettings, readers: Arc<Readers>) -> Self {
        Self {
            id,
            view: Mutex::new(view),
            settings: Mutex::new(settings),
            watchers: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            read_lately: AtomicU32::new(0),
            files: Mutex::new(()),
            readers,
        }
    }

    /// Does something with the view under the lock; it must be short and must not wait.
    pub(crate) fn with<T>(&self, use_view: impl FnOnce(&mut View) -> T) -> T {
        use_view(&mut self.view.lock())
    }

    /// The settings now.
    pub(crate) fn settings(&self) -> LogSettings {
        self.settings.lock().clone()
    }

    /// A bit for each appender that watches.
    pub(crate) fn watchers(&self) -> u64 {
        self.watchers.load(Ordering::SeqCst)
    }

    /// Whether it has been deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// It is deleted from now on.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Waits until nobody else writes or removes the log's files. Whoever writes looks then whether the log is
    /// deleted: files that were written after a removal would stay for ever.
    pub(crate) fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock()
    }

    /// Somebody reads the segments: what follows in them will be wanted too.
    pub(crate) fn is_being_read(&self) {
        if self.read_lately.load(Ordering::Relaxed) != READ_LATELY {
            self.read_lately.store(READ_LATELY, Ordering::Relaxed);
        }
    }

    /// Whether the segments were read lately. The flusher asks, each time that it comes to the log.
    pub(crate) fn is_read_lately(&self) -> bool {
        let left = self.read_lately.load(Ordering::Relaxed);
        self.read_lately.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// Marks the log as known to the flusher; true if it was not before.
    pub(crate) fn queue(&self) -> bool {
        !self.queued.load(Ordering::Relaxed) && !self.queued.swap(true, Ordering::AcqRel)
    }

    /// The flusher has taken notice.
    pub(crate) fn unqueue(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Log for LocalLog {
    fn id(&self) -> LogId {
        self.id
    }

    fn bounds(&self) -> LogBounds {
        self.view.lock().bounds()
    }

    fn read_now(&self, request: ReadRequest) -> Result<Option<Read>, ReadError> {
        self.readers.read_now(self, request)
    }

    fn read(
        self: &Arc<Self>,
        request: ReadRequest,
    ) -> impl Future<Output = Result<Read, ReadError>> + Send + 'static {
        let (readers, log) = (self.readers.clone(), self.clone());
        async move { readers.read(log, request).await }
    }

    fn read_again(
        self: &Arc<Self>,
        offset: Offset,
        skip: u64,
        len: usize,
    ) -> impl Future<Output = Result<Bytes, ReadError>> + Send + 'static {
        let (readers, log) = (self.readers.clone(), self.clone());
        async move { readers.read_again(log, offset, skip, len).await }
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let view = self.view.lock();
        view.epochs.end_of(epoch, view.high_watermark)
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
