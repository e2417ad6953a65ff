//! What an answer brought of one partition, and how its batches are opened: checked, decompressed within the memory budget,
//! and freed of what the reader is not to see.
//!
//! Batches are opened one by one, where the reader is: so no more is decompressed than is read next, and the CPU that it
//! takes is the reader's.

use std::sync::Arc;

use bytes::Bytes;
use ottla_records::{
    BatchError, Batches, Compression, DecompressError, Decompressor, RecordBatch, batch::HEADER_SIZE,
    walk::Mark,
};

use super::{
    aborted::Aborted,
    partition::{Key, Position},
    record::{Batch, Open, Record},
};
use crate::{
    budget::{Consuming, Reservation},
    error::{Error, ErrorKind},
    metrics::Counters,
};

/// How much is decompressed at a time.
const PIECE: usize = 64 << 10;
/// How many times as large as its compressed form a batch is taken to be at first, and what that is at most and at least.
const GROWTH: usize = 4;
const GUESS_MAX: usize = 1 << 20;
const GUESS_MIN: usize = 4 << 10;

/// The batches of one partition in an answer.
#[derive(Debug)]
pub(super) struct Chunk {
    key: Key,
    generation: u64,
    size: usize,
    batches: Batches,
    /// One that was taken from `batches` and needed room that was not there.
    waiting: Option<RecordBatch>,
    aborted: Option<Aborted>,
    /// What is read at the moment.
    open: Option<Open>,
    /// Behind all batches that were opened.
    opened_to: Position,
    /// What the reader is to see next.
    position: Position,
    charge: Arc<Reservation>,
}

/// What opens batches.
pub(super) struct Opener {
    consuming: Arc<Consuming>,
    counters: Arc<Counters>,
    check_crcs: bool,
    decompressor: Decompressor,
}

/// Why a batch was not opened.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It becomes so large, in bytes, that room has to be claimed for it, and then it can be opened.
    NeedsRoom(usize),
    /// It cannot be read, or must not.
    Bad(Error),
}

/// The complete batches at the beginning of what an answer brought of a partition.
#[derive(Debug)]
pub(super) struct Complete {
    /// They themselves.
    pub(super) bytes: Bytes,
    /// Where to read on behind them.
    pub(super) next: Position,
    /// What comes then is no batch, for this reason.
    pub(super) fault: Option<BatchError>,
    /// How large the batch is, in bytes, that was cut off where no other came before.
    pub(super) cut_off: Option<usize>,
}

/// Looks at the headers of what was fetched from a position on.
pub(super) fn complete(fetched: Bytes, start: Position) -> Complete {
    let mut batches = Batches::new(fetched.clone());
    let (mut next, mut fault, mut cut_off) = (start, None, None);
    for batch in &mut batches {
        match batch {
            Ok(batch) => {
                let header = batch.header();
                next = behind(next.offset.max(header.next_offset().0), header.leader_epoch.0);
            }
            // The last one of an answer may be.
            Err(BatchError::Torn { expected, .. }) => cut_off = Some(expected),
            Err(error) => fault = Some(error),
        }
    }
    let bytes = fetched.slice(..batches.position());
    if !bytes.is_empty() {
        cut_off = None;
    }
    Complete { bytes, next, fault, cut_off }
}

