//! Reading a log: from the arena, else from the WAL, else from segments.
//!
//! What is in memory is given at once. Everything else is read by a few reader threads, so that no network
//! thread ever waits for the disk. Batches from a segment pass their CRC once after each start; checked and
//! resident ranges are then given as file ranges. What lies before a damaged batch is given; it alone is
//! refused.
//!
//! Reader threads also build indexes anew that were found wrong, when nobody waits for them.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use ottla_records::{BatchHeader, Offset};
use ottla_storage::{
    BLOCK, DiskFile, FileRange, Log, LogBounds, LogSettings, Read, ReadError, ReadPiece, ReadRequest,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    arena::Piece,
    log::{
        LocalLog,
        content::{SegmentError, bring_to_memory, check_batches, resident},
        seek::{Seek, Sought},
        view::{Place, TailEntry, View},
    },
    segment::{
        Segment,
        files::{Part, SegmentFiles},
        rebuild::rebuild,
        walk::crc_matches,
    },
};

/// Ranges of at least this length are sent from the file; shorter ones cost less as a copy.
const SEND_FILE_MIN: u64 = 64 << 10;

/// A batch of more bytes is checked before memory is taken for it.
const LARGE_BATCH: usize = 1 << 20;
/// Nothing longer is copied at once, except for a single batch.
const COPY_MAX: u64 = 1 << 20;

type Answer<T> = oneshot::Sender<Result<T, ReadError>>;

/// What a reader thread shall do.
#[derive(Debug)]
enum Job {
    Read { log: Arc<LocalLog>, request: ReadRequest, answer: Answer<Read> },
    ReadAgain { log: Arc<LocalLog>, offset: Offset, skip: u64, len: usize, answer: Answer<Bytes> },
    Ahead(Arc<Segment>),
    Rebuild(Arc<Segment>, LogSettings),
}

/// The reader threads and what they read from.
#[derive(Debug)]
pub(crate) struct Readers {
    pub(super) files: Arc<SegmentFiles>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Segments of which is to be read what was not asked for yet.
    ahead: VecDeque<Arc<Segment>>,
    /// Closed segments whose indexes are wrong.
    rebuilds: VecDeque<(Arc<Segment>, LogSettings)>,
    stopped: bool,
}

impl Readers {
    /// Readers of these files; no thread runs yet.
    pub(crate) fn new(files: Arc<SegmentFiles>) -> Self {
        Self { files, queue: Mutex::default(), wake: Condvar::new() }
    }

    /// Starts a reader thread.
    pub(crate) fn spawn(self: &Arc<Self>, number: usize) -> io::Result<JoinHandle<()>> {
        let readers = self.clone();
        thread::Builder::new().name(format!("reader-{number}")).spawn(move || readers.run())
    }

