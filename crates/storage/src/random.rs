//! The seam through which chance comes in.

use std::{
    fmt,
    fs::File,
    io::Read,
    sync::atomic::{AtomicU64, Ordering},
};

/// A source of random numbers: topic ids, salts, jitter. Not for keys or passwords.
pub trait Random: fmt::Debug + Send + Sync + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// Sixteen random bytes, as for a topic id.
    fn next_16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_u64().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next_u64().to_le_bytes());
        bytes
    }
}

/// A generator with a start value: the same numbers each time, for tests and simulations (SplitMix64, Steele
/// and others 2014).
#[derive(Debug)]
pub struct SeededRandom {
    state: AtomicU64,
}

impl SeededRandom {
    /// The generator whose sequence is given by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The machine's entropy (`/dev/urandom`).
#[derive(Debug)]
pub struct SystemRandom {
    source: File,
}

impl SystemRandom {
    /// Opens the machine's source of entropy.
    ///
    /// # Errors
    /// Where `/dev/urandom` cannot be opened, as in a container without `/dev`.
    pub fn open() -> std::io::Result<Self> {
        Ok(Self { source: File::open("/dev/urandom")? })
    }
}

impl Random for SystemRandom {
    /// # Panics
    /// If the kernel stops giving random bytes from an open `/dev/urandom`, which Linux never does.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        (&self.source).read_exact(&mut bytes).expect("an open /dev/urandom always answers");
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_sequence_again() {
        let (a, b, c) = (SeededRandom::new(1), SeededRandom::new(1), SeededRandom::new(2));
        assert_eq!(a.next_16(), b.next_16());
        assert_ne!(a.next_u64(), c.next_u64());
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        let random = SystemRandom::open().unwrap();
        assert_ne!(random.next_16(), random.next_16());
    }
}