impl Chunk {
    /// Complete batches that were fetched from `start` on.
    pub(super) fn new(
        key: Key,
        generation: u64,
        start: Position,
        batches: Bytes,
        aborted: Option<Aborted>,
        charge: Arc<Reservation>,
    ) -> Self {
        let size = batches.len();
        Self {
            key,
            generation,
            size,
            batches: Batches::new(batches),
            waiting: None,
            aborted,
            open: None,
            opened_to: start,
            position: start,
            charge,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the reader is to see next, and where it is to be fetched from again, if it has to be.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The bytes of its batches.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The next record of the batch that is open.
    #[inline]
    pub(super) fn next_record(&mut self) -> Option<Record> {
        let record = self.open.as_mut()?.next()?;
        self.position = behind(record.offset().saturating_add(1), record.leader_epoch());
        Some(record)
    }

    /// What is left of the batch that is open, which the reader has seen then.
    pub(super) fn take_open(&mut self) -> Option<Open> {
        let open = self.open.take().filter(|open| open.left > 0)?;
        self.position = self.opened_to;
        Some(open)
    }

    /// Opens the next batch with something to see; false where there is none.
    pub(super) fn open_next(
        &mut self,
        opener: &mut Opener,
        granted: &mut Option<Reservation>,
    ) -> Result<bool, Trouble> {
        // All of the one before was seen.
        (self.open, self.position) = (None, self.opened_to);
        self.open = self.next_open(opener, granted)?;
        opener.counters.read(self.open.as_ref().map_or(0, |open| open.left as u64));
        Ok(self.open.is_some())
    }

    fn next_open(
        &mut self,
        opener: &mut Opener,
        granted: &mut Option<Reservation>,
    ) -> Result<Option<Open>, Trouble> {
        loop {
            let waited = self.waiting.take();
            let is_checked = waited.is_some() || !opener.check_crcs;
            let Some(batch) = waited.map(Ok).or_else(|| self.batches.next()) else { return Ok(None) };
            let batch = batch.map_err(|error| Trouble::Bad(self.damaged(&error)))?;
            if !is_checked {
                batch.check_crc().map_err(|error| Trouble::Bad(self.damaged(&error)))?;
            }
            let next = behind(batch.header().next_offset().0, batch.header().leader_epoch.0);
            let opened = match self.is_hidden(&batch) {
                true => None,
                false => self.open(batch, opener, granted)?,
            };
            if next.offset > self.opened_to.offset {
                self.opened_to = next;
            }
            if opened.is_some() {
                return Ok(opened);
            }
            self.position = self.opened_to;
        }
    }

    /// Whether the reader is to see nothing of it.
    fn is_hidden(&mut self, batch: &RecordBatch) -> bool {
        let header = batch.header();
        if header.is_control() {
            if let Some(aborted) = &mut self.aborted {
                aborted.control(batch);
            }
            return true;
        }
        let is_aborted = self.aborted.as_mut().is_some_and(|aborted| aborted.has(header));
        is_aborted || header.next_offset().0 <= self.position.offset
    }

    fn open(
        &mut self,
        batch: RecordBatch,
        opener: &mut Opener,
        granted: &mut Option<Reservation>,
    ) -> Result<Option<Open>, Trouble> {
        let compression = batch.header().compression().map_err(|error| Trouble::Bad(self.damaged(&error)))?;
        let (payload, charge) = match compression {
            Compression::None => (batch.bytes().slice(HEADER_SIZE..), self.charge.clone()),
            compression => {
                let limit = opener.consuming.most().saturating_sub(self.charge.bytes());
                match opener.decompress(compression, batch.payload(), limit, granted.take()) {
                    Ok((payload, room)) => (payload, Arc::new(room)),
                    Err(NotDecompressed::NeedsRoom(bytes)) => {
                        self.waiting = Some(batch);
                        return Err(Trouble::NeedsRoom(bytes));
                    }
                    Err(NotDecompressed::Failed(error)) => {
                        return Err(Trouble::Bad(self.failed(error, limit)));
                    }
                }
            }
        };
        let Key { topic, partition } = self.key.clone();
        let batch = Batch { topic, partition, header: *batch.header(), payload, _charge: Some(charge) };
        let (mark, left) = first_to_see(&batch, self.position.offset).map_err(|error| match error {
            Some(error) => Trouble::Bad(self.damaged(&error)),
            None => Trouble::Bad(self.out_of_order()),
        })?;
        Ok(mark.map(|mark| Open { batch: Arc::new(batch), mark, left }))
    }

    fn damaged(&self, error: &BatchError) -> Error {
        damaged(&self.key, self.position.offset, error)
    }

    fn out_of_order(&self) -> Error {
        let what = format!(
            "a batch of {} at offset {} has records whose offsets are not in its order; seek past it to go on",
            self.key, self.position.offset
        );
        Error::new(ErrorKind::DataCorruption, what)
    }

    fn failed(&self, error: DecompressError, limit: usize) -> Error {
        let Self { key, position: Position { offset: position, .. }, .. } = self;
        let (kind, what) = match &error {
            DecompressError::TooLarge { .. } => {
                return too_large(key, *position, &format!("becomes more than {limit} bytes"), Some(error));
            }
            DecompressError::FeatureOff { compression } => (
                ErrorKind::UnsupportedVersion,
                format!(
                    "a batch of {key} at offset {position} is compressed with {compression}: enable the feature {compression} \
                     of ottla-client"
                ),
            ),
            _ => (
                ErrorKind::DataCorruption,
                format!(
                    "a batch of {key} at offset {position} cannot be decompressed; seek past it to go on"
                ),
            ),
        };
        Error::because(kind, what, error)
    }
}

/// The place behind a record of this leader epoch; negative where brokers have none.
fn behind(offset: i64, epoch: i32) -> Position {
    Position { offset, epoch: Some(epoch).filter(|epoch| *epoch >= 0) }
}

/// The error of a batch that is damaged, or of another format.
pub(super) fn damaged(key: &Key, offset: i64, error: &BatchError) -> Error {
    let (kind, what) = match error {
        BatchError::OldMagic { .. } => (
            ErrorKind::UnsupportedVersion,
            format!("the records of {key} at offset {offset} have a format that this client does not read"),
        ),
        _ => (
            ErrorKind::DataCorruption,
            format!("a batch of {key} at offset {offset} is damaged; seek past it to go on"),
        ),
    };
    Error::because(kind, what, error.clone())
}

/// The error of a batch that has no room in all that consumers may hold.
pub(super) fn too_large(key: &Key, offset: i64, how: &str, cause: Option<DecompressError>) -> Error {
    let what = format!(
        "a batch of {key} at offset {offset} {how}, which is more than memory_budget (buffer.memory) leaves to consumers; raise \
         it, or seek past the batch"
    );
    match cause {
        Some(cause) => Error::because(ErrorKind::Config, what, cause),
        None => Error::new(ErrorKind::Config, what),
    }
}

/// Looks at every record of a batch: the mark of the first one from `position` on, and how many there are from there. The
/// error is `None` where offsets are out of order.
fn first_to_see(batch: &Batch, position: i64) -> Result<(Option<Mark>, usize), Option<BatchError>> {
    let mut walk = ottla_records::Records::new(&batch.header, &batch.payload).map_err(Some)?;
    let (mut first, mut left) = (None, 0);
    let (mut least, last) = (batch.header.base_offset.0, batch.header.last_offset().0);
    loop {
        let mark = walk.mark();
        let Some(record) = walk.next() else { return Ok((first, left)) };
        let offset = record.map_err(Some)?.offset.0;
        if offset < least || offset > last {
            return Err(None);
        }
        least = offset.saturating_add(1);
        if offset >= position {
            first.get_or_insert(mark);
            left += 1;
        }
    }
}

enum NotDecompressed {
    NeedsRoom(usize),
    Failed(DecompressError),
}

impl Opener {
    pub(super) fn new(consuming: Arc<Consuming>, counters: Arc<Counters>, check_crcs: bool) -> Self {
        Self { consuming, counters, check_crcs, decompressor: Decompressor::new() }
    }

    pub(super) fn consuming(&self) -> &Arc<Consuming> {
        &self.consuming
    }

    /// What `records` become, of `limit` bytes at most, in room that is reserved as it is needed. What was granted already
    /// is used first.
    fn decompress(
        &mut self,
        compression: Compression,
        records: &[u8],
        limit: usize,
        granted: Option<Reservation>,
    ) -> Result<(Bytes, Reservation), NotDecompressed> {
        let Self { consuming, decompressor, .. } = self;
        let reserve =
            |bytes: usize, all: usize| consuming.try_reserve(bytes).ok_or(NotDecompressed::NeedsRoom(all));
        let mut room = match granted {
            Some(granted) => granted,
            None => {
                let guess = records.len().saturating_mul(GROWTH).clamp(GUESS_MIN, GUESS_MAX).min(limit);
                reserve(guess, guess)?
            }
        };
        let failed = NotDecompressed::Failed;
        let mut pieces = decompressor.pieces(compression, records, limit).map_err(failed)?;
        let mut out: Vec<u8> = Vec::with_capacity(room.bytes());
        loop {
            let filled = out.len();
            if filled == room.bytes() {
                if filled >= limit {
                    // Only the end may come now.
                    pieces.read(&mut [0]).map_err(failed)?;
                    break;
                }
                let more = filled.max(GUESS_MIN).min(limit - filled);
                room.join(reserve(more, filled + more)?);
                out.reserve_exact(more);
            }
            let piece = PIECE.min(room.bytes() - filled);
            out.resize(filled + piece, 0);
            let read = pieces.read(&mut out[filled..]).map_err(failed)?;
            out.truncate(filled + read);
            if read < piece {
                break;
            }
        }
        out.shrink_to_fit();
        room.shrink_to(out.capacity());
        Ok((out.into(), room))
    }
}
