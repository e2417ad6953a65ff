//! The Kafka frames that the bench sends and the few fields that it reads back, written by hand.
//!
//! Every API is pinned to one flexible version that both brokers serve: Produce 9, Fetch 12, ListOffsets 6,
//! Metadata 9, CreateTopics 5. The hot path never encodes: a request is laid out once as a
//! [`Template`], and only its correlation id, partition and fetch offset are patched afterwards.
//!
//! This module does not use the project's own codec, on purpose: a fault in it would then hide in both ends.
//! Frames of consumer groups are in `frames/groups.rs`.

pub mod groups;

use std::sync::Arc;

/// The error code that means success.
pub const NONE: i16 = 0;

const PRODUCE: (i16, i16) = (0, 9);
const FETCH: (i16, i16) = (1, 12);
const LIST_OFFSETS: (i16, i16) = (2, 6);
const METADATA: (i16, i16) = (3, 9);
const CREATE_TOPICS: (i16, i16) = (19, 5);

const CLIENT_ID: &str = "ottla-bench";
/// Where the correlation id of a request stands: after the frame's length, the API key and its version.
const CORRELATION_AT: usize = 8;
/// Where the batch's own length, CRC and the bytes under the CRC start.
const BATCH_LENGTH_AT: usize = 8;
const BATCH_CRC_AT: usize = 17;
const BATCH_CRC_FROM: usize = 21;
const BATCH_HEADER: usize = 61;
/// Requests whose frame is at most this long are copied whole for each slot in flight; longer ones share
/// their record batch, so that the generator's caches hold one copy of it.
const INLINE_LIMIT: usize = 4096;

/// A request laid out once and sent many times.
///
/// The frame is `head` followed by `tail`; `head` is what a sender copies and patches, `tail` is shared.
#[derive(Clone)]
pub struct Template {
    /// From the length field on, including everything that is patched.
    pub head: Vec<u8>,
    /// The rest of the frame, empty for a short one.
    pub tail: Arc<[u8]>,
    partition_at: usize,
    offset_at: Option<usize>,
    /// Bytes of record batch that one request carries, 0 where it carries none.
    pub batch_bytes: usize,
}

impl Template {
    /// Sets the correlation id and the partition in a copy of this template's head.
    pub fn patch(&self, head: &mut [u8], correlation_id: i32, partition: i32) {
        set_correlation_id(head, correlation_id);
        head[self.partition_at..self.partition_at + 4].copy_from_slice(&partition.to_be_bytes());
    }

    /// Sets the fetch offset in a copy of this template's head; nothing for a request that has none.
    pub fn patch_offset(&self, head: &mut [u8], offset: i64) {
        if let Some(at) = self.offset_at {
            head[at..at + 8].copy_from_slice(&offset.to_be_bytes());
        }
    }
}

