//! The arena: aligned memory through which every appended batch passes once.
//!
//! A network thread fills a [`Piece`]; the WAL thread patches offsets into it, writes it to the disk from
//! where it lies, and freezes it into [`Bytes`] that readers and the segment writer share. The memory goes
//! back to the pool when the last of them lets go.
//!
//! Invariants: a [`Piece`] is the only way to its range of a block until it is frozen, and nothing can write
//! a frozen range before its block has gone through the pool; the start of a piece is aligned to [`BLOCK`].
//!
//! The pool counts the bytes of all blocks that are out. The bound is soft: [`Arena::room`] waits, and a
//! batch that did not wait gets memory all the same, so that the number of threads, not the number of
//! clients, decides how far it is passed.

use std::{
    alloc::{self, Layout},
    fmt,
    ptr::NonNull,
    slice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use ottla_storage::BLOCK;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Size of an ordinary block of the pool. A batch that does not fit gets a block of its own size.
pub(crate) const ARENA_BLOCK: usize = 1 << 20;

/// A pool of aligned blocks with a soft limit.
#[derive(Clone)]
pub(crate) struct Arena {
    pool: Arc<Pool>,
}

struct Pool {
    /// Blocks of [`ARENA_BLOCK`] bytes that nobody uses; their pages are resident.
    free: Mutex<Vec<Memory>>,
    /// Bytes of blocks that are out.
    held: AtomicUsize,
    limit: usize,
    /// Told when bytes come back while somebody may be waiting.
    returned: Notify,
}

impl Arena {
    /// An arena that asks its users to wait once `limit` bytes are out.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            pool: Arc::new(Pool {
                free: Mutex::new(Vec::new()),
                held: AtomicUsize::new(0),
                limit,
                returned: Notify::new(),
            }),
        }
    }

    /// Bytes of blocks that are out: being filled, written, read, or waiting for their segment.
    pub(crate) fn held(&self) -> usize {
        self.pool.held.load(Ordering::Relaxed)
    }

    /// The limit given at the start, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.pool.limit
    }

    /// Waits until less than the limit is out.
    pub(crate) async fn room(&self) {
        while self.held() >= self.pool.limit {
            let returned = self.pool.returned.notified();
            if self.held() < self.pool.limit {
                return;
            }
            returned.await;
        }
    }

    /// A piece of at least `len` bytes: the whole of an ordinary block, or a block made for it.
    pub(crate) fn piece(&self, len: usize) -> Piece {
        let len = len.next_multiple_of(BLOCK).max(ARENA_BLOCK);
        let pooled = if len == ARENA_BLOCK { self.pool.free.lock().pop() } else { None };
        let memory = pooled.unwrap_or_else(|| Memory::resident(len));
        self.pool.held.fetch_add(len, Ordering::Relaxed);
        Piece {
            block: Arc::new(Block { memory: Some(memory), pool: Some(self.pool.clone()) }),
            start: 0,
            end: len,
        }
    }

    /// Gives the memory of unused blocks beyond `keep` bytes back to the system.
    pub(crate) fn shrink(&self, keep: usize) {
        let excess = {
            let mut free = self.pool.free.lock();
            let at = (keep / ARENA_BLOCK).min(free.len());
            free.split_off(at)
        };
        drop(excess);
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("held", &self.held()).field("limit", &self.limit()).finish()
    }
}

/// A range of a block that one owner may write.
pub(crate) struct Piece {
    block: Arc<Block>,
    start: usize,
    end: usize,
}

