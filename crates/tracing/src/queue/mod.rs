//! The queue between those who log and the sink's thread.
//!
//! Events are copied into chunks behind one lock, which is held for the time of the copy. What its chunks may take together
//! is bounded; chunks are used again, the last one first, so that memory that is warm stays in use. The sink's thread takes
//! whole chunks, and a chunk that it has in its hands counts until it is done with.
//!
//! Invariants: whoever logs never waits but under [`Overflow::Block`]; each event that was accepted is taken once, or counted
//! as dropped; `fill` is what the chunks in use take, but for the free ends of the last chunk and of the one in hand.

mod chunk;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tracing::Level;

use self::chunk::{CHUNK, Chunk, Events, stored};
use crate::{entry::Entry, level::ByLevel};

pub(crate) use chunk::Taken;

/// The least that a queue can hold.
pub(crate) const BYTES_MIN: usize = 4 * CHUNK;
/// How many chunks are kept for later while there is nothing to do.
const SPARE: usize = 4;

/// What happens to an event of `WARN` or `ERROR` for which the queue has no room, and to one below that is not shed before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Overflow {
    /// It is dropped. What waits already stays.
    #[default]
    DropNewest,
    /// The oldest events that wait are dropped, up to 64 KiB of them at a time.
    DropOldest,
    /// Who logs waits for room, at most this long; then the event is dropped. This blocks the thread, and where that thread
    /// runs tasks, those with it.
    Block(Duration),
}

/// See the module.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// The sink's thread sleeps on this.
    wake: Notify,
    /// There is room again.
    room: Condvar,
    /// A flush has ended, or the sink has.
    told: Condvar,
    bytes_max: usize,
    overflow: Overflow,
    /// What `fill` was a moment ago, for those who only want to know whether it is worth to encode an event.
    fill_seen: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// The last one is being filled.
    chunks: VecDeque<Chunk>,
    /// The number of the first event in `chunks`, since the beginning, and that of the next one that comes.
    first: u64,
    next: u64,
    in_hand: Option<InHand>,
    spare: Vec<BytesMut>,
    /// Bytes of all chunks that there are: in `chunks`, in hand and spare.
    allocated: usize,
    fill: usize,
    waits: Waits,
    counts: Counts,
    /// The numbers of the events up to which somebody wants all flushed, up to which that is under way, and up to which it
    /// is done.
    flush_wanted: u64,
    flush_begun: u64,
    flushed: u64,
    /// Until when what is there has to be gone.
    closing: Option<Instant>,
    has_ended: bool,
}

/// What the sink's thread took last.
struct InHand {
    first: u64,
    /// What it counts in `fill`.
    fill: usize,
    /// What it takes.
    capacity: usize,
}

/// What the sink's thread sleeps for.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Waits {
    /// It does not sleep.
    #[default]
    No,
    /// For an event.
    ForAny,
    /// For a full chunk.
    ForMany,
}

/// How many events have had which end, by level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// The queue has taken them.
    pub(crate) accepted: ByLevel<u64>,
    /// The queue had no room, or was closed. So many of them had been accepted before.
    pub(crate) dropped: ByLevel<u64>,
    pub(crate) displaced: u64,
    /// They were given to the fallback.
    pub(crate) fallback: ByLevel<u64>,
    /// Neither Kafka nor the fallback has taken them.
    pub(crate) lost: ByLevel<u64>,
}

/// How a flush has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flushed {
    /// All that was accepted before has had its end; so many events were lost meanwhile.
    Yes { lost: u64 },
    /// Time was over.
    Late,
    /// The sink has ended.
    Ended,
}

/// A chunk in the hands of the sink's thread.
pub(crate) struct InUse(Bytes);

