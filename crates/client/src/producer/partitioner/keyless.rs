//! Partitioners that pay no heed to keys.

use super::{Choice, Partitioner};

/// One partition until a batch of it is complete, then another (KIP-480).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    /// The partition of the record before.
    last: Option<i32>,
    /// Whether a batch of it was completed since.
    completed: bool,
}

impl Partitioner for Sticky {
    fn partition(&mut self, choice: &Choice<'_>) -> Option<i32> {
        let partition = match self.last {
            Some(last) if !self.completed && choice.position(last).is_ok() => last,
            Some(last) => choice.any_but(last),
            None => choice.any(),
        };
        *self = Self { last: Some(partition), completed: false };
        self.last
    }

    fn batch_completed(&mut self, partition: i32) {
        self.completed |= self.last == Some(partition);
    }
}

/// One partition after the other. The first is any, so that many producers do not all begin with the same.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    last: Option<i32>,
}

impl Partitioner for RoundRobin {
    fn partition(&mut self, choice: &Choice<'_>) -> Option<i32> {
        self.last = Some(self.last.map_or_else(|| choice.any(), |last| choice.next_after(last)));
        self.last
    }
}

/// Any partition.
#[derive(Debug)]
pub(super) struct Random;

impl Partitioner for Random {
    fn partition(&mut self, choice: &Choice<'_>) -> Option<i32> {
        Some(choice.any())
    }
}

/// None: records have to name theirs.
#[derive(Debug)]
pub(super) struct ByHand;

impl Partitioner for ByHand {
    fn partition(&mut self, _: &Choice<'_>) -> Option<i32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Partitioning;
    use super::*;

    fn pick(partitioner: &mut dyn Partitioner, reachable: &[i32], random: u64) -> i32 {
        let choice = Choice::new(Some(b"a key changes nothing"), 4, reachable, random).unwrap();
        partitioner.partition(&choice).unwrap()
    }

    #[test]
    fn sticky_stays_until_its_batch_is_complete() {
        let mut sticky = Partitioning::Sticky.partitioner("orders");
        let first = pick(&mut *sticky, &[0, 1, 2, 3], u64::MAX);
        assert_eq!(first, 3);
        sticky.batch_completed(1);
        assert_eq!(pick(&mut *sticky, &[0, 1, 2, 3], 0), first);
        sticky.batch_completed(first);
        assert_eq!(pick(&mut *sticky, &[0, 1, 2, 3], u64::MAX), 2);
        assert_eq!(pick(&mut *sticky, &[0, 1, 2, 3], 0), 2);
    }

    #[test]
    fn sticky_leaves_what_cannot_be_reached() {
        let mut sticky = Partitioning::Sticky.partitioner("orders");
        assert_eq!(pick(&mut *sticky, &[1, 2], 0), 1);
        assert_eq!(pick(&mut *sticky, &[2, 3], 0), 2);
        assert_eq!(pick(&mut *sticky, &[1, 2, 3], 0), 2);
        assert_eq!(pick(&mut *sticky, &[], u64::MAX), 2, "where none can be reached, all are alike");
        assert_eq!(pick(&mut *sticky, &[0], u64::MAX), 0);
        sticky.batch_completed(0);
        assert_eq!(pick(&mut *sticky, &[0], u64::MAX), 0, "there is no other");
    }

    #[test]
    fn round_robin_takes_what_can_be_reached_in_turn() {
        let mut round = Partitioning::RoundRobin.partitioner("orders");
        let mut picks = |reachable: &[i32], count| -> Vec<i32> {
            (0..count).map(|_| pick(&mut *round, reachable, 1 << 63)).collect()
        };
        assert_eq!(picks(&[0, 1, 2, 3], 6), [2, 3, 0, 1, 2, 3]);
        assert_eq!(picks(&[1, 2], 3), [1, 2, 1]);
        assert_eq!(picks(&[0, 3], 3), [3, 0, 3]);
        assert_eq!(picks(&[], 5), [0, 1, 2, 3, 0]);
    }

    #[test]
    fn random_follows_the_random_number() {
        let mut random = Partitioning::Random.partitioner("orders");
        let picks = [0, 1 << 62, 1 << 63, u64::MAX].map(|number| pick(&mut *random, &[0, 1, 2, 3], number));
        assert_eq!(picks, [0, 1, 2, 3]);
    }

    #[test]
    fn by_hand_picks_none() {
        let choice = Choice::new(None, 4, &[0, 1, 2, 3], 0).unwrap();
        assert_eq!(Partitioning::ByHand.partitioner("orders").partition(&choice), None);
    }
}
