//! Reading a log: from the arena, else from the WAL, else from segments.
//!
//! What is in memory is given at once. Everything else is read by a few reader threads, so that no network
//! thread ever waits for the disk. Batches from a segment pass their CRC once after each start; checked and
//! resident ranges are then given as file ranges.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use ottla_records::{BatchHeader, Offset};
use ottla_storage::{BLOCK, DiskFile, FileRange, Log, LogBounds, Read, ReadError, ReadPiece, ReadRequest};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    arena::Piece,
    log::{
        LocalLog,
        view::{Place, TailEntry, View},
    },
    segment::{
        Segment,
        files::{Part, SegmentFiles},
        index,
    },
};

/// Bytes of a batch header in a log.
const HEADER: usize = 61;
/// How much is read at a time when batches are looked for.
const SCAN: usize = 16 << 10;
/// Ranges of at least this length are sent from the file; shorter ones cost less as a copy.
const SEND_FILE_MIN: u64 = 64 << 10;

type Answer = oneshot::Sender<Result<Read, ReadError>>;

/// The reader threads and what they read from.
#[derive(Debug)]
pub(crate) struct Readers {
    files: Arc<SegmentFiles>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<(Arc<LocalLog>, ReadRequest, Answer)>,
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
            let (log, request, answer) = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(job) = queue.jobs.pop_front() {
                        break job;
                    }
                    if queue.stopped {
                        return;
                    }
                    self.wake.wait(&mut queue);
                }
            };
            if !answer.is_closed() {
                let _ = answer.send(self.read_blocking(&log, request));
            }
        }
    }

    /// Reads on a reader thread.
    pub(crate) async fn read(&self, log: Arc<LocalLog>, request: ReadRequest) -> Result<Read, ReadError> {
        let (answer, result) = oneshot::channel();
        self.queue.lock().jobs.push_back((log, request, answer));
        self.wake.notify_one();
        result.await.unwrap_or_else(|_| Err(ReadError::Failed("it was shut down".into())))
    }

    /// Reads what is in memory, or in resident pages of checked segments.
    pub(crate) fn read_now(&self, log: &LocalLog, request: ReadRequest) -> Result<Option<Read>, ReadError> {
        match self.look(log, request)? {
            Found::Read(read) => Ok(Some(read)),
            Found::Wal(..) => Ok(None),
            Found::Segment(segment, bounds) => match self.read_segment(&segment, request, Waiting::Never) {
                Ok(pieces) => Ok(Some(Read { bounds, pieces })),
                Err(SegmentError::WouldWait) => Ok(None),
                Err(error) => Err(error.at(&segment, request.offset)),
            },
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
                    return Ok(Read { bounds, pieces });
                }
                Found::Segment(segment, bounds) => {
                    match self.read_segment(&segment, request, Waiting::Allowed) {
                        Ok(pieces) => return Ok(Read { bounds, pieces }),
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
                Some(Place::End) => Ok(Found::Read(Read { bounds, pieces: Vec::new() })),
                Some(Place::Tail(first)) => Ok(from_tail(view, first, request, bounds)),
                Some(Place::Segment(at)) => Ok(Found::Segment(view.segments[at].clone(), bounds)),
                None => Err(ReadError::Damaged {
                    offset: request.offset,
                    detail: format!("no segment of log {} holds it", log.id()).into(),
                }),
            }
        })
    }

    /// Reads from a segment, from the batch that holds the wanted offset on.
    fn read_segment(
        &self,
        segment: &Segment,
        request: ReadRequest,
        waiting: Waiting,
    ) -> Result<Vec<ReadPiece>, SegmentError> {
        let len = segment.len();
        let file = self.files.get(segment.log(), segment.base(), Part::Log)?;
        let (at, first_len) = self.position(segment, file.as_ref(), request.offset, len, waiting)?;
        if first_len > request.max_bytes && !request.at_least_one {
            return Ok(Vec::new());
        }
        let wanted = if request.at_least_one { request.max_bytes.max(first_len) } else { request.max_bytes };
        let end = len.min(at.saturating_add(wanted as u64));
        if segment.is_checked(at, end) && end - at >= SEND_FILE_MIN && resident(file.as_ref(), at, end) {
            let len = u32::try_from(end - at).unwrap_or(u32::MAX);
            return Ok(vec![ReadPiece::File(FileRange { file, at, len })]);
        }
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
            return Err(SegmentError::Damaged(at + read as u64, "the file is shorter than it was written"));
        }
        if !segment.is_checked(at, end) {
            let good = check_batches(&bytes, at)?;
            segment.set_checked(at, at + good as u64);
        }
        Ok(vec![ReadPiece::Memory(Bytes::from(bytes))])
    }

    /// Finds the batch that holds `wanted`: its position and length.
    fn position(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
        wanted: Offset,
        len: u64,
        waiting: Waiting,
    ) -> Result<(u64, usize), SegmentError> {
        let index_len = segment.index_len();
        let mut at = if index_len == 0 || wanted == segment.base() {
            0
        } else {
            let index = self.files.get(segment.log(), segment.base(), Part::Index)?;
            let read = |buf: &mut [u8], at| match waiting {
                Waiting::Allowed => index.read_at(buf, at),
                Waiting::Never => index.read_at_nowait(buf, at),
            };
            match index::position_before(read, index_len, segment.base(), wanted, len) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(SegmentError::WouldWait);
                }
                other => other?,
            }
        };
        let mut from_start = at == 0;
        // Where the next batch must begin, since offsets are dense; no checksum covers a batch's base offset.
        let mut expected = from_start.then(|| segment.base());
        let mut buf = vec![0; SCAN];
        let (mut buf_at, mut buf_len) = (0, 0);
        loop {
            if at >= len {
                if from_start {
                    return Err(SegmentError::Damaged(at, "the segment ends before the offset"));
                }
                (at, from_start, expected) = (0, true, Some(segment.base()));
            }
            let within = usize::try_from(at.wrapping_sub(buf_at)).unwrap_or(usize::MAX);
            let in_buf = at >= buf_at && within.saturating_add(HEADER) <= buf_len;
            if !in_buf {
                buf_at = at;
                buf_len = match waiting {
                    Waiting::Allowed => file.read_at(&mut buf, at)?,
                    Waiting::Never => nowait(file.read_at_nowait(&mut buf, at))?,
                };
            }
            let within = usize::try_from(at - buf_at).unwrap_or(usize::MAX);
            let header = buf[..buf_len].get(within..).map(BatchHeader::parse);
            match header {
                Some(Ok(header)) if header.base_offset <= wanted && at + header.length as u64 <= len => {
                    let (next, behind) = (header.next_offset(), at + header.length as u64);
                    if next <= wanted {
                        expected = Some(next);
                    } else if expected == Some(header.base_offset) || begins_at(file, behind, next, waiting)?
                    {
                        return Ok((at, header.length));
                    } else {
                        // It claims offsets that are not its own; the batch that has them may follow.
                        expected = None;
                    }
                    at = behind;
                }
                // An index entry that leads astray: it is only a hint.
                _ if !from_start => {
                    (at, from_start, expected) = (0, true, Some(segment.base()));
                }
                _ => return Err(SegmentError::Damaged(at, "no batch with the expected offsets begins here")),
            }
        }
    }
}

