//! What the sink knows of topics: how far each partition has come, and the batches that can be read.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::{Str, Uuid};
use ottla_records::BatchHeader;

use crate::load::{PARTITIONS, Readable};

/// A topic of [`PARTITIONS`] partitions.
pub struct Topic {
    /// Its name.
    pub name: Str,
    /// Its id.
    pub id: Uuid,
    next_offsets: [AtomicI64; PARTITIONS as usize],
    readable: Option<Readable>,
}

/// All topics, and what was produced.
#[derive(Default)]
pub struct Topics {
    topics: RwLock<Vec<Arc<Topic>>>,
    created: AtomicU64,
    /// Produce requests so far.
    pub requests: AtomicU64,
    /// Batches in them.
    pub batches: AtomicU64,
    /// Records in those.
    pub records: AtomicU64,
}

impl Topics {
    /// Creates a topic, with something to read or without; one of the same name is replaced.
    pub fn create(&self, name: &str, readable: Option<Readable>) {
        let number = u128::from(self.created.fetch_add(1, Ordering::Relaxed)) + 1;
        let id = Uuid::from_bytes((number | 1 << 100).to_be_bytes());
        let topic = Topic { name: name.into(), id, next_offsets: Default::default(), readable };
        let mut topics = self.topics.write().expect("nobody panics while holding it");
        topics.retain(|topic| topic.name != *name);
        topics.push(Arc::new(topic));
    }

    /// The topic of this name, or of this id where there is no name.
    pub fn find(&self, name: &str, id: Uuid) -> Option<Arc<Topic>> {
        let topics = self.topics.read().expect("nobody panics while holding it");
        let meant = |topic: &&Arc<Topic>| if name.is_empty() { topic.id == id } else { topic.name == *name };
        topics.iter().find(meant).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.topics.read().expect("nobody panics while holding it").clone()
    }

    /// Counts a batch and tells its base offset; `None` where it is no batch that stands alone, or there is no such
    /// partition. Nothing is looked at but its header.
    pub fn append(&self, topic: &Topic, partition: i32, records: &[u8]) -> Option<i64> {
        let header = BatchHeader::parse(records).ok()?;
        if header.length != records.len() || header.record_count < 1 {
            return None;
        }
        let next = topic.next_offsets.get(usize::try_from(partition).ok()?)?;
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(header.record_count as u64, Ordering::Relaxed);
        Some(next.fetch_add(i64::from(header.record_count), Ordering::Relaxed))
    }
}

impl Topic {
    /// The log end offset of a partition; `None` if there is no such partition.
    pub fn end(&self, partition: i32) -> Option<i64> {
        let next = self.next_offsets.get(usize::try_from(partition).ok()?)?;
        match &self.readable {
            Some(readable) => Some(readable.partition_records() as i64),
            None => Some(next.load(Ordering::Relaxed)),
        }
    }

    /// The batches from an offset on, as many as fit in so many bytes, and one at least.
    pub fn read(&self, offset: i64, bytes_max: usize) -> Bytes {
        let Some((readable, offset)) = self.readable.as_ref().zip(u64::try_from(offset).ok()) else {
            return Bytes::new();
        };
        let first = offset / readable.batch_records;
        let wanted = (bytes_max / readable.batch.len()).max(1) as u64;
        let last = readable.batches.min(first.saturating_add(wanted));
        let count = last.saturating_sub(first) as usize;
        let mut bytes = BytesMut::with_capacity(count * readable.batch.len());
        for batch in first..last {
            // A batch's CRC does not cover its base offset, which stands first.
            bytes.put_i64((batch * readable.batch_records) as i64);
            bytes.put_slice(&readable.batch[8..]);
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use ottla_records::Batches;

    use super::*;

    #[test]
    fn what_is_read_is_dense_and_whole() {
        let topics = Topics::default();
        let readable = Readable::new(50_000, 100).unwrap();
        topics.create("read", Some(readable.clone()));
        let topic = topics.find("read", Uuid::default()).unwrap();
        let end = topic.end(3).unwrap();
        let mut offset = 1;
        while offset < end {
            let bytes = topic.read(offset, 150_000);
            let mut expected = offset / readable.batch_records as i64 * readable.batch_records as i64;
            for batch in Batches::new(bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                assert_eq!(batch.header().base_offset.0, expected);
                expected = batch.header().next_offset().0;
            }
            assert!(expected > offset);
            offset = expected;
        }
        assert_eq!(offset, end);
        assert!(topic.read(end, 150_000).is_empty() && topic.read(-1, 150_000).is_empty());
    }

    #[test]
    fn offsets_grow_by_the_records_of_a_batch_and_what_is_no_batch_is_refused() {
        let topics = Topics::default();
        topics.create("write", None);
        let topic = topics.find("write", Uuid::default()).unwrap();
        let readable = Readable::new(1, 100).unwrap();
        assert_eq!(topics.append(&topic, 0, &readable.batch), Some(0));
        assert_eq!(topics.append(&topic, 0, &readable.batch), Some(readable.batch_records as i64));
        assert_eq!(topics.append(&topic, PARTITIONS, &readable.batch), None);
        assert_eq!(topics.append(&topic, 0, &readable.batch[1..]), None);
        assert_eq!(topics.append(&topic, 0, b""), None);
        assert_eq!(topic.end(0), Some(2 * readable.batch_records as i64));
    }
}
