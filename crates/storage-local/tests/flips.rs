//! Flipped bits: in a data directory at rest, one bit of one file is wrong. The start and a read of everything
//! give exactly what was acknowledged, or an error that names the file; never other data, and no panic.
//!
//! `OTTLA_FLIPS=100000 cargo test --release -p ottla-storage-local --test flips` tries more bits.

mod harness;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use harness::{Store, batch};
use ottla_records::{BatchHeader, LogId, Offset};
use ottla_storage::{Disk, Log, LogSettings, Random, ReadError, ReadRequest, SeededRandom, conformance};
use ottla_storage_local::{KnownLogs, LocalLog, Options};
use ottla_testing_internal::{Image, SimDisk};

const ROOT: &str = "/data";
const LOGS: u64 = 2;
/// Where the leader epoch is in a batch. No checksum covers it, in Kafka's format as in this store.
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;

fn options() -> Options {
    Options {
        arena_bytes: 16 << 20,
        wal_file_bytes: 32 << 10,
        run_bytes: 16 << 10,
        direct_min_bytes: 8 << 10,
        wal_max: Some(128 << 10),
        checkpoint_interval: Duration::ZERO,
        readers: 1,
        ..Options::default()
    }
}

fn known() -> KnownLogs {
    KnownLogs { live: (1..=LOGS).map(LogId).collect(), deleting: HashSet::new() }
}

fn open_log(store: &Store, id: u64) -> Arc<LocalLog> {
    let settings =
        LogSettings { segment_bytes: 16 << 10, index_interval_bytes: 1024, ..LogSettings::default() };
    store.store.open_log(LogId(id), settings)
}

/// A directory at rest, and what was acknowledged: for each log its batches by base offset, as they are read.
struct Rest {
    image: Image,
    logs: Vec<Vec<(i64, Bytes)>>,
    /// The log of the last append, which alone may be taken for one that was torn.
    last: u64,
}

async fn read(log: &Arc<LocalLog>, offset: i64) -> Result<Bytes, ReadError> {
    let request = ReadRequest { offset: Offset(offset), max_bytes: 1, at_least_one: true };
    let read = match log.read_now(request)? {
        Some(read) => read,
        None => log.read(request).await?,
    };
    Ok(conformance::bytes(&read))
}

/// Writes through two lives; the last ends in order, or is killed.
async fn rest(in_order: bool) -> Rest {
    let disk = SimDisk::recording(Path::new(ROOT));
    let mut bases = vec![Vec::new(); LOGS as usize];
    let mut rest = None;
    for life in 0..2_u64 {
        let mut store = Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known(), &options()).unwrap();
        let logs: Vec<_> = (1..=LOGS).map(|id| open_log(&store, id)).collect();
        let mut last = 0;
        for number in 0..90_u64 {
            let random = SeededRandom::new(life << 32 | number);
            let value = "v".repeat(random.next_u64() as usize % 2000);
            last = random.next_u64() % LOGS;
            let records = 1 + random.next_u64() as usize % 3;
            let appended =
                store.append(&logs[last as usize], batch(&format!("{life}-{number}:{value}"), records)).await;
            bases[last as usize].push(appended.unwrap().base_offset.0);
        }
        let mut there = Vec::new();
        for (log, bases) in logs.iter().zip(&bases) {
            let mut batches = Vec::new();
            for base in bases {
                batches.push((*base, read(log, *base).await.unwrap()));
            }
            there.push(batches);
        }
        let killed = disk.image();
        store.close();
        let image = if in_order { disk.image() } else { killed };
        rest = Some(Rest { image, logs: there, last: last + 1 });
    }
    rest.unwrap()
}

