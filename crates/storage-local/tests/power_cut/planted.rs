//! Planted bugs: each sync that the store makes, forgotten, must be noticed.

use std::path::Path;

use ottla_testing_internal::{Forgets, NOTHING, Op, Recording};

use crate::{
    ROOT,
    load::{Load, load},
    try_images,
    verify::try_cut,
};

/// Images tried before a planted bug counts as unnoticed.
const IMAGES: usize = 4000;

/// The directory of the data directory that a path is in or is, such as `wal`, and whether it is that itself.
fn place(path: &Path) -> (&str, bool) {
    let mut parts = path.strip_prefix(ROOT).unwrap_or(Path::new("")).iter();
    let first = parts.next().and_then(|name| name.to_str()).unwrap_or("");
    (first, parts.next().is_none())
}

fn is_sync_of(op: &Op, path: &Path, extension: &str) -> bool {
    matches!(op, Op::Sync { .. }) && path.extension().is_some_and(|of| of == extension)
}

fn is_sync_dir(op: &Op, path: &Path, dir: &str, itself: bool) -> bool {
    matches!(op, Op::SyncDir(_)) && place(path) == (dir, itself)
}

/// Every sync of the store by what it is for. What is missing here, and why:
/// - The zeros of a fresh WAL file: they are written so that later writes change no metadata, which makes these
///   fast. Were they lost, each record would still be durable by itself.
const PLANTED: [(&str, Forgets<'static>); 12] = [
    ("the data of a segment", &|op, path| is_sync_of(op, path, "log")),
    ("an offset index", &|op, path| is_sync_of(op, path, "index")),
    ("a time index", &|op, path| is_sync_of(op, path, "timeindex")),
    ("a new checkpoint file", &|op, path| is_sync_of(op, path, "tmp")),
    ("an increment of a checkpoint", &|op, path| is_sync_of(op, path, "checkpoint")),
    ("the data directory", &|op, path| is_sync_dir(op, path, "", true)),
    ("the entry of a log", &|op, path| is_sync_dir(op, path, "logs", true)),
    ("the entries of segments", &|op, path| is_sync_dir(op, path, "logs", false)),
    ("the entry of a WAL file", &|op, path| is_sync_dir(op, path, "wal", true)),
    ("the entry of a checkpoint file", &|op, path| is_sync_dir(op, path, "checkpoint", true)),
    ("a record of the WAL", &|op, _| matches!(op, Op::Write { durable: true, at: 1.., .. })),
    ("the header of a WAL file", &|op, _| matches!(op, Op::Write { durable: true, at: 0, .. })),
];

#[test]
fn each_forgotten_sync_is_noticed() {
    let loads = load(100, 4, 360);
    for (what, forgets) in PLANTED {
        let asked = loads.iter().flat_map(|load| load.record.iter()).any(|(op, path)| forgets(op, path));
        assert!(asked, "the load never syncs {what}");
        let failures = try_images(&loads, IMAGES, 7, forgets, true);
        assert!(!failures.is_empty(), "it went unnoticed that {what} was not synced");
    }
}

#[test]
fn a_forgotten_sync_of_the_whole_file_system_is_noticed() {
    let loads = load(101, 24, 360);
    let failures = try_images(&loads, IMAGES, 7, &|op, _| matches!(op, Op::SyncFs), true);
    assert!(!failures.is_empty(), "it went unnoticed that the file system was not synced");
}

#[test]
fn a_checkpoint_renamed_before_it_is_synced_is_noticed() {
    let mut noticed = 0;
    for load in load(102, 4, 60) {
        let (record, windows) = sync_after_rename(&load.record);
        let load = Load { record, history: load.history };
        // The bug shows only while the sync is under way.
        let images = windows.iter().flat_map(|at| (0..40).map(move |choice| (*at, choice)));
        noticed += images.filter(|(at, choice)| try_cut(&load, *at, *choice, NOTHING).is_err()).count();
    }
    assert!(noticed > 0, "it went unnoticed that checkpoints were renamed before they were synced");
}

/// The same record, in which new checkpoint files are synced only after they have got their names, and where
/// these syncs are.
fn sync_after_rename(record: &Recording) -> (Recording, Vec<usize>) {
    let (mut ops, mut windows) = (Vec::new(), Vec::new());
    let mut late = None;
    for (op, path) in record.iter() {
        if is_sync_of(op, path, "tmp") {
            late = Some(op.clone());
            continue;
        }
        ops.push(op.clone());
        if matches!(op, Op::Rename(from, _) if from.extension().is_some_and(|of| of == "tmp")) {
            windows.push(ops.len());
            ops.extend(late.take());
        }
    }
    (Recording::new(record.base().clone(), ops), windows)
}

#[test]
fn a_deletion_that_is_not_synced_is_noticed() {
    // Another sync may happen to cover a deletion, before its log's row goes: so there are several tries.
    let noticed = (103..123).flat_map(|seed| load(seed, 6, 240)).any(|load| {
        let record = without_syncs_of_deletions(&load.record);
        let load = Load { record, history: load.history };
        let is_drop = |op: &Op| matches!(op, Op::Mark(mark) if load.history.is_drop(*mark));
        let drops = load.record.ops().iter().enumerate().filter(|(_, op)| is_drop(op));
        let mut images = drops.flat_map(|(at, _)| (0..4).map(move |choice| (at + 1, choice)));
        let wrong = |what: String| what.contains("of a log that is gone");
        images.any(|(at, choice)| try_cut(&load, at, choice, NOTHING).is_err_and(wrong))
    });
    assert!(noticed, "it went unnoticed that a deletion was not synced");
}

/// The same record without the syncs of `logs/` that follow the removal of a log's directory.
fn without_syncs_of_deletions(record: &Recording) -> Recording {
    let (mut ops, mut removed) = (Vec::new(), false);
    for (op, path) in record.iter() {
        if removed && is_sync_dir(op, path, "logs", true) {
            removed = false;
            continue;
        }
        removed |= matches!(op, Op::RemoveDir(_));
        ops.push(op.clone());
    }
    Recording::new(record.base().clone(), ops)
}