/// Sets the correlation id of a frame, of which `head` holds at least the first twelve bytes.
pub fn set_correlation_id(head: &mut [u8], correlation_id: i32) {
    head[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
}

/// A record batch of format 2, without a producer id, and how many records it holds.
#[derive(Clone)]
pub struct Batch {
    /// The encoded batch, base offset 0.
    pub bytes: Vec<u8>,
    /// Its record count.
    pub records: i32,
}

impl Batch {
    /// One record of `value_len` bytes at `now_ms` (milliseconds since the epoch).
    pub fn single(value_len: usize, now_ms: i64) -> Batch {
        let mut noise = Noise::new();
        let mut records = Vec::new();
        put_record(&mut records, 0, value_len, &mut noise);
        Batch { bytes: seal(&records, 1, now_ms), records: 1 }
    }

    /// As many records of `value_len` bytes (64 to 4,000) as fit in exactly `total` bytes; the last record
    /// takes up what is left.
    ///
    /// # Panics
    /// If the numbers leave no room for one record.
    pub fn filled(total: usize, value_len: usize, now_ms: i64) -> Batch {
        assert!((64..=4000).contains(&value_len), "value length {value_len} is out of range");
        let room = total - BATCH_HEADER;
        let mut noise = Noise::new();
        let mut records = Vec::with_capacity(room);
        let mut count = 0;
        // A record's fixed fields take at most 16 bytes, so this leaves one to two records for the end.
        while records.len() + 2 * (value_len + 16) <= room {
            put_record(&mut records, count, value_len, &mut noise);
            count += 1;
        }
        let last = (1..=room - records.len())
            .rev()
            .find(|&len| records.len() + record_len(count, len) == room)
            .expect("a last record that fills the batch");
        put_record(&mut records, count, last, &mut noise);
        Batch { bytes: seal(&records, count + 1, now_ms), records: count + 1 }
    }
}

/// Produce with acks=all of one batch to one partition, which is patched per request.
pub fn produce(topic: &str, batch: &Batch) -> Template {
    let mut w = Writer::request(PRODUCE);
    w.null_string(); // transactional id
    w.i16(-1); // acks: all in-sync replicas
    w.i32(30_000);
    w.array(1);
    w.string(topic);
    w.array(1);
    let partition_at = w.out.len();
    w.i32(0);
    w.uvarint(batch.bytes.len() as u32 + 1);
    let records_at = w.out.len();
    w.out.extend_from_slice(&batch.bytes);
    w.tags();
    w.tags();
    w.tags();
    let mut head = w.finish();
    let tail = if head.len() > INLINE_LIMIT { head.split_off(records_at) } else { Vec::new() };
    Template { head, tail: tail.into(), partition_at, offset_at: None, batch_bytes: batch.bytes.len() }
}

/// Fetch outside a session of one partition, which is patched per request like its offset.
pub fn fetch(topic: &str, max_bytes: i32, max_wait_ms: i32) -> Template {
    let mut w = Writer::request(FETCH);
    w.i32(-1); // replica id: a consumer
    w.i32(max_wait_ms);
    w.i32(1); // min bytes
    w.i32(max_bytes);
    w.i8(0); // read uncommitted
    w.i32(0);
    w.i32(-1); // session epoch: none
    w.array(1);
    w.string(topic);
    w.array(1);
    let partition_at = w.out.len();
    w.i32(0);
    w.i32(-1); // current leader epoch
    let offset_at = w.out.len();
    w.i64(0);
    w.i32(-1); // last fetched epoch
    w.i64(-1); // log start offset
    w.i32(max_bytes);
    w.tags();
    w.tags();
    w.array(0); // forgotten topics
    w.string(""); // rack
    w.tags();
    let tail = Arc::from(Vec::new());
    Template { head: w.finish(), tail, partition_at, offset_at: Some(offset_at), batch_bytes: 0 }
}

/// CreateTopics of one topic with replication factor 1 and these settings.
pub fn create_topic(topic: &str, partitions: i32, settings: &[(&str, String)]) -> Vec<u8> {
    let mut w = Writer::request(CREATE_TOPICS);
    w.array(1);
    w.string(topic);
    w.i32(partitions);
    w.i16(1);
    w.array(0);
    w.array(settings.len());
    for (name, value) in settings {
        w.string(name);
        w.string(value);
        w.tags();
    }
    w.tags();
    w.i32(60_000);
    w.i8(0); // validate only
    w.tags();
    w.finish()
}

/// Metadata of one topic, which is not created by asking.
pub fn metadata(topic: &str) -> Vec<u8> {
    let mut w = Writer::request(METADATA);
    w.array(1);
    w.string(topic);
    w.tags();
    w.i8(0);
    w.i8(0);
    w.i8(0);
    w.tags();
    w.finish()
}

/// ListOffsets of the latest offset of partitions 0 to `partitions` of one topic.
pub fn latest_offsets(topic: &str, partitions: i32) -> Vec<u8> {
    let mut w = Writer::request(LIST_OFFSETS);
    w.i32(-1);
    w.i8(0);
    w.array(1);
    w.string(topic);
    w.array(partitions as usize);
    for partition in 0..partitions {
        w.i32(partition);
        w.i32(-1);
        w.i64(-1); // the latest offset
        w.tags();
    }
    w.tags();
    w.tags();
    w.finish()
}

/// A response could not be read: it is shorter than its own fields say, or not of the expected form.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a response that does not follow its schema")
    }
}

impl std::error::Error for Malformed {}

/// What the answer to [`produce`] says: partition, error code, base offset.
pub fn read_produced(response: &[u8]) -> Result<(i32, i16, i64), Malformed> {
    let mut r = Reader::response(response)?;
    r.expect_array(1)?;
    r.skip_string()?;
    r.expect_array(1)?;
    Ok((r.i32()?, r.i16()?, r.i64()?))
}

/// What the answer to [`fetch`] says ahead of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The partition that answered.
    pub partition: i32,
    /// The first error of the response or its partition.
    pub error_code: i16,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// Bytes of records, the last batch possibly cut off.
    pub records_len: usize,
    /// Where the records start in the frame.
    pub records_at: usize,
}

