//! The fuzzer's corpus, replayed, and the seeds in it.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod files;

use ottla_records::batch::{APPEND_TIME_FLAG, DELETE_HORIZON_FLAG, MAGIC_AT};

use ottla_records::Compression;

use crate::checks::check_batches;
use crate::compressed::CODECS;
use crate::compressed_hostile::{compressed, text};
use crate::compression_checks::check_compression;
use crate::forge::{fix_crc, valid, with, with_payload};
use crate::golden;
use files::{check_seed, replay};

#[test]
fn batches_of_the_corpus_are_handled() {
    assert!(replay("batches", check_batches) >= 10, "the corpus is gone");
}

/// A start for the fuzzer: of each kind of batch one.
#[test]
fn seeds_exist_for_every_kind_of_batch() {
    let valid = valid();
    let mut latest = with_payload(1, &[12, 0, 0, 0, 1, 1, 0]);
    latest[27..43].copy_from_slice(&[i64::MAX.to_be_bytes(); 2].concat());
    fix_crc(&mut latest);
    let attributes = |flags: i16| with(21, &flags.to_be_bytes());
    for (name, bytes) in [
        ("plain", golden::bytes(golden::PLAIN).to_vec()),
        ("commit", golden::bytes(golden::COMMIT).to_vec()),
        ("abort", golden::bytes(golden::ABORT).to_vec()),
        ("header-keys", valid.clone()),
        ("two", [&valid[..], &valid].concat()),
        ("torn", [&valid[..], &valid[..70]].concat()),
        ("no-records", with_payload(0, &[])),
        (
            "many-records",
            with_payload(40, &(0..40).flat_map(|at| [12, 0, 0, 2 * at, 1, 1, 0]).collect::<Vec<_>>()),
        ),
        ("false-count", with_payload(i32::MAX, &[12, 0, 0, 0, 1, 1, 0])),
        ("false-header-count", with_payload(1, &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f])),
        ("padded-numbers", with_payload(1, &[22, 0, 0x80, 0x80, 0, 0x80, 0, 1, 0x81, 0x80, 0, 0])),
        ("gzip", attributes(1)),
        ("no-codec", attributes(7)),
        ("append-time", attributes(APPEND_TIME_FLAG)),
        ("delete-horizon", attributes(DELETE_HORIZON_FLAG)),
        ("greatest-timestamp", latest),
        ("format-0", with(MAGIC_AT, &[0])),
        ("format-1", with(MAGIC_AT, &[1])),
    ] {
        check_seed("batches", name, &bytes);
    }
}

#[test]
fn compressed_records_of_the_corpus_are_handled() {
    assert!(replay("compression", check_compression) >= 10, "the corpus is gone");
}

/// A start for the fuzzer: of each codec several payloads, behind the codec and the size of a piece.
#[test]
fn seeds_exist_for_every_codec() {
    for codec in CODECS {
        for (name, plain) in [("text", text(600)), ("zeros", vec![0; 3000]), ("nothing", vec![])] {
            check_seed("compression", &format!("{codec}-{name}"), &seed(codec, &compressed(codec, &plain)));
        }
        let [first, second] = [&b"first"[..], b"second"].map(|plain| compressed(codec, plain));
        check_seed("compression", &format!("{codec}-twice"), &seed(codec, &[first, second].concat()));
    }
    check_seed("compression", "snappy-block", &seed(Compression::Snappy, b"\x0a\x24ten bytes!"));
    check_seed("compression", "none", &seed(Compression::None, b"as it is"));
}

fn seed(codec: Compression, payload: &[u8]) -> Vec<u8> {
    [&[codec as u8, 7], payload].concat()
}
