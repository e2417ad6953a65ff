//! Reading records again whose bytes were given before and not kept: they lie where they lay, or have moved
//! from the write-ahead log into a segment, one behind the other as before.

use std::{io, sync::Arc};

use bytes::Bytes;
use ottla_records::Offset;
use ottla_storage::ReadError;

use super::{
    LocalLog,
    content::SegmentError,
    read::{Readers, read_batch},
    seek::Seek,
    view::{Place, TailEntry},
};
use crate::segment::{Segment, files::Part};

/// Where the wanted bytes begin.
enum Start {
    /// So many bytes into a batch of the tail.
    Tail(TailEntry, usize),
    /// Behind the batch with the offset in the first of these segments, whose lengths are these; what follows
    /// them begins at the last offset.
    Segments(Vec<(Arc<Segment>, u64)>, Offset),
}

/// Where in some segments the wanted bytes are.
enum Spot<'a> {
    /// In this one, at a position; it ends at another.
    In(&'a Segment, u64, u64),
    /// So many bytes behind all of them.
    Behind(u64),
}

impl Readers {
    /// Reads up to `len` bytes, from `skip` bytes behind the start of the batch that holds `offset`.
    pub(super) fn read_again_blocking(
        &self,
        log: &LocalLog,
        mut offset: Offset,
        mut skip: u64,
        len: usize,
    ) -> Result<Bytes, ReadError> {
        loop {
            match start(log, offset, skip)? {
                Start::Tail(entry, at) => return from_tail(&entry, at, len),
                Start::Segments(segments, end) => match self.find(&segments, offset, skip)? {
                    Spot::In(segment, at, end) => return self.copy(segment, at, end, len),
                    // It lies in the tail, or did so a moment ago.
                    Spot::Behind(left) => (offset, skip) = (end, left),
                },
            }
        }
    }

    fn find<'a>(
        &self,
        segments: &'a [(Arc<Segment>, u64)],
        offset: Offset,
        skip: u64,
    ) -> Result<Spot<'a>, ReadError> {
        let Some((first, first_len)) = segments.first() else { return Ok(Spot::Behind(skip)) };
        let at = self.position(first, *first_len, offset).map_err(|error| error.at(first, offset))?;
        let mut at = at.saturating_add(skip);
        for (segment, len) in segments {
            if at < *len {
                return Ok(Spot::In(segment, at, *len));
            }
            at -= len;
        }
        Ok(Spot::Behind(at))
    }

    /// Where the batch that holds an offset begins in a segment of this length.
    fn position(&self, segment: &Segment, len: u64, offset: Offset) -> Result<u64, SegmentError> {
        let file = self.files.get(segment.log(), segment.base(), Part::Log)?;
        let index = self.index(segment)?;
        let (log, index) = (file.as_ref(), index.as_deref());
        let seek = Seek { segment, log, index, may_wait: true, interval: u64::MAX };
        Ok(seek.seek(offset, len)?.at)
    }

    fn copy(&self, segment: &Segment, at: u64, end: u64, len: usize) -> Result<Bytes, ReadError> {
        let failed = |error: io::Error| {
            ReadError::Failed(format!("a segment of log {}: {error}", segment.log()).into())
        };
        let file = self.files.get(segment.log(), segment.base(), Part::Log).map_err(failed)?;
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(len);
        let mut bytes = vec![0; len];
        if file.read_at(&mut bytes, at).map_err(failed)? < len {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Bytes::from(bytes))
    }
}

fn start(log: &LocalLog, offset: Offset, skip: u64) -> Result<Start, ReadError> {
    if log.is_deleted() {
        return Err(ReadError::Deleted);
    }
    log.with(|view| {
        let bounds = view.bounds();
        match view.place(offset) {
            Some(Place::Segment(at)) if offset >= bounds.log_start => {
                let segments = view.segments[at..].iter().map(|segment| (segment.clone(), segment.len()));
                Ok(Start::Segments(segments.collect(), view.flushed_end))
            }
            Some(Place::Tail(first)) => {
                let mut left = skip;
                for entry in view.tail.range(first..) {
                    match left.checked_sub(u64::from(entry.len)) {
                        Some(behind) => left = behind,
                        None => {
                            return Ok(Start::Tail(
                                entry.clone(),
                                usize::try_from(left).unwrap_or(usize::MAX),
                            ));
                        }
                    }
                }
                Err(ReadError::OutOfRange { offset, bounds })
            }
            _ => Err(ReadError::OutOfRange { offset, bounds }),
        }
    })
}

fn from_tail(entry: &TailEntry, at: usize, len: usize) -> Result<Bytes, ReadError> {
    let bytes = match &entry.bytes {
        Some(bytes) => bytes.clone(),
        None => read_batch(entry)
            .map_err(|error| ReadError::Damaged { offset: entry.base, detail: error.to_string().into() })?,
    };
    Ok(bytes.slice(at..bytes.len().min(at.saturating_add(len))))
}