/// Reads the fields in front of the records. `response` may be the first bytes of the frame only.
pub fn read_fetched(response: &[u8]) -> Result<Fetched, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?; // throttle time
    let whole = r.i16()?;
    r.skip(4)?; // session id
    if whole != NONE {
        return Ok(Fetched {
            partition: -1,
            error_code: whole,
            high_watermark: -1,
            records_len: 0,
            records_at: 0,
        });
    }
    r.expect_array(1)?;
    r.skip_string()?;
    r.expect_array(1)?;
    let partition = r.i32()?;
    let error_code = r.i16()?;
    let high_watermark = r.i64()?;
    r.skip(16)?; // last stable offset, log start offset
    if r.array()? != 0 {
        return Err(Malformed); // aborted transactions, where there can be none
    }
    r.skip(4)?; // preferred read replica
    let records_len = r.array()?;
    Ok(Fetched { partition, error_code, high_watermark, records_len, records_at: r.at })
}

/// Topic error code and message of an answer to [`create_topic`].
pub fn read_created(response: &[u8]) -> Result<(i16, String), Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    r.expect_array(1)?;
    r.skip_string()?;
    Ok((r.i16()?, r.string()?.unwrap_or_default()))
}

/// How many partitions of the topic have a leader, by an answer to [`metadata`].
pub fn read_leaders(response: &[u8]) -> Result<i32, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    for _ in 0..r.array()? {
        r.skip(4)?;
        r.skip_string()?;
        r.skip(4)?;
        r.skip_string()?;
        r.skip_tags()?;
    }
    r.skip_string()?; // cluster id
    r.skip(4)?; // controller
    r.expect_array(1)?;
    let topic_error = r.i16()?;
    r.skip_string()?;
    r.skip(1)?; // internal
    let mut led = 0;
    for _ in 0..r.array()? {
        let error = r.i16()?;
        r.skip(4)?;
        let leader = r.i32()?;
        r.skip(4)?; // leader epoch
        for _ in 0..3 {
            let nodes = r.array()?;
            r.skip(nodes.checked_mul(4).ok_or(Malformed)?)?;
        }
        r.skip_tags()?;
        led += i32::from(error == NONE && leader >= 0);
    }
    Ok(if topic_error == NONE { led } else { 0 })
}

/// Error code and offset of each partition, by an answer to [`latest_offsets`], as `(partition, error, offset)`.
pub fn read_latest_offsets(response: &[u8]) -> Result<Vec<(i32, i16, i64)>, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    r.expect_array(1)?;
    r.skip_string()?;
    let count = r.array()?;
    let mut offsets = Vec::new();
    for _ in 0..count {
        let partition = r.i32()?;
        let error = r.i16()?;
        r.skip(8)?; // timestamp
        let offset = r.i64()?;
        r.skip(4)?; // leader epoch
        r.skip_tags()?;
        offsets.push((partition, error, offset));
    }
    Ok(offsets)
}

/// Walks the whole batches in `records`, checks each CRC-32C and that offsets are dense from `base_offset`,
/// and returns how many batches there are.
pub fn verify(mut records: &[u8], mut base_offset: i64) -> Result<usize, String> {
    let mut batches = 0;
    while records.len() >= BATCH_HEADER {
        let length = i32::from_be_bytes(field(records, BATCH_LENGTH_AT)) as usize;
        let whole = BATCH_LENGTH_AT + 4 + length;
        if length < BATCH_HEADER - 12 {
            return Err(format!("the batch at offset {base_offset} says it is {length} bytes long"));
        }
        if whole > records.len() {
            break; // the broker cut the last batch at max bytes
        }
        let found = i64::from_be_bytes(field(records, 0));
        if found != base_offset {
            return Err(format!("offset {found} where {base_offset} belongs"));
        }
        let stored = u32::from_be_bytes(field(records, BATCH_CRC_AT));
        let computed = crc32c::crc32c(&records[BATCH_CRC_FROM..whole]);
        if stored != computed {
            return Err(format!("the batch at offset {base_offset} fails its CRC"));
        }
        base_offset += i64::from(i32::from_be_bytes(field(records, 23))) + 1;
        records = &records[whole..];
        batches += 1;
    }
    Ok(batches)
}

/// The base offset of the first batch in `records`.
pub fn first_base_offset(records: &[u8]) -> Option<i64> {
    records.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes))
}

