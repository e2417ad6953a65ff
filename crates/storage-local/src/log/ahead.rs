//! Reading on before the reader asks: whoever reads a segment in order finds the next bytes in memory and
//! checked, and the disk is at work while the network is.
//!
//! Only the page cache holds what is read ahead. It is begun where a read came to the end of what is in memory.

use std::{io, sync::Arc};

use ottla_records::BatchHeader;
use ottla_storage::DiskFile;

use super::{
    Readers,
    content::{check_batches, is_in_memory},
};
use crate::segment::{Segment, Step, files::Part, walk::crc_matches};

/// At most so much is read ahead; and at most twice what was read before.
const AHEAD_MAX: u64 = 2 << 20;
/// Shorter reads are not worth it.
const READ_MIN: u64 = 64 << 10;
/// How much is checked at a time, before other readers have their turn.
const STEP: usize = 512 << 10;

impl Readers {
    /// Has a reader thread read on behind `from..end`, unless the middle of that is in memory and checked.
    pub(super) fn want_ahead(&self, segment: &Arc<Segment>, file: &dyn DiskFile, from: u64, end: u64) {
        let until = segment.len().min(end + (2 * (end - from)).min(AHEAD_MAX));
        if end - from < READ_MIN || until <= end {
            return;
        }
        let middle = end + (until - end) / 2;
        let there = segment.is_checked(end, middle) && is_in_memory(file, middle);
        if !there && segment.claim_ahead(from, end, until) {
            self.ahead(segment.clone());
        }
    }

    /// Reads a step ahead. What fails here is told to the one who reads there.
    pub(super) fn read_ahead(&self, segment: Arc<Segment>) {
        let Some(step) = segment.next_ahead() else { return };
        let done = self.step_ahead(&segment, step).ok().flatten();
        segment.set_ahead(done);
        if done.is_some() {
            self.ahead(segment);
        }
    }

    /// Asks for the rest of the range, and checks what comes first in it. Returns where to go on, if what was
    /// read is good.
    fn step_ahead(&self, segment: &Segment, step: Step) -> io::Result<Option<u64>> {
        let file = self.files.get(segment.log(), segment.base(), Part::Log)?;
        file.start_reading(step.asked, step.until.saturating_sub(step.asked))?;
        let at = segment.checked_until(step.at);
        if at >= step.until {
            return Ok(Some(at));
        }
        let mut bytes = vec![0; STEP.min(usize::try_from(segment.len() - at).unwrap_or(STEP))];
        let read = file.read_at(&mut bytes, at)?;
        let checked = check_batches(&bytes[..read]);
        let good = match BatchHeader::parse(&bytes[..read]) {
            _ if checked.good > 0 => checked.good as u64,
            // A batch of more than a step.
            Ok(header) if checked.fault.is_none() && at + header.length as u64 <= segment.len() => {
                let good = crc_matches(|buf, at| file.read_at(buf, at), at, &header)?;
                if good { header.length as u64 } else { 0 }
            }
            _ => 0,
        };
        segment.set_checked(at, at + good);
        Ok((good > 0).then_some(at + good))
    }
}
