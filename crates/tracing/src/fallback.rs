//! Where events go that Kafka does not take.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracing::Level;

use crate::circuit::Circuit;

/// How long a fallback that has failed is left alone: at first, and in the end.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where events go that Kafka does not take, one a line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fallback {
    /// The program's standard error: for `WARN` and `ERROR` unless another least level is set.
    #[default]
    Stderr,
    /// A file, which is created where it is not there, and appended to: for all levels unless a least one is set. Once it has
    /// `bytes_max` bytes, no more is written to it.
    File {
        /// Where it is.
        path: PathBuf,
        /// The most bytes that it grows to.
        bytes_max: u64,
    },
    /// Nowhere: what Kafka does not take stays in the queue as long as there is room.
    Nowhere,
}

impl Fallback {
    /// A file of at most 1 GiB.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), bytes_max: 1 << 30 }
    }

    /// The least level that goes there, unless another is set.
    pub(crate) fn least(&self) -> Level {
        match self {
            Self::Stderr => Level::WARN,
            Self::File { .. } | Self::Nowhere => Level::TRACE,
        }
    }
}

/// A fallback in use.
pub(crate) struct Outlet {
    target: Target,
    least: Level,
    circuit: Circuit,
    /// Where a line is put together.
    line: Vec<u8>,
}

enum Target {
    Nowhere,
    Writer(Box<dyn Write + Send>),
    File(LogFile),
}

impl Outlet {
    /// # Errors
    /// The file cannot be opened or created.
    pub(crate) fn open(fallback: &Fallback, least: Level) -> io::Result<Self> {
        let target = match fallback {
            Fallback::Stderr => Target::Writer(Box::new(io::stderr())),
            Fallback::File { path, bytes_max } => Target::File(LogFile::open(path, *bytes_max)?),
            Fallback::Nowhere => Target::Nowhere,
        };
        Ok(Self::new(target, least))
    }

    fn new(target: Target, least: Level) -> Self {
        Self { target, least, circuit: Circuit::closed(REST.0, REST.1), line: Vec::new() }
    }

    /// Whether it is somewhere.
    pub(crate) fn is_somewhere(&self) -> bool {
        !matches!(self.target, Target::Nowhere)
    }

    /// Whether it is worth trying: it is somewhere, and has not failed a moment ago.
    pub(crate) fn is_able(&self, now: Instant) -> bool {
        let has_room = match &self.target {
            Target::Nowhere => false,
            Target::Writer(_) => true,
            Target::File(file) => file.has_room(),
        };
        has_room && self.circuit.allows(now)
    }

    /// Whether events of that level go there.
    pub(crate) fn takes(&self, level: Level) -> bool {
        // The order of levels is that of how much they let through.
        level <= self.least && self.is_somewhere()
    }

    /// Writes a line, whatever its level. Whether it is there now.
    pub(crate) fn write(&mut self, line: &[u8], now: Instant) -> bool {
        if !self.is_able(now) {
            return false;
        }
        // One call where the system takes it, so that the lines of several writers do not mix.
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        let written = match &mut self.target {
            Target::Nowhere => return false,
            Target::Writer(writer) => writer.write_all(&self.line),
            Target::File(file) => file.write(&self.line),
        };
        match written {
            Ok(()) => self.circuit.worked(),
            Err(_) => self.circuit.failed(now),
        }
        written.is_ok()
    }
}

/// A file that grows by whole lines up to a bound.
struct LogFile {
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes, bytes_max })
    }

    fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = self.bytes + line.len() as u64;
        if bytes > self.bytes_max {
            // It counts as full from now on, also for shorter lines.
            self.bytes = self.bytes_max;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.file.write_all(line);
        match written {
            Ok(()) => self.bytes = bytes,
            Err(_) => self.cut_half_a_line(bytes),
        }
        written
    }

    /// After a failure, what there is of a line goes, as it would spoil the next one; but not what another program may have
    /// appended.
    fn cut_half_a_line(&mut self, whole: u64) {
        let Ok(metadata) = self.file.metadata() else { return };
        if (self.bytes..whole).contains(&metadata.len()) {
            // If this fails as well, the next line is spoilt.
            let _ = self.file.set_len(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use parking_lot::Mutex;

    use super::*;
    use crate::clock::deadline;

    const SECOND: Duration = Duration::from_secs(1);

    /// A disk that has room for so many bytes.
    struct Disk {
        room: Arc<Mutex<usize>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.room.lock();
            let taken = bytes.len().min(*room);
            *room -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_left_alone_for_longer_each_time_and_used_again() {
        let room = Arc::new(Mutex::new(10));
        let mut outlet = Outlet::new(Target::Writer(Box::new(Disk { room: room.clone() })), Level::TRACE);
        let mut now = deadline(Duration::ZERO);
        assert!(outlet.write(b"tea", now));
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            assert!(outlet.is_able(now));
            assert!(!outlet.write(b"a long line", now));
            assert!(!outlet.is_able(now) && !outlet.write(b"", now));
            now += rest * SECOND;
        }
        *room.lock() = 100;
        assert!(outlet.write(b"coffee", now) && outlet.write(b"tea", now));
    }

    #[test]
    fn levels_decide() {
        let outlet = Outlet::new(Target::Writer(Box::new(io::sink())), Level::WARN);
        assert!(outlet.takes(Level::ERROR) && outlet.takes(Level::WARN));
        assert!(!outlet.takes(Level::INFO) && !outlet.takes(Level::TRACE));
        let outlet = Outlet::open(&Fallback::Nowhere, Level::TRACE).unwrap();
        assert!(!outlet.takes(Level::ERROR) && !outlet.is_able(deadline(Duration::ZERO)));
    }

    #[test]
    fn a_file_is_appended_to_up_to_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fallback.log");
        fs::write(&path, "before\n").unwrap();
        let fallback = Fallback::File { path: path.clone(), bytes_max: 20 };
        let mut outlet = Outlet::open(&fallback, fallback.least()).unwrap();
        let mut now = deadline(Duration::ZERO);
        assert!(outlet.write(b"tea", now) && outlet.write(b"coffee", now));
        assert!(!outlet.write(b"more", now));
        now += 60 * SECOND;
        assert!(!outlet.is_able(now) && !outlet.write(b"", now));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\ntea\ncoffee\n");
    }

    #[test]
    fn half_a_line_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fallback.log");
        fs::write(&path, "whole\nhal").unwrap();
        let mut file = LogFile::open(&path, 1000).unwrap();
        file.bytes = 6;
        file.cut_half_a_line(12);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        fs::write(&path, "whole\nhalf\nof another program\n").unwrap();
        file.cut_half_a_line(12);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nhalf\nof another program\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_of() {
        let error = Outlet::open(&Fallback::file("/"), Level::TRACE).err().unwrap();
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
    }
}
