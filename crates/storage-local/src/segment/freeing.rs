//! Freeing what removed segments occupied, bit by bit.
//!
//! Freeing a large file at once keeps the disk busy for many milliseconds where the file system discards
//! blocks as it frees them, and every commit meanwhile waits for it.

use std::{collections::VecDeque, sync::Arc};

use ottla_storage::DiskFile;

/// Bytes freed at a time.
const PIECE: u64 = 4 << 20;
/// With more than this to be freed, disk space is dearer than time.
const MOST: u64 = 2 << 30;

/// Files without names that still occupy disk space. Dropping them frees it.
#[derive(Debug, Default)]
pub(crate) struct Freeing {
    files: VecDeque<(Arc<dyn DiskFile>, u64)>,
    bytes: u64,
}

impl Freeing {
    /// Has a file freed, of which nobody else knows.
    pub(crate) fn add(&mut self, file: Arc<dyn DiskFile>) {
        // What cannot be told its length is freed at once.
        if let Ok(len) = file.len() {
            self.bytes += len;
            self.files.push_back((file, len));
        }
        while self.bytes > MOST {
            self.drop_first();
        }
    }

    /// Frees a piece. Returns whether there is more.
    pub(crate) fn step(&mut self) -> bool {
        if let Some((file, len)) = self.files.front_mut() {
            let left = len.saturating_sub(PIECE);
            if left > 0 && file.set_len(left).is_ok() {
                self.bytes -= *len - left;
                *len = left;
            } else {
                self.drop_first();
            }
        }
        !self.files.is_empty()
    }

    /// Frees everything now.
    pub(crate) fn finish(&mut self) {
        *self = Self::default();
    }

    fn drop_first(&mut self) {
        if let Some((_, len)) = self.files.pop_front() {
            self.bytes -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_storage::{Access, Disk, FileKind};
    use tempfile::TempDir;

    use super::*;
    use crate::disk::RealDisk;

    fn file(dir: &TempDir, name: &str, len: u64) -> Arc<dyn DiskFile> {
        let path = dir.path().join(name);
        let file = RealDisk::new(false).open(&path, Access::CreateNew, FileKind::Cached).unwrap();
        file.set_len(len).unwrap();
        file
    }

    #[test]
    fn files_shrink_in_turn_and_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (file(&dir, "first", 2 * PIECE + 1), file(&dir, "second", 10));
        let mut freeing = Freeing::default();
        assert!(!freeing.step());
        freeing.add(first.clone());
        freeing.add(second.clone());
        for left in [PIECE + 1, 1] {
            assert!(freeing.step());
            assert_eq!(first.len().unwrap(), left);
        }
        assert!(freeing.step(), "the second one is left");
        assert!(!freeing.step());
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second), freeing.bytes), (1, 1, 0));
    }

    #[test]
    fn not_much_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut freeing = Freeing::default();
        for name in ["a", "b", "c"] {
            freeing.add(file(&dir, name, MOST / 2));
        }
        assert_eq!((freeing.files.len(), freeing.bytes), (2, MOST));
        freeing.finish();
        assert!(!freeing.step());
    }
}
