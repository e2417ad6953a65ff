//! Recovery: from the checkpoint and the write-ahead log to logs that can be read and appended to.
//!
//! No segment is read, but for one whose index is missing: active segments are cut to the lengths that the checkpoint knows, segments begun later
//! are removed, and everything behind them is taken from the WAL. The WAL is read whole and found in order
//! before anything on disk is changed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_records::{LogId, Offset, TimestampType};
use ottla_storage::{Disk, LogSettings, Producers};
use thiserror::Error;

use crate::{
    checkpoint::{CheckpointError, Checkpoints, LogCheckpoint},
    log::{
        epochs::Epochs,
        view::{TailEntry, View},
    },
    segment::{
        Segment,
        files::{Part, SegmentFiles, parse_name},
        index::{OFFSET_ENTRY, TIME_ENTRY},
        rebuild::rebuild,
    },
    store::Options,
    wal::{
        format::{AppendEntry, Entry},
        replay::{Replayed, Scan, WalError, scan},
        ring::path,
        sequencer::AppendState,
    },
};

/// Why the store cannot be opened.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The write-ahead log.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A segment file is not as the checkpoint left it.
    #[error(
        "{} is damaged: {what}; nothing acknowledged was changed; restore the data directory from a backup, or \
         the file from the disk's redundancy",
        path.display()
    )]
    Segment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What is there does not fit together, and the last frame of the checkpoint cannot be read: either may be what
    /// is damaged.
    #[error(
        "{error}; or else the checkpoint is what is damaged: its last frame, at byte {at} of {}, cannot be read",
        path.display()
    )]
    BesideCheckpoint {
        /// What does not fit.
        error: Box<RecoveryError>,
        /// The checkpoint file.
        path: PathBuf,
        /// Where the frame begins.
        at: usize,
    },
    /// The disk failed.
    #[error(
        "cannot use {}: {error}; see to the disk, its free space and the permissions, and start again",
        path.display()
    )]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// Which logs the state database knows.
#[derive(Clone, Debug, Default)]
pub struct KnownLogs {
    /// Those of topics that clients see.
    pub live: HashSet<LogId>,
    /// Those of deleted topics, whose files may still be there.
    pub deleting: HashSet<LogId>,
}

/// A log that was recovered.
#[derive(Debug)]
pub(crate) struct RecoveredLog {
    pub(crate) view: View,
    pub(crate) state: AppendState,
}

/// Everything that was recovered.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) logs: HashMap<LogId, RecoveredLog>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) wal: Scan,
    /// The leader epoch to write in.
    pub(crate) epoch: i32,
    /// Batches that were replayed.
    pub(crate) replayed: u64,
}

/// Reads what is there and sets it right.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    files: &SegmentFiles,
    wal_dir: PathBuf,
    checkpoint_dir: PathBuf,
    known: &KnownLogs,
    options: &Options,
) -> Result<Recovered, RecoveryError> {
    let checkpoints = Checkpoints::load(disk.clone(), checkpoint_dir)?;
    let unread = checkpoints.unread().map(|(path, at)| (path.to_path_buf(), at));
    recover_from(disk, files, wal_dir, checkpoints, known, options).map_err(|error| match (error, unread) {
        (error @ (RecoveryError::Wal(_) | RecoveryError::Segment { .. }), Some((path, at))) => {
            RecoveryError::BesideCheckpoint { error: Box::new(error), path, at }
        }
        (error, _) => error,
    })
}

