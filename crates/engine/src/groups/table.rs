//! All groups that are in memory, with what waits for each.
//!
//! A request for a group that is not in memory waits until its rows are read; one for a group whose changes are on
//! their way to the disk waits until they are there.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ottla_storage::{Reservation, Storage, StoredGroup};

use super::{
    error::GroupError,
    group::{Group, GroupOverview, Outcome},
    memory::Share,
    patterns::Resolved,
    step::Step,
    tools::Tools,
};

/// Groups without members that are kept in memory, because they were asked for lately.
const MEMBERLESS_MAX: usize = 4096;
/// Groups that are told of changed topics before others have their turn.
const NEWS_AT_ONCE: usize = 64;

/// What to do with the group, or with why it cannot be had.
pub(super) type Work<S> = Box<dyn FnOnce(Result<&mut Step<'_, S>, GroupError>) + Send>;

/// A group, as far as it is in memory.
struct Entry<S: Storage> {
    group: Option<Group>,
    /// Its rows are being read, or its changes are on their way.
    is_busy: bool,
    /// What waits for that.
    waiting: VecDeque<Work<S>>,
    /// When it is to be told that time has passed.
    deadline: Option<Duration>,
    /// It is in the queue of groups without members.
    is_queued: bool,
    /// It was asked for since it came to the front of that queue.
    is_used: bool,
    /// Topics have changed, and regular expressions stand for other ones perhaps.
    news: Option<Arc<Resolved>>,
    /// About how many bytes it holds.
    held: usize,
    /// Steps since that was counted.
    uncounted: usize,
}

impl<S: Storage> Default for Entry<S> {
    fn default() -> Self {
        Self {
            group: None,
            is_busy: false,
            waiting: VecDeque::new(),
            deadline: None,
            is_queued: false,
            is_used: false,
            news: None,
            held: 0,
            uncounted: 0,
        }
    }
}

/// The groups.
pub(super) struct Table<S: Storage> {
    groups: HashMap<Arc<str>, Entry<S>>,
    /// Groups that were without members once, the oldest first.
    memberless: VecDeque<Arc<str>>,
    deadlines: BTreeSet<(Duration, Arc<str>)>,
    /// Groups that are to hear news.
    to_tell: VecDeque<Arc<str>>,
    memberless_max: usize,
    tools: Tools<S>,
}

impl<S: Storage> Table<S> {
    pub(super) fn new(tools: Tools<S>) -> Self {
        Self {
            groups: HashMap::new(),
            memberless: VecDeque::new(),
            deadlines: BTreeSet::new(),
            to_tell: VecDeque::new(),
            memberless_max: MEMBERLESS_MAX,
            tools,
        }
    }

    /// How many groups without members it may keep.
    #[cfg(test)]
    pub(super) fn keep_memberless(&mut self, most: usize) {
        self.memberless_max = most;
    }

    /// Takes a group as it is stored, at the start.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn restore(&mut self, stored: &StoredGroup) -> Result<(), GroupError> {
        let group = Group::restore(stored, &self.tools.settings, self.tools.now())?;
        let mut entry = Entry { group: Some(group), ..Entry::default() };
        entry.count(&mut self.tools.share);
        self.groups.insert(stored.row.id.clone(), entry);
        self.set_deadline(&stored.row.id);
        Ok(())
    }

    /// When there is something to do, if nobody asks.
    pub(super) fn next(&self) -> Option<Duration> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        if self.to_tell.is_empty() { first } else { Some(Duration::ZERO) }
    }

    /// Does something with a group as soon as it can be done.
    pub(super) fn take(&mut self, group: &Arc<str>, work: Work<S>) {
        let entry = self.groups.entry(group.clone()).or_default();
        entry.waiting.push_back(work);
        entry.is_used = true;
        if !entry.is_busy {
            self.go_on(group);
        }
    }

    /// Does something with a group, if that can be done now: it is in memory, and nothing else waits for it.
    /// Otherwise the work comes back.
    pub(super) fn at_once<T, W>(&mut self, id: &str, work: W) -> Result<T, W>
    where
        W: FnOnce(&mut Step<'_, S>) -> T,
    {
        let Some(entry) = self.groups.get_mut(id).filter(|entry| entry.is_free()) else { return Err(work) };
        let Some(group) = &mut entry.group else { return Err(work) };
        let id = group.id();
        let mut step = Step::new(group, &mut self.tools);
        let done = work(&mut step);
        let outcome = step.into_outcome();
        entry.is_used = true;
        entry.carry_out(&id, outcome, &mut self.tools);
        self.set_deadline(&id);
        self.let_go(&id);
        Ok(done)
    }

    /// A group was read.
    pub(super) fn loaded(&mut self, id: &Arc<str>, stored: Result<Option<StoredGroup>, GroupError>) {
        match stored.and_then(|stored| self.found(id, stored)) {
            Ok(group) => {
                let Some(entry) = self.groups.get_mut(id) else { return };
                entry.group = Some(group);
                entry.count(&mut self.tools.share);
                entry.is_busy = false;
                self.go_on(id);
            }
            Err(error) => self.refuse_waiting(id, &error),
        }
    }

    /// A group's changes are durable, or could not be made so.
    pub(super) fn settled(&mut self, id: &Arc<str>, is_durable: bool) {
        let Some(entry) = self.groups.get_mut(id) else { return };
        entry.is_busy = false;
        // Where it failed, the rows are as they were before the step, and so is the group from now on.
        if (!is_durable || entry.group.as_ref().is_some_and(Group::is_dead))
            && let Some(mut group) = entry.group.take()
        {
            self.tools.answer_all(group.close());
            entry.count(&mut self.tools.share);
        }
        self.go_on(id);
    }

    /// What is in memory of all groups.
    pub(super) fn overview(&self) -> Vec<GroupOverview> {
        let groups = self.groups.values().filter_map(|entry| entry.group.as_ref());
        groups.filter(|group| !group.is_blank()).map(Group::overview).collect()
    }

    /// The regular expressions in the subscriptions of all groups.
    pub(super) fn patterns(&self) -> BTreeSet<Arc<str>> {
        let groups = self.groups.values().filter_map(|entry| entry.group.as_ref());
        groups.flat_map(Group::patterns).cloned().collect()
    }

    /// Has groups told, one after the other, of other topics and of what regular expressions stand for.
    pub(super) fn bring_news(&mut self, resolved: &Arc<Resolved>, concerns: impl Fn(&Group) -> bool) {
        for (id, entry) in &mut self.groups {
            if !entry.group.as_ref().is_some_and(&concerns) {
                continue;
            }
            if entry.news.is_none() {
                self.to_tell.push_back(id.clone());
            }
            // What expressions stand for is not forgotten for the sake of topics alone.
            if entry.news.is_none() || !resolved.is_empty() {
                entry.news = Some(resolved.clone());
            }
        }
    }

    /// Tells some of them.
    pub(super) fn tell_some(&mut self) {
        for _ in 0..NEWS_AT_ONCE {
            let Some(id) = self.to_tell.pop_front() else { return };
            self.go_on(&id);
        }
    }

    fn found(&self, id: &Arc<str>, stored: Option<StoredGroup>) -> Result<Group, GroupError> {
        match stored {
            Some(stored) => Ok(Group::restore(&stored, &self.tools.settings, self.tools.now())?),
            None => Ok(Group::blank(id.clone(), &self.tools.settings)),
        }
    }

    /// Nothing can be done for those who wait for this group.
    fn refuse_waiting(&mut self, id: &Arc<str>, error: &GroupError) {
        self.tools.broker.notices().failed("reading a group", error);
        let Some(mut entry) = self.groups.remove(id) else { return };
        entry.count(&mut self.tools.share);
        for work in entry.waiting {
            work(Err(error.clone()));
        }
    }

    /// Does what waits for a group, as far as that can be done now.
    fn go_on(&mut self, id: &Arc<str>) {
        loop {
            let Some(entry) = self.groups.get_mut(id) else { return };
            if entry.is_busy {
                break;
            }
            let Some(group) = &mut entry.group else {
                if entry.waiting.is_empty() {
                    // A group that is not in memory holds nothing.
                    self.groups.remove(id);
                    return;
                }
                entry.is_busy = true;
                self.tools.load(id.clone());
                break;
            };
            let outcome = if let Some(resolved) = entry.news.take() {
                group.topics_changed(&resolved, &self.tools.topics(), self.tools.now())
            } else if let Some(work) = entry.waiting.pop_front() {
                let mut step = Step::new(group, &mut self.tools);
                work(Ok(&mut step));
                step.into_outcome()
            } else {
                break;
            };
            entry.carry_out(id, outcome, &mut self.tools);
        }
        self.set_deadline(id);
        self.let_go(id);
    }

    /// Groups are told that time has passed, and memory that is short is asked for.
    pub(super) fn pass_time(&mut self) {
        let now = self.tools.now();
        if self.tools.share.is_short() {
            self.tools.ask_for_memory(0);
        }
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now
        {
            let Some((_, id)) = self.deadlines.pop_first() else { return };
            let Some(entry) = self.groups.get_mut(&id) else { continue };
            entry.deadline = None;
            if entry.is_busy {
                // It is looked at again when it no longer is.
                continue;
            }
            if let Some(group) = &mut entry.group {
                let outcome = group.tick(&self.tools.topics(), now, self.tools.broker.clock().wall());
                entry.carry_out(&id, outcome, &mut self.tools);
            }
            self.set_deadline(&id);
            self.let_go(&id);
        }
    }

    /// Memory that was asked for is there.
    pub(super) fn granted(&mut self, piece: Option<Reservation>) {
        self.tools.share.grant(piece);
    }

    fn set_deadline(&mut self, id: &Arc<str>) {
        let Some(entry) = self.groups.get_mut(id) else { return };
        let next = entry.group.as_ref().filter(|_| !entry.is_busy).and_then(Group::next_deadline);
        if next != entry.deadline {
            if let Some(before) = entry.deadline.take() {
                self.deadlines.remove(&(before, id.clone()));
            }
            if let Some(next) = next {
                self.deadlines.insert((next, id.clone()));
            }
            entry.deadline = next;
        }
    }

    /// Groups without members are forgotten when there are too many of them, those first that nobody asked for
    /// lately: their rows say all of them.
    fn let_go(&mut self, id: &Arc<str>) {
        if let Some(entry) = self.groups.get_mut(id)
            && entry.is_idle()
            && !entry.is_queued
        {
            entry.is_queued = true;
            self.memberless.push_back(id.clone());
        }
        while self.memberless.len() > self.memberless_max {
            let Some(oldest) = self.memberless.pop_front() else { return };
            let Some(entry) = self.groups.get_mut(&oldest) else { continue };
            if !entry.is_idle() {
                entry.is_queued = false;
            } else if entry.is_used {
                entry.is_used = false;
                self.memberless.push_back(oldest);
            } else if let Some(mut entry) = self.groups.remove(&oldest) {
                entry.group = None;
                entry.count(&mut self.tools.share);
            }
        }
    }
}

