//! Compressed records that were damaged, cut, or made to become much.

use std::io::Write;

use ottla_records::batch::HEADER_SIZE;
use ottla_records::{BatchHeader, Compression, Compressor, DecompressError, Decompressor, decompress};
use proptest::prelude::*;

use crate::allocations::peak_bytes;
use crate::compressed::{CODECS, LIMIT};
use crate::compression_checks::check_decompress;
use crate::forge::valid;

/// `plain`, compressed as the records of a batch are.
pub fn compressed(codec: Compression, plain: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(&valid()).unwrap();
    let batch = Compressor::new(codec).unwrap().compress(&header, plain).unwrap();
    batch[HEADER_SIZE..].to_vec()
}

/// Text that compresses, but not to nothing: `size` bytes of it.
pub fn text(size: usize) -> Vec<u8> {
    (0_u32..).flat_map(|at| format!("record {} of {at}; ", at % 13).into_bytes()).take(size).collect()
}

fn whole(codec: Compression, bytes: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress(codec, bytes, LIMIT, &mut out).map(|_| out)
}

#[test]
fn each_truncation_is_found() {
    let plain = text(40_000);
    for codec in CODECS {
        let bytes = compressed(codec, &plain);
        // Nothing in xerial's framing tells that blocks are missing behind the header, or behind the first block.
        let unseen = match codec {
            Compression::Snappy => vec![(16, 0), (20 + be_u32(&bytes[16..20]), 32 << 10)],
            _ => vec![],
        };
        let sizes = (0..bytes.len()).step_by(bytes.len() / 700 + 1).chain(bytes.len() - 40..bytes.len());
        for size in sizes.chain(unseen.iter().map(|(size, _)| *size)) {
            match whole(codec, &bytes[..size]) {
                Err(DecompressError::CutOff { size: got, .. }) => assert!(got <= plain.len()),
                // What is left of a magic looks like a block without framing.
                Err(DecompressError::Damaged { .. }) => assert!(codec == Compression::Snappy && size < 8),
                Err(error) => panic!("{codec} cut to {size} of {} bytes: {error}", bytes.len()),
                Ok(out) => assert!(unseen.contains(&(size, out.len())), "{codec} cut to {size} bytes"),
            }
        }
        assert!(whole(codec, &bytes).unwrap() == plain);
    }
}

fn be_u32(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().unwrap()) as usize
}

#[test]
fn each_truncation_of_a_short_payload_is_found() {
    for codec in CODECS {
        let bytes = compressed(codec, b"a few bytes, a few bytes, a few bytes");
        for size in 0..bytes.len() {
            let result = whole(codec, &bytes[..size]);
            assert!(
                result.is_err() || (codec, size) == (Compression::Snappy, 16),
                "{codec} {size}: {result:?}"
            );
            check_decompress(codec, &bytes[..size], 1);
        }
    }
}

