//! What was said of each record, in a file: it takes no memory that would count as the client's.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

use ottla_client::{Error, Written};
use parking_lot::Mutex;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 24;

/// What was said of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It was not accepted, or who offered it gave up waiting.
    Rejected,
    /// It was accepted and its delivery dropped: unless a failure is told later, it was delivered.
    Left,
    /// It is at this offset, or at one that nobody knows any more.
    Delivered(Option<i64>),
    /// It failed, and is not in the log.
    No,
    /// It failed, and may be in the log.
    Maybe,
    /// It failed, and nothing was said about the log.
    Unsaid,
}

impl Fate {
    /// What an error says of the record that it is about.
    pub fn of(error: &Error) -> Self {
        match error.written() {
            Some(Written::No) => Self::No,
            Some(Written::Maybe) => Self::Maybe,
            None => Self::Unsaid,
        }
    }

    fn to_numbers(self) -> (u64, i64) {
        match self {
            Self::Rejected => (0, 0),
            Self::Left => (1, 0),
            Self::Delivered(offset) => (2, offset.unwrap_or(-1)),
            Self::No => (3, 0),
            Self::Maybe => (4, 0),
            Self::Unsaid => (5, 0),
        }
    }

    fn of_numbers(kind: u64, offset: i64) -> io::Result<Self> {
        Ok(match kind {
            0 => Self::Rejected,
            1 => Self::Left,
            2 => Self::Delivered((offset >= 0).then_some(offset)),
            3 => Self::No,
            4 => Self::Maybe,
            5 => Self::Unsaid,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// A record: its partition, and its number among those that were offered there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Name {
    pub partition: i32,
    pub number: u64,
}

/// Takes what is said of records.
pub struct Ledger {
    file: Mutex<BufWriter<File>>,
}

impl Ledger {
    /// An empty one, in a file without a name.
    ///
    /// # Errors
    /// The system gives no file.
    pub fn new() -> io::Result<Self> {
        Ok(Self { file: Mutex::new(BufWriter::new(tempfile::tempfile()?)) })
    }

    /// Notes what was said of a record.
    ///
    /// # Panics
    /// The disk is full: then nothing can be judged.
    pub fn note(&self, name: Name, fate: Fate) {
        let (kind, offset) = fate.to_numbers();
        // Partitions are few, and kinds fewer.
        let head = (name.partition.unsigned_abs() as u64) << 8 | kind;
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&head.to_le_bytes());
        entry[8..16].copy_from_slice(&name.number.to_le_bytes());
        entry[16..].copy_from_slice(&offset.to_le_bytes());
        self.file.lock().write_all(&entry).expect("what is said of records can be written down");
    }

    /// All that was noted, in order.
    ///
    /// # Errors
    /// The file cannot be written or read.
    pub fn entries(&self) -> io::Result<Vec<(Name, Fate)>> {
        let mut file = self.file.lock();
        file.flush()?;
        let mut file = file.get_ref();
        file.rewind()?;
        let (mut reader, mut entries, mut entry) = (BufReader::new(file), Vec::new(), [0; ENTRY_BYTES]);
        loop {
            match reader.read_exact(&mut entry) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(entries),
                Err(error) => return Err(error),
            }
            let number = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&entry[at..at + 8]);
                u64::from_le_bytes(bytes)
            };
            let (head, offset) = (number(0), number(16) as i64);
            let name = Name { partition: (head >> 8) as i32, number: number(8) };
            entries.push((name, Fate::of_numbers(head & 0xff, offset)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_there() {
        let ledger = Ledger::new().unwrap();
        let fates = [
            Fate::Rejected,
            Fate::Left,
            Fate::Delivered(Some(1 << 40)),
            Fate::Delivered(None),
            Fate::No,
            Fate::Maybe,
            Fate::Unsaid,
        ];
        let noted: Vec<_> = (0..)
            .zip(fates)
            .map(|(partition, fate)| (Name { partition, number: 1 << partition }, fate))
            .collect();
        noted.iter().for_each(|(name, fate)| ledger.note(*name, *fate));
        assert_eq!(ledger.entries().unwrap(), noted);
    }
}
