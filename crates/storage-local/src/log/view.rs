//! What readers see of a log: its bounds, the batches that are not in a segment yet, and the segments.
//!
//! The WAL thread adds what has become durable, the flusher moves it into segments, the keeper takes old
//! segments away; each under the log's lock and for a moment only. Pure bookkeeping: no I/O here.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ottla_records::{LeaderEpoch, Offset, TimestampMs};
use ottla_storage::LogBounds;

use crate::{
    log::epochs::Epochs,
    segment::{ActiveSegment, Segment},
    wal::ring::WalFile,
};

/// What one unflushed batch costs beside its bytes.
pub(crate) const TAIL_ENTRY_COST: usize = size_of::<TailEntry>();

/// A durable batch that is not in a segment yet.
#[derive(Clone, Debug)]
pub(crate) struct TailEntry {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) max_timestamp: TimestampMs,
    /// The batch, while the arena has it.
    pub(crate) bytes: Option<Bytes>,
    /// Where it is in the WAL.
    pub(crate) wal: Arc<WalFile>,
    pub(crate) at: u64,
    pub(crate) len: u32,
    /// The CRC-32C that the batch bears.
    pub(crate) crc: u32,
}

/// A log as it stands.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    /// The offset behind the last record in a segment.
    pub(crate) flushed_end: Offset,
    pub(crate) epochs: Epochs,
    pub(crate) tail: VecDeque<TailEntry>,
    /// Bytes of the batches in `tail`.
    pub(crate) tail_bytes: usize,
    /// Oldest first; the last one is written while `active` is there.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Option<ActiveSegment>,
}

/// Where the bytes at an offset are.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the tail, from this entry on.
    Tail(usize),
    /// In the segment with this index.
    Segment(usize),
    /// Nowhere yet: the offset is the high watermark.
    End,
}

impl View {
    /// A log without records, which begins at `start`.
    pub(crate) fn empty(start: Offset) -> Self {
        Self {
            log_start: start,
            high_watermark: start,
            flushed_end: start,
            epochs: Epochs::default(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            segments: Vec::new(),
            active: None,
        }
    }

    /// Its bounds.
    pub(crate) fn bounds(&self) -> LogBounds {
        LogBounds {
            log_start: self.log_start,
            high_watermark: self.high_watermark,
            leader_epoch: self.epochs.latest(),
        }
    }

    /// Adds a durable batch at the end.
    pub(crate) fn push(&mut self, entry: TailEntry) {
        debug_assert_eq!(entry.base, self.high_watermark, "offsets are dense");
        self.high_watermark = entry.next;
        self.epochs.note(entry.epoch, entry.base);
        self.tail_bytes += entry.len as usize;
        self.tail.push_back(entry);
    }

    /// Finds the place of an offset within the bounds. `None` where the log has lost it.
    pub(crate) fn place(&self, offset: Offset) -> Option<Place> {
        if offset >= self.high_watermark {
            return Some(Place::End);
        }
        if self.tail.front().is_some_and(|first| first.base <= offset) {
            return Some(Place::Tail(self.tail.partition_point(|entry| entry.next <= offset)));
        }
        let after = self.segments.partition_point(|segment| segment.base() <= offset);
        after.checked_sub(1).map(Place::Segment)
    }

    /// The first entries of the tail, together at most `max_bytes` unless the first alone is more.
    pub(crate) fn run(&self, max_bytes: usize, max_entries: usize) -> Vec<TailEntry> {
        let mut bytes = 0;
        let fits = |entry: &&TailEntry| {
            let first = bytes == 0;
            bytes += entry.len as usize;
            first || bytes <= max_bytes
        };
        self.tail.iter().take(max_entries).take_while(fits).cloned().collect()
    }

    /// The first entries of the tail are in a segment now. Gives them back, so that they are dropped outside
    /// of the lock.
    pub(crate) fn flushed(&mut self, entries: usize) -> Vec<TailEntry> {
        let done: Vec<_> = self.tail.drain(..entries.min(self.tail.len())).collect();
        if let Some(last) = done.last() {
            self.flushed_end = last.next;
        }
        self.tail_bytes -= done.iter().map(|entry| entry.len as usize).sum::<usize>();
        done
    }

    /// The sequence of the oldest WAL file that still holds something of this log alone.
    pub(crate) fn oldest_wal(&self) -> Option<u64> {
        self.tail.front().map(|entry| entry.wal.header.sequence)
    }
}