/// Kafka's name of the error codes that a broker under load may answer.
pub fn error_name(code: i16) -> &'static str {
    match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        0 => "NONE",
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        17 => "INVALID_TOPIC_EXCEPTION",
        19 => "NOT_ENOUGH_REPLICAS",
        22 => "ILLEGAL_GENERATION",
        23 => "INCONSISTENT_GROUP_PROTOCOL",
        24 => "INVALID_GROUP_ID",
        25 => "UNKNOWN_MEMBER_ID",
        26 => "INVALID_SESSION_TIMEOUT",
        27 => "REBALANCE_IN_PROGRESS",
        32 => "INVALID_TIMESTAMP",
        35 => "UNSUPPORTED_VERSION",
        36 => "TOPIC_ALREADY_EXISTS",
        37 => "INVALID_PARTITIONS",
        40 => "INVALID_CONFIG",
        42 => "INVALID_REQUEST",
        56 => "KAFKA_STORAGE_ERROR",
        69 => "GROUP_ID_NOT_FOUND",
        79 => "MEMBER_ID_REQUIRED",
        81 => "GROUP_MAX_SIZE_REACHED",
        87 => "INVALID_RECORD",
        110 => "FENCED_MEMBER_EPOCH",
        113 => "STALE_MEMBER_EPOCH",
        _ => "another error",
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field inside the slice")
}

fn put_record(out: &mut Vec<u8>, offset_delta: i32, value_len: usize, noise: &mut Noise) {
    put_varint(out, body_len(offset_delta, value_len) as i32);
    out.push(0); // attributes
    put_varint(out, 0); // timestamp delta
    put_varint(out, offset_delta);
    put_varint(out, -1); // no key
    put_varint(out, value_len as i32);
    out.extend((0..value_len).map(|_| noise.next()));
    put_varint(out, 0); // no headers
}

fn body_len(offset_delta: i32, value_len: usize) -> usize {
    1 + 1 + varint_len(offset_delta) + 1 + varint_len(value_len as i32) + value_len + 1
}

fn record_len(offset_delta: i32, value_len: usize) -> usize {
    let body = body_len(offset_delta, value_len);
    varint_len(body as i32) + body
}

fn seal(records: &[u8], count: i32, now_ms: i64) -> Vec<u8> {
    let mut w = Writer { out: Vec::with_capacity(BATCH_HEADER + records.len()) };
    w.i64(0);
    w.i32((BATCH_HEADER - 12 + records.len()) as i32);
    w.i32(-1); // partition leader epoch, which the broker sets
    w.i8(2);
    w.i32(0); // the CRC, below
    w.i16(0);
    w.i32(count - 1);
    w.i64(now_ms);
    w.i64(now_ms);
    w.i64(-1); // no producer id, epoch or sequence
    w.i16(-1);
    w.i32(-1);
    w.i32(count);
    w.out.extend_from_slice(records);
    let crc = crc32c::crc32c(&w.out[BATCH_CRC_FROM..]);
    w.out[BATCH_CRC_AT..BATCH_CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    w.out
}

fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_uvarint(out, zigzag(value));
}

