//! Counts what code allocates, so that a check can say how much that may be at most.
//!
//! Counted per thread, because tests run side by side. A program that has this module has its allocator, which
//! is that of the system with the counting before it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// How many bytes are allocated now; below zero where older ones were given back.
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// What `run` gives back, and the most bytes that its allocations took at any moment.
pub fn peak_bytes<T>(run: impl FnOnce() -> T) -> (T, usize) {
    NOW.set(0);
    PEAK.set(0);
    let result = run();
    (result, PEAK.get().unsigned_abs())
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came. The counters are numbers without a destructor,
// so that using them allocates nothing and works at any time in the life of a thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Where the block cannot grow in its place, both are there for a moment.
        add(new_size);
        subtract(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn add(size: usize) {
    let now = NOW.get().wrapping_add_unsigned(size);
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

fn subtract(size: usize) {
    NOW.set(NOW.get().wrapping_sub_unsigned(size));
}
