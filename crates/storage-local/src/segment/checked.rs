//! Which bytes of a segment have passed their checks.

/// Ranges of bytes, in order and apart from each other. A bounded number of them: the shortest is forgotten
/// first, which costs another check and nothing else.
#[derive(Debug, Default)]
pub(super) struct Checked {
    ranges: Vec<(u64, u64)>,
}

/// Whoever reads in order makes one range; so many readers may be at work in a segment.
const RANGES_MAX: usize = 32;

impl Checked {
    /// Whether all of `from..to` is in.
    pub(super) fn contains(&self, from: u64, to: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.0 <= from);
        after.checked_sub(1).is_some_and(|at| to <= self.ranges[at].1)
    }

    /// Where the range ends that `at` lies in.
    pub(super) fn end_of(&self, at: u64) -> Option<u64> {
        let after = self.ranges.partition_point(|range| range.0 <= at);
        let end = self.ranges[after.checked_sub(1)?].1;
        (at <= end).then_some(end)
    }

    /// Adds `from..to`.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        // Those that it touches become one with it.
        let first = self.ranges.partition_point(|range| range.1 < from);
        let behind = self.ranges.partition_point(|range| range.0 <= to);
        let touched = &self.ranges[first..behind.max(first)];
        let from = touched.first().map_or(from, |range| range.0.min(from));
        let to = touched.last().map_or(to, |range| range.1.max(to));
        self.ranges.splice(first..behind.max(first), [(from, to)]);
        if self.ranges.len() > RANGES_MAX {
            let shortest = self.ranges.iter().enumerate().min_by_key(|(_, range)| range.1 - range.0);
            if let Some((at, _)) = shortest {
                self.ranges.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_become_one() {
        let mut checked = Checked::default();
        checked.add(10, 20);
        checked.add(30, 40);
        assert!(checked.contains(10, 20) && checked.contains(32, 39) && !checked.contains(15, 31));
        checked.add(20, 30);
        assert_eq!(checked.ranges, [(10, 40)]);
        assert_eq!([9, 10, 40, 41].map(|at| checked.end_of(at)), [None, Some(40), Some(40), None]);
        checked.add(0, 5);
        checked.add(3, 50);
        assert_eq!(checked.ranges, [(0, 50)]);
    }

    proptest! {
        #[test]
        fn nothing_counts_that_was_not_added(added in prop::collection::vec((0_u64..200, 0_u64..40), 0..80)) {
            let (mut checked, mut model) = (Checked::default(), [false; 256]);
            for (from, len) in added {
                checked.add(from, from + len);
                model[from as usize..(from + len) as usize].fill(true);
                prop_assert!(checked.ranges.len() <= RANGES_MAX);
                prop_assert!(checked.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
            for (from, to) in &checked.ranges {
                prop_assert!(model[*from as usize..*to as usize].iter().all(|&added| added));
            }
        }
    }
}
