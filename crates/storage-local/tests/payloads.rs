//! Payloads that look like records of the write-ahead log: a producer writes bytes that it has taken from the
//! real file, as they are or with other numbers, into a batch. Neither where the record around them is whole nor
//! where it is torn does a start take them for records.

mod harness;

use std::{collections::HashSet, path::Path, sync::Arc};

use bytes::Bytes;
use harness::Store;
use ottla_records::{BatchBuilder, LogId, NewRecord, Offset, TimestampMs};
use ottla_storage::{Log, LogSettings, ReadRequest, conformance};
use ottla_storage_local::{KnownLogs, Options};
use ottla_testing_internal::{Image, SimDisk};

const ROOT: &str = "/data";
/// Records of the write-ahead log begin at multiples of this.
const BLOCK: usize = 4096;
/// The parts of a record header (docs/formats/wal.md).
const MAGIC: &[u8] = b"OTTLAREC";
const CRC: std::ops::Range<usize> = 8..12;
const LSN: std::ops::Range<usize> = 24..32;
const ENTRIES: std::ops::Range<usize> = 32..36;
const FIXED: usize = 48;
const ENTRY: usize = 48;

fn known() -> KnownLogs {
    KnownLogs { live: [LogId(1)].into(), deleting: HashSet::new() }
}

fn open(image: Option<Image>) -> (SimDisk, Store) {
    let disk = match image {
        Some(image) => SimDisk::from_image(image),
        None => SimDisk::recording(Path::new(ROOT)),
    };
    let options = Options { arena_bytes: 16 << 20, wal_file_bytes: 256 << 10, ..Options::default() };
    let store = Store::on(Arc::new(disk.clone()), Path::new(ROOT), &known(), &options).unwrap();
    (disk, store)
}

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new();
    let record = NewRecord { timestamp: TimestampMs(1_000_000), key: None, value: Some(value), headers: &[] };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

/// The WAL file that is written, and where its records begin.
fn wal(disk: &SimDisk) -> (usize, Vec<u8>, Vec<usize>) {
    let image = disk.image();
    let files = image.names.iter().filter(|(path, _)| path.extension().is_some_and(|of| of == "wal"));
    let mut used = files.filter_map(|(_, inode)| Some(((*inode)?, image.contents[&(*inode)?].clone())));
    let (inode, bytes) = used.find(|(_, bytes)| bytes.starts_with(b"OTTLAWAL")).unwrap();
    let blocks = (BLOCK..bytes.len()).step_by(BLOCK);
    let records = blocks.filter(|at| bytes[*at..].starts_with(MAGIC)).collect();
    (inode, bytes, records)
}

/// A batch whose value has these bytes at the start of a block, once the batch lies in a record.
fn aligned(forged: &[u8]) -> Bytes {
    let plain = batch(&vec![b'-'; BLOCK + forged.len()]);
    let start = plain.windows(4).position(|bytes| bytes == b"----").unwrap();
    let mut value = vec![b'-'; BLOCK - start];
    value.extend_from_slice(forged);
    value.resize(BLOCK + forged.len(), b'-');
    let bytes = batch(&value);
    assert_eq!(bytes[BLOCK..BLOCK + forged.len()], *forged);
    bytes
}

/// What a producer makes of a real record.
#[derive(Clone, Copy, Debug)]
enum Forgery {
    /// Nothing: it sends it as it is.
    Copy,
    /// It gives it another number, and leaves the CRC.
    Numbered(u64),
    /// It gives it another number and a CRC of its own, with a salt or none. The salt in the header of the real
    /// file is what it cannot know.
    Whole(u64, Option<u64>),
}

impl Forgery {
    fn apply(self, real: &[u8]) -> Vec<u8> {
        let mut forged = real.to_vec();
        if let Self::Numbered(lsn) | Self::Whole(lsn, _) = self {
            forged[LSN].copy_from_slice(&lsn.to_le_bytes());
        }
        if let Self::Whole(_, salt) = self {
            let entries = u32::from_le_bytes(real[ENTRIES].try_into().unwrap()) as usize;
            let seed = salt.map_or(0, |salt| crc32c::crc32c(&salt.to_le_bytes()));
            let crc = crc32c::crc32c_append(seed, &forged[CRC.end..FIXED + entries * ENTRY]);
            forged[CRC].copy_from_slice(&crc.to_le_bytes());
        }
        forged
    }
}

