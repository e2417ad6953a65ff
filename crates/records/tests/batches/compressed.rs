//! Compressed batches: what is written is read again, by us, by `kafka-protocol`, and as Apache Kafka wrote it.

use bytes::Bytes;
use kafka_protocol::records as theirs;
use ottla_records::batch::HEADER_SIZE;
use ottla_records::{
    BatchBuilder, BatchHeader, BuildError, CompressError, Compression, Compressor, Level, LevelError, Offset,
    ProduceLimits, RecordBatch, Records, check_produced, decompress,
};
use proptest::prelude::*;

use crate::differential::{as_theirs, without_equal_headers};
use crate::forge::{OwnedRecord, build, build_with, records};
use crate::round_trip::owned;

pub const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// No batch of these tests becomes larger.
pub const LIMIT: usize = 16 << 20;

fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(&[Compression::None, CODECS[0], CODECS[1], CODECS[2], CODECS[3]][..])
}

/// The records of a batch, decompressed if need be.
fn read(batch: &RecordBatch) -> Vec<(i64, OwnedRecord)> {
    batch.check_crc().unwrap();
    let mut bytes = Vec::new();
    decompress(batch.header().compression().unwrap(), batch.payload(), LIMIT, &mut bytes).unwrap();
    let records = Records::new(batch.header(), &bytes).unwrap();
    records.map(|record| record.map(|record| (record.offset.0, owned(&record))).unwrap()).collect()
}

/// What Apache Kafka 4.3.1 wrote with its `MemoryRecordsBuilder`, from offset 1000 on.
fn fixture(name: &str) -> RecordBatch {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    RecordBatch::parse(Bytes::from(std::fs::read(path).unwrap())).unwrap()
}

/// The records that are in the fixtures.
fn fixture_records(count: i64) -> Vec<(i64, OwnedRecord)> {
    let record = |at: i64| OwnedRecord {
        timestamp: 1_700_000_000_000 + at,
        key: Some(format!("key-{at}").into_bytes()),
        value: Some(format!("value {} of an order that is shipped to a customer", at % 7).into_bytes()),
        headers: if at % 10 == 0 { vec![("trace".to_owned(), Some(vec![at as u8]))] } else { vec![] },
    };
    (0..count).map(|at| (1000 + at, record(at))).collect()
}

#[test]
fn what_apache_kafka_wrote_is_read() {
    for (name, codec, count) in [
        ("gzip", Compression::Gzip, 20),
        ("gzip-9", Compression::Gzip, 20),
        ("gzip-2000", Compression::Gzip, 2000),
        ("snappy", Compression::Snappy, 20),
        ("snappy-2000", Compression::Snappy, 2000),
        ("lz4", Compression::Lz4, 20),
        ("lz4-17", Compression::Lz4, 20),
        ("lz4-2000", Compression::Lz4, 2000),
        ("zstd", Compression::Zstd, 20),
        ("zstd-22", Compression::Zstd, 20),
        ("zstd--5", Compression::Zstd, 20),
        ("zstd-2000", Compression::Zstd, 2000),
    ] {
        let batch = fixture(name);
        assert_eq!(batch.header().compression(), Ok(codec), "{name}");
        assert!(read(&batch) == fixture_records(count), "{name}");
    }
}

/// Frames and the header before the records are what Apache Kafka writes; how its codecs find repetitions differs.
#[test]
fn what_we_write_begins_as_what_apache_kafka_writes() {
    for (name, codec, same) in [
        // Without the byte for the operating system.
        ("gzip-2000", Compression::Gzip, 9),
        ("snappy-2000", Compression::Snappy, 16),
        ("lz4-2000", Compression::Lz4, 7),
    ] {
        let theirs = fixture(name);
        let mut plain = Vec::new();
        decompress(codec, theirs.payload(), LIMIT, &mut plain).unwrap();
        let ours = Compressor::new(codec).unwrap().compress(theirs.header(), &plain).unwrap();
        let ours = RecordBatch::parse(ours).unwrap();
        assert_eq!(ours.payload()[..same], theirs.payload()[..same], "{name}");
        assert_eq!(without_bytes(ours.header()), without_bytes(theirs.header()), "{name}");
    }
}

/// The header, but for what depends on how the records are written.
fn without_bytes(header: &BatchHeader) -> BatchHeader {
    BatchHeader { length: HEADER_SIZE, crc: 0, attributes: header.attributes & !7, ..*header }
}

#[test]
fn compression_makes_repetition_small() {
    let plain = vec![b'o'; 100_000];
    let header = *fixture("gzip").header();
    for codec in CODECS {
        let batch = Compressor::new(codec).unwrap().compress(&header, &plain).unwrap();
        assert!(batch.len() < plain.len() / 10, "{codec}: {} bytes", batch.len());
    }
}

