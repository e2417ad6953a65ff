//! The memory of connections: what request frames and responses may take together.
//!
//! Frames take memory as their bytes arrive, never by the length that they announce. When the pool for frames
//! is used up, one frame at a time, the one that has waited longest, may grow into memory that is kept aside
//! and is as large as the largest frame allowed: so whatever the others hold, it can be finished. A frame that
//! then makes no progress is given up, see [`FrameMemory::is_short`].
//!
//! Responses that do not fit into their share keep no bytes, but where to read them again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ottla_storage::{Budget, Reservation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// For request frames.
    pub(crate) frames: FrameMemory,
    /// For what responses hold until it is written; groups share it.
    pub(crate) responses: Budget,
    /// The most that the elements of one request's arrays may take, in bytes.
    pub(crate) elements_max: usize,
}

impl Memory {
    /// Shares out `bytes`: an eighth to frames, beside what one frame of `frame_bytes_max` takes. Responses have
    /// theirs together with groups.
    pub(crate) fn new(bytes: usize, frame_bytes_max: usize, responses: Budget) -> Self {
        let frames = FrameMemory {
            pool: Budget::new(bytes / 8),
            frame_bytes_max,
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
        };
        Self { frames, responses, elements_max: bytes / 32 }
    }
}

/// The memory of request frames.
#[derive(Clone, Debug)]
pub(crate) struct FrameMemory {
    pool: Budget,
    frame_bytes_max: usize,
    /// Whose turn it is to use the memory that is kept aside.
    turn: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// What a frame, or a buffer with several of them, holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    reservation: Option<Reservation>,
    turn: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Held {
    /// Whether the memory kept aside is in use for it.
    pub(crate) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(reservation) = &mut self.reservation {
            reservation.shrink(bytes);
        }
        self.bytes = self.bytes.min(bytes);
    }

    fn add(&mut self, more: Reservation) {
        self.bytes += more.bytes();
        match &mut self.reservation {
            Some(reservation) => reservation.merge(more),
            None => self.reservation = Some(more),
        }
    }
}

impl FrameMemory {
    /// Whether somebody waits for memory.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The largest frame there may be, in bytes.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// Lets `held` hold `bytes` if they are there now.
    pub(crate) fn try_grow(&self, held: &mut Held, bytes: usize) -> bool {
        let more = bytes.saturating_sub(held.bytes);
        if more == 0 {
            return true;
        }
        if held.has_turn() {
            held.bytes = bytes;
            return true;
        }
        let Some(reservation) = self.pool.try_reserve(more) else { return false };
        held.add(reservation);
        true
    }

    /// Waits until `held` may hold `bytes`, which are not more than the largest frame needs. Returns whether
    /// that took any time.
    pub(crate) async fn grow(&self, held: &mut Held, bytes: usize) -> bool {
        if self.try_grow(held, bytes) {
            return false;
        }
        let _waiting = Waiting::new(&self.waiting);
        let more = bytes - held.bytes;
        tokio::select! {
            biased;
            Some(reservation) = self.pool.reserve(more) => held.add(reservation),
            // The semaphore is never closed.
            Ok(turn) = self.turn.clone().acquire_owned() => {
                held.turn = Some(turn);
                held.bytes = bytes;
            }
            else => {}
        }
        true
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How large a buffer to read into: it follows how much there is to read.
#[derive(Debug)]
pub(crate) struct ReadSize(usize);

impl ReadSize {
    const MIN: usize = 4 << 10;
    const MAX: usize = 256 << 10;

    /// The smallest.
    pub(crate) fn new() -> Self {
        Self(Self::MIN)
    }

    /// How many bytes to make room for.
    pub(crate) fn get(&self) -> usize {
        self.0
    }

    /// So much was read into so much room.
    pub(crate) fn note(&mut self, read: usize, room: usize) {
        if read == room {
            self.0 = (self.0 * 2).min(Self::MAX);
        } else if read < self.0 / 8 {
            self.0 = (self.0 / 2).max(Self::MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const MIB: usize = 1 << 20;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn one_frame_can_always_be_finished() {
        let memory = Memory::new(32 * MIB, 8 * MIB, Budget::new(8 * MIB)).frames;
        let (mut liar, mut honest, mut third) = (Held::default(), Held::default(), Held::default());
        assert!(memory.try_grow(&mut liar, 4 * MIB));
        assert!(!memory.try_grow(&mut honest, 1));
        assert!(!memory.is_short());
        assert!(poll(pin!(memory.grow(&mut honest, MIB))).is_ready());
        assert!(honest.has_turn());
        assert!(memory.try_grow(&mut honest, 8 * MIB));
        {
            let mut waits = pin!(memory.grow(&mut third, MIB));
            assert!(poll(waits.as_mut()).is_pending());
            assert!(memory.is_short());
            drop(honest);
            assert!(poll(waits.as_mut()).is_ready());
        }
        assert!(!memory.is_short());
        assert!(third.has_turn());
        drop((liar, third));
        assert_eq!(memory.pool.free(), 4 * MIB);
    }

    #[test]
    fn memory_that_comes_back_goes_to_who_waits() {
        let memory = Memory::new(32 * MIB, 8 * MIB, Budget::new(8 * MIB)).frames;
        let (mut first, mut second, mut third) = (Held::default(), Held::default(), Held::default());
        assert!(memory.try_grow(&mut first, 4 * MIB));
        assert!(poll(pin!(memory.grow(&mut second, MIB))).is_ready());
        {
            let mut waits = pin!(memory.grow(&mut third, 2 * MIB));
            assert!(poll(waits.as_mut()).is_pending());
            drop(first);
            assert!(poll(waits.as_mut()).is_ready());
        }
        assert!(!third.has_turn() && third.bytes == 2 * MIB);
    }

    #[test]
    fn a_buffer_grows_with_what_it_is_filled_with() {
        let mut size = ReadSize::new();
        for _ in 0..20 {
            size.note(size.get(), size.get());
        }
        assert_eq!(size.get(), ReadSize::MAX);
        for _ in 0..20 {
            size.note(1, size.get());
        }
        assert_eq!(size.get(), ReadSize::MIN);
    }
}
