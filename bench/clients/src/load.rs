//! What is sent and read, and the proof that it was: the records, their batches, their offsets.
//!
//! Every client is given the same records, and what it gives back must be all of them, once each.

use bytes::Bytes;
use ottla_records::{BatchBuilder, NewRecord, TimestampMs};

use crate::failure::{Doing, Result};

/// Partitions of every topic.
pub const PARTITIONS: i32 = 12;
/// The largest batch that a producer makes, in bytes; batches to be read are filled up to it too.
pub const BATCH_BYTES: usize = 64 << 10;
/// How many records a program has under way at most before it reads a result.
pub const WINDOW: usize = 20_000;
/// Bytes of the keys of records that are read.
const KEY_BYTES: usize = 8;

/// A value of this size, which all records of a run share: making values is no client's work.
pub fn value(bytes: usize) -> Bytes {
    Bytes::from((0..bytes).map(|at| b'a' + (at % 26) as u8).collect::<Vec<u8>>())
}

/// Which offsets the records of a run have, by partition.
#[derive(Debug, Default)]
pub struct Offsets([Run; PARTITIONS as usize]);

#[derive(Debug, Default, Clone, Copy)]
struct Run {
    count: u64,
    max: u64,
    sum: u64,
}

impl Offsets {
    /// Adds a record.
    pub fn add(&mut self, partition: i32, offset: i64) -> Result<()> {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let (Some(run), Ok(offset)) = (self.0.get_mut(index), u64::try_from(offset)) else {
            return Err(format!("a record is said to be in partition {partition} at offset {offset}").into());
        };
        run.count += 1;
        run.max = run.max.max(offset);
        run.sum = run.sum.wrapping_add(offset);
        Ok(())
    }

    /// Checks that there are so many records, and that those of each partition have the offsets 0, 1, 2, … once each, as
    /// far as their number, their sum and the largest one can tell.
    pub fn check(&self, records: u64) -> Result<()> {
        let count: u64 = self.0.iter().map(|run| run.count).sum();
        if count != records {
            return Err(format!("{records} records were asked for, and {count} came").into());
        }
        for (partition, run) in self.0.iter().enumerate().filter(|(_, run)| run.count > 0) {
            let last = run.count - 1;
            if run.max != last || run.sum != (last * run.count) / 2 {
                return Err(format!(
                    "partition {partition} has {} records, whose offsets end at {} and have the sum {}: not each once",
                    run.count, run.max, run.sum
                )
                .into());
            }
        }
        Ok(())
    }
}

/// Records to be read: whole batches that are all the same, as many in each partition.
#[derive(Debug, Clone)]
pub struct Readable {
    /// One batch, at offset 0.
    pub batch: Bytes,
    /// Records of a batch.
    pub batch_records: u64,
    /// Batches of each partition.
    pub batches: u64,
}

impl Readable {
    /// At least so many records, with values of this many bytes and keys of eight; the least that fills whole batches in
    /// all partitions.
    pub fn new(records: u64, value_bytes: usize) -> Result<Readable> {
        let filler = value(value_bytes);
        let mut builder = BatchBuilder::new();
        let mut index = 0_u64;
        loop {
            let key = index.to_be_bytes();
            let value = [&key, &filler[KEY_BYTES.min(value_bytes)..]].concat();
            let timestamp = TimestampMs(1_700_000_000_000);
            let record =
                NewRecord { timestamp, key: Some(&key), value: Some(&value), ..NewRecord::default() };
            if index > 0 && builder.would_be_size(&record) > BATCH_BYTES {
                break;
            }
            builder.push(&record).doing("fill a batch")?;
            index += 1;
        }
        let batch = builder.build().doing("build a batch")?;
        let batches = records.div_ceil(index * PARTITIONS as u64);
        Ok(Readable { batch, batch_records: index, batches })
    }

    /// Records of each partition.
    pub fn partition_records(&self) -> u64 {
        self.batches * self.batch_records
    }

    /// All records.
    pub fn records(&self) -> u64 {
        self.partition_records() * PARTITIONS as u64
    }
}

/// What a consumer has seen: offsets, and keys and values so far that they must have been read.
#[derive(Debug, Default)]
pub struct Seen {
    offsets: Offsets,
    /// Records.
    pub records: u64,
    bytes: u64,
    keys: u64,
    values: u64,
}

impl Seen {
    /// Adds a record.
    #[inline]
    pub fn add(
        &mut self,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let (Some(key), Some(value)) = (key, value) else {
            return Err(
                format!("the record of partition {partition} at {offset} has no key or no value").into()
            );
        };
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.keys = self.keys.wrapping_add(number(key));
        self.values = self.values.wrapping_add(number(value)).wrapping_add(u64::from(value[value.len() - 1]));
        self.offsets.add(partition, offset)
    }

    /// Checks that what was seen is what there is to read.
    pub fn check(&self, readable: &Readable, value_bytes: usize) -> Result<()> {
        self.offsets.check(readable.records())?;
        let batches = readable.batches * PARTITIONS as u64;
        let indexes = batches * (readable.batch_records * (readable.batch_records - 1) / 2);
        let last = u64::from(value(value_bytes)[value_bytes - 1]);
        let expected = (
            readable.records() * (KEY_BYTES + value_bytes) as u64,
            indexes,
            indexes + readable.records() * last,
        );
        let seen = (self.bytes, self.keys, self.values);
        if seen != expected {
            return Err(format!(
                "bytes, sum of keys and sum of values are {seen:?} and should be {expected:?}"
            )
            .into());
        }
        Ok(())
    }
}

/// The number in the first eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use ottla_records::RecordBatch;

    use super::*;

    #[test]
    fn offsets_that_are_missing_twice_there_or_negative_are_found() {
        let of = |list: &[(i32, i64)]| {
            let mut offsets = Offsets::default();
            list.iter().try_for_each(|(partition, offset)| offsets.add(*partition, *offset))?;
            offsets.check(3)
        };
        assert_eq!(of(&[(0, 0), (0, 1), (11, 0)]), Ok(()));
        for wrong in [
            &[(0, 0), (0, 1)][..],
            &[(0, 0), (0, 0), (1, 0)],
            &[(0, 0), (0, 2), (1, 0)],
            &[(0, -1)],
            &[(12, 0)],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_batch_that_is_read_whole_is_as_expected_and_a_changed_value_is_not() {
        let readable = Readable::new(30_000, 100).unwrap();
        assert!(readable.records() >= 30_000 && readable.batch.len() <= BATCH_BYTES);
        let batch = RecordBatch::parse(readable.batch.clone()).unwrap();
        let read = |change: u8| {
            let mut seen = Seen::default();
            for partition in 0..PARTITIONS {
                for at in 0..readable.batches {
                    for record in batch.records().unwrap() {
                        let record = record.unwrap();
                        let mut value = record.value.unwrap().to_vec();
                        *value.last_mut().unwrap() ^= change;
                        let offset = (at * readable.batch_records) as i64 + record.offset.0;
                        seen.add(partition, offset, record.key, Some(&value)).unwrap();
                    }
                }
            }
            seen.check(&readable, 100)
        };
        assert_eq!(read(0), Ok(()));
        assert!(read(1).is_err());
    }
}
