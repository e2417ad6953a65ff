//! Writing runs of batches into segments, with their index entries.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use bytes::Bytes;
use ottla_records::{LogId, Offset, TimestampMs};
use ottla_storage::LogSettings;

use crate::segment::{
    ActiveSegment,
    files::{Part, SegmentFiles},
    index,
};

/// A batch on its way into a segment.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) max_timestamp: TimestampMs,
    pub(crate) bytes: Bytes,
}

impl Outgoing {
    fn written(&self) -> Written {
        let Self { next, max_timestamp, ref bytes, .. } = *self;
        Written { next, max_timestamp, bytes: bytes.len() as u64 }
    }
}

/// What the indexes need to know of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) next: Offset,
    pub(crate) max_timestamp: TimestampMs,
    /// Its length.
    pub(crate) bytes: u64,
}

/// Whether a batch belongs into a new segment, and not behind what `active` has.
pub(crate) fn rolls(active: &ActiveSegment, settings: &LogSettings, batch: &Outgoing) -> bool {
    if active.len == 0 {
        return false;
    }
    let too_large = active.len + batch.bytes.len() as u64 > u64::from(settings.segment_bytes);
    let too_far = batch.next.0 - active.base.0 > i64::from(i32::MAX);
    let age = batch.max_timestamp.0.saturating_sub(active.first_timestamp.0);
    let too_old = u64::try_from(age).is_ok_and(|ms| Duration::from_millis(ms) > settings.segment_age);
    too_large || too_far || too_old
}

/// How many of `batches` go into the segment at `active`, before another one has to be begun.
pub(crate) fn fitting(active: &ActiveSegment, settings: &LogSettings, batches: &[Outgoing]) -> usize {
    let mut reached = *active;
    let fits = |batch: &&Outgoing| {
        let fits = !rolls(&reached, settings, batch);
        if reached.len == 0 {
            reached.first_timestamp = batch.max_timestamp;
        }
        reached.len += batch.bytes.len() as u64;
        fits
    };
    batches.iter().take_while(fits).count()
}

/// Writes what the indexes say of batches that were written behind `active`, and returns how far the segment has
/// come with them.
///
/// # Errors
/// Where a write fails.
pub(crate) fn append_index(
    files: &SegmentFiles,
    log: LogId,
    active: &ActiveSegment,
    settings: &LogSettings,
    batches: &[Outgoing],
) -> io::Result<ActiveSegment> {
    let mut reached = *active;
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    for batch in batches {
        note(&mut reached, settings, &batch.written(), &mut offsets, &mut times);
    }
    if !offsets.is_empty() {
        let file = files.get(log, active.base, Part::Index)?;
        file.write_all_at(&[IoSlice::new(&offsets)], active.index_len)?;
    }
    if !times.is_empty() {
        let file = files.get(log, active.base, Part::TimeIndex)?;
        file.write_all_at(&[IoSlice::new(&times)], active.time_index_len)?;
    }
    Ok(reached)
}

/// Takes a batch into account: the segment grows by it, and every `index.interval.bytes` the indexes grow too.
pub(crate) fn note(
    active: &mut ActiveSegment,
    settings: &LogSettings,
    batch: &Written,
    offsets: &mut Vec<u8>,
    times: &mut Vec<u8>,
) {
    let last_offset = Offset(batch.next.0 - 1);
    if active.len == 0 {
        active.first_timestamp = batch.max_timestamp;
    }
    if batch.max_timestamp > active.max_timestamp {
        active.max_timestamp = batch.max_timestamp;
        active.max_timestamp_offset = last_offset;
    }
    if active.since_index > u64::from(settings.index_interval_bytes) {
        if let Some(entry) = index::offset_entry(active.base, last_offset, active.len) {
            offsets.extend_from_slice(&entry);
            active.index_len += entry.len() as u64;
        }
        time_entry(active, times);
        active.since_index = 0;
    }
    active.since_index += batch.bytes;
    active.len += batch.bytes;
}

/// Adds the largest timestamp to the time index, if it is not there yet.
pub(crate) fn time_entry(active: &mut ActiveSegment, times: &mut Vec<u8>) {
    if active.max_timestamp <= active.indexed_timestamp {
        return;
    }
    let entry = index::time_entry(active.base, active.max_timestamp.0, active.max_timestamp_offset);
    if let Some(entry) = entry {
        times.extend_from_slice(&entry);
        active.time_index_len += entry.len() as u64;
        active.indexed_timestamp = active.max_timestamp;
    }
}

/// Closes a segment: its time index gets the largest timestamp as its last entry, as Kafka's has.
///
/// # Errors
/// Where the write fails.
pub(crate) fn close(files: &SegmentFiles, log: LogId, active: &mut ActiveSegment) -> io::Result<()> {
    let (at, mut times) = (active.time_index_len, Vec::new());
    time_entry(active, &mut times);
    if times.is_empty() {
        return Ok(());
    }
    files.get(log, active.base, Part::TimeIndex)?.write_all_at(&[IoSlice::new(&times)], at)
}