fn recover_from(
    disk: &Arc<dyn Disk>,
    files: &SegmentFiles,
    wal_dir: PathBuf,
    checkpoints: Checkpoints,
    known: &KnownLogs,
    options: &Options,
) -> Result<Recovered, RecoveryError> {
    let max_producers = options.max_producers;
    let checkpoint = checkpoints.current();
    let Replay { mut logs, wal, entries: replayed } = replay(disk, &checkpoints, &wal_dir, known, options)?;
    let first_life = checkpoints.is_new() && wal.live.is_empty();
    let epoch = if first_life || checkpoint.clean { checkpoint.epoch } else { checkpoint.epoch + 1 };
    let mut recovered = HashMap::with_capacity(logs.len());
    for id in &known.live {
        let building = logs.remove(id).unwrap_or_else(|| Building::empty(max_producers));
        recovered.insert(*id, building.finish(*id, files)?);
    }
    for number in &wal.superfluous {
        let path = path(&wal_dir, *number);
        disk.remove_file(&path).map_err(|error| RecoveryError::Io { path, error })?;
    }
    Ok(Recovered { logs: recovered, checkpoints, wal, epoch, replayed })
}

/// What checkpoint and write-ahead log tell together, before anything is set right.
pub(crate) struct Replay {
    pub(crate) logs: BTreeMap<LogId, Building>,
    pub(crate) wal: Scan,
    /// Entries of the write-ahead log.
    pub(crate) entries: u64,
}

/// Reads the write-ahead log over the checkpoint. Changes nothing.
pub(crate) fn replay(
    disk: &Arc<dyn Disk>,
    checkpoints: &Checkpoints,
    wal_dir: &Path,
    known: &KnownLogs,
    options: &Options,
) -> Result<Replay, RecoveryError> {
    let max_producers = options.max_producers;
    let checkpoint = checkpoints.current();
    let mut logs: BTreeMap<LogId, Building> = BTreeMap::new();
    for (id, log) in &checkpoint.logs {
        if known.live.contains(id) {
            logs.insert(*id, Building::from_checkpoint(log, max_producers));
        }
    }
    let mut entries = 0;
    let wal = scan(disk.as_ref(), wal_dir, options.wal_file_bytes, checkpoint.replay_from, |event| {
        let id = event.entry.log();
        if known.deleting.contains(&id) {
            return Ok(());
        }
        if !known.live.contains(&id) {
            return Err(WalError::Damaged {
                path: path(wal_dir, event.file.number),
                at: event.record_at,
                what: format!("it names log {id}, which the state database has never heard of"),
            });
        }
        let log = logs.entry(id).or_insert_with(|| Building::empty(max_producers));
        entries += 1;
        log.replay(&event).map_err(|what| WalError::Damaged {
            path: path(wal_dir, event.file.number),
            at: event.record_at,
            what: format!("log {id}: {what}"),
        })
    })?;
    for (id, log) in &logs {
        log.check_complete().map_err(|what| WalError::Damaged {
            path: wal_dir.to_path_buf(),
            at: 0,
            what: format!("log {id}: {what}"),
        })?;
    }
    Ok(Replay { logs, wal, entries })
}

/// A log that is being put together.
pub(crate) struct Building {
    pub(crate) view: View,
    state: AppendState,
    /// The producers know everything before this offset already.
    state_end: Offset,
}

impl Building {
    fn empty(max_producers: usize) -> Self {
        Self {
            view: View::empty(Offset::ZERO),
            state: AppendState { next: Offset::ZERO, producers: Producers::new(max_producers) },
            state_end: Offset::ZERO,
        }
    }

    pub(crate) fn from_checkpoint(log: &LogCheckpoint, max_producers: usize) -> Self {
        let mut view = View::empty(log.flushed_end);
        view.log_start = log.log_start;
        view.active = log.active;
        view.epochs = Epochs::from_entries(log.epochs.iter().copied());
        let producers = Producers::from_entries(log.producers.clone(), max_producers);
        Self { view, state: AppendState { next: log.flushed_end, producers }, state_end: log.state_end }
    }

    fn replay(&mut self, event: &Replayed<'_>) -> Result<(), String> {
        match event.entry {
            Entry::LogStart { offset, .. } => {
                self.view.log_start = self.view.log_start.max(*offset);
                Ok(())
            }
            Entry::Append(append) => self.replay_append(event, append),
        }
    }

