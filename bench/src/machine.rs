//! What the bench ran on: enough of a description to judge the absolute numbers by.

use std::{fs, io, path::Path};

use crate::disk::{Device, Limits};

/// The machine, its file system and its disk.
pub struct Machine {
    /// One line each, as `(what, value)`.
    pub lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// Describes the machine whose `dir` holds the data.
    pub fn describe(dir: &Path, limits: &Limits) -> io::Result<Machine> {
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let cores = std::thread::available_parallelism()?;
        let device =
            Device::of(dir)?.map_or_else(|| "no single block device".to_owned(), |device| device.name);
        let cache = fs::read_to_string(format!("/sys/block/{device}/queue/write_cache")).unwrap_or_default();
        let path = if limits.direct { "O_DIRECT and O_DSYNC" } else { "O_DSYNC, no O_DIRECT here" };
        let lines = vec![
            ("CPU", value(&cpu, "model name").unwrap_or("unknown").to_owned()),
            ("cores", cores.to_string()),
            (
                "memory",
                total_memory(&memory).map_or_else(|| "unknown".to_owned(), |gib| format!("{gib:.1} GiB")),
            ),
            ("kernel", kernel.trim().to_owned()),
            ("file system", file_system(&mounts, &dir.canonicalize()?).unwrap_or("unknown").to_owned()),
            ("disk", format!("{device} {}", cache.trim()).trim().to_owned()),
            (
                "durable 4 KiB write",
                format!(
                    "p50 {:.3} ms, p99 {:.3} ms ({path})",
                    limits.write_4k_p50.as_secs_f64() * 1e3,
                    limits.write_4k_p99.as_secs_f64() * 1e3
                ),
            ),
            ("sequential durable writes of 1 MiB", format!("{:.0} MB/s", limits.sequential / 1e6)),
        ];
        Ok(Machine { lines })
    }
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn total_memory(meminfo: &str) -> Option<f64> {
    let kib: f64 = value(meminfo, "MemTotal")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kib / f64::from(1 << 20))
}

/// The type of the file system with the longest mount point above `dir`; of two at one place, the later.
fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let mut best = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let longer = best.is_none_or(|(length, _)| point.len() >= length);
        if dir.starts_with(point) && longer {
            best = right.split(' ').next().map(|kind| (point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_wins() {
        let mounts = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      28 27 0:2 / /data rw - xfs /dev/vdb rw\n\
                      29 27 0:3 / /dat rw - tmpfs tmpfs rw\n";
        assert_eq!(file_system(mounts, Path::new("/data/bench")), Some("xfs"));
        assert_eq!(file_system(mounts, Path::new("/database")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn values_are_found_by_name() {
        assert_eq!(value("model name\t: Some CPU\n", "model name"), Some("Some CPU"));
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       2097152 kB\n"), Some(2.0));
        assert_eq!(total_memory("MemFree:       1 kB\n"), None);
    }
}
