//! The disk under the data directory: its counters, what it can do by itself, and its page cache.
//!
//! Invariant: nothing here writes to a broker's files. The limits are measured on a file of the bench's own,
//! pre-zeroed and overwritten with O_DIRECT and O_DSYNC; a file system without O_DIRECT is measured with
//! O_DSYNC alone and says so.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Advice, OFlags};

const ALIGNMENT: usize = 4096;
const MIB: usize = 1 << 20;

/// Counters of one block device since the machine's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads in bytes.
    pub bytes_read: u64,
    /// Writes that completed.
    pub writes: u64,
    /// Writes in bytes.
    pub bytes_written: u64,
    /// Flushes that completed.
    pub flushes: u64,
}

impl Counters {
    /// What was added since `earlier`.
    pub fn since(self, earlier: Counters) -> Counters {
        Counters {
            bytes_read: self.bytes_read - earlier.bytes_read,
            writes: self.writes - earlier.writes,
            bytes_written: self.bytes_written - earlier.bytes_written,
            flushes: self.flushes - earlier.flushes,
        }
    }
}

/// The block device that holds a directory.
#[derive(Debug, Clone)]
pub struct Device {
    major: u32,
    minor: u32,
    /// Its kernel name, such as `nvme0n1p1`.
    pub name: String,
}

impl Device {
    /// Finds the device; `None` where the file system has no single one (tmpfs, overlay, btrfs).
    pub fn of(dir: &Path) -> io::Result<Option<Device>> {
        let id = fs::metadata(dir)?.dev();
        let (major, minor) = (rustix::fs::major(id), rustix::fs::minor(id));
        let stats = fs::read_to_string("/proc/diskstats")?;
        Ok(find(&stats, major, minor).map(|(name, _)| Device { major, minor, name }))
    }

    /// Reads the counters now.
    pub fn counters(&self) -> io::Result<Counters> {
        let stats = fs::read_to_string("/proc/diskstats")?;
        find(&stats, self.major, self.minor)
            .map(|(_, counters)| counters)
            .ok_or_else(|| io::Error::other(format!("{} is no longer in /proc/diskstats", self.name)))
    }
}

/// What durable writes cost on this disk, with nobody else writing.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Median of one durable 4 KiB write.
    pub write_4k_p50: Duration,
    /// 99th percentile of one durable 4 KiB write.
    pub write_4k_p99: Duration,
    /// Sequential durable writes of 1 MiB, in bytes per second.
    pub sequential: f64,
    /// Whether they went past the page cache.
    pub direct: bool,
}

/// Measures the limits in `dir`, for about `time` each.
pub fn limits(dir: &Path, time: Duration) -> io::Result<Limits> {
    let path = dir.join("limits.tmp");
    let measured = limits_in(&path, time);
    let _ = fs::remove_file(&path);
    measured
}

/// Deletes a directory with all that is in it, if it is there.
pub fn delete(dir: &Path) -> io::Result<()> {
    if dir.exists() { fs::remove_dir_all(dir) } else { Ok(()) }
}

