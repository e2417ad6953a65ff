//! Which batches of an answer belong to transactions that were aborted (KIP-98).

use std::collections::HashSet;

use ottla_protocol::messages::fetch::AbortedTransaction;
use ottla_records::{BatchHeader, ControlRecord, RecordBatch};

/// The aborted transactions of an answer, as far as its batches have come.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// Those that begin further on, the last one first: producer and first offset.
    ahead: Vec<(i64, i64)>,
    /// The producers whose transaction here is an aborted one.
    producers: HashSet<i64>,
}

impl Aborted {
    /// What a broker told with an answer.
    pub(super) fn new(told: &[AbortedTransaction]) -> Self {
        let mut ahead: Vec<(i64, i64)> =
            told.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect();
        ahead.sort_by_key(|(_, first_offset)| std::cmp::Reverse(*first_offset));
        Self { ahead, producers: HashSet::new() }
    }

    /// Whether the records of this batch, which comes after those before, were aborted.
    pub(super) fn has(&mut self, header: &BatchHeader) -> bool {
        let last_offset = header.last_offset().0;
        while self.ahead.last().is_some_and(|(_, first_offset)| *first_offset <= last_offset) {
            self.producers.extend(self.ahead.pop().map(|(producer, _)| producer));
        }
        header.is_transactional() && self.producers.contains(&header.producer_id.0)
    }

    /// Takes note of a control batch: it may end a transaction.
    pub(super) fn control(&mut self, batch: &RecordBatch) {
        self.has(batch.header());
        let marker = batch.records().ok().and_then(|mut records| records.next()?.ok());
        let ends = marker.and_then(|marker| ControlRecord::parse(&marker).ok());
        if matches!(ends, Some(ControlRecord::Abort { .. })) {
            self.producers.remove(&batch.header().producer_id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_records::{
        BatchBuilder, LeaderEpoch, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
        control::{abort_batch, commit_batch},
    };

    use super::*;

    fn batch(producer: i64, offset: i64, transactional: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(Offset(offset)).producer(
            ProducerId(producer),
            ProducerEpoch(0),
            Sequence(0),
        );
        if transactional {
            builder = builder.transactional();
        }
        builder.push(&NewRecord::default()).unwrap();
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    fn aborted(producer_id: i64, first_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, ..AbortedTransaction::default() }
    }

    #[test]
    fn a_transaction_is_aborted_from_its_first_record_to_its_marker() {
        let marker = |bytes| RecordBatch::parse(bytes).unwrap();
        let producer = |id| (ProducerId(id), ProducerEpoch(0));
        let at = |offset| (Offset(offset), LeaderEpoch(0), TimestampMs(0));
        let mut all = Aborted::new(&[aborted(1, 8), aborted(2, 5), aborted(1, 2)]);
        assert!(!all.has(&batch(1, 1, true)), "it began later");
        assert!(all.has(&batch(1, 2, true)));
        assert!(!all.has(&batch(1, 3, false)), "it is in no transaction");
        assert!(!all.has(&batch(2, 4, true)), "another one of that producer");
        let (offset, epoch, time) = at(5);
        all.control(&marker(commit_batch(offset, epoch, time, producer(1), 0)));
        assert!(all.has(&batch(1, 6, true)), "a commit ends none that was aborted");
        let (offset, epoch, time) = at(7);
        all.control(&marker(abort_batch(offset, epoch, time, producer(1), 0)));
        assert!(!all.has(&batch(1, 7, true)), "the next one of that producer has not begun");
        assert!(all.has(&batch(1, 8, true)) && all.has(&batch(2, 9, true)));
    }
}
