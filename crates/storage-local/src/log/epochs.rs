//! The history of a log's leader epochs: which epoch began at which offset (KIP-101, KIP-320).

use ottla_records::{LeaderEpoch, Offset};
use ottla_storage::EpochEnd;

/// Epochs with the offsets of their first records, both rising.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// A history as it was stored; entries that do not rise are left out.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.note(epoch, start);
        }
        epochs
    }

    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch; -1 if nothing was ever appended.
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |entry| entry.0)
    }

    /// A batch of this epoch was appended at this offset.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, base_offset: Offset) {
        if epoch > self.latest() {
            self.entries.push((epoch, base_offset));
        }
    }

    /// Everything before `log_start` has gone: epochs that ended there go too, and the one that is left first
    /// begins there.
    pub(crate) fn start_at(&mut self, log_start: Offset) {
        let keep = self.entries.iter().rposition(|entry| entry.1 <= log_start).unwrap_or(0);
        self.entries.drain(..keep);
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(log_start);
        }
    }

    /// Where the largest epoch not above `wanted` ended, in a log that ends at `end`. An epoch before the
    /// first one known ended where that one began; of one newer than all known nothing can be said.
    pub(crate) fn end_of(&self, wanted: LeaderEpoch, end: Offset) -> Option<EpochEnd> {
        let after = self.entries.partition_point(|entry| entry.0 <= wanted);
        let epoch = if after == 0 { wanted } else { self.entries[after - 1].0 };
        match self.entries.get(after) {
            Some(next) => Some(EpochEnd { epoch, end_offset: next.1 }),
            None if epoch == wanted && after > 0 => Some(EpochEnd { epoch, end_offset: end }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: i32, end_offset: i64) -> Option<EpochEnd> {
        Some(EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end_offset) })
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.end_of(LeaderEpoch(0), Offset(0)), None);
        for (epoch, at) in [(1, 0), (1, 5), (3, 10), (2, 11), (6, 20)] {
            epochs.note(LeaderEpoch(epoch), Offset(at));
        }
        for (wanted, expected) in
            [(0, end(0, 0)), (1, end(1, 10)), (2, end(1, 10)), (3, end(3, 20)), (6, end(6, 30)), (7, None)]
        {
            assert_eq!(epochs.end_of(LeaderEpoch(wanted), Offset(30)), expected, "epoch {wanted}");
        }
    }

    #[test]
    fn what_was_deleted_is_forgotten() {
        let mut epochs =
            Epochs::from_entries([(1, 0), (3, 10), (6, 20)].map(|(e, o)| (LeaderEpoch(e), Offset(o))));
        epochs.start_at(Offset(15));
        assert_eq!(epochs.entries(), [(LeaderEpoch(3), Offset(15)), (LeaderEpoch(6), Offset(20))]);
        epochs.start_at(Offset(25));
        assert_eq!(epochs.entries(), [(LeaderEpoch(6), Offset(25))]);
    }
}
