//! How fast batches are checked, compressed and decompressed on one core: `cargo bench -p ottla-records`.
//!
//! Prints for each step the best of several rounds, as GB/s and as CPU milliseconds per GB.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_records::{
    BatchBuilder, BatchHeader, BatchMut, Compression, Compressor, NewRecord, ProduceLimits, RecordBatch,
    TimestampMs, check_produced, crc, decompress,
};

/// How often each step is measured; the best round is the one that nothing disturbed.
const ROUNDS: u32 = 15;
/// How long a round takes at least.
const ROUND: Duration = Duration::from_millis(100);

fn main() {
    for (name, batch_size, record_size) in [
        ("16 KiB of 100 B", 16 << 10, 100),
        ("1 MiB of 100 B", 1 << 20, 100),
        ("16 KiB of 1 KiB", 16 << 10, 1024),
    ] {
        let mut batch = filled(batch_size, record_size).to_vec();
        let limits = ProduceLimits::default();
        println!(
            "{name}: {} bytes, {} records",
            batch.len(),
            BatchHeader::parse(&batch).unwrap().record_count
        );
        measure("crc", batch.len(), || crc::crc32c(&batch));
        measure("check_produced", batch.len(), || check_produced(&batch, &limits).unwrap());
        let view = RecordBatch::parse(Bytes::copy_from_slice(&batch)).unwrap();
        measure("walk with Records", batch.len(), || {
            view.records().unwrap().map(|record| record.unwrap().value.map_or(0, <[u8]>::len)).sum::<usize>()
        });
        measure("set_append_time", batch.len(), || {
            BatchMut::parse(&mut batch).unwrap().set_append_time(TimestampMs(1_700_000_000_000));
        });
        measure_compression(&view);
    }
}

/// The records are alike but for a number, so that the sizes tell little and the times something.
fn measure_compression(batch: &RecordBatch) {
    let (header, records) = (batch.header(), batch.payload());
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut compressor = Compressor::new(codec).unwrap();
        let compressed = RecordBatch::parse(compressor.compress(header, records).unwrap()).unwrap();
        let size = compressed.payload().len();
        measure(&format!("{codec} to {size} bytes"), records.len(), || {
            compressor.compress(header, records).unwrap()
        });
        let mut out = Vec::new();
        measure(&format!("{codec} back"), records.len(), || {
            out.clear();
            decompress(codec, compressed.payload(), records.len(), &mut out).unwrap()
        });
    }
}

/// A batch of about `batch_size` bytes with records of `record_size` bytes, key and value together.
fn filled(batch_size: usize, record_size: usize) -> Bytes {
    let value = vec![b'v'; record_size - 8];
    let mut builder = BatchBuilder::new();
    for at in 0_u32.. {
        let key = format!("{at:08}");
        let timestamp = TimestampMs(1_700_000_000_000 + i64::from(at / 10));
        let record = NewRecord { timestamp, key: Some(key.as_bytes()), value: Some(&value), headers: &[] };
        if builder.would_be_size(&record) > batch_size {
            break;
        }
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// Repeats `step`, which works on `size` bytes, and prints its best round.
fn measure<T>(name: &str, size: usize, mut step: impl FnMut() -> T) {
    let best = (0..ROUNDS).map(|_| round(&mut step)).fold(f64::INFINITY, f64::min);
    let gb_per_s = size as f64 / best / 1e9;
    println!("  {name:<22} {:>9.0} ns  {gb_per_s:>7.1} GB/s  {:>6.1} ms/GB", best * 1e9, 1e3 / gb_per_s);
}

/// Runs `step` for one round and returns how many seconds it takes once.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that really passes")]
fn round<T>(step: &mut impl FnMut() -> T) -> f64 {
    let mut times = 0_u32;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        for _ in 0..64 {
            black_box(step());
        }
        times += 64;
    }
    start.elapsed().as_secs_f64() / f64::from(times)
}
