//! The parts of a data directory, and whether a broker uses it.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{InspectError, unreadable};
use crate::local::{LOCK_FILE, STATE_FILE};

/// The directories of a data directory, in the order in which they are looked at.
pub(super) const DIRS: [&str; 3] = ["checkpoint", "wal", "logs"];

/// Whether a directory looks like a data directory.
pub(super) fn is_data_dir(dir: &Path) -> bool {
    dir.join(STATE_FILE).is_file() || DIRS.iter().all(|part| dir.join(part).is_dir())
}

/// Takes the lock of a data directory, so that no broker begins to use it, without creating the lock's file:
/// where that is missing, no broker ever began.
pub(super) fn lock(dir: &Path) -> Result<Option<File>, InspectError> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable(&path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(InspectError::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(unreadable(&path)(error)),
    }
}

/// The paths in a directory: those with numbers by number, the others by name.
pub(super) fn sorted(dir: &Path) -> Result<Vec<PathBuf>, InspectError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        paths.push(entry.map_err(unreadable(dir))?.path());
    }
    let key = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_owned();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        (number.is_none(), number, name)
    };
    paths.sort_by_cached_key(key);
    Ok(paths)
}
