//! The segments on the disk: none is larger or covers more time than the settings allow, and they hold the
//! model's batches, one behind the other.
//!
//! Batches that a life has found unflushed are outside of the first: it may move them to segments before it is
//! told the settings.

use std::path::Path;

use ottla_records::BatchHeader;
use ottla_testing_internal::SimDisk;

use crate::{
    model::Log,
    run::{ROOT, settings},
};

/// `opened` says where each log ended when the life began that has written last.
pub fn check(disk: &SimDisk, model: &[Log], opened: &[i64]) {
    let image = disk.image();
    for (number, log) in model.iter().enumerate() {
        let dir = Path::new(ROOT).join("logs").join((number + 1).to_string());
        let mut next = None;
        // Names have leading zeros, so that they are in the order of their offsets.
        for (path, inode) in image.names.iter().filter(|(path, _)| path.starts_with(&dir)) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let bytes = inode.and_then(|inode| image.contents.get(&inode)).unwrap();
                check_segment(bytes, number, (log, opened[number]), &mut next);
            }
        }
    }
}

fn check_segment(bytes: &[u8], number: usize, (log, opened): (&Log, i64), next: &mut Option<i64>) {
    let settings = settings(number);
    let (mut at, mut first_time) = (0, None);
    while at < bytes.len() {
        let header = BatchHeader::parse(&bytes[at..]).unwrap();
        let base = header.base_offset.0;
        assert!(next.is_none_or(|next| next == base), "log {number}: {base} where {next:?} was expected");
        let stored = log.batches.iter().find(|batch| batch.base == base).unwrap();
        assert!(bytes[at..].starts_with(&stored.bytes), "log {number}: other bytes at {base}");
        let first_time = *first_time.get_or_insert(header.max_timestamp.0);
        let age = header.max_timestamp.0 - first_time;
        at += header.length;
        if base >= opened && at > header.length {
            assert!(age <= settings.segment_age.as_millis() as i64, "log {number}: {age} ms at {base}");
            assert!(at <= settings.segment_bytes as usize, "log {number}: {at} bytes at {base}");
        }
        *next = Some(header.next_offset().0);
    }
}
