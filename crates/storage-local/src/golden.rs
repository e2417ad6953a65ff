//! Tests of the persisted formats against files that version 1 has written: each is decoded and written again,
//! and every byte must be the same.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::BytesMut;
use ottla_records::{LogId, Offset};
use ottla_storage::{BLOCK, Disk, LogSettings};
use rusqlite::Connection;

use crate::{
    checkpoint::{decode_frames, encode_frame, encode_header},
    disk::RealDisk,
    segment::{
        files::{Part, SegmentFiles, parse_name},
        rebuild::rebuild,
    },
    state::StateDb,
    wal::{
        format::{FileHeader, FileHeaderError, RecordHeader},
        replay::{read_record, scan},
    },
};

fn golden(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(part)
}

fn files(part: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(golden(part)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn the_write_ahead_log() {
    let (mut records, mut kinds) = (0, [0, 0]);
    for path in files("wal") {
        let bytes = fs::read(&path).unwrap();
        let header = match FileHeader::decode(&bytes[..BLOCK]) {
            Err(FileHeaderError::Unused) => continue,
            header => header.unwrap(),
        };
        let mut block = vec![0xff; BLOCK];
        header.encode(&mut block);
        assert_eq!(block, bytes[..BLOCK], "{}", path.display());
        let (mut at, mut lsn) = (BLOCK, header.first_lsn);
        while let Some(record) = bytes.get(at..).and_then(|rest| read_record(rest, &header, lsn)) {
            let entries: Vec<_> = record.entries.into_iter().map(|(entry, _)| entry).collect();
            let len = RecordHeader::padded_len(entries.len());
            let written = RecordHeader::peek(&bytes[at..]).unwrap();
            let mut again = vec![0xff; len];
            written.encode(header.salt, entries.iter(), &mut again);
            assert_eq!(again, bytes[at..at + len], "{} at {at}", path.display());
            for entry in &entries {
                kinds[usize::from(matches!(entry, crate::wal::format::Entry::LogStart { .. }))] += 1;
            }
            at += record.len;
            lsn += 1;
            records += 1;
        }
    }
    assert!(records > 3 && kinds[0] > 3 && kinds[1] > 0, "{records} records, {kinds:?}");
}

#[test]
fn a_newer_write_ahead_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let newest = files("wal").pop().unwrap();
    let path = dir.path().join(newest.file_name().unwrap());
    let mut bytes = fs::read(newest).unwrap();
    bytes[12] += 1;
    let crc = crc32c::crc32c(&bytes[12..56]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let refused = scan(&RealDisk::new(false), dir.path(), 32 << 10, 0, |_| Ok(())).unwrap_err().to_string();
    let expected = format!("{} was written by a newer version of ottla (format 2; ", path.display());
    assert!(refused.starts_with(&expected) && refused.contains("start that version again"), "{refused}");
}

#[test]
fn the_checkpoint() {
    let paths = files("checkpoint");
    assert_eq!(paths.len(), 1);
    let bytes = fs::read(&paths[0]).unwrap();
    let mut again = BytesMut::new();
    encode_header(&mut again);
    let mut number = 0;
    let end = decode_frames(&bytes, &paths[0], |_, frame| {
        encode_frame(number, &frame, &mut again);
        number += 1;
    });
    assert_eq!(end.unwrap(), bytes.len());
    assert!(number > 1, "{number} frames");
    assert_eq!(again, bytes);
}

#[test]
fn the_indexes_of_segments() {
    let mut compared = 0;
    for log in [LogId(1), LogId(2)] {
        let names = files(&format!("logs/{log}"));
        let logs: Vec<_> = names.iter().filter(|path| path.extension().unwrap() == "log").collect();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(log.to_string())).unwrap();
        let root = dir.path().to_path_buf();
        let there = SegmentFiles::new(Arc::new(RealDisk::new(false)), root, 10.try_into().unwrap());
        // The last one is still open; it has no last entry in its time index yet.
        let (active, closed) = logs.split_last().unwrap();
        for (path, is_closed) in closed.iter().map(|path| (path, true)).chain([(active, false)]) {
            let (base, _) = parse_name(Path::new(path.file_name().unwrap())).unwrap();
            fs::copy(path, there.path(log, base, Part::Log)).unwrap();
            let settings = LogSettings { index_interval_bytes: 1024, ..LogSettings::default() };
            let len = fs::metadata(path).unwrap().len();
            rebuild(&there, log, base, len, &settings, is_closed).unwrap();
            for part in [Part::Index, Part::TimeIndex] {
                let written = fs::read(path.with_extension(part.suffix())).unwrap();
                assert!(!written.is_empty(), "{}", path.display());
                assert_eq!(fs::read(there.path(log, base, part)).unwrap(), written, "{}", path.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 8, "{compared} indexes");
    assert_eq!(parse_name(Path::new("00000000000000000012.index")), Some((Offset(12), Part::Index)));
}

/// SQLite writes its pages as it likes; what must not change is the schema that it wrote down, which an older one
/// is brought up to.
#[test]
fn the_state_database() {
    let schema = |path: &Path| -> Vec<(String, String)> {
        let db = Connection::open(path).unwrap();
        let mut rows = db.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name").unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let open = |path: &Path| StateDb::open(path, Arc::new(|fault: &str| panic!("{fault}"))).unwrap().close();
    let dir = tempfile::tempdir().unwrap();
    let [first, second, new] = ["v1.db", "v2.db", "new.db"].map(|name| dir.path().join(name));
    fs::copy(golden("state.db"), &first).unwrap();
    fs::copy(golden("../v2/state.db"), &second).unwrap();
    open(&new);
    assert_eq!(schema(&second), schema(&new));
    assert_ne!(schema(&first), schema(&new));
    open(&first);
    assert_eq!(schema(&first), schema(&new));
    for path in [&first, &second] {
        assert!(RealDisk::new(false).file_len(path).unwrap() > 0);
        assert_eq!(StateDb::check(path).unwrap(), []);
    }
}
