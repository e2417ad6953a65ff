//! The entries of Kafka's index files, and the search among them.
//!
//! `.index`: (offset - base offset: u32, position in the `.log` file: u32), big-endian, both rising; the
//! offset is the last one of the batch at the position. `.timeindex`: (timestamp: i64, offset - base offset:
//! u32). An entry is a hint: whoever follows it checks what is there.

use std::io;

use ottla_records::Offset;

/// Bytes of an entry in `.index`.
pub(crate) const OFFSET_ENTRY: usize = 8;
/// Bytes of an entry in `.timeindex`.
pub(crate) const TIME_ENTRY: usize = 12;

/// Writes an entry of `.index`. `None` where offset or position do not fit, which rolling prevents.
pub(crate) fn offset_entry(base: Offset, last_offset: Offset, position: u64) -> Option<[u8; OFFSET_ENTRY]> {
    let relative = u32::try_from(last_offset.0.checked_sub(base.0)?).ok()?;
    let position = u32::try_from(position).ok()?;
    let mut entry = [0; OFFSET_ENTRY];
    entry[..4].copy_from_slice(&relative.to_be_bytes());
    entry[4..].copy_from_slice(&position.to_be_bytes());
    Some(entry)
}

/// Writes an entry of `.timeindex`.
pub(crate) fn time_entry(base: Offset, timestamp: i64, offset: Offset) -> Option<[u8; TIME_ENTRY]> {
    let relative = u32::try_from(offset.0.checked_sub(base.0)?).ok()?;
    let mut entry = [0; TIME_ENTRY];
    entry[..8].copy_from_slice(&timestamp.to_be_bytes());
    entry[8..].copy_from_slice(&relative.to_be_bytes());
    Some(entry)
}

/// Reads an entry of `.index`.
pub(crate) fn read_offset_entry(base: Offset, entry: [u8; OFFSET_ENTRY]) -> (Offset, u64) {
    let [a, b, c, d, e, f, g, h] = entry;
    let relative = u32::from_be_bytes([a, b, c, d]);
    (Offset(base.0.saturating_add(i64::from(relative))), u64::from(u32::from_be_bytes([e, f, g, h])))
}

/// Reads an entry of `.timeindex`.
pub(crate) fn read_time_entry(base: Offset, entry: [u8; TIME_ENTRY]) -> (i64, Offset) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = entry;
    let relative = u32::from_be_bytes([i, j, k, l]);
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), base.plus(i64::from(relative)))
}

/// How many entries of an index that `read_at` reads are not above `wanted`, and name positions before
/// `limit`: whoever looks for `wanted` begins at the last of them.
///
/// # Errors
/// Where the index file cannot be read.
pub(crate) fn entries_before(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    index_len: u64,
    base: Offset,
    wanted: Offset,
    limit: u64,
) -> io::Result<u64> {
    let (mut low, mut high) = (0, index_len / OFFSET_ENTRY as u64);
    let is_before = |entry: &[u8; OFFSET_ENTRY]| {
        let (offset, position) = read_offset_entry(base, *entry);
        offset <= wanted && position < limit
    };
    // The last steps of the search are made in one page.
    let mut page = [0; 64 * OFFSET_ENTRY];
    while low < high {
        if high - low <= 64 {
            let bytes = usize::try_from(high - low).unwrap_or(64) * OFFSET_ENTRY;
            let read = read_at(&mut page[..bytes], low * OFFSET_ENTRY as u64)?;
            let (entries, _) = page[..read].as_chunks::<OFFSET_ENTRY>();
            return Ok(low + entries.iter().take_while(|entry| is_before(entry)).count() as u64);
        }
        let middle = low + (high - low) / 2;
        let mut entry = [0; OFFSET_ENTRY];
        let read = read_at(&mut entry, middle * OFFSET_ENTRY as u64)?;
        if read == OFFSET_ENTRY && is_before(&entry) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use ottla_storage::{Access, Disk, FileKind};
    use std::io::IoSlice;

    #[test]
    fn the_search_counts_the_entries_not_above() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(false);
        let file = disk.open(&dir.path().join("i"), Access::CreateNew, FileKind::Cached).unwrap();
        let base = Offset(1000);
        for count in [0_u64, 1, 5, 64, 65, 1000] {
            let entries: Vec<u8> = (0..count)
                .flat_map(|i| offset_entry(base, Offset(1000 + 10 * i.cast_signed() + 9), 100 * i).unwrap())
                .collect();
            file.set_len(0).unwrap();
            file.write_all_at(&[IoSlice::new(&entries)], 0).unwrap();
            let len = entries.len() as u64;
            for wanted in (1000..1000 + 10 * count.cast_signed() + 20).step_by(3) {
                let expected = u64::try_from(wanted - 1009).map_or(0, |above| (above / 10 + 1).min(count));
                let found =
                    entries_before(|buf, at| file.read_at(buf, at), len, base, Offset(wanted), u64::MAX)
                        .unwrap();
                assert_eq!(found, expected, "{wanted} among {count}");
            }
        }
    }
}
