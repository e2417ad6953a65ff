//! Randomness for backoff, so that clients that failed together do not come back together.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// A source of numbers that need not be hard to guess (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    /// One that differs from process to process and from client to client.
    pub(crate) fn new() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// One whose numbers follow from `seed`.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How long to wait after so many failures in a row: twice as long after each, from `least` on and up to `most`, and
    /// up to a fifth less or more (KIP-580).
    pub(crate) fn backoff(&mut self, failures: u32, least: Duration, most: Duration) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let full = least.saturating_mul(1 << doublings).min(most);
        let share = 0.8 + 0.4 * (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        full.mul_f64(share).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_its_bounds_and_never_twice_the_same() {
        let (least, most) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut jitter = Jitter::seeded(1);
        for (failures, full) in [(0, 50), (1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (u32::MAX, 1000)]
        {
            let full = Duration::from_millis(full);
            let waits: Vec<_> = (0..100).map(|_| jitter.backoff(failures, least, most)).collect();
            assert!(
                waits.iter().all(|wait| *wait >= full.mul_f64(0.8) && *wait <= most.min(full.mul_f64(1.2)))
            );
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
        assert_ne!(Jitter::new().next(), Jitter::new().next());
    }
}