/// Where to go on looking.
enum Found {
    Read(Read),
    Wal(TailEntry, LogBounds),
    Segment(Arc<Segment>, LogBounds),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waiting {
    Never,
    Allowed,
}

enum SegmentError {
    WouldWait,
    Io(io::Error),
    /// What is wrong, at which position.
    Damaged(u64, &'static str),
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl SegmentError {
    fn at(self, segment: &Segment, offset: Offset) -> ReadError {
        let place =
            |at: u64| format!("segment {:020} of log {}, position {at}", segment.base().0, segment.log());
        match self {
            Self::WouldWait => ReadError::Failed("the bytes are not in memory".into()),
            Self::Io(error) => ReadError::Failed(format!("{}: {error}", place(0)).into()),
            Self::Damaged(at, what) => {
                ReadError::Damaged { offset, detail: format!("{}: {what}", place(at)).into() }
            }
        }
    }
}

/// Whether a batch begins here whose first offset is `base`.
fn begins_at(file: &dyn DiskFile, at: u64, base: Offset, waiting: Waiting) -> Result<bool, SegmentError> {
    let mut bytes = [0; HEADER];
    let read = match waiting {
        Waiting::Allowed => file.read_at(&mut bytes, at)?,
        Waiting::Never => nowait(file.read_at_nowait(&mut bytes, at))?,
    };
    Ok(BatchHeader::parse(&bytes[..read]).is_ok_and(|header| header.base_offset == base))
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
        _ => Found::Read(Read { bounds, pieces }),
    }
}

/// Checks all whole batches in `bytes`, also that their offsets are dense, and returns their length together. A
/// batch that is cut off at the end is no error.
fn check_batches(bytes: &[u8], at: u64) -> Result<usize, SegmentError> {
    let (mut good, mut expected) = (0, None);
    while bytes.len() - good >= HEADER {
        let rest = &bytes[good..];
        let position = at + good as u64;
        let header = BatchHeader::parse(rest)
            .map_err(|_| SegmentError::Damaged(position, "a batch header makes no sense"))?;
        let Some(batch) = rest.get(..header.length) else { break };
        if !header.crc_matches(batch) {
            return Err(SegmentError::Damaged(position, "a batch does not match its CRC"));
        }
        if expected.is_some_and(|expected| expected != header.base_offset) {
            return Err(SegmentError::Damaged(position, "a batch does not begin where the one before ends"));
        }
        expected = Some(header.next_offset());
        good += header.length;
    }
    Ok(good)
}

/// Whether reading the range would not wait: its first and last page are in memory.
fn resident(file: &dyn DiskFile, at: u64, end: u64) -> bool {
    let mut byte = [0];
    let mut probe = |at| file.read_at_nowait(&mut byte, at).is_ok_and(|read| read == 1);
    probe(at) && probe(at + (end - at) / 2) && probe(end - 1)
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
