//! What the kernel says a broker's process has used: CPU of all its threads, and memory.
//!
//! Everything is read from /proc. A process that is gone reads as an error, never as zero.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// User and system CPU time of a process, its threads that ended included.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks =
        cpu_ticks(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no CPU times")))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// CPU time of the calling thread.
pub fn own_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A process's memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Of that, anonymous: heap and stacks, without mapped files.
    pub anonymous: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

/// Reads a process's memory.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    memory_of(&status).ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no memory figures")))
}

/// Reads a process's anonymous memory 20 times a second from its start to [`Sampler::stop`].
///
/// The kernel keeps a peak of resident memory but none of its anonymous part.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    anonymous_peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts sampling.
    pub fn start(pid: u32) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let anonymous_peak = Arc::new(AtomicU64::new(0));
        let thread = thread::spawn({
            let (stop, peak) = (Arc::clone(&stop), Arc::clone(&anonymous_peak));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(now) = memory(pid) else { return };
                    peak.fetch_max(now.anonymous, Ordering::Relaxed);
                    thread::park_timeout(Duration::from_millis(50));
                }
            }
        });
        Sampler { stop, anonymous_peak, thread: Some(thread) }
    }

    /// The largest anonymous memory seen so far, in bytes.
    pub fn anonymous_peak(&self) -> u64 {
        self.anonymous_peak.load(Ordering::Relaxed)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The command's name is in parentheses and may hold anything, so fields count from the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(user + system)
}

fn memory_of(status: &str) -> Option<Memory> {
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 900 0 1 0 130 70 0 0 20 0 33 0 1000 4096 25";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  2000 kB\nVmRSS:\t  1000 kB\nRssAnon:\t   10 kB\n";
        let expected = Memory { resident: 1_024_000, anonymous: 10_240, peak: 2_048_000 };
        assert_eq!(memory_of(status), Some(expected));
        assert_eq!(memory_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_burns_cpu() {
        let me = std::process::id();
        let before = own_cpu();
        let mut sum = 0_u64;
        while own_cpu() < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu(me).unwrap() >= Duration::from_millis(20));
        let memory = memory(me).unwrap();
        assert!(memory.peak >= memory.resident && memory.resident > memory.anonymous);
    }
}
