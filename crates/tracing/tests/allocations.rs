//! An event costs the thread that logs it no allocation.

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use ottla_tracing::{Format, Key};
use tracing::{dispatcher, info, info_span, warn};
use tracing_subscriber::{Registry, prelude::*};

use support::{LONG, cluster, sink};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps what is asked of it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn an_event_allocates_nothing() {
    let cluster = cluster();
    for format in [Format::Plain, Format::Ecs] {
        let (sink, guard) =
            sink(&cluster).format(format).key(Key::TraceId).target_header(true).build().unwrap();
        let dispatch = Registry::default().with(sink.layer()).into();
        dispatcher::with_default(&dispatch, || {
            let request =
                info_span!("request", method = "GET", trace_id = "4bf92f3577b34da6a3ce929d0e0e4736");
            let _request = request.enter();
            let order = info_span!("order", table = 7);
            let _order = order.enter();
            let log = |events: u32| {
                for event in 0..events {
                    info!(event, price = 3.5, paid = true, name = "Earl \"Grey\"", status = ?Some(200), "tea is {}", "served");
                    warn!(path = %"/tea", "tea is late");
                }
                sink.flush(LONG).unwrap();
            };
            // Buffers are made, and chunks.
            for _ in 0..5 {
                log(200);
            }
            let before = COUNT.get();
            for _ in 0..10 {
                log(200);
            }
            assert_eq!(COUNT.get() - before, 0, "{format:?}");
        });
        let counters = guard.close(LONG);
        assert_eq!((counters.delivered, counters.dropped.total()), (15 * 400, 0));
    }
}
