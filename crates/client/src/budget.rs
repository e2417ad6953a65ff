//! The memory budget of a client: the bytes of records that wait or are on their way, of responses, and of what is
//! decompressed from them.
//!
//! Whoever produces alone, or consumes alone, has all of it. While a client does both, each keeps half, so that a program
//! that consumes, transforms and produces cannot lock itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lanes::{Lane, Lanes};

/// The bytes that a client may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    parts: Mutex<Parts>,
    /// Told when there is more room for what is fetched.
    room_to_fetch: Notify,
}

#[derive(Debug)]
struct Parts {
    producers: usize,
    consumers: usize,
    lanes: Lanes,
    fetched: usize,
    /// Those who wait for room for a large batch: nothing else is fetched meanwhile.
    claims: usize,
    /// Those who wait for room, lane by lane, in the order in which they came.
    waiting: BTreeMap<Lane, BTreeMap<Ticket, Waiting>>,
    last_ticket: u64,
    /// How often it was worth trying again for all who wait.
    rounds: u64,
}

/// The place of somebody who waits for room.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Ticket(u64);

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    batch: usize,
    /// None once it was woken.
    waker: Option<Waker>,
}

impl Parts {
    /// What a kind may hold, of so many users of it and of the other kind.
    fn part(total: usize, others: usize) -> usize {
        if others > 0 { total / 2 } else { total }
    }

    /// Brings the bytes that producers may hold up to date.
    fn share(&mut self, total: usize) {
        let part = Self::part(total, self.consumers);
        self.lanes.set_total(part.min(total.saturating_sub(self.fetched)));
    }

    /// Those who are to be woken: the first of each lane, if there is room for it now.
    fn ready(&mut self) -> Vec<Waker> {
        let Self { lanes, waiting, .. } = self;
        let first = |(lane, waiting): (&Lane, &mut BTreeMap<Ticket, Waiting>)| {
            let mut first = waiting.first_entry()?;
            let Waiting { bytes, batch, waker } = first.get_mut();
            if lanes.may_take(*lane, *bytes, *batch) { waker.take() } else { None }
        };
        waiting.iter_mut().filter_map(first).collect()
    }
}

/// Wakes those who were found to be ready, once no lock is held.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Ready(Vec<Waker>);

impl Ready {
    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(total: usize) -> Self {
        let (lanes, waiting) = (Lanes::new(total), BTreeMap::new());
        let parts = Parts {
            producers: 0,
            consumers: 0,
            lanes,
            fetched: 0,
            claims: 0,
            waiting,
            last_ticket: 0,
            rounds: 0,
        };
        Self { total, parts: Mutex::new(parts), room_to_fetch: Notify::new() }
    }

    /// Makes room for a producer.
    pub(crate) fn producing(self: &Arc<Self>) -> Producing {
        self.parts.lock().producers += 1;
        Producing { budget: self.clone() }
    }

    /// Makes room for a consumer.
    pub(crate) fn consuming(self: &Arc<Self>) -> Consuming {
        let mut parts = self.parts.lock();
        parts.consumers += 1;
        parts.share(self.total);
        Consuming { budget: self.clone() }
    }

    /// The bytes that are held for what is fetched.
    pub(crate) fn fetched(&self) -> usize {
        self.parts.lock().fetched
    }

    /// Something was given back.
    fn more_room(&self, change: impl FnOnce(&mut Parts)) -> Ready {
        let mut parts = self.parts.lock();
        change(&mut parts);
        parts.share(self.total);
        let ready = if parts.waiting.is_empty() { Vec::new() } else { parts.ready() };
        let fetchers = parts.consumers > 0;
        drop(parts);
        if fetchers {
            self.room_to_fetch.notify_waiters();
        }
        Ready(ready)
    }
}

/// A producer's way to its part of the budget.
#[derive(Debug)]
pub(crate) struct Producing {
    budget: Arc<Budget>,
}

impl Producing {
    /// Takes bytes for a lane, if it may have them now and nobody waits for some before.
    #[must_use]
    pub(crate) fn try_take(&self, lane: Lane, bytes: usize, batch: usize) -> bool {
        let mut parts = self.budget.parts.lock();
        (parts.waiting.is_empty() || !parts.waiting.contains_key(&lane))
            && parts.lanes.try_take(lane, bytes, batch)
    }