impl InUse {
    pub(crate) fn events(&self) -> Events {
        Events::new(self.0.clone())
    }
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, overflow: Overflow) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            room: Condvar::new(),
            told: Condvar::new(),
            bytes_max: bytes_max.max(BYTES_MIN),
            overflow,
            fill_seen: AtomicUsize::new(0),
        }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The bytes that events take at the moment.
    pub(crate) fn fill(&self) -> usize {
        self.state.lock().fill
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Whether an event of that level would be shed, which is counted then: it need not be encoded.
    pub(crate) fn sheds(&self, level: Level) -> bool {
        let shed_from = self.shed_from(level);
        if self.fill_seen.load(Ordering::Relaxed) < shed_from {
            return false;
        }
        let mut state = self.state.lock();
        self.fill_seen.store(state.fill, Ordering::Relaxed);
        let is_shed = state.fill >= shed_from;
        if is_shed {
            state.counts.dropped[level] += 1;
        }
        is_shed
    }

    /// Takes an event, or counts it as dropped. `may_wait`: the policy may block this thread.
    pub(crate) fn push(&self, entry: &Entry<'_>, may_wait: bool) {
        let stored = stored(entry);
        let mut state = self.state.lock();
        if state.is_closed() || state.fill >= self.shed_from(entry.level) {
            state.counts.dropped[entry.level] += 1;
            return;
        }
        while !state.make_room(stored, self.bytes_max) {
            let has_room = match self.overflow {
                Overflow::DropNewest => false,
                Overflow::DropOldest => state.drop_oldest(),
                Overflow::Block(at_most) => {
                    may_wait && {
                        let is_full = |state: &mut State| {
                            !state.is_closed() && !state.make_room(stored, self.bytes_max)
                        };
                        !self.room.wait_while_for(&mut state, is_full, at_most).timed_out()
                            && !state.is_closed()
                    }
                }
            };
            if !has_room {
                state.counts.dropped[entry.level] += 1;
                return;
            }
        }
        state.add(entry, stored);
        self.fill_seen.store(state.fill, Ordering::Relaxed);
        let wakes = match state.waits {
            Waits::No => false,
            Waits::ForAny => true,
            Waits::ForMany => state.chunks.len() > 1,
        };
        if wakes {
            state.waits = Waits::No;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// From which fill on events of a level are refused.
    fn shed_from(&self, level: Level) -> usize {
        match level {
            Level::TRACE => self.bytes_max / 2,
            Level::DEBUG => self.bytes_max / 10 * 7,
            Level::INFO => self.bytes_max / 20 * 17,
            Level::WARN | Level::ERROR => usize::MAX,
        }
    }

    /// Whether more than half of it is full.
    pub(crate) fn is_half_full(&self) -> bool {
        self.fill() > self.bytes_max / 2
    }

    /// Whether so much is there that `INFO` is refused.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.fill() >= self.shed_from(Level::INFO)
    }

    /// Waits until something is there, or a flush or the end is asked for.
    pub(crate) async fn something(&self) {
        loop {
            {
                let mut state = self.state.lock();
                if !state.chunks.is_empty() || state.closing.is_some() || state.is_flush_due() {
                    return;
                }
                state.free_spare();
                state.waits = Waits::ForAny;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until a whole chunk is there, or a flush or the end is asked for.
    pub(crate) async fn a_whole_chunk(&self) {
        loop {
            {
                let mut state = self.state.lock();
                if state.chunks.len() > 1 || state.closing.is_some() || state.flush_wanted > state.flush_begun
                {
                    return;
                }
                state.waits = Waits::ForMany;
            }
            self.wake.notified().await;
        }
    }

    /// Takes the oldest chunk, if there is one. Only what was taken before and is [done](Self::done) makes room for it.
    pub(crate) fn take(&self) -> Option<InUse> {
        let mut state = self.state.lock();
        state.waits = Waits::No;
        let chunk = state.chunks.pop_front()?;
        let is_last = state.chunks.is_empty();
        let fill = if is_last { chunk.len() } else { chunk.capacity() };
        state.in_hand = Some(InHand { first: state.first, fill, capacity: chunk.capacity() });
        state.first += chunk.entries.total();
        Some(InUse(chunk.into_bytes()))
    }

    /// Nothing of a chunk that was taken is in use any more.
    pub(crate) fn done(&self, chunk: InUse) {
        let memory = chunk.0.try_into_mut().ok();
        let mut state = self.state.lock();
        let Some(in_hand) = state.in_hand.take() else { return };
        state.fill -= in_hand.fill;
        self.fill_seen.store(state.fill, Ordering::Relaxed);
        match memory {
            Some(memory) if memory.capacity() == CHUNK => state.keep(memory),
            _ => state.allocated -= in_hand.capacity,
        }
        drop(state);
        self.room.notify_all();
    }

    /// Counts what has become of an event that was accepted.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.state.lock().counts);
    }

    /// Waits until all that was accepted before this call has had its end.
    pub(crate) fn flush(&self, within: Duration) -> Flushed {
        let mut state = self.state.lock();
        let wanted = state.next;
        let lost = state.counts.lost.total();
        if state.has_ended {
            return Flushed::Ended;
        }
        state.flush_wanted = state.flush_wanted.max(wanted);
        self.wake.notify_one();
        self.told.wait_while_for(&mut state, |state| state.flushed < wanted && !state.has_ended, within);
        if state.flushed >= wanted {
            // What the fallback has refused in the meantime may have been accepted later; it is lost all the same.
            Flushed::Yes { lost: state.counts.lost.total() - lost }
        } else if state.has_ended {
            Flushed::Ended
        } else {
            Flushed::Late
        }
    }

    /// Begins a flush, if one is due: the number of the event up to which all were taken and are done with. One is made at a
    /// time.
    pub(crate) fn begin_flush(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let is_due = state.is_flush_due();
        is_due.then(|| {
            state.flush_begun = state.flush_wanted;
            state.flush_wanted
        })
    }

    /// The flush that was begun has ended: all events up to that number have had their end.
    pub(crate) fn flushed(&self, to: u64) {
        self.state.lock().flushed = to;
        self.told.notify_all();
        self.wake.notify_one();
    }

    /// Accepts no more events; those that are there are to have their end until then.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.state.lock();
        // The first word is the last, but for one who has less time.
        state.closing = Some(state.closing.map_or(deadline, |earlier| earlier.min(deadline)));
        drop(state);
        self.wake.notify_one();
        self.room.notify_all();
    }

    /// Until when what is there has to be gone, once the end was asked for.
    pub(crate) fn closing(&self) -> Option<Instant> {
        self.state.lock().closing
    }

    /// The sink's thread has ended: nobody takes events any more. Those that are left are lost.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for chunk in state.chunks.drain(..) {
            state.counts.lost.add(&chunk.entries);
        }
        state.has_ended = true;
        state.spare = Vec::new();
        self.told.notify_all();
        self.room.notify_all();
    }

    /// Waits until the sink's thread has ended. Whether it has.
    pub(crate) fn wait_for_end(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.has_ended {
            if self.told.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.has_ended
    }
}

impl State {
    /// Nobody takes what would be accepted now.
    fn is_closed(&self) -> bool {
        self.closing.is_some() || self.has_ended
    }

    /// Whether somebody wants a flush that can be made now.
    fn is_flush_due(&self) -> bool {
        self.flush_begun == self.flushed
            && self.flush_wanted > self.flushed
            && self.done_to() >= self.flush_wanted
    }

    /// The number of the first event that is not done with.
    fn done_to(&self) -> u64 {
        self.in_hand.as_ref().map_or(self.first, |in_hand| in_hand.first)
    }

    /// Sees to it that the last chunk has room for so much, if the bounds of the queue allow it.
    fn make_room(&mut self, stored: usize, bytes_max: usize) -> bool {
        if self.chunks.back().is_some_and(|chunk| chunk.has_room_for(stored)) {
            return true;
        }
        let memory = if stored <= CHUNK { self.spare.pop() } else { None };
        let memory = match memory {
            Some(memory) => memory,
            None => {
                let capacity = stored.max(CHUNK);
                while self.allocated + capacity > bytes_max {
                    // An event that is larger than a chunk takes the place of spare ones.
                    if self.spare.pop().is_none() {
                        return false;
                    }
                    self.allocated -= CHUNK;
                }
                self.allocated += capacity;
                BytesMut::with_capacity(capacity)
            }
        };
        self.fill += self.chunks.back().map_or(0, Chunk::room);
        self.chunks.push_back(Chunk::within(memory));
        true
    }

    fn add(&mut self, entry: &Entry<'_>, stored: usize) {
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(entry);
        }
        self.fill += stored;
        self.next += 1;
        self.counts.accepted[entry.level] += 1;
    }

    /// Drops the oldest chunk, but not the one that is being filled. Whether there was one.
    fn drop_oldest(&mut self) -> bool {
        if self.chunks.len() < 2 {
            return false;
        }
        let Some(chunk) = self.chunks.pop_front() else { return false };
        self.counts.dropped.add(&chunk.entries);
        self.counts.displaced += chunk.entries.total();
        self.first += chunk.entries.total();
        self.fill -= chunk.capacity();
        if chunk.capacity() == CHUNK {
            self.keep(chunk.into_memory());
        } else {
            self.allocated -= chunk.capacity();
        }
        true
    }

    /// Keeps the memory of a chunk, which is empty now.
    fn keep(&mut self, mut memory: BytesMut) {
        memory.clear();
        self.spare.push(memory);
    }

    /// Gives back memory that was needed for a while.
    fn free_spare(&mut self) {
        while self.spare.len() > SPARE {
            self.spare.pop();
            self.allocated -= CHUNK;
        }
    }
}
