//! When something is to be done about a member, without a step per heartbeat.
//!
//! Each member that is watched has one entry in a queue: a time that is not later than the member's own deadline.
//! A heartbeat only moves the member's deadline, which costs nothing here. When the time of an entry has come,
//! the caller looks at the member, and puts it back at its deadline where that is later.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::MemberId;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queue: BTreeSet<(Duration, MemberId)>,
    at: HashMap<MemberId, Duration>,
}

impl Deadlines {
    /// The first time at which a member is to be looked at.
    pub(super) fn first(&self) -> Option<Duration> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// A member is to be looked at by `at`.
    pub(super) fn watch(&mut self, member: &MemberId, at: Duration) {
        match self.at.get_mut(member) {
            Some(earlier) if *earlier <= at => {}
            Some(later) => {
                self.queue.remove(&(*later, member.clone()));
                *later = at;
                self.queue.insert((at, member.clone()));
            }
            None => {
                self.at.insert(member.clone(), at);
                self.queue.insert((at, member.clone()));
            }
        }
    }

    /// A member is not to be looked at any more.
    pub(super) fn forget(&mut self, member: &MemberId) {
        if let Some(at) = self.at.remove(member) {
            self.queue.remove(&(at, member.clone()));
        }
    }

    /// How many members are watched.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.queue.len(), self.at.len());
        self.queue.len()
    }

    /// The next member whose time has come; it is not watched any more.
    pub(super) fn pop(&mut self, now: Duration) -> Option<MemberId> {
        if self.first()? > now {
            return None;
        }
        let (_, member) = self.queue.pop_first()?;
        self.at.remove(&member);
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_moves_an_entry() {
        let seconds = Duration::from_secs;
        let (one, two) = (MemberId::from("one"), MemberId::from("two"));
        let mut deadlines = Deadlines::default();
        deadlines.watch(&one, seconds(10));
        deadlines.watch(&two, seconds(20));
        deadlines.watch(&one, seconds(30));
        assert_eq!(deadlines.first(), Some(seconds(10)));
        deadlines.watch(&two, seconds(5));
        assert_eq!(deadlines.first(), Some(seconds(5)));
        assert_eq!(deadlines.pop(seconds(4)), None);
        assert_eq!(deadlines.pop(seconds(5)), Some(two));
        assert_eq!(deadlines.pop(seconds(9)), None);
        deadlines.forget(&one);
        assert_eq!(deadlines.first(), None);
        assert_eq!(deadlines.pop(seconds(100)), None);
    }
}