    /// Takes bytes for a lane that cannot do without.
    pub(crate) fn take(&self, lane: Lane, bytes: usize) {
        self.budget.parts.lock().lanes.take(lane, bytes);
    }

    /// Gives back bytes of a lane.
    pub(crate) fn give_back(&self, lane: Lane, bytes: usize) -> Ready {
        self.budget.more_room(|parts| parts.lanes.give_back(lane, bytes))
    }

    /// A partition with so many bytes has another leader.
    pub(crate) fn move_bytes(&self, from: Lane, to: Lane, bytes: usize) -> Ready {
        self.budget.more_room(|parts| parts.lanes.move_bytes(from, to, bytes))
    }

    /// Whether a lane could ever have so many bytes: if not, waiting makes no sense.
    pub(crate) fn could_take(&self, bytes: usize, batch: usize) -> bool {
        self.budget.parts.lock().lanes.could_take(bytes, batch)
    }

    /// What producers hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.budget.parts.lock().lanes.held_by_all()
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.budget.more_room(|parts| parts.producers -= 1).wake();
    }
}

/// A place in the queue for room in a lane. Who gives it up makes way for the next.
#[derive(Debug)]
pub(crate) struct Place {
    budget: Arc<Budget>,
    ticket: Ticket,
    lane: Lane,
    /// The round in which it was tried last.
    round: u64,
}

impl Place {
    /// A place behind all who wait for this lane.
    pub(crate) fn behind_all(producing: &Producing, lane: Lane, bytes: usize, batch: usize) -> Self {
        let budget = producing.budget.clone();
        let mut parts = budget.parts.lock();
        parts.last_ticket += 1;
        let ticket = Ticket(parts.last_ticket);
        let waiting = Waiting { bytes, batch, waker: None };
        parts.waiting.entry(lane).or_default().insert(ticket, waiting);
        let round = parts.rounds;
        drop(parts);
        Self { budget, ticket, lane, round }
    }

    /// Takes so many bytes for a lane where it is this one's turn there. Where it is not, this goes on waiting: for that
    /// lane, if the record is for another one now.
    #[must_use]
    pub(crate) fn try_take(&mut self, lane: Lane, bytes: usize, batch: usize) -> bool {
        let mut parts = self.budget.parts.lock();
        if lane != self.lane {
            self.leave(&mut parts);
            self.lane = lane;
        }
        let Parts { lanes, waiting, .. } = &mut *parts;
        let of_lane = waiting.entry(lane).or_default();
        of_lane.insert(self.ticket, Waiting { bytes, batch, waker: None });
        let is_first = of_lane.keys().next() == Some(&self.ticket);
        is_first && lanes.try_take(lane, bytes, batch)
    }

    /// Ready when it may be this one's turn.
    pub(crate) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut parts = self.budget.parts.lock();
        let Parts { lanes, waiting, rounds, .. } = &mut *parts;
        if std::mem::replace(&mut self.round, *rounds) != *rounds {
            return Poll::Ready(());
        }
        let Some(of_lane) = waiting.get_mut(&self.lane) else { return Poll::Ready(()) };
        let is_first = of_lane.keys().next() == Some(&self.ticket);
        let Some(mine) = of_lane.get_mut(&self.ticket) else { return Poll::Ready(()) };
        if is_first && lanes.may_take(self.lane, mine.bytes, mine.batch) {
            return Poll::Ready(());
        }
        mine.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Makes it worth trying again for whoever waits, as what they wait for may be somewhere else now.
    pub(crate) fn try_all_again(producing: &Producing) -> Ready {
        let mut parts = producing.budget.parts.lock();
        parts.rounds += 1;
        let waiting = parts.waiting.values_mut().flat_map(|of_lane| of_lane.values_mut());
        Ready(waiting.filter_map(|waiting| waiting.waker.take()).collect())
    }