impl Piece {
    /// Aligned memory of at least `len` bytes that belongs to no arena.
    pub(crate) fn alone(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(BLOCK);
        let block = Block { memory: Some(Memory::resident(len)), pool: None };
        Self { block: Arc::new(block), start: 0, end: len }
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The bytes, to read.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start..end` lies within the block, whose memory is initialised and lives as long as
        // `self.block`; no other `Piece` covers the range (see `split_to`), so nobody writes it.
        unsafe { slice::from_raw_parts(self.block.base().add(self.start), self.len()) }
    }

    /// The bytes, to write.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as for `as_slice`; `&mut self` makes this the only reference to the range.
        unsafe { slice::from_raw_parts_mut(self.block.base().add(self.start), self.len()) }
    }

    /// Takes the first `at` bytes, a multiple of [`BLOCK`], off this piece.
    pub(crate) fn split_to(&mut self, at: usize) -> Piece {
        assert!(at <= self.len() && at.is_multiple_of(BLOCK), "a piece is split inside and at a block");
        let front = Piece { block: self.block.clone(), start: self.start, end: self.start + at };
        self.start += at;
        front
    }

    /// Gives up writing: the bytes become shared.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(Frozen(self))
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("len", &self.len()).finish_non_exhaustive()
    }
}

struct Frozen(Piece);

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

struct Block {
    /// Present until the block is dropped.
    memory: Option<Memory>,
    /// Where the memory goes back to.
    pool: Option<Arc<Pool>>,
}

impl Block {
    fn base(&self) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), |memory| memory.ptr.as_ptr())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let (Some(memory), Some(pool)) = (self.memory.take(), &self.pool) else { return };
        let len = memory.layout.size();
        if len == ARENA_BLOCK {
            pool.free.lock().push(memory);
        }
        let before = pool.held.fetch_sub(len, Ordering::Relaxed);
        if before >= pool.limit {
            pool.returned.notify_waiters();
        }
    }
}

/// Aligned, initialised memory.
struct Memory {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: `Memory` owns its allocation; access to it is governed by `Piece`.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared `Memory` gives no access by itself.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates zeroed memory and touches each page, so that the append path does not.
    fn resident(len: usize) -> Self {
        let layout = Layout::from_size_align(len, BLOCK).expect("a batch is far below isize::MAX bytes");
        // SAFETY: the layout's size is not zero, since a piece is at least `ARENA_BLOCK` bytes.
        let Some(ptr) = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }) else {
            alloc::handle_alloc_error(layout)
        };
        for page in (0..len).step_by(BLOCK) {
            // SAFETY: `page` is inside the allocation; the write is volatile so that it is not left out.
            unsafe { ptr.as_ptr().add(page).write_volatile(0) };
        }
        Self { ptr, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from `alloc_zeroed` with this layout and is freed once.
        unsafe { alloc::dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_block_do_not_overlap_and_are_aligned() {
        let arena = Arena::new(8 << 20);
        let mut rest = arena.piece(10);
        let mut front = rest.split_to(BLOCK);
        front.as_mut_slice().fill(1);
        rest.as_mut_slice().fill(2);
        assert!(front.as_slice().iter().all(|&b| b == 1));
        assert!(rest.as_slice().iter().all(|&b| b == 2));
        assert_eq!(rest.as_slice().as_ptr().addr() % BLOCK, 0);
        assert_eq!(front.len() + rest.len(), ARENA_BLOCK);
    }

    #[test]
    fn memory_is_held_until_the_last_reader_lets_go() {
        let arena = Arena::new(8 << 20);
        let mut rest = arena.piece(10);
        let bytes = rest.split_to(BLOCK).freeze();
        let slice = bytes.slice(10..20);
        drop((rest, bytes));
        assert_eq!(arena.held(), ARENA_BLOCK);
        drop(slice);
        assert_eq!(arena.held(), 0);
        assert_eq!(arena.pool.free.lock().len(), 1);
        arena.shrink(0);
        assert_eq!(arena.pool.free.lock().len(), 0);
    }

    #[test]
    fn a_large_batch_gets_a_block_of_its_own() {
        let arena = Arena::new(8 << 20);
        let piece = arena.piece(3 * ARENA_BLOCK + 1);
        assert_eq!(arena.held(), 3 * ARENA_BLOCK + BLOCK);
        assert!(piece.len() > 3 * ARENA_BLOCK);
        drop(piece);
        assert_eq!(arena.held(), 0);
        assert!(arena.pool.free.lock().is_empty());
    }
}