    /// Ends the reader threads, after what is queued.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopped = true;
        self.wake.notify_all();
    }

    fn run(&self) {
        loop {
            let job = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(job) = queue.jobs.pop_front() {
                        break job;
                    }
                    if queue.stopped {
                        return;
                    }
                    if let Some(segment) = queue.ahead.pop_front() {
                        break Job::Ahead(segment);
                    }
                    if let Some((segment, settings)) = queue.rebuilds.pop_front() {
                        break Job::Rebuild(segment, settings);
                    }
                    self.wake.wait(&mut queue);
                }
            };
            // Nobody waits for an answer that cannot be sent.
            match job {
                Job::Read { answer, .. } if answer.is_closed() => {}
                Job::Read { log, request, answer } => {
                    let _ = answer.send(self.read_blocking(&log, request));
                }
                Job::ReadAgain { answer, .. } if answer.is_closed() => {}
                Job::ReadAgain { log, offset, skip, len, answer } => {
                    let _ = answer.send(self.read_again_blocking(&log, offset, skip, len));
                }
                Job::Ahead(segment) => self.read_ahead(segment),
                Job::Rebuild(segment, settings) => self.rebuild(&segment, &settings),
            }
        }
    }

    /// Has a reader thread read ahead in a segment, when nobody waits for it.
    pub(super) fn ahead(&self, segment: Arc<Segment>) {
        self.queue.lock().ahead.push_back(segment);
        self.wake.notify_one();
    }

    /// Has the indexes of a segment built anew, unless the flusher is still writing to them.
    fn want_rebuild(&self, log: &LocalLog, segment: &Arc<Segment>) {
        let active = log.with(|view| view.active.is_some_and(|active| active.base == segment.base()));
        if !active && segment.claim_rebuild() {
            self.queue.lock().rebuilds.push_back((segment.clone(), log.settings()));
            self.wake.notify_one();
        }
    }

    fn rebuild(&self, segment: &Segment, settings: &LogSettings) {
        let (log, base) = (segment.log(), segment.base());
        match rebuild(&self.files, log, base, segment.len(), settings, true) {
            Ok(rebuilt) => {
                segment.set_index_len(rebuilt.index_len);
                tracing::warn!(
                    log = log.0,
                    segment = base.0,
                    "an index was missing or damaged; built it anew"
                );
            }
            // Retention or a deletion was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                log = log.0,
                segment = base.0,
                "an index is missing or damaged, and could not be built anew: {error}; it is read without it \
                 until the next start"
            ),
        }
    }

    /// Reads on a reader thread.
    pub(crate) async fn read(&self, log: Arc<LocalLog>, request: ReadRequest) -> Result<Read, ReadError> {
        self.ask(|answer| Job::Read { log, request, answer }).await
    }

    /// Reads again what was given and not kept.
    pub(crate) async fn read_again(
        &self,
        log: Arc<LocalLog>,
        offset: Offset,
        skip: u64,
        len: usize,
    ) -> Result<Bytes, ReadError> {
        self.ask(|answer| Job::ReadAgain { log, offset, skip, len, answer }).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, ReadError> {
        let (answer, result) = oneshot::channel();
        self.queue.lock().jobs.push_back(job(answer));
        self.wake.notify_one();
        result.await.unwrap_or_else(|_| Err(ReadError::Failed("it was shut down".into())))
    }

    /// Reads what is in memory, or in resident pages of checked segments.
    pub(crate) fn read_now(&self, log: &LocalLog, request: ReadRequest) -> Result<Option<Read>, ReadError> {
        match self.look(log, request)? {
            Found::Read(read) => Ok(Some(read)),
            Found::Wal(..) => Ok(None),
            Found::Segment(segment, bounds) => {
                match self.read_segment(log, &segment, request, Waiting::Never) {
                    Ok((pieces, more)) => Ok(Some(Read { bounds, pieces, more })),
                    Err(SegmentError::WouldWait) => Ok(None),
                    Err(error) => Err(error.at(&segment, request.offset)),
                }
            }
        }
    }

    fn read_blocking(&self, log: &LocalLog, request: ReadRequest) -> Result<Read, ReadError> {
        // What is found may move on or be deleted before it is read: then it is looked for again.
        for _ in 0..4 {
            match self.look(log, request)? {
                Found::Read(read) => return Ok(read),
                Found::Wal(entry, bounds) => {
                    let bytes = read_batch(&entry).map_err(|error| ReadError::Damaged {
                        offset: entry.base,
                        detail: error.to_string().into(),
                    })?;
                    let fits = request.at_least_one || bytes.len() <= request.max_bytes;
                    let pieces = if fits { vec![ReadPiece::Memory(bytes)] } else { Vec::new() };
                    return Ok(Read { bounds, pieces, more: false });
                }
                Found::Segment(segment, bounds) => {
                    match self.read_segment(log, &segment, request, Waiting::Allowed) {
                        Ok((pieces, more)) => return Ok(Read { bounds, pieces, more }),
                        Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error.at(&segment, request.offset)),
                    }
                }
            }
        }
        Err(ReadError::Failed("the segment at this offset is missing".into()))
    }

    /// Looks in memory, and finds out where else to look.
    fn look(&self, log: &LocalLog, request: ReadRequest) -> Result<Found, ReadError> {
        if log.is_deleted() {
            return Err(ReadError::Deleted);
        }
        log.with(|view| {
            let bounds = view.bounds();
            if request.offset < bounds.log_start || request.offset > bounds.high_watermark {
                return Err(ReadError::OutOfRange { offset: request.offset, bounds });
            }
            match view.place(request.offset) {
                Some(Place::End) => Ok(Found::Read(Read { bounds, pieces: Vec::new(), more: false })),
                Some(Place::Tail(first)) => Ok(from_tail(view, first, request, bounds)),
                Some(Place::Segment(at)) => Ok(Found::Segment(view.segments[at].clone(), bounds)),
                None => Err(ReadError::Damaged {
                    offset: request.offset,
                    detail: format!("no segment of log {} holds it", log.id()).into(),
                }),
            }
        })
    }

    /// Reads from a segment, from the batch that holds the wanted offset on. Tells also whether there was more
    /// to give than is copied at once.
    fn read_segment(
        &self,
        log: &LocalLog,
        segment: &Arc<Segment>,
        request: ReadRequest,
        waiting: Waiting,
    ) -> Result<(Vec<ReadPiece>, bool), SegmentError> {
        log.is_being_read();
        let file = self.files.get(segment.log(), segment.base(), Part::Log)?;
        let index = self.index(segment)?;
        let seek = Seek {
            segment,
            log: file.as_ref(),
            index: index.as_deref(),
            may_wait: waiting == Waiting::Allowed,
            interval: log.settings().index_interval_bytes.into(),
        };
        let sought = seek.seek(request.offset, segment.len());
        if index.is_none() || segment.index_is_wrong() || sought.as_ref().is_ok_and(|s| s.index_is_wrong) {
            self.want_rebuild(log, segment);
        }
        match self.read_from(segment, &file, sought?, request, waiting) {
            // Its header may claim offsets that are not its own.
            Err(SegmentError::Damaged { at, what, .. }) if waiting == Waiting::Allowed => {
                let sought = seek.seek_past(at, what, request.offset)?;
                self.read_from(segment, &file, sought, request, waiting)
            }
            read => read,
        }
    }

    /// The offset index of a segment, if it is there: without it, a segment is read from its beginning.
    pub(super) fn index(&self, segment: &Segment) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match self.files.get(segment.log(), segment.base(), Part::Index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            index => index.map(Some),
        }
    }

    /// Reads from a batch that was found.
    fn read_from(
        &self,
        segment: &Arc<Segment>,
        file: &Arc<dyn DiskFile>,
        Sought { at, header, .. }: Sought,
        request: ReadRequest,
        waiting: Waiting,
    ) -> Result<(Vec<ReadPiece>, bool), SegmentError> {
        let (len, first_len) = (segment.len(), header.length);
        if first_len > request.max_bytes && !request.at_least_one {
            return Ok((Vec::new(), false));
        }
        let wanted = if request.at_least_one { request.max_bytes.max(first_len) } else { request.max_bytes };
        let end = len.min(at.saturating_add(wanted as u64));
        if end - at >= SEND_FILE_MIN && segment.is_checked(at, end) {
            let mut there = resident(file.as_ref(), at, end);
            if !there && waiting == Waiting::Allowed {
                bring_to_memory(file.as_ref(), at, end)?;
                there = resident(file.as_ref(), at, end);
            }
            if there {
                self.want_ahead(segment, file.as_ref(), at, end);
                let len = u32::try_from(end - at).unwrap_or(u32::MAX);
                return Ok((vec![ReadPiece::File(FileRange { file: file.clone(), at, len })], false));
            }
        }
        // A damaged header may claim a length for which memory must not be taken.
        let large = waiting == Waiting::Allowed && first_len > request.max_bytes.max(LARGE_BATCH);
        if large && !crc_matches(|buf, at| file.read_at(buf, at), at, &header)? {
            return Err(SegmentError::Damaged { at, what: "a batch does not match its CRC", readable: None });
        }
        let all = end;
        let end = end.min(at.saturating_add(COPY_MAX.max(first_len as u64)));
        let mut bytes = vec![0; usize::try_from(end - at).unwrap_or(usize::MAX)];
        let read = match waiting {
            Waiting::Allowed => file.read_at(&mut bytes, at)?,
            Waiting::Never if !segment.is_checked(at, end) => return Err(SegmentError::WouldWait),
            Waiting::Never => nowait(file.read_at_nowait(&mut bytes, at))?,
        };
        if read < bytes.len() {
            if waiting == Waiting::Never {
                return Err(SegmentError::WouldWait);
            }
            if read < first_len {
                return Err(SegmentError::Damaged { at, what: "the file ends here", readable: None });
            }
            bytes.truncate(read);
        }
        if !segment.is_checked(at, end) {
            let checked = check_batches(&bytes);
            segment.set_checked(at, at + checked.good as u64);
            if let Some(what) = checked.fault {
                if checked.good == 0 {
                    return Err(SegmentError::Damaged { at, what, readable: None });
                }
                // Whoever reads on is told of it then.
                bytes.truncate(checked.good);
            }
        }
        if waiting == Waiting::Allowed {
            self.want_ahead(segment, file.as_ref(), at, end);
        }
        Ok((vec![ReadPiece::Memory(Bytes::from(bytes))], end < all))
    }
}