    fn leave(&self, parts: &mut Parts) {
        if let Some(of_lane) = parts.waiting.get_mut(&self.lane) {
            of_lane.remove(&self.ticket);
            if of_lane.is_empty() {
                parts.waiting.remove(&self.lane);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let budget = self.budget.clone();
        budget.more_room(|parts| self.leave(parts)).wake();
    }
}

/// A consumer's way to its part of the budget.
#[derive(Debug)]
pub(crate) struct Consuming {
    budget: Arc<Budget>,
}

impl Consuming {
    /// Reserves bytes, if they are free, to go on with what has been fetched.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.take(&mut self.budget.parts.lock(), bytes, bytes)
    }

    /// Reserves as much as is free of `most` bytes for a fetch, if that is `least` at least, and nobody claims room.
    pub(crate) fn try_reserve_for_fetch(&self, least: usize, most: usize) -> Option<Reservation> {
        let mut parts = self.budget.parts.lock();
        if parts.claims > 0 { None } else { self.take(&mut parts, least, most) }
    }

    fn take(&self, parts: &mut Parts, least: usize, most: usize) -> Option<Reservation> {
        let budget = &self.budget;
        let part = Parts::part(budget.total, parts.producers);
        let free =
            part.min(budget.total.saturating_sub(parts.lanes.held_by_all())).saturating_sub(parts.fetched);
        if least > free {
            return None;
        }
        let bytes = most.min(free);
        parts.fetched += bytes;
        parts.share(budget.total);
        Some(Reservation { budget: budget.clone(), bytes })
    }

    /// The same as soon as there is room.
    pub(crate) async fn reserve_for_fetch(&self, least: usize, most: usize) -> Reservation {
        self.when_there_is_room(|| self.try_reserve_for_fetch(least, most)).await
    }

    /// Reserves bytes for a batch that is larger than what others leave, as soon as they are free. Nothing is reserved for
    /// fetches meanwhile. Not for more than [`most`](Self::most): these never are.
    pub(crate) async fn claim(&self, bytes: usize) -> Reservation {
        let _claim = Claim::of(&self.budget);
        self.when_there_is_room(|| self.try_reserve(bytes)).await
    }

    async fn when_there_is_room(&self, reserve: impl Fn() -> Option<Reservation>) -> Reservation {
        loop {
            let mut room = std::pin::pin!(self.budget.room_to_fetch.notified());
            room.as_mut().enable();
            if let Some(reservation) = reserve() {
                return reservation;
            }
            room.await;
        }
    }

    /// The most that all consumers may hold.
    pub(crate) fn most(&self) -> usize {
        Parts::part(self.budget.total, self.budget.parts.lock().producers)
    }

    /// What each of them may hold, where all hold the same.
    pub(crate) fn share(&self) -> usize {
        let parts = self.budget.parts.lock();
        Parts::part(self.budget.total, parts.producers) / parts.consumers.max(1)
    }
}

/// Room that is claimed for a large batch.
struct Claim<'a> {
    budget: &'a Budget,
}

impl<'a> Claim<'a> {
    fn of(budget: &'a Budget) -> Self {
        budget.parts.lock().claims += 1;
        Self { budget }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.budget.more_room(|parts| parts.claims -= 1).wake();
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.budget.more_room(|parts| parts.consumers -= 1).wake();
    }
}