#[test]
fn no_records_are_compressed_and_read_again() {
    let header = *fixture("gzip").header();
    for codec in CODECS {
        let batch = Compressor::new(codec).unwrap().compress(&header, &[]).unwrap();
        let batch = RecordBatch::parse(batch).unwrap();
        assert!(!batch.payload().is_empty(), "{codec}");
        let mut out = b"before".to_vec();
        assert_eq!(decompress(codec, batch.payload(), 0, &mut out), Ok(0), "{codec}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn a_batch_without_records_is_not_built_compressed() {
    let mut compressor = Compressor::new(Compression::Zstd).unwrap();
    assert_eq!(BatchBuilder::new().build_compressed(&mut compressor), Err(BuildError::Empty));
}

#[test]
fn the_missing_feature_is_named() {
    let error = CompressError::FeatureOff { compression: Compression::Lz4 };
    assert!(error.to_string().contains("feature `lz4`"), "{error}");
}

#[test]
fn a_level_is_one_of_its_codec() {
    for (codec, allowed, refused) in [
        (Compression::Gzip, &[-1, 1, 9][..], &[-2, 0, 10][..]),
        (Compression::Lz4, &[1, 9, 17], &[-1, 0, 18]),
        (Compression::Zstd, &[-131_072, -1, 0, 22], &[-131_073, 23, i32::MIN, i32::MAX]),
    ] {
        for &number in allowed {
            let level = Level::new(codec, number).unwrap();
            assert_eq!((level.compression(), level.number()), (codec, Some(number)));
        }
        let range = Level::range(codec).unwrap();
        for &number in refused {
            let error =
                LevelError::OutOfRange { compression: codec, number, min: *range.start(), max: *range.end() };
            assert_eq!(Level::new(codec, number), Err(error));
        }
        let default = Level::default_of(codec);
        assert_eq!(Level::new(codec, default.number().unwrap()), Ok(default));
    }
    for codec in [Compression::None, Compression::Snappy] {
        let error = LevelError::NoLevels { compression: codec, number: 1 };
        assert_eq!(Level::new(codec, 1), Err(error));
        assert_eq!(Level::from(codec).number(), None);
    }
}

#[test]
fn each_level_is_read_again() {
    let batch = fixture("zstd-2000");
    let mut plain = Vec::new();
    decompress(Compression::Zstd, batch.payload(), LIMIT, &mut plain).unwrap();
    let zstd = [-131_072, -7, 0, 1, 3, 12, 19, 22].map(|number| (Compression::Zstd, number));
    let gzip = [-1, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|number| (Compression::Gzip, number));
    let lz4 = [1, 17].map(|number| (Compression::Lz4, number));
    for (codec, number) in zstd.into_iter().chain(gzip).chain(lz4) {
        let level = Level::new(codec, number).unwrap();
        let mut compressor = Compressor::new(level).unwrap();
        assert_eq!(compressor.level(), level);
        let again = compressor.compress(batch.header(), &plain).unwrap();
        let again = RecordBatch::parse(again).unwrap();
        assert!(read(&again) == fixture_records(2000), "{level:?}");
    }
    let size = |codec, number| {
        let mut compressor = Compressor::new(Level::new(codec, number).unwrap()).unwrap();
        compressor.compress(batch.header(), &plain).unwrap().len()
    };
    assert!(size(Compression::Gzip, 9) < size(Compression::Gzip, 1));
    assert!(size(Compression::Zstd, 22) < size(Compression::Zstd, -131_072));
}

fn as_their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One compressor for several batches, as a producer has it.
    #[test]
    fn records_survive_compression(
        codec in codec(),
        batches in prop::collection::vec(records(any::<i64>()), 1..4),
        base in 0..i64::MAX - 100,
    ) {
        let mut compressor = Compressor::new(codec).unwrap();
        for records in batches {
            let builder = || BatchBuilder::new().base_offset(Offset(base)).transactional();
            let plain = RecordBatch::parse(build(builder(), &records)).unwrap();
            let bytes = build_with(builder(), &records, |builder| builder.build_compressed(&mut compressor));
            let batch = RecordBatch::parse(bytes).unwrap();
            prop_assert_eq!(without_bytes(batch.header()), without_bytes(plain.header()));
            prop_assert_eq!(batch.header().compression(), Ok(codec));
            if codec == Compression::None {
                prop_assert_eq!(batch.bytes(), plain.bytes());
            }
            let expected: Vec<_> = (base..).zip(records).collect();
            prop_assert_eq!(read(&batch), expected);
        }
    }

    #[test]
    fn they_read_what_we_compress(
        codec in codec(),
        records in records(0..1_i64 << 45).prop_map(without_equal_headers),
    ) {
        let mut compressor = Compressor::new(codec).unwrap();
        let mut bytes =
            build_with(BatchBuilder::new(), &records, |builder| builder.build_compressed(&mut compressor));
        let read = theirs::RecordBatchDecoder::decode(&mut bytes).unwrap();
        let fields = |record: &theirs::Record| {
            (record.timestamp, record.key.clone(), record.value.clone(), record.headers.clone())
        };
        let written: Vec<_> = records.iter().map(as_theirs).collect();
        prop_assert!(read.records.iter().map(fields).eq(written.iter().map(fields)));
    }

    #[test]
    fn we_read_what_they_compress(
        codec in codec(),
        records in records(0..1_i64 << 45).prop_map(without_equal_headers),
    ) {
        let options = theirs::RecordEncodeOptions { version: 2, compression: as_their_codec(codec) };
        let written: Vec<_> = (0..)
            .zip(&records)
            .map(|(at, record)| theirs::Record {
                offset: i64::from(at),
                sequence: at - 1,
                ..as_theirs(record)
            })
            .collect();
        let mut bytes = bytes::BytesMut::new();
        theirs::RecordBatchEncoder::encode(&mut bytes, &written, &options).unwrap();
        let bytes = bytes.freeze();
        prop_assert!(check_produced(&bytes, &ProduceLimits::default()).is_ok());
        let expected: Vec<_> = (0..).zip(records).collect();
        prop_assert_eq!(read(&RecordBatch::parse(bytes).unwrap()), expected);
    }
}