impl<S: Storage> Entry<S> {
    /// Whether a step may begin before any other.
    fn is_free(&self) -> bool {
        !self.is_busy && self.waiting.is_empty() && self.news.is_none()
    }

    /// Whether its rows say all of it, and nothing is under way.
    fn is_idle(&self) -> bool {
        let memberless = self.group.as_ref().is_some_and(Group::is_memberless);
        memberless && self.is_free()
    }

    /// Does what a step of the group wants done.
    fn carry_out(&mut self, id: &Arc<str>, outcome: Outcome, tools: &mut Tools<S>) {
        self.count_step(&outcome, &mut tools.share);
        self.is_busy = tools.carry_out(id, outcome);
    }

    /// Counts what the group holds.
    fn count(&mut self, share: &mut Share) {
        let now = self.group.as_ref().map_or(0, Group::held_bytes);
        share.change(self.held, now);
        (self.held, self.uncounted) = (now, 0);
    }

    /// Counts what a step has made the group hold: exactly when there were enough of them, since that looks at each
    /// member, and what the request brought until then.
    fn count_step(&mut self, outcome: &Outcome, share: &mut Share) {
        if outcome.brought == 0 && outcome.changes.is_empty() {
            return;
        }
        self.uncounted += 1;
        if self.group.as_ref().is_none_or(|group| group.member_count() <= self.uncounted * 4) {
            self.count(share);
        } else {
            share.change(0, outcome.brought);
            self.held += outcome.brought;
        }
    }
}
