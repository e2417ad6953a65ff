//! The queue against a model of it, and under several threads.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::{clock, level::LEVELS};

const BYTES: usize = BYTES_MIN;

#[derive(Clone, Copy, Debug)]
enum Step {
    Push { level: Level, bytes: usize },
    Take,
    Done,
}

fn step() -> impl Strategy<Value = Step> {
    let level = (0..5_usize).prop_map(|number| LEVELS[number]);
    // Most are small; one in some is larger than a chunk.
    let bytes = prop_oneof![8 => 8..300_usize, 4 => 1000..9000_usize, 1 => 60_000..80_000_usize];
    prop_oneof![
        12 => (level, bytes).prop_map(|(level, bytes)| Step::Push { level, bytes }),
        1 => Just(Step::Take),
        1 => Just(Step::Done),
    ]
}

/// An event that tells its number.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(bytes.max(8), b'.');
    value
}

fn push(queue: &Queue, level: Level, value: &[u8]) {
    queue.push(&Entry { level, timestamp: 0, key: None, target: None, value }, true);
}

fn number(event: &Taken) -> u64 {
    u64::from_le_bytes(event.value[..8].try_into().unwrap())
}

/// Does the steps on a queue, and checks what it says and gives.
fn check(overflow: Overflow, steps: &[Step]) {
    let queue = Queue::new(BYTES, overflow);
    // Those that were accepted and are not taken yet, as far as they were not dropped since.
    let mut waiting: VecDeque<(u64, Level)> = VecDeque::new();
    let mut in_hand = None;
    let mut taken = 0;
    for (number_now, step) in (0_u64..).zip(steps) {
        let before = queue.counts();
        let fill = queue.fill();
        match *step {
            Step::Push { level, bytes } => {
                push(&queue, level, &value(number_now, bytes));
                let after = queue.counts();
                let accepted = after.accepted.since(&before.accepted);
                let displaced = after.displaced - before.displaced;
                let dropped = after.dropped.since(&before.dropped);
                assert_eq!(accepted.total() + dropped.total() - displaced, 1);
                for _ in 0..displaced {
                    waiting.pop_front().unwrap();
                }
                if accepted.total() == 1 {
                    assert!(fill < queue.shed_from(level));
                    waiting.push_back((number_now, level));
                }
                match overflow {
                    // The oldest make room, unless there is nothing but what is being filled and what is in hand.
                    Overflow::DropOldest if level == Level::WARN && bytes < CHUNK / 2 => {
                        assert_eq!(accepted.warn, 1);
                    }
                    Overflow::DropNewest => assert_eq!(displaced, 0),
                    _ => {}
                }
            }
            Step::Take if in_hand.is_none() => {
                let chunk = queue.take();
                assert_eq!(chunk.is_some(), !waiting.is_empty());
                for event in chunk.iter().flat_map(InUse::events) {
                    assert_eq!(waiting.pop_front(), Some((number(&event), event.level)));
                    taken += 1;
                }
                in_hand = chunk;
            }
            Step::Take => {}
            Step::Done => {
                if let Some(chunk) = in_hand.take() {
                    queue.done(chunk);
                }
            }
        }
        let state = queue.state.lock();
        assert!(state.fill <= state.allocated && state.allocated <= BYTES, "{step:?}");
        let counts = state.counts;
        assert_eq!(counts.accepted.total(), counts.displaced + taken + waiting.len() as u64);
        let in_chunks: u64 = state.chunks.iter().map(|chunk| chunk.entries.total()).sum();
        assert_eq!(in_chunks, waiting.len() as u64);
    }
    if let Some(chunk) = in_hand.take() {
        queue.done(chunk);
    }
    while let Some(chunk) = queue.take() {
        for event in chunk.events() {
            assert_eq!(waiting.pop_front(), Some((number(&event), event.level)));
        }
        queue.done(chunk);
    }
    assert!(waiting.is_empty());
    assert_eq!(queue.fill(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_taken_in_order_or_counted(steps in prop::collection::vec(step(), 1..1500)) {
        for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block(Duration::ZERO)] {
            check(overflow, &steps);
        }
    }
}

#[test]
fn lesser_levels_are_refused_before_it_is_full() {
    let queue = Queue::new(BYTES, Overflow::DropNewest);
    let value = [b'.'; 1000];
    for (level, percent) in [(Level::TRACE, 50), (Level::DEBUG, 70), (Level::INFO, 85)] {
        while queue.counts().dropped[level] == 0 {
            push(&queue, level, &value);
        }
        let fill = queue.fill();
        assert!((BYTES * percent / 100..BYTES * percent / 100 + 2000).contains(&fill), "{level} at {fill}");
    }
    while queue.counts().dropped[Level::WARN] == 0 {
        push(&queue, Level::WARN, &value);
    }
    assert!(queue.fill() > BYTES - 4000, "{}", queue.fill());
    let counts = queue.counts();
    assert!(counts.accepted.total() * 1000 > BYTES as u64 * 9 / 10);
    assert_eq!(counts.dropped.total(), 4);
}

#[test]
fn memory_is_used_again() {
    let queue = Queue::new(BYTES, Overflow::DropNewest);
    for _ in 0..1000 {
        for level in LEVELS {
            push(&queue, level, &[b'.'; 9000]);
        }
        let chunk = queue.take().unwrap();
        queue.done(chunk);
    }
    let state = queue.state.lock();
    assert_eq!(state.allocated, (state.spare.len() + state.chunks.len()) * CHUNK);
    assert!(state.allocated <= 2 * CHUNK);
}

#[test]
fn who_blocks_goes_on_when_there_is_room_and_gives_up_in_time() {
    let queue = Queue::new(BYTES, Overflow::Block(Duration::from_secs(60)));
    while queue.fill() < BYTES - 5000 {
        push(&queue, Level::WARN, &[b'.'; 4000]);
    }
    thread::scope(|scope| {
        let blocked = scope.spawn(|| push(&queue, Level::WARN, &[b'!'; 9000]));
        let chunk = queue.take().unwrap();
        assert!(!blocked.is_finished());
        queue.done(chunk);
        blocked.join().unwrap();
    });
    assert_eq!(queue.counts().dropped.total(), 0);
    // Who may not wait does not.
    while queue.fill() < BYTES - 5000 {
        push(&queue, Level::WARN, &[b'.'; 4000]);
    }
    let entry = Entry { level: Level::WARN, timestamp: 0, key: None, target: None, value: &[b'!'; 9000] };
    queue.push(&entry, false);
    assert_eq!(queue.counts().dropped.warn, 1);
    // Nor does anybody once it is closed.
    thread::scope(|scope| {
        let blocked = scope.spawn(|| push(&queue, Level::WARN, &[b'!'; 9000]));
        queue.close(clock::deadline(Duration::ZERO));
        blocked.join().unwrap();
    });
    assert_eq!(queue.counts().dropped.warn, 2);
}

#[test]
fn nothing_waits_for_a_sink_that_has_ended() {
    let queue = Queue::new(BYTES, Overflow::Block(Duration::from_secs(60)));
    push(&queue, Level::INFO, b"tea");
    queue.end();
    assert_eq!(queue.flush(Duration::from_secs(60)), Flushed::Ended);
    assert!(queue.wait_for_end(clock::deadline(Duration::from_secs(60))));
    push(&queue, Level::INFO, b"tea");
    let counts = queue.counts();
    assert_eq!((counts.accepted.info, counts.lost.info, counts.dropped.info), (1, 1, 1));
}

/// Several threads log as fast as they can, one takes as the sink's thread does, and flushes come between.
#[test]
fn under_several_threads_each_event_is_taken_once_and_in_the_order_of_its_thread() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block(Duration::from_secs(60))] {
        let queue = Queue::new(BYTES, overflow);
        let has_ended = AtomicBool::new(false);
        let (mut taken, mut flushed) = (0, 0);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let queue = &queue;
                    scope.spawn(move || {
                        for number in 0..EACH {
                            push(
                                queue,
                                Level::ERROR,
                                &value(thread << 32 | number, 20 + number as usize % 200),
                            );
                        }
                    })
                })
                .collect();
            let (queue, has_ended) = (&queue, &has_ended);
            let flusher = scope.spawn(move || {
                while !has_ended.load(Ordering::Acquire) {
                    assert_eq!(queue.flush(Duration::from_secs(60)), Flushed::Yes { lost: 0 });
                }
            });
            scope.spawn(move || {
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                has_ended.store(true, Ordering::Release);
                flusher.join().unwrap();
                queue.close(clock::deadline(Duration::ZERO));
            });
            runtime.block_on(async {
                let mut last = [None; THREADS as usize];
                loop {
                    if let Some(to) = queue.begin_flush() {
                        assert!(to >= flushed);
                        flushed = to;
                        queue.flushed(to);
                    }
                    queue.something().await;
                    tokio::select! {
                        () = queue.a_whole_chunk() => {}
                        () = tokio::time::sleep(Duration::from_millis(1)) => {}
                    }
                    let Some(chunk) = queue.take() else {
                        if queue.closing().is_some() {
                            break;
                        }
                        continue;
                    };
                    for event in chunk.events() {
                        let (thread, number) = (number(&event) >> 32, number(&event) & u64::from(u32::MAX));
                        let last = &mut last[thread as usize];
                        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
                        *last = Some(number);
                        taken += 1;
                    }
                    queue.done(chunk);
                }
            });
        });
        let counts = queue.counts();
        assert_eq!(counts.accepted.error, taken + counts.displaced);
        assert_eq!(counts.accepted.error + counts.dropped.error - counts.displaced, THREADS * EACH);
        if matches!(overflow, Overflow::Block(_)) {
            assert_eq!(counts.dropped.total(), 0);
        }
    }
}
