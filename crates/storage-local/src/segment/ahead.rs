//! What is read of a segment before its reader asks for it.

use std::mem;

/// A range that is being read ahead. There is one a segment at most: a second reader, elsewhere in the
/// segment, goes without.
#[derive(Debug)]
pub(super) struct Ahead {
    /// A place at or before which everything is checked, back to where the reader is.
    at: u64,
    /// How far the system has been asked to read.
    asked: u64,
    /// How far to go.
    until: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Step {
    /// From where on batches are to be checked.
    pub(crate) at: u64,
    /// How far the system has been asked to read already.
    pub(crate) asked: u64,
    /// How far to go.
    pub(crate) until: u64,
}

impl Ahead {
    /// For a reader who read `from..end`.
    pub(super) fn new(from: u64, end: u64, until: u64) -> Self {
        Self { at: from, asked: end, until }
    }

    /// The reader, or another one, has come to `end`: goes on if that lies in the range or soon before.
    pub(super) fn go_on(&mut self, end: u64, until: u64) {
        let length = until.saturating_sub(end);
        if end <= self.until && end.saturating_add(length) >= self.at {
            self.until = self.until.max(until);
        }
    }

    /// Everything before `done` is checked.
    pub(super) fn came_to(&mut self, done: u64) {
        self.at = self.at.max(done);
    }

    /// The next step; `None` at the end.
    pub(super) fn step(&mut self) -> Option<Step> {
        if self.at.min(self.asked) >= self.until {
            return None;
        }
        let asked = mem::replace(&mut self.asked, self.until);
        Some(Step { at: self.at, asked, until: self.until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_asked_for_once_and_goes_on_with_its_reader() {
        let mut ahead = Ahead::new(0, 100, 300);
        assert_eq!(ahead.step(), Some(Step { at: 0, asked: 100, until: 300 }));
        ahead.came_to(180);
        assert_eq!(ahead.step(), Some(Step { at: 180, asked: 300, until: 300 }));
        ahead.go_on(200, 400);
        ahead.came_to(250);
        assert_eq!(ahead.step(), Some(Step { at: 250, asked: 300, until: 400 }));
        ahead.came_to(400);
        assert_eq!(ahead.step(), None);
    }

    #[test]
    fn a_reader_elsewhere_changes_nothing() {
        let mut ahead = Ahead::new(1000, 1100, 1300);
        ahead.go_on(2000, 2200);
        ahead.go_on(100, 300);
        assert_eq!(ahead.step(), Some(Step { at: 1000, asked: 1100, until: 1300 }));
        ahead.came_to(1300);
        assert_eq!(ahead.step(), None);
    }

    #[test]
    fn what_is_checked_already_is_only_asked_for() {
        let mut ahead = Ahead::new(0, 100, 300);
        ahead.came_to(500);
        assert_eq!(ahead.step(), Some(Step { at: 500, asked: 100, until: 300 }));
        assert_eq!(ahead.step(), None);
    }
}
