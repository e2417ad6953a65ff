//! When the sessions of members end: a heap that is checked late.
//!
//! A heartbeat moves the end of a session, and of all that a broker does for groups it is what happens most. So it
//! only sets the new end beside the member ([`Expiry`]); the heap keeps the old entry, and when that comes up the
//! entry moves to the end that is true then. A heartbeat costs no look at the heap, nor does it change the group's
//! next deadline, so that whoever keeps the deadlines of all groups has nothing to do either. (Looking through all
//! members when the earliest known end has passed would be simpler, but a thousand members that vanish at once
//! would each cost a look at all others.)
//!
//! Invariants: a session that can end has an entry, `noted`, that is not later than its end. Entries that are
//! nobody's `noted` mean nothing; once they are more than the others they are thrown out.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use super::members::Members;
use crate::MemberId;

/// When a session ends.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Its end. None while it has passed and only what the member waits for keeps it (see
    /// [`Member::waits_for_group`](super::member::Member::waits_for_group)).
    ends: Option<Duration>,
    /// Its entry in the heap.
    noted: Option<Duration>,
}

/// The sessions of a group's members, and of those that have been given an id and not joined (KIP-394).
#[derive(Debug, Default)]
pub(super) struct Sessions {
    entries: BinaryHeap<Reverse<(Duration, MemberId)>>,
}

/// Members that were given an id and have not joined with it (KIP-394).
pub(super) type Pending = BTreeMap<MemberId, Expiry>;

impl Sessions {
    /// Lets a session end at `ends`.
    pub(super) fn schedule(&mut self, id: &MemberId, expiry: &mut Expiry, ends: Duration) {
        expiry.ends = Some(ends);
        if expiry.noted.is_none_or(|noted| ends < noted) {
            expiry.noted = Some(ends);
            self.entries.push(Reverse((ends, id.clone())));
        }
    }

    /// No session ends before this.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.entries.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first entry, whose time has passed, and gives its member if that is the end of its session.
    pub(super) fn pop(&mut self, members: &mut Members, pending: &mut Pending) -> Option<MemberId> {
        let Reverse((at, id)) = self.entries.pop()?;
        let expiry = expiry_of(&id, members, pending)?;
        if expiry.noted != Some(at) {
            return None;
        }
        expiry.noted = None;
        let ends = expiry.ends?;
        if ends > at {
            self.schedule(&id, expiry, ends);
            return None;
        }
        expiry.ends = None;
        Some(id)
    }

    /// Throws out the entries that mean nothing, if they are many.
    pub(super) fn tidy(&mut self, members: &mut Members, pending: &mut Pending) {
        let sessions = members.len() + pending.len();
        if sessions == 0 {
            self.entries = BinaryHeap::new();
        }
        if self.entries.len() <= 2 * sessions + 16 {
            return;
        }
        self.entries.retain(|Reverse((at, id))| {
            expiry_of(id, members, pending).is_some_and(|expiry| expiry.noted == Some(*at))
        });
        self.entries.shrink_to_fit();
    }

    /// No session ends any more.
    pub(super) fn clear(&mut self) {
        self.entries = BinaryHeap::new();
    }

    /// Bytes that the entries take.
    pub(super) fn held_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Reverse<(Duration, MemberId)>>()
    }
}

fn expiry_of<'a>(
    id: &MemberId,
    members: &'a mut Members,
    pending: &'a mut Pending,
) -> Option<&'a mut Expiry> {
    let member = members.expiry_mut(id.as_str()).map(|(_, expiry)| expiry);
    member.or_else(|| pending.get_mut(id))
}

#[cfg(test)]
impl Sessions {
    /// Panics where a session that can end would not. The flag says whether the member waits for the group.
    pub(super) fn check<'a>(&self, all: impl Iterator<Item = (&'a MemberId, &'a Expiry, bool)>) {
        let entries: std::collections::BTreeSet<_> =
            self.entries.iter().map(|Reverse((at, id))| (id, *at)).collect();
        for (id, expiry, waits) in all {
            let Some(ends) = expiry.ends else {
                assert!(waits, "the session of {id} never ends");
                continue;
            };
            let noted = expiry.noted.expect("an entry");
            assert!(noted <= ends, "the entry of {id} comes up late");
            assert!(entries.contains(&(id, noted)), "{id} has no entry");
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
