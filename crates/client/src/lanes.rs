//! The memory budget, counted in lanes: the bytes of records by the broker that is to take them, so that brokers that are
//! dead leave room to those that are not.
//!
//! A lane may grow only while it would hold no more than what is free before. When the lanes of k dead brokers grow side by
//! side as far as they may, each holds as much as is free, which is 1/(k+1) of the budget. When one has grown before the
//! next begins, each leaves half of what it found; that evens out as what the first ones hold comes to its deadline. A lane that holds less than a batch
//! may always take one more, as far as there is room: so nothing stands still for ever because a batch is large.

use std::collections::HashMap;

/// What bytes are counted under.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Lane {
    /// Of partitions that this broker leads, or was the last to lead.
    Broker(i32),
    /// Of partitions of which no leader is known yet.
    NoLeader,
}

/// Bytes that many lanes share.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    total: usize,
    held: HashMap<Lane, usize>,
    held_by_all: usize,
}

impl Lanes {
    /// A budget of so many bytes.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, held: HashMap::new(), held_by_all: 0 }
    }

    /// The budget is of so many bytes from now on. Where more are held, nothing is free until some are given back.
    pub(crate) fn set_total(&mut self, total: usize) {
        self.total = total;
    }

    /// Whether a lane may have so many bytes more now, where batches have at most `batch`.
    pub(crate) fn may_take(&self, lane: Lane, bytes: usize, batch: usize) -> bool {
        let (free, would_hold) = (self.free(), self.held(lane).saturating_add(bytes));
        bytes <= free && (would_hold <= free || would_hold <= batch)
    }

    /// Takes bytes for a lane, if it may have them now.
    #[must_use]
    pub(crate) fn try_take(&mut self, lane: Lane, bytes: usize, batch: usize) -> bool {
        let may = self.may_take(lane, bytes, batch);
        if may {
            self.take(lane, bytes);
        }
        may
    }

    /// Takes bytes for a lane that cannot do without.
    pub(crate) fn take(&mut self, lane: Lane, bytes: usize) {
        self.held_by_all += bytes;
        self.change(lane, |held| held + bytes);
    }

    /// Whether a lane could ever have so many bytes: if not, waiting makes no sense.
    pub(crate) fn could_take(&self, bytes: usize, batch: usize) -> bool {
        bytes <= self.total / 2 || bytes <= batch.min(self.total)
    }

    /// Gives back bytes of a lane.
    pub(crate) fn give_back(&mut self, lane: Lane, bytes: usize) {
        debug_assert!(bytes <= self.held(lane), "{lane:?} gives back more than it holds");
        let bytes = bytes.min(self.held(lane));
        self.change(lane, |held| held - bytes);
        self.held_by_all -= bytes;
    }

    /// A partition with so many bytes has another leader.
    pub(crate) fn move_bytes(&mut self, from: Lane, to: Lane, bytes: usize) {
        let bytes = bytes.min(self.held(from));
        self.change(from, |held| held - bytes);
        self.change(to, |held| held + bytes);
    }

    /// What a lane holds.
    pub(crate) fn held(&self, lane: Lane) -> usize {
        self.held.get(&lane).copied().unwrap_or_default()
    }

    /// What all lanes hold.
    pub(crate) fn held_by_all(&self) -> usize {
        self.held_by_all
    }

    /// What nobody holds.
    pub(crate) fn free(&self) -> usize {
        self.total.saturating_sub(self.held_by_all)
    }

    /// Lanes that hold nothing are forgotten: brokers come and go.
    fn change(&mut self, lane: Lane, change: impl FnOnce(usize) -> usize) {
        match change(self.held(lane)) {
            0 => drop(self.held.remove(&lane)),
            held => drop(self.held.insert(lane, held)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;
    const BATCH: usize = 64 << 10;

    fn fill(lanes: &mut Lanes, lane: Lane, bytes: usize) {
        while lanes.try_take(lane, bytes, BATCH) {}
    }

    #[test]
    fn a_dead_broker_leaves_half_of_what_it_found() {
        let mut lanes = Lanes::new(64 * MIB);
        for dead in 0..6 {
            assert!(lanes.free() >= ((64 * MIB) >> dead) - 1000 * dead, "{dead}: {}", lanes.free());
            fill(&mut lanes, Lane::Broker(dead as i32), 1000);
        }
        assert!(lanes.try_take(Lane::Broker(99), BATCH, BATCH));
    }

    #[test]
    fn dead_brokers_that_fill_side_by_side_leave_an_equal_share() {
        for dead in 1..10_usize {
            let mut lanes = Lanes::new(64 * MIB);
            while (0..dead).filter(|broker| lanes.try_take(Lane::Broker(*broker as i32), 1000, BATCH)).count()
                > 0
            {}
            let share = 64 * MIB / (dead + 1);
            assert!(lanes.free().abs_diff(share) <= 1000 * dead, "{dead}: {} is free", lanes.free());
        }
    }

    #[test]
    fn a_batch_is_always_allowed_while_there_is_room() {
        let mut lanes = Lanes::new(3 * BATCH);
        assert!(
            lanes.try_take(Lane::NoLeader, BATCH, BATCH) && lanes.try_take(Lane::NoLeader, BATCH / 2, BATCH)
        );
        assert!(!lanes.try_take(Lane::NoLeader, BATCH, BATCH), "it holds more than would be free");
        assert!(lanes.try_take(Lane::Broker(1), BATCH, BATCH));
        assert!(!lanes.try_take(Lane::Broker(2), BATCH, BATCH), "there is no room");
        lanes.give_back(Lane::NoLeader, BATCH);
        assert!(lanes.try_take(Lane::Broker(2), BATCH, BATCH));
    }

    #[test]
    fn what_could_never_be_taken_is_known() {
        let lanes = Lanes::new(10 * BATCH);
        assert!(lanes.could_take(5 * BATCH, BATCH) && !lanes.could_take(5 * BATCH + 1, BATCH));
        assert!(
            Lanes::new(BATCH).could_take(BATCH, BATCH) && !Lanes::new(BATCH).could_take(2 * BATCH, 2 * BATCH)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bytes_are_neither_lost_nor_made(actions in prop::collection::vec((0..4, -1..5, -1..5, 0..20_000_usize), 1..200)) {
            let mut lanes = Lanes::new(100_000);
            let lane = |number: i32| if number < 0 { Lane::NoLeader } else { Lane::Broker(number) };
            for (action, one, other, bytes) in actions {
                let (one, other) = (lane(one), lane(other));
                match action {
                    0 | 1 => {
                        let (held, free) = (lanes.held(one), lanes.free());
                        let taken = lanes.try_take(one, bytes, 10_000);
                        prop_assert_eq!(lanes.held(one), held + if taken { bytes } else { 0 });
                        prop_assert!(!taken || held + bytes <= free.max(10_000) && lanes.could_take(bytes, 10_000));
                    }
                    2 => lanes.give_back(one, bytes.min(lanes.held(one))),
                    _ => lanes.move_bytes(one, other, bytes),
                }
                let held: usize = (-1..5).map(|number| lanes.held(lane(number))).sum();
                prop_assert_eq!(held + lanes.free(), 100_000);
                prop_assert!((-1..5).all(|number| lanes.held(lane(number)) > 0 || !lanes.held.contains_key(&lane(number))));
            }
        }
    }
}
