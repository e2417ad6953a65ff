//! One of something for each level.

use std::{
    fmt,
    ops::{Index, IndexMut},
};

use tracing::Level;

/// One of something for each level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ByLevel<T> {
    /// For events of `TRACE`.
    pub trace: T,
    /// For events of `DEBUG`.
    pub debug: T,
    /// For events of `INFO`.
    pub info: T,
    /// For events of `WARN`.
    pub warn: T,
    /// For events of `ERROR`.
    pub error: T,
}

/// All levels, the least first.
pub(crate) const LEVELS: [Level; 5] = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];

impl<T> Index<Level> for ByLevel<T> {
    type Output = T;

    fn index(&self, level: Level) -> &T {
        match level {
            Level::TRACE => &self.trace,
            Level::DEBUG => &self.debug,
            Level::INFO => &self.info,
            Level::WARN => &self.warn,
            Level::ERROR => &self.error,
        }
    }
}

impl<T> IndexMut<Level> for ByLevel<T> {
    fn index_mut(&mut self, level: Level) -> &mut T {
        match level {
            Level::TRACE => &mut self.trace,
            Level::DEBUG => &mut self.debug,
            Level::INFO => &mut self.info,
            Level::WARN => &mut self.warn,
            Level::ERROR => &mut self.error,
        }
    }
}

impl ByLevel<u64> {
    /// Of all levels.
    pub fn total(&self) -> u64 {
        LEVELS.iter().map(|level| self[*level]).sum()
    }

    pub(crate) fn add(&mut self, more: &Self) {
        for level in LEVELS {
            self[level] += more[level];
        }
    }

    /// What has come since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut new = Self::default();
        for level in LEVELS {
            new[level] = self[level] - before[level];
        }
        new
    }
}

/// Those that are not 0, the most severe first: `2 ERROR, 7 INFO`.
impl fmt::Display for ByLevel<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for level in LEVELS.into_iter().rev().filter(|level| self[*level] > 0) {
            write!(f, "{separator}{} {level}", self[level])?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// A level of the `log` crate.
pub(crate) fn of_log(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}

/// Its number, the least 0.
pub(crate) fn number(level: Level) -> u8 {
    match level {
        Level::TRACE => 0,
        Level::DEBUG => 1,
        Level::INFO => 2,
        Level::WARN => 3,
        Level::ERROR => 4,
    }
}

/// The level of this number, if there is one.
pub(crate) fn of_number(number: u8) -> Option<Level> {
    LEVELS.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_shown() {
        let mut counts = ByLevel::<u64>::default();
        assert_eq!(counts.to_string(), "none");
        (counts.info, counts.error) = (7, 2);
        assert_eq!(counts.to_string(), "2 ERROR, 7 INFO");
        for (number, level) in (0..).zip(LEVELS) {
            assert_eq!((super::number(level), of_number(number)), (number, Some(level)));
        }
        assert_eq!(of_number(5), None);
    }
}
