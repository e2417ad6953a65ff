//! Starts on what a power cut has left, and compares with what was promised.

use std::{path::Path, sync::Arc};

use ottla_records::{BatchHeader, LogId, Offset};
use ottla_storage::{Access, Disk, FileKind, Log, LogSettings};
use ottla_storage_local::LocalLog;
use ottla_testing_internal::{Forgets, PowerCut, SimDisk};

use crate::{
    ROOT,
    harness::Store,
    history::{Promised, Row},
    load::{BATCH_MAX, INDEX_INTERVAL, Load, batch, is_idempotent, is_retained, options, timestamp},
};

/// Cuts a load at an operation, and tries one of the images that this can leave. `Err` says what is wrong.
pub fn try_cut(load: &Load, at: usize, choice: u64, forgets: Forgets<'_>) -> Result<(), String> {
    let cut = PowerCut::new(&load.record, at, forgets);
    let promised = load.history.at(&cut, choice);
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(cut.image(Path::new(ROOT), choice)));
    // Some are started twice: what the first start has set right must pass too.
    for _ in 0..1 + choice.is_multiple_of(8) as u32 {
        crate::block_on(start(&disk, &promised))?;
    }
    Ok(())
}

async fn start(disk: &Arc<dyn Disk>, promised: &Promised) -> Result<(), String> {
    let mut store =
        Store::on(disk.clone(), Path::new(ROOT), &promised.known(), &options()).map_err(|e| e.to_string())?;
    let result = check(disk, &mut store, promised).await;
    let closed = store.try_close();
    result.and(closed)
}

async fn check(disk: &Arc<dyn Disk>, store: &mut Store, promised: &Promised) -> Result<(), String> {
    for id in 1..=promised.ids {
        let logs = Path::new(ROOT).join("logs");
        for name in [format!("{id}"), format!("{id}.deleted")] {
            let is_live = promised.rows.get(&id) == Some(&Row::Live);
            if (!is_live || name.ends_with("deleted")) && disk.list(&logs.join(&name)).is_ok() {
                return Err(format!("there is a directory {name} of a log that is gone"));
            }
        }
    }
    for id in promised.logs(Row::Live) {
        let at = |what| format!("log {id}: {what}");
        check_indexes(disk, id).map_err(at)?;
        // Nothing moves the log start while we look.
        let settings = LogSettings { index_interval_bytes: INDEX_INTERVAL, ..LogSettings::default() };
        let log = store.store.open_log(LogId(id), settings);
        let acknowledged = promised.acknowledged.get(&id).copied().unwrap_or(0);
        check_log(store, &log, id, acknowledged).await.map_err(at)?;
    }
    Ok(())
}

async fn check_log(store: &mut Store, log: &Arc<LocalLog>, id: u64, acknowledged: u64) -> Result<(), String> {
    let bounds = log.bounds();
    let end = bounds.high_watermark.0.cast_unsigned();
    if end < acknowledged {
        return Err(format!("it ends at {end}, and {acknowledged} batches were acknowledged"));
    }
    if !is_retained(id) && bounds.log_start != Offset(0) {
        return Err(format!("it begins at {}", bounds.log_start));
    }
    let mut expected = bounds.log_start.0;
    for (offset, value, _) in store.try_read_all(log).await? {
        let number = value.split(':').next().unwrap_or_default();
        if offset != expected || number != expected.to_string() {
            return Err(format!("offset {offset} holds batch {number} where {expected} was expected"));
        }
        expected += 1;
    }
    if expected.cast_unsigned() != end {
        return Err(format!("reading ended at {expected} of {end}"));
    }
    if is_idempotent(id) && end > 0 {
        let again = store.append(log, batch(id, end - 1)).await.map_err(|e| e.to_string())?;
        if !again.duplicate || again.base_offset != Offset(end.cast_signed() - 1) {
            return Err(format!("the last batch, sent again, got {again:?}"));
        }
    }
    let next = store.append(log, batch(id, end)).await.map_err(|e| e.to_string())?;
    if next.base_offset.0 != end.cast_signed() {
        return Err(format!("the next batch got offset {} instead of {end}", next.base_offset));
    }
    if log.bounds().leader_epoch != store.store.epoch() {
        return Err("the new batch does not bear the new epoch".into());
    }
    Ok(())
}

/// The indexes of closed segments are as they were written: every entry points to its batch, none is missing,
/// and the time index ends with the segment's largest timestamp.
fn check_indexes(disk: &Arc<dyn Disk>, id: u64) -> Result<(), String> {
    let dir = Path::new(ROOT).join("logs").join(id.to_string());
    let Ok(names) = disk.list(&dir) else { return Ok(()) };
    let mut bases: Vec<i64> =
        names.iter().filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    for base in bases.iter().rev().skip(1) {
        let read = |suffix: &str| {
            read_file(disk, &dir.join(format!("{base:020}.{suffix}")))
                .map_err(|e| format!("{base}.{suffix}: {e}"))
        };
        let (log, index, times) = (read("log")?, read("index")?, read("timeindex")?);
        let wrong = |what: String| format!("the index of segment {base}: {what}");
        let mut before = 0;
        for entry in index.chunks(8) {
            let offset = base + i64::from(u32::from_be_bytes(entry[..4].try_into().unwrap()));
            let position = u64::from(u32::from_be_bytes(entry[4..8].try_into().unwrap()));
            let header = log.get(position as usize..).map(BatchHeader::parse);
            let Some(Ok(header)) = header else { return Err(wrong(format!("no batch at {position}"))) };
            let gap = position - before.min(position);
            if header.last_offset().0 != offset || gap == 0 || gap > u64::from(INDEX_INTERVAL) + 2 * BATCH_MAX
            {
                return Err(wrong(format!("entry {offset} at {position}, the one before at {before}")));
            }
            before = position;
        }
        if log.len() as u64 - before > u64::from(INDEX_INTERVAL) + 2 * BATCH_MAX {
            return Err(wrong(format!("it ends at {before} of {}", log.len())));
        }
        let last = last_offset(&log).ok_or_else(|| wrong("the log is not whole".into()))?;
        let newest = times.chunks_exact(12).next_back().map(|entry| {
            (
                i64::from_be_bytes(entry[..8].try_into().unwrap()),
                u32::from_be_bytes(entry[8..].try_into().unwrap()),
            )
        });
        if newest.map(|(time, relative)| (time, base + i64::from(relative)))
            != Some((timestamp(last.cast_unsigned()).0, last))
        {
            return Err(wrong(format!("the time index ends with {newest:?}, the log with {last}")));
        }
    }
    Ok(())
}

fn last_offset(log: &[u8]) -> Option<i64> {
    let (mut at, mut last) = (0, None);
    while at < log.len() {
        let header = BatchHeader::parse(&log[at..]).ok()?;
        at += header.length;
        last = Some(header.last_offset().0);
    }
    last
}

fn read_file(disk: &Arc<dyn Disk>, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read, FileKind::Cached)?;
    let mut bytes = vec![0; file.len()? as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
