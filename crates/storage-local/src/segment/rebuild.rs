//! Building the indexes of a segment anew, from its batches.

use std::io::{self, IoSlice};

use ottla_records::{LogId, Offset};
use ottla_storage::LogSettings;

use crate::segment::{
    ActiveSegment,
    files::{Part, SegmentFiles},
    walk::{Found, Walk},
    write::{self, Written},
};

/// Reads the first `len` bytes of a segment and writes its indexes anew; durable when this returns. Readers may
/// be using the old ones: each entry is a hint to them, whichever it is.
///
/// Returns how far indexes and segment have come. Behind damage, the first batch that is whole has an entry, so
/// that those who read find it.
///
/// # Errors
/// Where reading or writing fails.
pub(crate) fn rebuild(
    files: &SegmentFiles,
    log: LogId,
    base: Offset,
    len: u64,
    settings: &LogSettings,
    closed: bool,
) -> io::Result<ActiveSegment> {
    let file = files.get(log, base, Part::Log)?;
    let mut walk = Walk::new(file.as_ref(), len, Some(base));
    let mut reached = ActiveSegment::empty(base);
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    while let Some(found) = walk.next()? {
        match found {
            Found::Batch { at, header, fault: None } => {
                reached.len = at;
                let batch = Written {
                    next: header.next_offset(),
                    max_timestamp: header.max_timestamp,
                    bytes: header.length as u64,
                };
                write::note(&mut reached, settings, &batch, &mut offsets, &mut times);
            }
            Found::Batch { .. } | Found::Gap { .. } => reached.since_index = u64::MAX >> 1,
        }
    }
    reached.len = len;
    if closed {
        write::time_entry(&mut reached, &mut times);
    }
    for (part, entries) in [(Part::Index, &offsets), (Part::TimeIndex, &times)] {
        let file = files.get_or_create(log, base, part)?;
        file.write_all_at(&[IoSlice::new(entries)], 0)?;
        file.set_len(entries.len() as u64)?;
        file.sync()?;
    }
    files.disk().sync_dir(&files.dir(log))?;
    Ok(reached)
}