fn varint_len(value: i32) -> usize {
    let bits = 32 - zigzag(value).leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Payload bytes that do not compress and are the same in every run.
struct Noise(u64);

impl Noise {
    fn new() -> Noise {
        Noise(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts a frame with request header version 2; its length is set by [`Writer::finish`].
    fn request((key, version): (i16, i16)) -> Writer {
        let mut w = Writer { out: Vec::new() };
        w.i32(0);
        w.i16(key);
        w.i16(version);
        w.i32(0);
        // The client id keeps its old encoding in flexible headers.
        w.i16(CLIENT_ID.len() as i16);
        w.out.extend_from_slice(CLIENT_ID.as_bytes());
        w.tags();
        w
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.out.len() - 4) as i32;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        self.out
    }

    fn i8(&mut self, value: i8) {
        self.out.push(value as u8);
    }

    fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn uvarint(&mut self, value: u32) {
        put_uvarint(&mut self.out, value);
    }

    fn array(&mut self, count: usize) {
        self.uvarint(count as u32 + 1);
    }

    fn string(&mut self, value: &str) {
        self.uvarint(value.len() as u32 + 1);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// A null string, or any other null whose length would be compact.
    fn null_string(&mut self) {
        self.uvarint(0);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.uvarint(value.len() as u32 + 1);
        self.out.extend_from_slice(value);
    }

    /// A string in the encoding from before flexible versions.
    fn old_string(&mut self, value: &str) {
        self.i16(value.len() as i16);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn tags(&mut self) {
        self.uvarint(0);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Skips a frame's length and its response header version 1.
    fn response(bytes: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let mut r = Reader { bytes, at: 0 };
        r.skip(8)?;
        r.skip_tags()?;
        Ok(r)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let chunk = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(Malformed)?;
        self.at += N;
        Ok(*chunk)
    }

    fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or(Malformed)?;
        self.at = end;
        Ok(())
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.take().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// A compact length; a null array counts as empty.
    fn array(&mut self) -> Result<usize, Malformed> {
        Ok(self.uvarint()?.saturating_sub(1) as usize)
    }

    fn expect_array(&mut self, count: usize) -> Result<(), Malformed> {
        if self.array()? == count { Ok(()) } else { Err(Malformed) }
    }

    fn string(&mut self) -> Result<Option<String>, Malformed> {
        let Some(len) = (self.uvarint()? as usize).checked_sub(1) else { return Ok(None) };
        let start = self.at;
        self.skip(len)?;
        Ok(Some(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()))
    }

    fn skip_string(&mut self) -> Result<(), Malformed> {
        let len = self.array()?;
        self.skip(len)
    }

    fn skip_tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let len = self.uvarint()? as usize;
            self.skip(len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_batches_have_exactly_the_size_asked_for() {
        for (total, value) in [(1024, 100), (16_384, 100), (262_144, 1024), (1_000_000, 1024)] {
            let batch = Batch::filled(total, value, 1_700_000_000_000);
            assert_eq!(batch.bytes.len(), total);
            assert_eq!(verify(&batch.bytes, 0), Ok(1));
            assert!(batch.records as usize >= total / (value + 20), "{} records", batch.records);
        }
    }

    #[test]
    fn a_batch_is_walked_record_by_record_to_its_end() {
        let batch = Batch::filled(16_384, 100, 0);
        let mut rest = &batch.bytes[BATCH_HEADER..];
        for _ in 0..batch.records {
            let mut r = Reader { bytes: rest, at: 0 };
            let length = (r.uvarint().unwrap() >> 1) as usize;
            rest = &rest[r.at + length..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn verify_sees_a_flipped_bit_a_wrong_offset_and_a_cut_batch() {
        let mut bytes = Batch::single(100, 0).bytes;
        assert!(verify(&bytes, 1).unwrap_err().contains("offset 0 where 1 belongs"));
        assert_eq!(verify(&bytes[..bytes.len() - 1], 0), Ok(0));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(verify(&bytes, 0).unwrap_err().contains("fails its CRC"));
    }

    #[test]
    fn short_frames_are_whole_and_long_ones_share_their_batch() {
        let short = produce("t", &Batch::single(100, 0));
        assert!(short.tail.is_empty());
        assert_eq!(i32::from_be_bytes(field(&short.head, 0)) as usize, short.head.len() - 4);
        let long = produce("t", &Batch::filled(16_384, 100, 0));
        assert_eq!(long.tail.len(), 16_384 + 3);
        let frame = i32::from_be_bytes(field(&long.head, 0)) as usize;
        assert_eq!(frame, long.head.len() + long.tail.len() - 4);
        assert_eq!(verify(&long.tail[..16_384], 0), Ok(1));
    }

    #[test]
    fn patching_changes_only_what_it_names() {
        let template = fetch("topic", 1 << 20, 500);
        let mut head = template.head.clone();
        template.patch(&mut head, 7, 258);
        template.patch_offset(&mut head, 99);
        assert_eq!(head[CORRELATION_AT..CORRELATION_AT + 4], [0, 0, 0, 7]);
        let changed = head.iter().zip(&template.head).filter(|(new, old)| new != old).count();
        assert_eq!(changed, 4); // 7, the two bytes of 258, and 99
    }

    #[test]
    fn truncated_responses_are_malformed_and_never_a_panic() {
        let mut w = Writer { out: Vec::new() };
        w.i32(0);
        w.i32(1);
        w.tags();
        w.array(1);
        w.string("topic");
        w.array(1);
        w.i32(3);
        w.i16(56);
        w.i64(-1);
        assert_eq!(read_produced(&w.out), Ok((3, 56, -1)));
        for end in 0..w.out.len() {
            assert_eq!(read_produced(&w.out[..end]), Err(Malformed));
        }
        for bytes in [&[0xff; 64][..], &[0x01; 64], &[0x00; 64]] {
            let _ = read_fetched(bytes);
            let _ = read_leaders(bytes);
            let _ = read_created(bytes);
            let _ = read_latest_offsets(bytes);
        }
    }
}
