//! A storage's user: appends, hears the answers, and reads back.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use ottla_records::{
    BatchBuilder, BatchHeader, Batches, LogId, NewRecord, Offset, ProducerEpoch, ProducerId, RecordBatch,
    Sequence, TimestampMs, TopicId,
};

use crate::{
    AppendError, Appended, Appender, DeliveryReceiver, Log, LogSettings, NewTopic, Produced, Read, ReadError,
    ReadPiece, ReadRequest, Stamp, Storage, Ticket, TopicStore,
};

/// The timestamp of the records built here.
pub(super) const CREATED: TimestampMs = TimestampMs(1_700_000_000_000);

/// A topic to create, whose id and name come from `number`, without settings.
pub fn topic(number: u8, partitions: u32) -> NewTopic {
    NewTopic { id: TopicId([number; 16]), name: format!("topic-{number}"), partitions, settings: [].into() }
}

/// Creates a topic with one partition and opens its log.
pub(super) async fn new_log<S: Storage>(store: &S, number: u8) -> Arc<S::Log> {
    let row = store.topics().create(topic(number, 1)).await.unwrap();
    store.open_log(row.logs[0], LogSettings::default())
}

/// A thread's appender and what was delivered to the thread.
pub(super) struct User<S: Storage> {
    pub(super) appender: S::Appender,
    deliveries: DeliveryReceiver,
    /// Logs that were reported to have advanced, in the order of the reports.
    pub(super) advanced: Vec<LogId>,
}

impl<S: Storage> User<S> {
    pub(super) fn new(store: &S) -> Self {
        let (appender, deliveries) = store.appender();
        Self { appender, deliveries, advanced: Vec::new() }
    }

    /// Appends and waits for the answer.
    pub(super) async fn append(&mut self, log: &Arc<S::Log>, batch: Bytes) -> Result<Appended, AppendError> {
        self.append_stamped(log, batch, Stamp::Keep).await
    }

    pub(super) async fn append_stamped(
        &mut self,
        log: &Arc<S::Log>,
        batch: Bytes,
        stamp: Stamp,
    ) -> Result<Appended, AppendError> {
        self.appender.ready(batch.len()).await;
        let header = BatchHeader::parse(&batch).unwrap();
        let ticket = self.appender.append(log, Produced { bytes: batch, header, stamp });
        self.finish(ticket).await
    }

    /// Appends, without waiting.
    pub(super) fn start(&self, log: &Arc<S::Log>, batch: Bytes) -> Ticket {
        let header = BatchHeader::parse(&batch).unwrap();
        self.appender.append(log, Produced { bytes: batch, header, stamp: Stamp::Keep })
    }

    /// Waits for an answer, passing on those that come before.
    pub(super) async fn finish(&mut self, mut ticket: Ticket) -> Result<Appended, AppendError> {
        poll_fn(|context| {
            self.take_deliveries(context);
            Pin::new(&mut ticket).poll(context)
        })
        .await
    }

    /// Waits until it is reported that the log has advanced, and forgets the reports.
    pub(super) async fn hear(&mut self, log: LogId) {
        poll_fn(|context| {
            self.take_deliveries(context);
            if self.advanced.contains(&log) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.advanced.clear();
    }

    /// Takes what has been delivered by now.
    pub(super) fn take_deliveries(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(delivery)) = self.deliveries.poll_recv(context) {
            for (ticket, answer) in delivery.answers {
                // A ticket may have been dropped.
                let _ = ticket.send(answer);
            }
            self.advanced.extend(delivery.advanced);
        }
    }
}

/// A batch of `records` records; the first one has this value and the others none.
pub(super) fn batch(value: &str, records: usize) -> Bytes {
    fill(BatchBuilder::new(), value, records)
}

/// The same of an idempotent producer.
pub(super) fn batch_of(producer: (i64, i16), sequence: i32, records: usize) -> Bytes {
    let builder =
        BatchBuilder::new().producer(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(sequence));
    fill(builder, "idempotent", records)
}

fn fill(mut builder: BatchBuilder, value: &str, records: usize) -> Bytes {
    for i in 0..records {
        let value = (i == 0).then_some(value.as_bytes());
        builder.push(&NewRecord { timestamp: CREATED, key: None, value, headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}

/// A request for everything from `offset` on.
pub(super) fn from(offset: i64) -> ReadRequest {
    ReadRequest { offset: Offset(offset), max_bytes: 1 << 30, at_least_one: true }
}

/// Reads as a network thread does: now, or else later.
///
/// # Errors
/// See [`ReadError`].
pub async fn read<L: Log>(log: &Arc<L>, request: ReadRequest) -> Result<Read, ReadError> {
    match log.read_now(request)? {
        Some(read) => Ok(read),
        None => log.read(request).await,
    }
}

/// The bytes of all pieces.
///
/// # Panics
/// If a file does not have them.
pub fn bytes(read: &Read) -> Bytes {
    let mut bytes = BytesMut::new();
    for piece in &read.pieces {
        match piece {
            ReadPiece::Memory(memory) => bytes.extend_from_slice(memory),
            ReadPiece::File(range) => {
                let mut part = vec![0; range.len as usize];
                assert_eq!(range.file.read_at(&mut part, range.at).unwrap(), part.len());
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes.freeze()
}

/// All batches from `offset` to the high watermark, each with a CRC that matches.
pub(super) async fn batches<L: Log>(log: &Arc<L>, offset: i64) -> Vec<RecordBatch> {
    let mut found = Vec::new();
    let mut next = Offset(offset);
    let end = log.bounds().high_watermark;
    while next < end {
        let request = ReadRequest { offset: next, max_bytes: 64 << 10, at_least_one: true };
        let read = bytes(&read(log, request).await.unwrap());
        let before = next;
        // The last one may be cut off.
        for batch in Batches::new(read).map_while(Result::ok) {
            batch.check_crc().unwrap();
            if batch.header().next_offset() > next {
                next = batch.header().next_offset();
                found.push(batch);
            }
        }
        assert!(next > before, "a read at {before} with at_least_one gave no whole batch");
    }
    found
}

/// Base offset, number of records, and the value of the first, of each batch from `offset` on.
pub(super) async fn contents<L: Log>(log: &Arc<L>, offset: i64) -> Vec<(i64, i32, String)> {
    let describe = |batch: &RecordBatch| {
        let first = batch.records().unwrap().next().unwrap().unwrap();
        let value = String::from_utf8(first.value.unwrap().to_vec()).unwrap();
        (batch.header().base_offset.0, batch.header().record_count, value)
    };
    batches(log, offset).await.iter().map(describe).collect()
}
