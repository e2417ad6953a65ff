//! Writes runs of batches into active segments, through the page cache or past it.
//!
//! A large run goes past the page cache: that costs a third of the CPU, and keeps what nobody reads from
//! pushing out what is read. Then only whole blocks are written, and each block once: the batch that lies
//! across the end of the last one stays in the tail, and its other part is written with the next run. A log
//! whose segments are read goes through the page cache, so that those who read behind its end find it there.
//!
//! What is written behind a segment's published length means nothing: recovery cuts it off, and so does the
//! close of a segment.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    sync::Arc,
};

use ottla_records::{LogId, Offset};
use ottla_storage::{BLOCK, DiskFile, LogSettings};

use crate::{
    arena::Piece,
    segment::{
        ActiveSegment,
        files::{Part, SegmentFiles},
        write::{self, Outgoing},
    },
};

/// Bytes of one write past the page cache.
const DIRECT_BYTES: usize = 1 << 20;
/// How many bytes may be on their way from the page cache to the disk without anybody waiting for them.
const UNWRITTEN_BYTES: u64 = 8 << 20;

/// How a run is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Past the page cache, if it is large and the disk can do that.
    pub(crate) direct: bool,
    /// All of it, not only what fills whole blocks.
    pub(crate) whole: bool,
}

/// How far an active segment has been written, past its published length.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    base: Offset,
    written: u64,
    published: u64,
}

/// The one writer of an active segment.
pub(crate) struct SegmentWriter {
    files: Arc<SegmentFiles>,
    /// A run of at least so many bytes may go past the page cache.
    direct_min: u64,
    /// How far a log's active segment has been written, where that is past its published length.
    ahead: HashMap<LogId, Ahead>,
    /// Where batches are lined up to blocks.
    staging: Option<Piece>,
    /// Ranges on their way to the disk.
    unwritten: VecDeque<(Arc<dyn DiskFile>, u64, u64)>,
    unwritten_bytes: u64,
}

impl SegmentWriter {
    /// A writer of these files, which may write runs of at least `direct_min` bytes past the page cache.
    pub(crate) fn new(files: Arc<SegmentFiles>, direct_min: u64) -> Self {
        Self {
            files,
            direct_min,
            ahead: HashMap::new(),
            staging: None,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
        }
    }

    /// Writes as many of `batches` as go into the segment at `active` and are wanted now, and returns how many
    /// that are and how far the segment has come. Nothing counts until the caller publishes that: if this
    /// fails, the same bytes are written to the same places again.
    ///
    /// # Errors
    /// Where a write fails.
    pub(crate) fn append(
        &mut self,
        log: LogId,
        active: &ActiveSegment,
        settings: &LogSettings,
        batches: &[Outgoing],
        manner: Manner,
    ) -> io::Result<(usize, ActiveSegment)> {
        let fitting = write::fitting(active, settings, batches);
        // What is behind them goes into another segment, and this one will be closed.
        let whole = manner.whole || fitting < batches.len();
        let bytes: u64 = batches[..fitting].iter().map(|batch| batch.bytes.len() as u64).sum();
        let end = active.len + bytes;
        let from = self.written(log, active).min(end);
        let direct = if manner.direct && end - from >= self.direct_min {
            self.files.direct(log, active.base)?
        } else {
            None
        };
        let blocks = (from.next_multiple_of(BLOCK as u64), end / BLOCK as u64 * BLOCK as u64);
        let source = Source { batches: &batches[..fitting], start: active.len };
        let mut count = fitting;
        if let Some(file) = direct {
            self.write_cached(log, active, &source, from, blocks.0.min(end), false)?;
            self.write_blocks(file.as_ref(), &source, blocks)?;
            let complete = source.complete(blocks.1);
            if complete > 0 && !whole {
                count = complete;
            } else {
                self.write_cached(log, active, &source, blocks.1, end, false)?;
            }
        } else {
            self.write_cached(log, active, &source, from, end, true)?;
        }
        if count < fitting {
            let published = source.end_of(count);
            self.ahead.insert(log, Ahead { base: active.base, written: blocks.1, published });
        } else {
            self.ahead.remove(&log);
        }
        let reached = write::append_index(&self.files, log, active, settings, &batches[..count])?;
        Ok((count, reached))
    }