/// Where to go on looking.
enum Found {
    Read(Read),
    Wal(TailEntry, LogBounds),
    Segment(Arc<Segment>, LogBounds),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waiting {
    Never,
    Allowed,
}

fn nowait(read: io::Result<usize>) -> Result<usize, SegmentError> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SegmentError::WouldWait),
        other => Ok(other?),
    }
}

fn from_tail(view: &View, first: usize, request: ReadRequest, bounds: LogBounds) -> Found {
    let mut pieces: Vec<ReadPiece> = Vec::new();
    let mut room = request.max_bytes;
    for entry in view.tail.range(first..) {
        let Some(bytes) = &entry.bytes else { break };
        // Only the first batch comes whole at any size, and it alone must not come cut off: a reader could
        // not get past it.
        let first = pieces.is_empty();
        let take = if first && request.at_least_one { bytes.len() } else { bytes.len().min(room) };
        if take == 0 || (first && take < bytes.len()) {
            break;
        }
        pieces.push(ReadPiece::Memory(bytes.slice(..take)));
        room = room.saturating_sub(take);
        if take < bytes.len() || room == 0 {
            break;
        }
    }
    match view.tail.get(first) {
        Some(entry) if pieces.is_empty() && entry.bytes.is_none() => Found::Wal(entry.clone(), bounds),
        _ => Found::Read(Read { bounds, pieces, more: false }),
    }
}

/// Reads a batch of the tail from the WAL, and checks that it is the one that was written.
///
/// # Errors
/// Where the disk fails, or the bytes are not those that were written.
pub(crate) fn read_batch(entry: &TailEntry) -> io::Result<Bytes> {
    let start = entry.at / BLOCK as u64 * BLOCK as u64;
    let skip = usize::try_from(entry.at - start).unwrap_or(0);
    let len = entry.len as usize;
    let padded = (skip + len).next_multiple_of(BLOCK);
    let mut piece = Piece::alone(padded);
    let read = entry.wal.file.read_at(&mut piece.as_mut_slice()[..padded], start)?;
    let wrong = || {
        let message =
            format!("the write-ahead log is damaged in file {:010}.wal at {}", entry.wal.number, entry.at);
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    if read < skip + len {
        return Err(wrong());
    }
    let batch = piece.freeze().slice(skip..skip + len);
    let header = BatchHeader::parse(&batch).map_err(|_| wrong())?;
    let same = header.crc == entry.crc && header.base_offset == entry.base && header.length == len;
    if same && header.crc_matches(&batch) { Ok(batch) } else { Err(wrong()) }
}