#[test]
fn flipped_bits_are_no_danger() {
    let plain = text(700);
    for codec in CODECS {
        let bytes = compressed(codec, &plain);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check_decompress(codec, &flipped, 1);
            // Gzip alone has a checksum; the others leave that to the batch.
            if codec == Compression::Gzip {
                assert!(whole(codec, &flipped).map_or(true, |out| out == plain), "bit {bit}");
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_found() {
    for codec in CODECS {
        let mut bytes = compressed(codec, b"all there is");
        bytes.extend_from_slice(b"garbage");
        let error = whole(codec, &bytes).unwrap_err();
        match codec {
            // Its framing has no end: the garbage is the length of the next block.
            Compression::Snappy => assert!(matches!(error, DecompressError::CutOff { size: 12, .. })),
            _ => assert_eq!(error, DecompressError::Trailing { compression: codec, size: 12, extra: 7 }),
        }
        check_decompress(codec, &bytes, 5);
    }
}

#[test]
fn what_readers_of_a_codec_take_together_is_read() {
    let two = |codec| [compressed(codec, b"first, "), compressed(codec, b"second")].concat();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
        assert_eq!(whole(codec, &two(codec)).unwrap(), b"first, second", "{codec}");
        check_decompress(codec, &two(codec), 3);
    }
    assert!(matches!(whole(Compression::Lz4, &two(Compression::Lz4)), Err(DecompressError::Trailing { .. })));

    let skipped = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let frame = compressed(Compression::Zstd, b"kept");
    for bytes in [[&skipped[..], &frame].concat(), [&frame[..], &skipped, &frame].concat()] {
        assert!(whole(Compression::Zstd, &bytes).unwrap().starts_with(b"kept"));
        check_decompress(Compression::Zstd, &bytes, 1);
    }
}

/// As sarama wrote it before it knew of xerial's framing.
#[test]
fn snappy_without_framing_is_read() {
    let mut block = vec![10, 9 << 2];
    block.extend_from_slice(b"ten bytes!");
    assert_eq!(whole(Compression::Snappy, &block).unwrap(), b"ten bytes!");
    check_decompress(Compression::Snappy, &block, 3);
    assert_eq!(whole(Compression::Snappy, &[0]).unwrap(), b"");
    check_decompress(Compression::Snappy, &[0], 3);
}

#[test]
fn an_empty_payload_is_cut_off() {
    for codec in CODECS {
        assert_eq!(whole(codec, &[]), Err(DecompressError::CutOff { compression: codec, size: 0 }));
    }
    assert_eq!(whole(Compression::None, &[]).unwrap(), b"");
}

/// The library finds this only where it decompresses all at once.
#[test]
fn a_frame_of_zstd_with_less_content_than_it_tells_is_damaged() {
    // A single segment of 59 bytes, and one block: the last one, and empty.
    let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 59, 1, 0, 0];
    assert!(matches!(whole(Compression::Zstd, &bytes), Err(DecompressError::Damaged { size: 0, .. })));
    check_decompress(Compression::Zstd, &bytes, 1);
}

fn lz4_frame(plain: &[u8], mode: lz4::BlockMode, size: lz4::BlockSize, content_size: bool) -> Vec<u8> {
    let mut encoder = lz4::EncoderBuilder::new()
        .block_mode(mode)
        .block_size(size)
        .block_checksum(lz4::liblz4::BlockChecksum::BlockChecksumEnabled)
        .checksum(lz4::ContentChecksum::ChecksumEnabled)
        .content_size(if content_size { plain.len() as u64 } else { 0 })
        .build(Vec::new())
        .unwrap();
    encoder.write_all(plain).unwrap();
    let (bytes, result) = encoder.finish();
    result.unwrap();
    bytes
}

#[test]
fn all_that_a_frame_of_lz4_can_have_is_read() {
    let plain = text(300_000);
    for mode in [lz4::BlockMode::Independent, lz4::BlockMode::Linked] {
        for size in [lz4::BlockSize::Max64KB, lz4::BlockSize::Max256KB, lz4::BlockSize::Max4MB] {
            for content_size in [false, true] {
                let bytes = lz4_frame(&plain, mode.clone(), size.clone(), content_size);
                assert!(whole(Compression::Lz4, &bytes).unwrap() == plain);
            }
        }
    }
}

/// With all checksums no flipped bit goes unseen.
#[test]
fn flipped_bits_are_found_by_the_checksums_of_lz4() {
    let bytes = lz4_frame(&text(500), lz4::BlockMode::Linked, lz4::BlockSize::Max64KB, true);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(whole(Compression::Lz4, &flipped).is_err(), "bit {bit}");
        check_decompress(Compression::Lz4, &flipped, 7);
    }
}