    /// Closes a segment: its file ends where it does, and so does its time index.
    ///
    /// # Errors
    /// Where a write fails.
    pub(crate) fn close(&mut self, log: LogId, active: &mut ActiveSegment) -> io::Result<()> {
        if self.written(log, active) > active.len {
            self.files.get(log, active.base, Part::Log)?.set_len(active.len)?;
        }
        self.ahead.remove(&log);
        write::close(&self.files, log, active)
    }

    /// Lets segments end where they are published to end. If that fails, the next start does it.
    pub(crate) fn settle(&mut self) {
        for (log, ahead) in self.ahead.drain() {
            let file = self.files.get(log, ahead.base, Part::Log);
            if let Err(error) = file.and_then(|file| file.set_len(ahead.published)) {
                tracing::debug!(log = log.0, "a segment keeps the beginning of its next batch: {error}");
            }
        }
    }

    /// Forgets a log that was deleted.
    pub(crate) fn forget(&mut self, log: LogId) {
        self.ahead.remove(&log);
    }

    /// How far the file of a segment has been written.
    fn written(&self, log: LogId, active: &ActiveSegment) -> u64 {
        match self.ahead.get(&log) {
            Some(ahead) if ahead.base == active.base => active.len.max(ahead.written),
            _ => active.len,
        }
    }

    /// Writes a range of the segment through the page cache.
    fn write_cached(
        &mut self,
        log: LogId,
        active: &ActiveSegment,
        source: &Source<'_>,
        from: u64,
        to: u64,
        write_back: bool,
    ) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let slices: Vec<IoSlice<'_>> = source.range(from, to).map(IoSlice::new).collect();
        let file = self.files.get(log, active.base, Part::Log)?;
        file.write_all_at(&slices, from)?;
        if write_back { self.start_writeback(file, from, to - from) } else { Ok(()) }
    }

    /// Writes whole blocks past the page cache.
    fn write_blocks(
        &mut self,
        file: &dyn DiskFile,
        source: &Source<'_>,
        (from, to): (u64, u64),
    ) -> io::Result<()> {
        let staging = self.staging.get_or_insert_with(|| Piece::alone(DIRECT_BYTES));
        let mut at = from;
        while at < to {
            let end = to.min(at + DIRECT_BYTES as u64);
            let mut filled = 0;
            let bytes = staging.as_mut_slice();
            for part in source.range(at, end) {
                bytes[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            }
            file.write_all_at(&[IoSlice::new(&bytes[..filled])], at)?;
            at = end;
        }
        Ok(())
    }

    /// Sends what was just written on its way to the disk, and waits for what was sent long before, so that
    /// a sync never meets much that is still to be written.
    fn start_writeback(&mut self, file: Arc<dyn DiskFile>, at: u64, len: u64) -> io::Result<()> {
        file.start_writeback(at, len)?;
        self.unwritten.push_back((file, at, len));
        self.unwritten_bytes += len;
        while self.unwritten_bytes > UNWRITTEN_BYTES {
            let Some((file, at, len)) = self.unwritten.pop_front() else { break };
            file.wait_writeback(at, len)?;
            self.unwritten_bytes -= len;
        }
        Ok(())
    }
}

/// Batches that lie one behind the other in a segment, from `start` on.
struct Source<'a> {
    batches: &'a [Outgoing],
    start: u64,
}

impl Source<'_> {
    /// The bytes of a range, in parts.
    fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &[u8]> {
        let mut at = self.start;
        self.batches.iter().filter_map(move |batch| {
            let (begin, end) = (at, at + batch.bytes.len() as u64);
            at = end;
            let within =
                |position: u64| usize::try_from(position.clamp(begin, end) - begin).unwrap_or(usize::MAX);
            let part = &batch.bytes[within(from)..within(to.max(from))];
            (!part.is_empty()).then_some(part)
        })
    }

    /// Where the first `count` batches end.
    fn end_of(&self, count: usize) -> u64 {
        self.start + self.batches[..count].iter().map(|batch| batch.bytes.len() as u64).sum::<u64>()
    }

    /// How many batches end at `position` or before.
    fn complete(&self, position: u64) -> usize {
        let mut at = self.start;
        let ends = self.batches.iter().map(|batch| {
            at += batch.bytes.len() as u64;
            at
        });
        ends.take_while(|end| *end <= position).count()
    }
}
