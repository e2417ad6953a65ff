//! Reading all of a data directory, and saying what is damaged and what that means.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_records::{LogId, Offset};
use ottla_storage::{Disk, LogSettings, TopicState};

use super::{
    InspectError,
    data_dir::{self, DIRS, is_data_dir, sorted},
    disk::ReadOnlyDisk,
    segments::{self, Segment},
    unreadable,
};
use crate::{
    checkpoint::{self, CheckpointError, Checkpoints},
    local::{LOCK_FILE, STATE_FILE, known_logs},
    log::view::View,
    recovery::{Building, KnownLogs, RecoveryError, replay},
    segment::files::{Part, parse_name},
    state::{Look, StateError},
    store::Options,
    wal::{replay::WalError, ring},
};

/// What a problem means for a broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Impact {
    /// Nothing: it is not used.
    Unused,
    /// Nothing but slower reads until it is built anew, which the broker does by itself.
    Rebuilt,
    /// The broker starts, and some records cannot be read.
    Unreadable,
    /// The broker does not start.
    RefusesStart,
}

impl Impact {
    fn advice(self) -> &'static str {
        match self {
            Self::Unused => "the broker does not use it; remove it if nobody else does",
            Self::Rebuilt => "the broker reads without it and builds it anew; nothing is to be done",
            Self::Unreadable => {
                "the broker starts and answers CORRUPT_MESSAGE there; restore the file from a backup, or have \
                 consumers go on behind it"
            }
            Self::RefusesStart => "the broker does not start",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub at: Option<u64>,
    /// What is wrong there.
    pub what: String,
    /// What that means.
    pub impact: Impact,
}

impl Problem {
    pub(super) fn new(path: &Path, at: Option<u64>, what: impl Into<String>, impact: Impact) -> Self {
        Self { path: path.to_path_buf(), at, what: what.into(), impact }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(at) = self.at {
            write!(f, " at byte {at}")?;
        }
        write!(f, ": {}; {}", self.what, self.impact.advice())
    }
}

/// What was read, and what came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Topics in the state database.
    pub topics: u64,
    /// Groups in it, those included in whose name there are only offsets.
    pub groups: u64,
    /// Segments read.
    pub segments: u64,
    /// Batches in them.
    pub batches: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Batches and other entries of the write-ahead log that a start replays.
    pub replayed: u64,
    /// Problems found.
    pub problems: u64,
    /// Whether one of them keeps the broker from starting.
    pub refuses_start: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, groups, segments, batches, bytes, replayed, problems, refuses_start } = self;
        write!(
            f,
            "read {topics} topics, {groups} groups, {segments} segments with {batches} batches in {bytes} bytes, and \
             {replayed} entries of the write-ahead log: "
        )?;
        match (problems, refuses_start) {
            (0, _) => f.write_str("all is well"),
            (1, false) => f.write_str("1 problem, with which the broker starts"),
            (1, true) => f.write_str("1 problem, with which the broker does not start"),
            (many, false) => write!(f, "{many} problems, with which the broker starts"),
            (many, true) => write!(f, "{many} problems, with which the broker does not start"),
        }
    }
}

/// Reads all of the data directory `dir`, which no broker uses, and reports each problem as it is found.
/// Nothing is changed.
///
/// # Errors
/// Where the directory is in use, is none, was written by a newer version, or the disk fails.
pub fn check(dir: &Path, report: &mut dyn FnMut(&Problem)) -> Result<Summary, InspectError> {
    fs::read_dir(dir).map_err(unreadable(dir))?;
    if !is_data_dir(dir) && !DIRS.iter().any(|part| dir.join(part).is_dir()) {
        return Err(InspectError::NoDataDirectory { dir: dir.to_path_buf() });
    }
    let _lock = data_dir::lock(dir)?;
    let mut check = Check { disk: Arc::new(ReadOnlyDisk::new()), dir, report, summary: Summary::default() };
    let state = check.state()?;
    let logs = check.recovery(state.as_ref())?;
    check.logs(state.as_ref(), logs.as_ref())?;
    check.others()?;
    Ok(check.summary)
}