    fn replay_append(&mut self, event: &Replayed<'_>, append: &AppendEntry) -> Result<(), String> {
        let Some(header) = event.header else { return Err("an append without a batch".into()) };
        // A checkpoint may know more of the segments than of the producers, and the other way round.
        if append.base_offset >= self.state_end && header.has_producer_id() {
            let append_time =
                (header.timestamp_type() == TimestampType::AppendTime).then_some(header.max_timestamp);
            let producers = &mut self.state.producers;
            let _ = producers.apply(&header, append.base_offset, append_time, header.max_timestamp);
        }
        let next = Offset(append.base_offset.0 + i64::from(append.count));
        if next <= self.view.flushed_end {
            return Ok(());
        }
        if append.base_offset != self.view.high_watermark {
            let expected = self.view.high_watermark;
            return Err(format!(
                "a batch begins at offset {} where {expected} was expected",
                append.base_offset
            ));
        }
        self.view.push(TailEntry {
            base: append.base_offset,
            next,
            epoch: append.epoch,
            max_timestamp: header.max_timestamp,
            bytes: None,
            wal: event.file.clone(),
            at: event.record_at + u64::from(append.position),
            len: append.len,
            crc: append.crc,
        });
        self.state.next = next;
        Ok(())
    }

    /// Everything that the checkpoint knew of must be there.
    fn check_complete(&self) -> Result<(), String> {
        let end = self.view.high_watermark;
        if end < self.state_end {
            return Err(format!(
                "it ends at offset {end}, and offset {} was acknowledged",
                self.state_end.0 - 1
            ));
        }
        Ok(())
    }

    /// Sets the log's files right, and finds its segments.
    fn finish(mut self, id: LogId, files: &SegmentFiles) -> Result<RecoveredLog, RecoveryError> {
        let dir = files.dir(id);
        let fail = |path: PathBuf| move |error| RecoveryError::Io { path, error };
        let names = match files.disk().list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(fail(dir.clone()))?,
        };
        let mut bases: Vec<Offset> =
            names.iter().filter_map(|name| parse_name(name)).map(|(base, _)| base).collect();
        bases.sort_unstable();
        bases.dedup();
        if self.view.log_start >= self.view.flushed_end {
            // Nothing in the segments that the checkpoint knew is wanted any more, and some may be gone.
            self.view.active = None;
        }
        let active = self.view.active.map(|active| active.base);
        let nexts = bases.iter().skip(1).copied().map(Some).chain([None]);
        for (base, next) in bases.iter().copied().zip(nexts) {
            let begun_later = active.is_none_or(|active| base > active);
            // Retention was removing it; its files go one by one.
            let expired = Some(base) < active && next.is_some_and(|next| next <= self.view.log_start);
            if begun_later || expired {
                files.remove(id, base).map_err(fail(dir.clone()))?;
            } else if Some(base) < active {
                let segment = closed_segment(files, id, base)?;
                self.view.segments.push(Arc::new(segment));
            }
        }
        if let Some(active) = &mut self.view.active {
            let lens = [
                (Part::Log, active.len),
                (Part::Index, active.index_len),
                (Part::TimeIndex, active.time_index_len),
            ];
            let mut cut_short = false;
            for (part, len) in lens {
                cut_short |= cut(files, id, active.base, part, len)?;
            }
            if cut_short {
                // The flusher goes on writing at the ends of the indexes, so they must be whole. This alone
                // reads a segment at the start.
                let settings = LogSettings::default();
                let rebuilt = rebuild(files, id, active.base, active.len, &settings, false);
                let rebuilt = rebuilt.map_err(fail(files.path(id, active.base, Part::Index)))?;
                active.index_len = rebuilt.index_len;
                active.time_index_len = rebuilt.time_index_len;
                active.since_index = rebuilt.since_index;
                active.indexed_timestamp = rebuilt.indexed_timestamp;
                let (log, segment) = (id.0, active.base.0);
                tracing::warn!(log, segment, "an index was missing or cut; built it anew");
            }
            self.view.segments.push(Arc::new(Segment::new(id, active.base, active.len, active.index_len)));
        }
        self.start_at_first_segment();
        Ok(RecoveredLog { view: self.view, state: self.state })
    }

    /// Old segments may have been removed just before the end.
    fn start_at_first_segment(&mut self) {
        if let Some(first) = self.view.segments.first() {
            self.view.log_start = self.view.log_start.max(first.base());
        }
        let log_start = self.view.log_start;
        self.view.epochs.start_at(log_start);
    }
}

