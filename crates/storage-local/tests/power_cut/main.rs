//! Power cuts: a store under load on a recorded disk, cut at random moments, started on what the disk may
//! hold then, and compared with what was promised.
//!
//! `OTTLA_POWER_CUTS=100000 cargo test --release -p ottla-storage-local --test power_cut` tries more images
//! than the ordinary run.

#[path = "../harness/mod.rs"]
mod harness;
mod history;
mod load;
mod planted;
mod verify;

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use load::{Load, load};
use ottla_storage::{Random, SeededRandom};
use ottla_testing_internal::{Forgets, NOTHING};
use verify::try_cut;

const ROOT: &str = "/data";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Tries `images` images; returns the failures, or the first one only.
fn try_images(
    loads: &[Load],
    images: usize,
    seed: u64,
    forgets: Forgets<'_>,
    first_only: bool,
) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = first_only && !failures.lock().unwrap().is_empty();
                    if number >= images || enough {
                        return;
                    }
                    let random = SeededRandom::new(seed ^ (number as u64) << 20);
                    let load = &loads[number % loads.len()];
                    let at = random.next_u64() as usize % load.record.ops().len();
                    let choice = random.next_u64();
                    if let Err(what) = try_cut(load, at, choice, forgets) {
                        failures.lock().unwrap().push(format!("cut {at}, choice {choice}: {what}"));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    const EACH: usize = 500;
    let images: usize = std::env::var("OTTLA_POWER_CUTS").map_or(2000, |count| count.parse().unwrap());
    for seed in 0..images.div_ceil(EACH) as u64 {
        // Few logs are synced file by file, many at once.
        let logs = [4, 24, 6, 2][seed as usize % 4];
        let loads = load(seed, logs, 360);
        let failures = try_images(&loads, EACH, seed, NOTHING, false);
        let shown: Vec<_> = failures.iter().take(5).collect();
        assert!(failures.is_empty(), "{} of {EACH} images, seed {seed}: {shown:#?}", failures.len());
    }
}