struct Check<'a> {
    disk: Arc<dyn Disk>,
    dir: &'a Path,
    report: &'a mut dyn FnMut(&Problem),
    summary: Summary,
}

/// What the state database says.
struct State {
    known: KnownLogs,
    intervals: BTreeMap<LogId, u64>,
}

impl Check<'_> {
    fn problem(&mut self, problem: &Problem) {
        self.summary.problems += 1;
        self.summary.refuses_start |= problem.impact == Impact::RefusesStart;
        (self.report)(problem);
    }

    fn refuses(&mut self, path: &Path, at: Option<u64>, what: impl Into<String>) {
        self.problem(&Problem::new(path, at, what, Impact::RefusesStart));
    }

    /// The state database. `None` where it cannot be read.
    fn state(&mut self) -> Result<Option<State>, InspectError> {
        let path = self.dir.join(STATE_FILE);
        if !fs::exists(&path).map_err(unreadable(&path))? {
            self.refuses(&path, None, "it is missing; restore it from a backup");
            return Ok(None);
        }
        let contents = match Look::open(&path) {
            Ok(look) => {
                for problem in look.problems() {
                    if problem.is_unused {
                        self.problem(&Problem::new(&path, None, problem.what, Impact::Unused));
                    } else {
                        let what = format!("{problem}; restore the data directory from a backup");
                        self.refuses(&path, None, what);
                    }
                }
                look.contents().and_then(|contents| Ok((contents, look.count_groups()?)))
            }
            Err(error) => Err(error),
        };
        let (contents, groups) = match contents {
            Ok(contents) => contents,
            Err(error @ (StateError::Damaged { .. } | StateError::Foreign { .. })) => {
                // What is wrong inside was reported already.
                if !self.summary.refuses_start {
                    self.refuses(&path, None, error.to_string());
                }
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        self.summary.groups = groups;
        self.summary.topics =
            contents.topics.iter().filter(|topic| topic.state == TopicState::Live).count() as u64;
        let mut intervals = BTreeMap::new();
        for topic in &contents.topics {
            let interval = topic.settings.get("index.interval.bytes").and_then(|bytes| bytes.parse().ok());
            let interval = interval.unwrap_or(u64::from(LogSettings::default().index_interval_bytes));
            intervals.extend(topic.logs.iter().map(|log| (*log, interval)));
        }
        Ok(Some(State { known: known_logs(&contents.topics), intervals }))
    }

    /// Checkpoint and write-ahead log, as a start reads them. `None` where a start would fail and no
    /// checkpoint tells how far the segments are.
    fn recovery(&mut self, state: Option<&State>) -> Result<Option<BTreeMap<LogId, View>>, InspectError> {
        let (wal_dir, checkpoint_dir) = (self.dir.join("wal"), self.dir.join("checkpoint"));
        for dir in [&wal_dir, &checkpoint_dir] {
            if !dir.is_dir() {
                self.refuses(dir, None, "the directory is missing; restore it from a backup");
                return Ok(None);
            }
        }
        let checkpoints = match Checkpoints::load(self.disk.clone(), checkpoint_dir.clone()) {
            Ok(checkpoints) => checkpoints,
            Err(error) => {
                self.recovery_failed(error.into())?;
                return Ok(None);
            }
        };
        let Some(state) = state else { return Ok(None) };
        for id in checkpoints.current().logs.keys() {
            if !state.known.live.contains(id) && !state.known.deleting.contains(id) {
                let what = format!("it names log {id}, which the state database has never heard of");
                self.problem(&Problem::new(&checkpoint_dir, None, what, Impact::Unused));
            }
        }
        let options = Options::default();
        let replayed = replay(&self.disk, &checkpoints, &wal_dir, &state.known, &options);
        let logs = match replayed {
            Ok(replayed) => {
                self.summary.replayed = replayed.entries;
                replayed.logs
            }
            Err(error) => {
                self.recovery_failed(error)?;
                // How far the segments are is known all the same.
                let building = |log| Building::from_checkpoint(log, options.max_producers);
                checkpoints.current().logs.iter().map(|(id, log)| (*id, building(log))).collect()
            }
        };
        Ok(Some(logs.into_iter().map(|(id, log)| (id, log.view)).collect()))
    }

    /// Why a start would fail: damage is reported, and everything else ends the check.
    fn recovery_failed(&mut self, error: RecoveryError) -> Result<(), InspectError> {
        let (path, at, what) = match &error {
            RecoveryError::Wal(WalError::Damaged { path, at, what }) => (path, *at, what.as_str()),
            RecoveryError::Checkpoint(CheckpointError::Damaged { path, at, what }) => {
                (path, *at as u64, *what)
            }
            _ => return Err(error.into()),
        };
        let what = format!("{what}; restore the data directory from a backup");
        self.refuses(path, Some(at), what);
        Ok(())
    }

    fn logs(
        &mut self,
        state: Option<&State>,
        views: Option<&BTreeMap<LogId, View>>,
    ) -> Result<(), InspectError> {
        let root = self.dir.join("logs");
        let mut seen = HashSet::new();
        let paths = if root.is_dir() { sorted(&root)? } else { Vec::new() };
        for path in paths {
            let id = path.file_name().and_then(|name| name.to_str()?.parse().ok()).map(LogId);
            let Some(id) = id.filter(|_| path.is_dir()) else {
                let being_removed = path.extension().is_some_and(|extension| extension == "deleted");
                if !being_removed {
                    self.problem(&Problem::new(&path, None, "it belongs to no log", Impact::Unused));
                }
                continue;
            };
            if state.is_some_and(|state| state.known.deleting.contains(&id)) {
                continue;
            }
            if state.is_some_and(|state| !state.known.live.contains(&id)) {
                let what = format!("no topic has log {id}");
                self.problem(&Problem::new(&path, None, what, Impact::Unused));
                continue;
            }
            seen.insert(id);
            self.log(id, &path, state, views)?;
        }
        for (id, view) in views.into_iter().flatten() {
            let wanted = state.is_none_or(|state| state.known.live.contains(id));
            let has_segments = view.active.is_some() && view.log_start < view.flushed_end;
            if wanted && has_segments && !seen.contains(id) {
                let path = root.join(id.to_string());
                let what = format!(
                    "the directory is missing, and held offsets {} to {}; restore it from a backup",
                    view.log_start,
                    view.flushed_end.0 - 1
                );
                self.refuses(&path, None, what);
            }
        }
        Ok(())
    }

    /// The segments of a log.
    fn log(
        &mut self,
        id: LogId,
        dir: &Path,
        state: Option<&State>,
        views: Option<&BTreeMap<LogId, View>>,
    ) -> Result<(), InspectError> {
        let mut bases: BTreeMap<Offset, HashSet<Part>> = BTreeMap::new();
        for path in sorted(dir)? {
            match path.file_name().and_then(|name| parse_name(Path::new(name))) {
                Some((base, part)) => {
                    bases.entry(base).or_default().insert(part);
                }
                None => self.problem(&Problem::new(&path, None, "it is part of no segment", Impact::Unused)),
            }
        }
        let view = views.map(|views| views.get(&id));
        if let Some(view) = view {
            let active = view.and_then(|view| view.active.filter(|_| view.log_start < view.flushed_end));
            // What a crash has left behind the active segment, or retention before the log start, a start
            // removes.
            bases.retain(|base, _| active.is_some_and(|active| *base <= active.base));
            let next: Vec<Offset> = bases.keys().skip(1).copied().collect();
            let expired: Vec<Offset> = bases
                .keys()
                .zip(next)
                .filter(|(_, next)| view.is_some_and(|view| *next <= view.log_start))
                .map(|(base, _)| *base)
                .collect();
            expired.iter().for_each(|base| drop(bases.remove(base)));
        }
        let view = view.flatten();
        if let (Some(view), Some(first)) = (view, bases.keys().next())
            && *first > view.log_start
        {
            let what = format!("no segment holds offsets {} to {}", view.log_start, first.0 - 1);
            self.problem(&Problem::new(dir, None, what, Impact::Unreadable));
        }
        let interval = state.and_then(|state| state.intervals.get(&id).copied());
        let interval = interval.unwrap_or(u64::from(LogSettings::default().index_interval_bytes));
        let ends = bases.keys().skip(1).copied().map(Some).chain([view.map(|view| view.flushed_end)]);
        let segments: Vec<(Offset, Option<Offset>)> = bases.keys().copied().zip(ends).collect();
        for (base, end) in segments {
            self.segment(dir, base, end, &bases[&base], view, interval)?;
        }
        if let Some(active) = view.and_then(|view| view.active.filter(|_| view.log_start < view.flushed_end))
            && !bases.contains_key(&active.base)
        {
            let path = dir.join(format!("{:020}.log", active.base.0));
            self.refuses(&path, None, "it is missing; restore it from a backup");
        }
        Ok(())
    }

    fn segment(
        &mut self,
        dir: &Path,
        base: Offset,
        end: Option<Offset>,
        parts: &HashSet<Part>,
        view: Option<&View>,
        interval: u64,
    ) -> Result<(), InspectError> {
        let paths = Part::ALL.map(|part| dir.join(format!("{:020}.{}", base.0, part.suffix())));
        if !parts.contains(&Part::Log) {
            self.refuses(&paths[0], None, "it is missing; restore it from a backup");
            return Ok(());
        }
        let active = view.and_then(|view| view.active).filter(|active| active.base == base);
        let counts = active.map(|active| [active.len, active.index_len, active.time_index_len]);
        let mut lens = [0; 3];
        let mut readable = paths.clone();
        for (at, part) in Part::ALL.into_iter().enumerate() {
            if !parts.contains(&part) {
                self.problem(&Problem::new(&paths[at], None, "it is missing", Impact::Rebuilt));
                // Nothing is read of it.
                readable[at].clone_from(&paths[0]);
                continue;
            }
            let there = self.disk.file_len(&paths[at]).map_err(unreadable(&paths[at]))?;
            lens[at] = counts.map_or(there, |counts| there.min(counts[at]));
            if let Some(counts) = counts.filter(|counts| counts[at] > there) {
                let what = format!("it has {there} bytes where the checkpoint knows {}", counts[at]);
                if part == Part::Log {
                    self.refuses(&paths[at], Some(there), format!("{what}; restore it from a backup"));
                } else {
                    self.problem(&Problem::new(&paths[at], Some(there), what, Impact::Rebuilt));
                }
            }
        }
        let missing_index = !parts.contains(&Part::Index) || counts.is_some_and(|counts| lens[1] < counts[1]);
        let segment = Segment {
            base,
            paths: readable,
            lens,
            end: end.filter(|_| counts.is_none_or(|counts| lens[0] == counts[0])),
            // What is missing was reported.
            interval: if missing_index { u64::MAX } else { interval },
        };
        let disk = self.disk.clone();
        let count = segments::check(disk.as_ref(), &segment, &mut |problem| self.problem(&problem))?;
        self.summary.segments += 1;
        self.summary.batches += count.batches;
        self.summary.bytes += count.bytes;
        Ok(())
    }

    /// What else lies in the data directory.
    fn others(&mut self) -> Result<(), InspectError> {
        let known = |name: &str| name == LOCK_FILE || name.starts_with(STATE_FILE) || DIRS.contains(&name);
        self.strangers(self.dir, known)?;
        self.strangers(&self.dir.join("wal"), |name| ring::number_of(Path::new(name)).is_some())?;
        // A rename that a crash prevented leaves a .tmp file, which the next one replaces.
        self.strangers(&self.dir.join("checkpoint"), |name| {
            checkpoint::number_of(Path::new(name)).is_some() || name.ends_with(".tmp")
        })
    }

    fn strangers(&mut self, dir: &Path, known: impl Fn(&str) -> bool) -> Result<(), InspectError> {
        let paths = match sorted(dir) {
            Err(InspectError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(()),
            paths => paths?,
        };
        for path in paths {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(&known) {
                self.problem(&Problem::new(&path, None, "it is no file of a data directory", Impact::Unused));
            }
        }
        Ok(())
    }
}
