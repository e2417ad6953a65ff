//! Pieces of memory that hold events one after the other, as the queue keeps them.
//!
//! An event in a chunk is a fixed head (level, what parts there are and how long they are, time), then its key, the value of
//! its header `target`, and its value.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tracing::Level;

use crate::{
    entry::Entry,
    level::{self, ByLevel},
};

/// The bytes of a chunk, unless it holds one event that is larger.
pub(super) const CHUNK: usize = 64 << 10;
/// The bytes of the head of an event.
const HEAD: usize = 1 + 1 + 2 + 2 + 8 + 4;

const HAS_KEY: u8 = 1;
const HAS_TARGET: u8 = 2;

/// How many bytes an event takes in a chunk.
pub(super) fn stored(entry: &Entry<'_>) -> usize {
    HEAD + short(entry.key).len() + short(entry.target).len() + entry.value.len()
}

/// A chunk that is being filled, or waits.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: BytesMut,
    pub(super) entries: ByLevel<u64>,
}

impl Chunk {
    /// An empty one, in memory that has had its use before.
    pub(super) fn within(bytes: BytesMut) -> Self {
        Self { bytes, entries: ByLevel::default() }
    }

    pub(super) fn has_room_for(&self, stored: usize) -> bool {
        self.room() >= stored
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds an event, for which there is room.
    pub(super) fn push(&mut self, entry: &Entry<'_>) {
        let Entry { level, timestamp, key, target, value } = *entry;
        let parts = if key.is_some() { HAS_KEY } else { 0 } | if target.is_some() { HAS_TARGET } else { 0 };
        let (key, target) = (short(key), short(target));
        self.bytes.put_u8(level::number(level));
        self.bytes.put_u8(parts);
        self.bytes.put_u16_le(key.len() as u16);
        self.bytes.put_u16_le(target.len() as u16);
        self.bytes.put_i64_le(timestamp);
        self.bytes.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        for part in [key, target, value] {
            self.bytes.put_slice(part);
        }
        self.entries[level] += 1;
    }

    /// What it holds, to be read.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }

    /// The memory.
    pub(super) fn into_memory(self) -> BytesMut {
        self.bytes
    }
}

/// A key or a target, as much of it as its head can tell the length of.
fn short(part: Option<&[u8]>) -> &[u8] {
    let part = part.unwrap_or_default();
    &part[..part.len().min(u16::MAX.into())]
}

/// An event that shares the memory of its chunk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Taken {
    pub(crate) level: Level,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) target: Option<Bytes>,
    pub(crate) value: Bytes,
}

impl Taken {
    /// One that never was in a chunk.
    pub(crate) fn copied(entry: &Entry<'_>) -> Self {
        let Entry { level, timestamp, key, target, value } = *entry;
        let copy = Bytes::copy_from_slice;
        Self { level, timestamp, key: key.map(copy), target: target.map(copy), value: copy(value) }
    }

    /// The same event, in memory of its own.
    pub(crate) fn of_its_own(&self) -> Self {
        let Self { level, timestamp, key, target, value } = self;
        let entry = Entry {
            level: *level,
            timestamp: *timestamp,
            key: key.as_deref(),
            target: target.as_deref(),
            value,
        };
        Self::copied(&entry)
    }
}

/// The events of a chunk.
pub(crate) struct Events(Bytes);

impl Events {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Iterator for Events {
    type Item = Taken;

    fn next(&mut self) -> Option<Taken> {
        let bytes = &mut self.0;
        if bytes.len() < HEAD {
            return None;
        }
        let level = level::of_number(bytes.get_u8())?;
        let parts = bytes.get_u8();
        let (key, target) = (usize::from(bytes.get_u16_le()), usize::from(bytes.get_u16_le()));
        let timestamp = bytes.get_i64_le();
        let value = bytes.get_u32_le() as usize;
        if bytes.len() < key + target + value {
            return None;
        }
        let mut part = |length| bytes.split_to(length);
        let (key, target, value) = (part(key), part(target), part(value));
        Some(Taken {
            level,
            timestamp,
            key: (parts & HAS_KEY != 0).then_some(key),
            target: (parts & HAS_TARGET != 0).then_some(target),
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let parts: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"orders")];
        let mut chunk = Chunk::within(BytesMut::with_capacity(CHUNK));
        let mut entries = Vec::new();
        for level in level::LEVELS {
            for key in parts {
                for target in parts {
                    for value in [&b""[..], b"tea", &[7; 300]] {
                        let timestamp = 1_700_000_000_000 + entries.len() as i64;
                        entries.push(Entry { level, timestamp, key, target, value });
                    }
                }
            }
        }
        let mut length = 0;
        for entry in &entries {
            assert!(chunk.has_room_for(stored(entry)));
            chunk.push(entry);
            length += stored(entry);
            assert_eq!(chunk.len(), length);
        }
        assert_eq!(chunk.entries.total(), entries.len() as u64);
        let taken: Vec<_> = Events::new(chunk.into_bytes()).collect();
        assert_eq!(taken.len(), entries.len());
        for (taken, entry) in taken.iter().zip(&entries) {
            let Entry { level, timestamp, key, target, value } = *entry;
            assert_eq!((taken.level, taken.timestamp), (level, timestamp));
            assert_eq!((taken.key.as_deref(), taken.target.as_deref()), (key, target));
            assert_eq!(taken.value, value);
        }
    }
}