/// A disk on which the last of three records has a forged one in its batch.
struct Laid {
    image: Image,
    /// The WAL file, and the salt in its header.
    inode: usize,
    salt: u64,
    /// Where the last record begins, and where the forged one does.
    record: usize,
    inside: usize,
    /// What the first two records hold, and what all hold.
    acknowledged: Vec<u8>,
    all: Vec<u8>,
}

async fn lay(forgery: Forgery) -> Laid {
    let (disk, mut store) = open(None);
    let log = store.store.open_log(LogId(1), LogSettings::default());
    for value in [b"one", b"two"] {
        store.append(&log, batch(value)).await.unwrap();
    }
    let (_, bytes, records) = wal(&disk);
    let forged = forgery.apply(&bytes[records[1]..records[1] + 2 * BLOCK]);
    let acknowledged = everything(&store).await;
    store.append(&log, aligned(&forged)).await.unwrap();
    let all = everything(&store).await;
    let (inode, bytes, records) = wal(&disk);
    let image = disk.image();
    store.close();
    let (record, inside) = (records[2], records[3]);
    assert_eq!(bytes[inside..inside + forged.len()], forged);
    let salt = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    Laid { image, inode, salt, record, inside, acknowledged, all }
}

impl Laid {
    /// The image after a power cut that has torn the last record: these bytes of the file are missing.
    fn torn(&self, range: std::ops::Range<usize>) -> Image {
        let mut image = self.image.clone();
        image.contents.get_mut(&self.inode).unwrap()[range].fill(0);
        image
    }
}

async fn everything(store: &Store) -> Vec<u8> {
    let log = store.store.open_log(LogId(1), LogSettings::default());
    let mut bytes = Vec::new();
    let mut offset = Offset(0);
    while offset < log.bounds().high_watermark {
        let request = ReadRequest { offset, max_bytes: 1, at_least_one: true };
        let read = match log.read_now(request).unwrap() {
            Some(read) => read,
            None => log.read(request).await.unwrap(),
        };
        bytes.extend(conformance::bytes(&read));
        offset = Offset(offset.0 + 1);
    }
    bytes
}

async fn restart(image: Image) -> Vec<u8> {
    let (_, store) = open(Some(image));
    let found = everything(&store).await;
    store.close();
    found
}

#[tokio::test]
async fn a_payload_is_never_taken_for_a_record() {
    let mut forgeries = vec![Forgery::Copy];
    for lsn in [2, 3, 4, 100] {
        let salts = [None, Some(0), Some(u64::MAX)];
        forgeries.push(Forgery::Numbered(lsn));
        forgeries.extend(salts.map(|salt| Forgery::Whole(lsn, salt)));
    }
    for forgery in forgeries {
        let laid = lay(forgery).await;
        assert_eq!(restart(laid.image.clone()).await, laid.all, "{forgery:?}, in a whole record");
        // What was not acknowledged may be torn: its header is not there, or a part of its data.
        let Laid { record, inside, .. } = laid;
        for torn in [record..record + BLOCK, record + BLOCK..inside, inside + BLOCK..inside + 2 * BLOCK] {
            let found = restart(laid.torn(torn.clone())).await;
            assert_eq!(found, laid.acknowledged, "{forgery:?}, where {torn:?} of {record} is missing");
        }
    }
}

/// That the forgeries fail for want of the salt alone: with it, they would pass for records.
#[tokio::test]
async fn the_salt_is_what_keeps_payloads_out() {
    let salt = lay(Forgery::Copy).await.salt;
    let laid = lay(Forgery::Whole(4, Some(salt))).await;
    assert_eq!(laid.salt, salt, "the same seed gives the same salt");
    let torn = laid.torn(laid.record..laid.record + BLOCK);
    let options = Options { arena_bytes: 16 << 20, wal_file_bytes: 256 << 10, ..Options::default() };
    let refused =
        Store::on(Arc::new(SimDisk::from_image(torn)), Path::new(ROOT), &known(), &options).map(|_| ());
    assert!(refused.is_err_and(|error| error.to_string().contains("a later one")));
}