/// Flips a bit and compares. `Ok(true)`: the damage was noticed.
async fn flip(rest: &Rest, path: &Path, bit: usize) -> Result<bool, String> {
    let mut image = rest.image.clone();
    let inode = image.names[path].unwrap();
    image.contents.get_mut(&inode).unwrap()[bit / 8] ^= 1 << (bit % 8);
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(image));
    let store = match Store::on(disk, Path::new(ROOT), &known(), &options()) {
        Ok(store) => store,
        Err(error) => return named(&error.to_string(), path),
    };
    let mut noticed = false;
    for id in 1..=LOGS {
        let log = open_log(&store, id);
        let batches = &rest.logs[id as usize - 1];
        let end = log.bounds().high_watermark.0;
        let tail_is_torn = id == rest.last && path.extension().is_some_and(|of| of == "wal");
        let may_end_at = batches.last().filter(|_| tail_is_torn).map(|(base, _)| *base);
        for (base, expected) in batches {
            if *base >= end {
                if Some(end) == may_end_at {
                    noticed = true;
                    continue;
                }
                return Err(format!("log {id} ends at {end}, {base} is lost"));
            }
            match read(&log, *base).await {
                Ok(got) if same(&got, expected) => {}
                Ok(_) => return Err(format!("log {id} gives other bytes at {base}")),
                Err(ReadError::Damaged { detail, .. }) => noticed |= named(&detail, path)?,
                Err(other) => return Err(format!("log {id} at {base}: {other}")),
            }
        }
    }
    // Writing a run from a WAL record that has been damaged meanwhile ends the store.
    store.try_close().or_else(|fault| named(&fault, path).map(|_| ()))?;
    Ok(noticed)
}

fn same(got: &[u8], expected: &[u8]) -> bool {
    let rest = |bytes: &[u8]| [&bytes[..LEADER_EPOCH.start], &bytes[LEADER_EPOCH.end..]].concat();
    got.len() == expected.len() && rest(got) == rest(expected)
}

/// Whether an error tells the file, or at least its directory in the case of the write-ahead log, where a file
/// without a header is as good as missing.
fn named(error: &str, path: &Path) -> Result<bool, String> {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let dir = path.parent().unwrap().to_str().unwrap();
    let names = error.contains(stem) || (dir.ends_with("wal") && error.contains(dir));
    if names { Ok(true) } else { Err(format!("an error that does not name the file: {error}")) }
}

/// A kind of file, and whether flips in it must show at times: an index is a hint, and the time index is not read.
const KINDS: [(&str, bool); 5] =
    [("wal", true), ("checkpoint", true), ("log", true), ("index", false), ("timeindex", false)];

fn paths<'a>(rest: &'a Rest, kind: &'a str) -> Vec<&'a PathBuf> {
    let is_kind = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == kind);
    let files = rest.image.names.iter().filter(|(_, inode)| inode.is_some()).map(|(path, _)| path);
    files.filter(is_kind).collect()
}

fn flip_in_all_kinds(in_order: bool) {
    let each = std::env::var("OTTLA_FLIPS").map_or(150, |count| count.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let rest = rest(in_order).await;
        for (kind, shows) in KINDS {
            let paths = paths(&rest, kind);
            assert!(!paths.is_empty(), "there is no .{kind} file");
            let (random, mut noticed) = (SeededRandom::new(5), 0);
            for _ in 0..each {
                let path = paths[random.next_u64() as usize % paths.len()];
                let len = rest.image.contents[&rest.image.names[path].unwrap()].len();
                if len == 0 {
                    continue;
                }
                // Half of them where headers are, which are few bytes among many.
                let block = random.next_u64() as usize % len.div_ceil(4096) * 4096;
                let byte = match random.next_u64() % 2 {
                    0 => (block + random.next_u64() as usize % 128).min(len - 1),
                    _ => random.next_u64() as usize % len,
                };
                let bit = byte * 8 + random.next_u64() as usize % 8;
                match flip(&rest, path, bit).await {
                    Ok(shown) => noticed += usize::from(shown),
                    Err(what) => {
                        panic!("bit {bit} of {}, stopped in order {in_order}: {what}", path.display())
                    }
                }
            }
            assert!(!shows || noticed > 0, "no flipped bit in .{kind} files was noticed");
        }
    });
}

#[test]
fn flipped_bits_after_a_kill_never_give_wrong_data() {
    flip_in_all_kinds(false);
}

#[test]
fn flipped_bits_after_a_stop_in_order_never_give_wrong_data() {
    flip_in_all_kinds(true);
}

/// No checksum covers the base offset of a batch either; but offsets are dense.
#[test]
fn a_flipped_offset_in_a_segment_is_noticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let rest = rest(true).await;
        for path in paths(&rest, "log") {
            let bytes = &rest.image.contents[&rest.image.names[path].unwrap()];
            let mut at = 0;
            while at < bytes.len() {
                let low_byte = at + 7;
                for bit in 0..2 {
                    if let Err(what) = flip(&rest, path, low_byte * 8 + bit).await {
                        panic!("the offset of the batch at {at} of {}, bit {bit}: {what}", path.display());
                    }
                }
                at += BatchHeader::parse(&bytes[at..]).unwrap().length;
            }
        }
    });
}