/// A limit of 100 KiB for 32 MiB that come out of some KiB.
#[test]
fn bombs_stop_at_the_limit() {
    let limit = 100 << 10;
    let plain = vec![0; 32 << 20];
    for codec in CODECS {
        let bomb = compressed(codec, &plain);
        assert!(bomb.len() < plain.len() / 20, "{codec}: {} bytes", bomb.len());
        let mut out = Vec::new();
        let (result, allocated) = peak_bytes(|| decompress(codec, &bomb, limit, &mut out));
        let error = result.unwrap_err();
        let DecompressError::TooLarge { limit: told, size, .. } = error else { panic!("{error}") };
        assert!(told == limit && size <= limit);
        assert!(allocated <= 1 << 20, "{codec}: {allocated} bytes allocated");
    }
}

/// A few bytes that announce much.
#[test]
fn claims_allocate_nothing() {
    let lz4 = |descriptor: &[u8], blocks: &[u8]| {
        let checksum = (xxhash32(descriptor) >> 8) as u8;
        [&[0x04, 0x22, 0x4d, 0x18][..], descriptor, &[checksum], blocks].concat()
    };
    let zstd = |rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd][..], rest].concat();
    let xerial = |rest: &[u8]| [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], rest].concat();
    for (name, codec, bytes) in [
        ("a block without framing", Compression::Snappy, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        ("a block of 8 MiB without framing", Compression::Snappy, vec![0x80, 0x80, 0x80, 0x04, 0, 0]),
        (
            "a block with framing",
            Compression::Snappy,
            xerial(&[0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        ),
        ("a long block", Compression::Snappy, xerial(&[0x7f, 0xff, 0xff, 0xff, 0])),
        ("a negative block", Compression::Snappy, xerial(&[0xff; 4])),
        ("blocks of 4 MiB", Compression::Lz4, lz4(&[0x60, 0x70], &[5, 0, 0, 0, 0x1f, 0, 1, 0, 0xff])),
        (
            "much content",
            Compression::Lz4,
            lz4(&[0x68, 0x70, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[]),
        ),
        ("a long block", Compression::Lz4, lz4(&[0x60, 0x70], &[0, 0, 0x40, 0])),
        ("a window of 128 MiB", Compression::Zstd, zstd(&[0, 17 << 3, 0xff, 0xff, 0xff])),
        ("a window of 3 TiB", Compression::Zstd, zstd(&[0, 0xff, 0xff, 0xff, 0xff])),
        ("much content", Compression::Zstd, zstd(&[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])),
        ("a long skipped frame", Compression::Zstd, vec![0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let mut out = Vec::new();
        let (result, allocated) = peak_bytes(|| decompress(codec, &bytes, LIMIT, &mut out));
        assert!(result.is_err(), "{codec}, {name}");
        assert!(allocated < 8 << 10, "{codec}, {name}: {allocated} bytes allocated");
        check_decompress(codec, &bytes, 1);
    }
}

/// xxHash32 of fewer than 16 bytes.
fn xxhash32(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
    assert!(bytes.len() < 16);
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(PRIMES[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 16)
}

/// The caller hears of each piece before the next one is made.
#[test]
fn pieces_come_one_by_one() {
    let plain = text(10_000);
    for codec in CODECS {
        let bytes = compressed(codec, &plain);
        let mut decompressor = Decompressor::new(codec, &bytes, LIMIT).unwrap();
        let mut piece = [0; 4096];
        for (start, count) in [(0, 4096), (4096, 4096), (8192, 1808), (10_000, 0)] {
            assert_eq!(decompressor.size(), start);
            assert_eq!(decompressor.read(&mut piece), Ok(count));
            assert_eq!(piece[..count], plain[start..start + count]);
        }
    }
}

proptest! {
    #[test]
    fn damaged_payloads_are_no_danger(
        codec in prop::sample::select(&CODECS[..]),
        size in 0..3000_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        piece in 1..300_usize,
    ) {
        let mut bytes = compressed(codec, &text(size));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_decompress(codec, &bytes, piece);
    }
}