/// A segment that is not written to any more.
fn closed_segment(files: &SegmentFiles, id: LogId, base: Offset) -> Result<Segment, RecoveryError> {
    let len = |part| {
        let path = files.path(id, base, part);
        match files.disk().file_len(&path) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecoveryError::Io { path, error }),
        }
    };
    let Some(log_len) = len(Part::Log)? else {
        let path = files.path(id, base, Part::Log);
        return Err(RecoveryError::Segment { path, what: "it is missing".into() });
    };
    let (index_len, times_len) = (len(Part::Index)?, len(Part::TimeIndex)?);
    let whole = |len: Option<u64>, entry: usize| len.is_some_and(|len| len.is_multiple_of(entry as u64));
    let segment = Segment::new(id, base, log_len, index_len.unwrap_or(0));
    let indexed = whole(index_len, OFFSET_ENTRY) && whole(times_len, TIME_ENTRY);
    Ok(if indexed { segment } else { segment.with_wrong_index() })
}

/// Cuts a file of the active segment to its length at the checkpoint, and returns whether it is an index that
/// is shorter than that.
fn cut(files: &SegmentFiles, id: LogId, base: Offset, part: Part, len: u64) -> Result<bool, RecoveryError> {
    let path = files.path(id, base, part);
    let fail = |error| RecoveryError::Io { path: path.clone(), error };
    let there = match files.disk().file_len(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(fail)?),
    };
    if part == Part::Log && there.is_none_or(|there| there < len) {
        let what = match there {
            None => "it is missing".into(),
            Some(there) => format!("it has {there} bytes where the checkpoint knows {len}"),
        };
        return Err(RecoveryError::Segment { path, what });
    }
    if there.is_some_and(|there| there > len) {
        files.get(id, base, part).and_then(|file| file.set_len(len)).map_err(fail)?;
    }
    Ok(there.is_none_or(|there| there < len))
}

#[cfg(test)]
mod tests {
    use std::{fs, num::NonZeroUsize};

    use super::*;
    use crate::{checkpoint::Increment, disk::RealDisk};

    #[test]
    fn a_frame_that_cannot_be_read_is_told_of_where_something_does_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(false));
        for name in ["wal", "checkpoint", "logs"] {
            fs::create_dir(at(name)).unwrap();
        }
        let mut checkpoints = Checkpoints::load(disk.clone(), at("checkpoint")).unwrap();
        for replay_from in [5, 6] {
            let (changed, removed) = (Vec::new(), Vec::new());
            let increment = Increment { replay_from, epoch: 0, clean: false, changed, removed };
            checkpoints.write(increment).unwrap();
        }
        let files = SegmentFiles::new(disk.clone(), at("logs"), NonZeroUsize::MIN);
        let recovered = || {
            let (known, options) = (KnownLogs::default(), Options::default());
            recover(&disk, &files, at("wal"), at("checkpoint"), &known, &options).unwrap_err()
        };
        assert!(matches!(recovered(), RecoveryError::Wal(_)), "a file of the write-ahead log is missing");
        let path = crate::checkpoint::path(&at("checkpoint"), 1);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = recovered();
        assert!(
            matches!(&error, RecoveryError::BesideCheckpoint { path: told, .. } if *told == path),
            "{error}"
        );
        assert!(
            error.to_string().contains("sequence 5") && error.to_string().contains("0000000001.checkpoint")
        );
    }
}
