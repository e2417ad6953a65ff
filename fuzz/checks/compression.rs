//! What must hold for any bytes at all that claim to be compressed records, and for any bytes that are compressed.
//! The fuzz target runs this on what it makes up, the tests on the corpus and on what they damage.

use std::mem::discriminant;

use ottla_records::{
    BatchBuilder, BatchHeader, Compression, Compressor, DecompressError, Decompressor, NewRecord,
    RecordBatch, decompress,
};

use crate::allocations::peak_bytes;

/// How much records may become here.
const LIMIT: usize = 64 << 10;
/// What that may take besides: the vector as it grows, a block and a window, and the state of gzip.
const ALLOCATED_MAX: usize = 1 << 20;

/// Takes the first byte of `data` as a codec and the second as the size of a piece. Decompresses what follows, and
/// compresses it.
pub fn check_compression(data: &[u8]) {
    let [codec, piece, bytes @ ..] = data else { return };
    let Ok(compression) = Compression::from_attributes(i16::from(*codec)) else { return };
    check_decompress(compression, bytes, usize::from(*piece).max(1));
    check_round_trip(compression, bytes);
}

/// However the pieces are cut, the same bytes come, or the same kind of error.
pub fn check_decompress(compression: Compression, bytes: &[u8], piece: usize) {
    let mut out = Vec::new();
    let (result, allocated) = peak_bytes(|| decompress(compression, bytes, LIMIT, &mut out));
    assert!(allocated <= ALLOCATED_MAX + 4 * bytes.len(), "{compression}: {allocated} bytes allocated");
    match (&result, in_pieces(compression, bytes, piece)) {
        (Ok(size), Ok(pieces)) => {
            assert_eq!(*size, out.len());
            assert!(out == pieces, "{compression}: pieces of {piece} bytes give other bytes");
            check_limits(compression, bytes, *size);
        }
        (Err(error), Err(again)) => {
            assert_eq!(discriminant(error), discriminant(&again), "{error}; {again}");
            assert!(out.is_empty(), "an error leaves the vector as it was");
        }
        (result, pieces) => {
            panic!("{compression}: {result:?}, and in pieces {:?}", pieces.map(|all| all.len()))
        }
    }
}

fn in_pieces(compression: Compression, bytes: &[u8], piece: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decompressor = Decompressor::new(compression, bytes, LIMIT)?;
    let mut piece = vec![0; piece];
    let mut all = Vec::new();
    loop {
        let count = match decompressor.read(&mut piece) {
            Ok(count) => count,
            Err(error) => {
                assert_eq!(decompressor.read(&mut piece).as_ref(), Err(&error), "an error stays");
                return Err(error);
            }
        };
        all.extend_from_slice(&piece[..count]);
        assert!(all.len() <= LIMIT && all.len() == decompressor.size());
        assert_eq!(decompressor.read(&mut []), Ok(0), "nothing was asked for");
        if count < piece.len() {
            assert_eq!(decompressor.read(&mut piece), Ok(0), "the end is the end");
            return Ok(all);
        }
    }
}

/// What becomes `size` bytes needs that limit and no more.
fn check_limits(compression: Compression, bytes: &[u8], size: usize) {
    let mut out = Vec::new();
    assert_eq!(decompress(compression, bytes, size, &mut out), Ok(size));
    if let Some(limit) = size.checked_sub(1) {
        let error = decompress(compression, bytes, limit, &mut out).expect_err("it does not fit");
        assert!(
            matches!(error, DecompressError::TooLarge { limit: told, size, .. } if told == limit && size <= limit),
            "{error}"
        );
    }
}

/// What was compressed is a batch that gives it back.
fn check_round_trip(compression: Compression, bytes: &[u8]) {
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord::default()).expect("it fits");
    let header = BatchHeader::parse(&builder.build().expect("it has a record")).expect("it is a batch");
    let mut compressor = Compressor::new(compression).expect("all codecs are there");
    for _ in 0..2 {
        let batch = compressor.compress(&header, bytes).expect("it fits");
        let batch = RecordBatch::parse(batch).expect("it is a batch");
        batch.check_crc().expect("its crc matches");
        assert_eq!(batch.header().compression(), Ok(compression));
        let mut out = Vec::new();
        assert_eq!(decompress(compression, batch.payload(), bytes.len(), &mut out), Ok(bytes.len()));
        assert!(out == bytes, "{compression}: other bytes come back");
    }
}