/// Writes back what `dir`'s file system holds dirty, so that one run does not pay for another's writes.
pub fn settle(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Drops every file below `dir` from the page cache. Pages that are dirty or mapped stay: settle first.
pub fn evict(dir: &Path) -> io::Result<()> {
    for path in files(dir)? {
        rustix::fs::fadvise(File::open(&path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Every regular file below `dir`.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads `paths` one after the other with O_DIRECT in pieces of 1 MiB, for at most `time`, and returns
/// the bytes read and how long they took.
pub fn read_direct(paths: &[PathBuf], time: Duration) -> io::Result<(u64, Duration)> {
    let mut memory = Aligned::new(MIB);
    let started = Instant::now();
    let mut total = 0;
    'files: for path in paths {
        let mut file = open(path, OFlags::DIRECT, false)?;
        loop {
            if started.elapsed() >= time {
                break 'files;
            }
            let read = file.read(memory.bytes())?;
            total += read as u64;
            if read < MIB {
                break; // the end: from here on the position is no longer aligned
            }
        }
    }
    Ok((total, started.elapsed()))
}

fn limits_in(path: &Path, time: Duration) -> io::Result<Limits> {
    const SIZE: usize = 64 * MIB;
    let mut memory = Aligned::new(MIB);
    let mut file = File::create(path)?;
    for _ in 0..SIZE / MIB {
        file.write_all(memory.bytes())?;
    }
    file.sync_all()?;
    memory.bytes().fill(0x5a);

    let direct = OFlags::DIRECT | OFlags::DSYNC;
    let (file, direct) = match open(path, direct, true) {
        Ok(file) => (file, true),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            (open(path, OFlags::DSYNC, true)?, false)
        }
        Err(error) => return Err(error),
    };
    let mut small = Vec::new();
    let started = Instant::now();
    for block in (0..SIZE / ALIGNMENT).cycle() {
        let before = Instant::now();
        file.write_all_at(&memory.bytes()[..ALIGNMENT], (block * ALIGNMENT) as u64)?;
        small.push(before.elapsed());
        if started.elapsed() >= time {
            break;
        }
    }
    small.sort_unstable();

    let started = Instant::now();
    let mut written = 0;
    for block in (0..SIZE / MIB).cycle() {
        file.write_all_at(memory.bytes(), (block * MIB) as u64)?;
        written += MIB;
        if started.elapsed() >= time {
            break;
        }
    }
    Ok(Limits {
        write_4k_p50: small[small.len() / 2],
        write_4k_p99: small[small.len() * 99 / 100],
        sequential: written as f64 / started.elapsed().as_secs_f64(),
        direct,
    })
}

fn open(path: &Path, flags: OFlags, write: bool) -> io::Result<File> {
    File::options().read(!write).write(write).custom_flags(flags.bits() as i32).open(path)
}

fn find(stats: &str, major: u32, minor: u32) -> Option<(String, Counters)> {
    const SECTOR: u64 = 512; // the unit of this file, whatever the device's own
    stats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        if (number(0)?, number(1)?) != (u64::from(major), u64::from(minor)) {
            return None;
        }
        let counters = Counters {
            bytes_read: number(5)? * SECTOR,
            writes: number(7)?,
            bytes_written: number(9)? * SECTOR,
            flushes: number(18).unwrap_or(0), // since Linux 5.5
        };
        Some((fields.get(2)?.to_string(), counters))
    })
}

/// Memory at an address that O_DIRECT accepts.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Aligned {
        let memory = vec![0; len + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Aligned { memory, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = " 254 0 vda 29605 6923 3632938 8827 5609 6584 540776 2351 0 4336 11364 3245 65 141280 173 262 11\n\
                         \x20  8 1 sda1 1 0 8 0 2 0 16 0 0 0 0\n";

    #[test]
    fn counters_are_found_by_device_number() {
        let (name, counters) = find(STATS, 254, 0).unwrap();
        assert_eq!(name, "vda");
        let expected = Counters {
            bytes_read: 3_632_938 * 512,
            writes: 5609,
            bytes_written: 540_776 * 512,
            flushes: 262,
        };
        assert_eq!(counters, expected);
        assert_eq!(find(STATS, 8, 1).unwrap().1.flushes, 0);
        assert_eq!(find(STATS, 8, 2), None);
    }

    #[test]
    fn direct_reads_see_every_byte_and_eviction_changes_none() {
        let dir =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!(".cache/test-{}", std::process::id()));
        fs::create_dir_all(dir.join("inner")).unwrap();
        fs::write(dir.join("inner/a"), vec![7; 3 * MIB + 100]).unwrap();
        fs::write(dir.join("b"), vec![8; 5]).unwrap();
        settle(&dir).unwrap();
        evict(&dir).unwrap();
        let files = files(&dir).unwrap();
        let read = read_direct(&files, Duration::from_secs(60));
        let limits = limits(&dir, Duration::from_millis(20));
        let kept = fs::read(dir.join("inner/a")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(files.len(), 2);
        if let Ok((bytes, _)) = read {
            assert_eq!(bytes, (3 * MIB + 105) as u64);
        }
        assert_eq!(kept, vec![7; 3 * MIB + 100]);
        let limits = limits.unwrap();
        assert!(limits.write_4k_p50 > Duration::ZERO && limits.write_4k_p50 <= limits.write_4k_p99);
    }
}