/// Bytes of what is fetched. They are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// How many.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is more than this.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        drop(self.split_off(self.bytes.saturating_sub(bytes)));
    }

    /// Takes so many out of it, or all where there are no more.
    pub(crate) fn split_off(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }

    /// Takes in another.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.more_room(|parts| parts.fetched -= self.bytes).wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    const LANE: Lane = Lane::Broker(1);

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_kind_keeps_half_while_there_are_both() {
        let budget = Arc::new(Budget::new(1000));
        let consuming = budget.consuming();
        let all = consuming.try_reserve(900).unwrap();
        let producing = budget.producing();
        assert_eq!(consuming.most(), 500);
        assert!(!producing.try_take(LANE, 101, 0), "consumers hold what is theirs no longer");
        assert!(producing.try_take(LANE, 50, 0));
        assert!(consuming.try_reserve(1).is_none());
        drop(all);
        assert!(consuming.try_reserve(501).is_none() && !producing.try_take(LANE, 401, 0));
        let _half = consuming.try_reserve(500).unwrap();
        assert!(producing.try_take(Lane::NoLeader, 225, 0));
        drop(producing);
        assert_eq!(consuming.most(), 1000);
    }

    #[test]
    fn a_large_batch_gets_its_room_before_more_is_fetched() {
        let budget = Arc::new(Budget::new(100));
        let (one, other) = (budget.consuming(), budget.consuming());
        assert_eq!((one.share(), one.most()), (50, 100));
        let held = one.try_reserve_for_fetch(10, 60).unwrap();
        let rest = other.try_reserve_for_fetch(10, 60).unwrap();
        assert_eq!((held.bytes(), rest.bytes()), (60, 40));
        let mut claim = Box::pin(one.claim(50));
        let mut context = Context::from_waker(Waker::noop());
        assert!(claim.as_mut().poll(&mut context).is_pending());
        drop(rest);
        assert!(other.try_reserve_for_fetch(10, 60).is_none(), "somebody claims room");
        assert!(claim.as_mut().poll(&mut context).is_pending());
        drop(held);
        let Poll::Ready(large) = claim.as_mut().poll(&mut context) else { panic!("there is room") };
        drop(claim);
        assert_eq!(
            (large.bytes(), other.try_reserve_for_fetch(10, 60).map(|rest| rest.bytes())),
            (50, Some(50))
        );
        // Who gives up claiming makes way.
        let mut claim = Box::pin(one.claim(100));
        assert!(claim.as_mut().poll(&mut context).is_pending());
        assert!(other.try_reserve_for_fetch(10, 60).is_none());
        drop(claim);
        assert!(other.try_reserve_for_fetch(10, 60).is_some());
    }

    #[test]
    fn reservations_are_split_and_joined_without_loss() {
        let budget = Arc::new(Budget::new(100));
        let consuming = budget.consuming();
        let mut first = consuming.try_reserve(60).unwrap();
        let second = first.split_off(50);
        assert_eq!((first.bytes(), second.bytes()), (10, 50));
        first.join(second);
        first.shrink_to(30);
        assert!(consuming.try_reserve(71).is_none());
        assert!(consuming.try_reserve(70).is_some());
        first.shrink_to(50);
        assert_eq!(first.bytes(), 30);
    }

    #[test]
    fn who_came_first_in_a_lane_is_served_first() {
        let budget = Arc::new(Budget::new(100));
        let producing = budget.producing();
        assert!(producing.try_take(LANE, 80, 100));
        let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let mut places = [40, 10].map(|bytes| Place::behind_all(&producing, LANE, bytes, 100));
        for (place, woken) in places.iter_mut().zip(&woken) {
            let waker = Waker::from(woken.clone());
            assert!(place.poll_turn(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(!producing.try_take(LANE, 1, 100), "others wait");
        assert!(producing.try_take(Lane::Broker(2), 1, 100), "not for this lane");
        let _ = producing.give_back(Lane::Broker(2), 1);
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        producing.give_back(LANE, 10).wake();
        assert_eq!(counts(), [0, 0]);
        producing.give_back(LANE, 10).wake();
        assert_eq!(counts(), [1, 0]);
        let [mut first, mut second] = places;
        assert!(!second.try_take(LANE, 10, 100) && first.try_take(LANE, 40, 100));
        let waker = Waker::from(woken[1].clone());
        assert!(second.poll_turn(&mut Context::from_waker(&waker)).is_pending());
        drop(first);
        assert_eq!(counts(), [1, 0], "there is no room");
        producing.give_back(LANE, 10).wake();
        assert_eq!(counts(), [1, 1]);
        assert!(second.try_take(LANE, 10, 100));
    }

    #[test]
    fn who_gives_up_its_place_makes_way() {
        let budget = Arc::new(Budget::new(100));
        let producing = budget.producing();
        assert!(producing.try_take(LANE, 90, 100));
        let woken = Arc::new(Woken::default());
        let first = Place::behind_all(&producing, LANE, 40, 100);
        let mut second = Place::behind_all(&producing, LANE, 10, 100);
        let waker = Waker::from(woken.clone());
        assert!(second.poll_turn(&mut Context::from_waker(&waker)).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(second.try_take(LANE, 10, 100));
    }
}
