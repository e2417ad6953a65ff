//! What a disk may hold after a power cut.
//!
//! The model is harsher than any one file system: of the writes that no completed sync covers, any may be
//! missing or torn at sectors, in any combination; so may any change of a directory that was not synced. An
//! operation that was in flight when the power failed may have happened in part.

use std::{collections::HashSet, path::Path};

use ottla_storage::{Random, SeededRandom};

use crate::sim_disk::{Data, Image, Inode, Op};

/// The unit in which a write may be torn.
const SECTOR: usize = 512;

/// A kind of sync that is taken as if the program under test had forgotten it, to see that the test notices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forget {
    /// None.
    Nothing,
    /// Syncs of a file's data, and of the whole file system.
    FileSyncs,
    /// Syncs of directories, and of the whole file system.
    DirSyncs,
    /// That writes to durable files are durable.
    DurableWrites,
}

/// A record of operations, cut at some point.
#[derive(Debug)]
pub struct PowerCut<'a> {
    ops: &'a [Op],
    durable: Vec<bool>,
}

impl<'a> PowerCut<'a> {
    /// The power fails while the operation with index `at` is in flight.
    pub fn new(record: &'a [Op], at: usize, forget: Forget) -> Self {
        let ops = &record[..(at + 1).min(record.len())];
        let completed = &ops[..ops.len().saturating_sub(1)];
        let mut durable = vec![false; ops.len()];
        let (mut synced_files, mut synced_dirs): (HashSet<Inode>, HashSet<&Path>) = Default::default();
        let mut all = false;
        for (index, op) in completed.iter().enumerate().rev() {
            durable[index] = match op {
                Op::Sync { inode } if forget != Forget::FileSyncs => {
                    synced_files.insert(*inode);
                    true
                }
                Op::SyncDir(path) if forget != Forget::DirSyncs => {
                    synced_dirs.insert(path);
                    true
                }
                Op::SyncFs if forget == Forget::Nothing || forget == Forget::DurableWrites => {
                    all = true;
                    true
                }
                Op::Write { inode, durable, .. } => {
                    all || synced_files.contains(inode) || (*durable && forget != Forget::DurableWrites)
                }
                Op::SetLen { inode, .. } => all || synced_files.contains(inode),
                Op::Create { path, .. } | Op::CreateDir(path) | Op::Remove(path) | Op::RemoveDir(path) => {
                    all || path.parent().is_some_and(|dir| synced_dirs.contains(dir))
                }
                Op::Rename(from, _) => all || from.parent().is_some_and(|dir| synced_dirs.contains(dir)),
                Op::Sync { .. } | Op::SyncDir(_) | Op::SyncFs | Op::Mark(_) => true,
            };
        }
        Self { ops, durable }
    }

    /// The marks that were set before the cut.
    pub fn marks(&self) -> impl Iterator<Item = u64> + '_ {
        self.ops[..self.ops.len().saturating_sub(1)].iter().filter_map(|op| match op {
            Op::Mark(what) => Some(*what),
            _ => None,
        })
    }

    /// One of the images that the cut can leave; `seed` chooses which.
    pub fn image(&self, root: &Path, seed: u64) -> Image {
        let random = SeededRandom::new(seed);
        let policy = random.next_u64() % 4;
        let mut image = Image::default();
        image.names.insert(root.to_path_buf(), None);
        for (op, durable) in self.ops.iter().zip(&self.durable) {
            let whole = match policy {
                0 => false,
                1 => true,
                _ => random.next_u64().is_multiple_of(2),
            };
            match op {
                _ if *durable || whole => image.apply(op),
                Op::Write { inode, at, data, .. } if policy >= 2 => {
                    tear(&mut image, *inode, *at, data, &random);
                }
                // A file that was never synced may still have got its name.
                Op::Create { inode, .. } => {
                    image.contents.entry(*inode).or_default();
                }
                _ => {}
            }
        }
        let names: HashSet<Inode> = image.names.values().flatten().copied().collect();
        image.contents.retain(|inode, _| names.contains(inode));
        drop_orphans(&mut image, root);
        image
    }
}

/// Writes some sectors of it.
fn tear(image: &mut Image, inode: Inode, at: u64, data: &Data, random: &SeededRandom) {
    let Data::Bytes(bytes) = data else { return };
    // Either a front part, as a disk that writes in order leaves it, or any sectors.
    let front = random.next_u64().is_multiple_of(2);
    let kept = random.next_u64() as usize % (bytes.len() / SECTOR + 1);
    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
        let keep = if front { index < kept } else { random.next_u64().is_multiple_of(2) };
        if keep {
            let at = at + (index * SECTOR) as u64;
            image.apply(&Op::Write { inode, at, data: Data::Bytes(sector.into()), durable: false });
        }
    }
}

/// What lies in a directory that does not exist is not there.
fn drop_orphans(image: &mut Image, root: &Path) {
    let dirs: HashSet<_> =
        image.names.iter().filter(|(_, node)| node.is_none()).map(|(path, _)| path.clone()).collect();
    let has_parents = |path: &Path| {
        path.ancestors().skip(1).take_while(|dir| dir.starts_with(root)).all(|dir| dirs.contains(dir))
    };
    image.names.retain(|path, _| path == root || has_parents(path));
}
