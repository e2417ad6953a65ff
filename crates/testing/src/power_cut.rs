//! What a disk may hold after a power cut.
//!
//! The model is harsher than any one file system: of the writes that no completed sync covers, any may be
//! missing or torn at sectors, in any combination; so may any change of a directory that was not synced. An
//! operation that was in flight when the power failed may have happened in part.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use ottla_storage::{Random, SeededRandom};

use crate::sim_disk::{Data, Image, Inode, Op};

/// The unit in which a write may be torn.
const SECTOR: usize = 512;

/// What was done to a disk: what it held at first, durably, and every operation since.
#[derive(Clone, Debug)]
pub struct Recording {
    base: Image,
    ops: Vec<Op>,
    /// For each operation the file or directory that it is about, by its name then; empty where there is none.
    paths: Vec<PathBuf>,
}

/// Says of an operation on a file or directory that it shall be taken as if the program under test had forgotten
/// to make it durable: a sync does nothing then, and a durable write is like any other.
pub type Forgets<'a> = &'a (dyn Fn(&Op, &Path) -> bool + Sync);

/// Forgets nothing.
pub const NOTHING: Forgets<'static> = &|_, _| false;

impl Recording {
    /// These operations on a disk that held `base`.
    pub fn new(base: Image, ops: Vec<Op>) -> Self {
        let mut names: HashMap<Inode, PathBuf> =
            base.names.iter().filter_map(|(path, inode)| Some(((*inode)?, path.clone()))).collect();
        let mut paths = Vec::with_capacity(ops.len());
        for op in &ops {
            let path = match op {
                Op::Write { inode, .. } | Op::SetLen { inode, .. } | Op::Sync { inode } => {
                    names.get(inode).cloned().unwrap_or_default()
                }
                Op::Create { path, inode } => {
                    names.insert(*inode, path.clone());
                    path.clone()
                }
                Op::Rename(from, to) => {
                    for path in names.values_mut() {
                        if let Ok(rest) = path.strip_prefix(from) {
                            *path = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                        }
                    }
                    from.clone()
                }
                Op::CreateDir(path) | Op::Remove(path) | Op::RemoveDir(path) | Op::SyncDir(path) => {
                    path.clone()
                }
                Op::SyncFs | Op::Mark(_) => PathBuf::new(),
            };
            paths.push(path);
        }
        Self { base, ops, paths }
    }

    /// What the disk held at first.
    pub fn base(&self) -> &Image {
        &self.base
    }

    /// The operations, in their order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The operations with the file or directory that each is about.
    pub fn iter(&self) -> impl Iterator<Item = (&Op, &Path)> {
        self.ops.iter().zip(self.paths.iter().map(PathBuf::as_path))
    }
}

/// A record of operations, cut at some point.
#[derive(Debug)]
pub struct PowerCut<'a> {
    base: &'a Image,
    ops: &'a [Op],
    durable: Vec<bool>,
}

impl<'a> PowerCut<'a> {
    /// The power fails while the operation with index `at` is in flight.
    pub fn new(record: &'a Recording, at: usize, forgets: Forgets<'_>) -> Self {
        let ops = &record.ops[..(at + 1).min(record.ops.len())];
        let completed = &ops[..ops.len().saturating_sub(1)];
        let mut durable = vec![false; ops.len()];
        let (mut synced_files, mut synced_dirs): (HashSet<Inode>, HashSet<&Path>) = Default::default();
        let mut all = false;
        for (index, op) in completed.iter().enumerate().rev() {
            let forgotten = forgets(op, &record.paths[index]);
            durable[index] = match op {
                Op::Sync { inode } if !forgotten => {
                    synced_files.insert(*inode);
                    true
                }
                Op::SyncDir(path) if !forgotten => {
                    synced_dirs.insert(path);
                    true
                }
                Op::SyncFs if !forgotten => {
                    all = true;
                    true
                }
                Op::Write { inode, durable, .. } => {
                    all || synced_files.contains(inode) || (*durable && !forgotten)
                }
                Op::SetLen { inode, .. } => all || synced_files.contains(inode),
                Op::Create { path, .. } | Op::CreateDir(path) | Op::Remove(path) | Op::RemoveDir(path) => {
                    all || path.parent().is_some_and(|dir| synced_dirs.contains(dir))
                }
                Op::Rename(from, _) => all || from.parent().is_some_and(|dir| synced_dirs.contains(dir)),
                Op::Sync { .. } | Op::SyncDir(_) | Op::SyncFs | Op::Mark(_) => true,
            };
        }
        Self { base: &record.base, ops, durable }
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
        let mut image = self.base.clone();
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
