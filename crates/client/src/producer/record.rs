//! A record to be sent, and what is told of it when it was.

use std::sync::Arc;

use bytes::Bytes;
use ottla_records::{NewHeader, NewRecord, TimestampMs, walk};

/// A record to be sent.
///
/// Key, value and headers share memory with what they were made from, where that is shared already ([`Bytes`]); sending
/// copies them once, into their batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The topic it is for. An `Arc<str>` that is kept makes this a cheap clone.
    pub topic: Arc<str>,
    /// The partition it is for; `None`: the partitioner chooses.
    pub partition: Option<i32>,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; a record without one is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in their order; several may have one name (KIP-82).
    pub headers: Vec<Header>,
    /// When it was created, in milliseconds since 1970; `None`: when it is given to the producer.
    pub timestamp: Option<i64>,
}

/// A header of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Its name. An `Arc<str>` that is kept makes this a cheap clone.
    pub name: Arc<str>,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
}

impl Header {
    fn as_new(&self) -> NewHeader<'_> {
        NewHeader { key: &self.name, value: self.value.as_deref() }
    }
}

impl Record {
    /// A record for a topic, without key, value and headers.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: None,
        }
    }

    /// With a key: records of one key go to one partition, in their order.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// For this partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The record as its batch takes it.
    pub(crate) fn with_new<T>(&self, now: TimestampMs, take: impl FnOnce(&NewRecord<'_>) -> T) -> T {
        // Most records have none, for which this allocates nothing.
        let headers: Vec<NewHeader<'_>> = self.headers.iter().map(Header::as_new).collect();
        take(&NewRecord {
            timestamp: self.timestamp.map_or(now, TimestampMs),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        })
    }

    /// The record that a batch holds; its parts share the memory of `batch`.
    pub(crate) fn of_batch(
        topic: &Arc<str>,
        partition: i32,
        batch: &Bytes,
        written: &walk::Record<'_>,
    ) -> Self {
        let shared = |bytes: &[u8]| batch.slice_ref(bytes);
        let header = |header: walk::Header<'_>| Header {
            // It was a text when the record was given to the producer.
            name: String::from_utf8_lossy(header.key).into(),
            value: header.value.map(shared),
        };
        Self {
            topic: topic.clone(),
            partition: Some(partition),
            key: written.key.map(shared),
            value: written.value.map(shared),
            headers: written.headers.clone().map(header).collect(),
            timestamp: Some(written.timestamp.0),
        }
    }
}

/// What is told of a record that was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic that it is in.
    pub topic: Arc<str>,
    /// The partition that it is in.
    pub partition: i32,
    /// Where it is in the partition. `None` where brokers do not tell: with `acks=0`, and for a record that an earlier
    /// attempt had written already, too long ago for the broker to remember where.
    pub offset: Option<i64>,
}
