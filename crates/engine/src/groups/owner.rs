//! The task that all groups belong to.
//!
//! A request for a group that is not in memory waits until its rows are read; one for a group whose changes are on
//! their way to the disk waits until they are there.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ottla_coordinator::Token;
use ottla_storage::{GroupStore, OffsetStore, Reservation, StateStoreError, Storage, StoredGroup};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

use super::{
    expiry::sweep,
    group::{Answer, Group, GroupSettings, Outcome},
    handle::{Answered, GroupError, GroupOverview, Groups, WeakGroups},
    memory::Share,
    patterns::{Resolved, Resolver},
    settling::{Settling, Told, settle},
    step::{Step, View},
};
use crate::broker::Broker;

/// Groups without members that are kept in memory, because they were asked for lately.
const MEMBERLESS_MAX: usize = 4096;
/// Groups that are read at a time at the start.
const LOAD_PAGE: usize = 1000;
/// The longest sleep: a deadline that time has passed is noticed after it, however the clock goes.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// The least time between two resolutions of regular expressions after topics have changed.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// Groups that are told of changed topics before others have their turn.
const NEWS_AT_ONCE: usize = 64;
/// Requests that are taken before time and news have their turn.
const JOBS_AT_ONCE: usize = 64;

/// What somebody wants of groups.
pub(super) enum Job<S: Storage> {
    /// Something of this one.
    One(Arc<str>, Work<S>),
    /// What is in memory of all of them.
    All(oneshot::Sender<Vec<GroupOverview>>),
}

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

/// What the owner hears from the tasks that it has begun.
enum Event {
    Loaded(Arc<str>, Result<Option<StoredGroup>, StateStoreError>),
    Settled(Arc<str>, Result<(), StateStoreError>),
    Resolved(Resolved),
    Granted(Option<Reservation>),
    /// Offsets were looked through for expired ones.
    Swept,
}

/// The owner of all groups.
pub struct Owner<S: Storage> {
    jobs: mpsc::UnboundedReceiver<Job<S>>,
    events: mpsc::UnboundedReceiver<Event>,
    groups: HashMap<Arc<str>, Entry<S>>,
    /// Groups that were without members once, the oldest first.
    memberless: VecDeque<Arc<str>>,
    deadlines: BTreeSet<(Duration, Arc<str>)>,
    /// Groups that are to hear news.
    to_tell: VecDeque<Arc<str>>,
    resolver: Resolver,
    /// When regular expressions are to be resolved again.
    resolve_at: Option<Duration>,
    resolved_at: Option<Duration>,
    is_resolving: bool,
    /// When offsets are to be looked through for expired ones; `None` while that goes on.
    sweep_at: Option<Duration>,
    /// For those who look through them: they must not keep the owner alive.
    weak: WeakGroups<S>,
    settler: JoinHandle<()>,
    tools: Tools<S>,
}

/// What steps work with.
pub(super) struct Tools<S: Storage> {
    pub(super) broker: Arc<Broker<S>>,
    pub(super) settings: GroupSettings,
    pub(super) share: Share,
    /// Those who wait for an answer of a state machine.
    asking: HashMap<Token, oneshot::Sender<Answered>>,
    last_token: u64,
    memberless_max: usize,
    to_settle: mpsc::UnboundedSender<Settling>,
    to_owner: mpsc::UnboundedSender<Event>,
}

impl<S: Storage> Owner<S> {
    /// The owner of a broker's groups, with those that have members read, and the way to ask it.
    ///
    /// # Errors
    /// The store fails, or what is stored of a group cannot be read.
    pub async fn load(
        broker: Arc<Broker<S>>,
        settings: GroupSettings,
    ) -> Result<(Self, Groups<S>), GroupError> {
        let (to_jobs, jobs) = mpsc::unbounded_channel();
        let (to_owner, events) = mpsc::unbounded_channel();
        let (to_settle, settling) = mpsc::unbounded_channel();
        let resolver = Resolver::new();
        let groups = Groups::new(to_jobs, broker.clone(), resolver.clone());
        let tools = Tools {
            share: Share::new(broker.memory().clone()),
            broker,
            settings,
            asking: HashMap::new(),
            last_token: 0,
            memberless_max: MEMBERLESS_MAX,
            to_settle,
            to_owner,
        };
        let mut owner = Self {
            jobs,
            events,
            groups: HashMap::new(),
            memberless: VecDeque::new(),
            deadlines: BTreeSet::new(),
            to_tell: VecDeque::new(),
            resolver,
            resolve_at: None,
            resolved_at: None,
            is_resolving: false,
            sweep_at: Some(tools.now().saturating_add(tools.settings.expiry_interval)),
            weak: groups.downgrade(),
            settler: tokio::spawn(settle(settling)),
            tools,
        };
        owner.delete_offsets_of_gone_topics().await?;
        owner.load_all().await?;
        // Topics may have come or gone since the groups were stored.
        owner.topics_changed();
        Ok((owner, groups))
    }

    /// A life may have ended after a topic was deleted and before its offsets were.
    async fn delete_offsets_of_gone_topics(&self) -> Result<(), StateStoreError> {
        let (store, topics) = (self.tools.broker.storage().groups(), self.tools.broker.topics());
        for topic in store.offset_topics(None).await? {
            if topics.with_id(topic.id).is_none() {
                store.delete_offsets_of_topic(topic.id).await?;
            }
        }
        Ok(())
    }

    /// How many groups without members it may keep.
    #[cfg(test)]
    pub(super) fn keep_memberless(&mut self, most: usize) {
        self.tools.memberless_max = most;
    }

    async fn load_all(&mut self) -> Result<(), GroupError> {
        let broker = self.tools.broker.clone();
        let mut last: Option<Arc<str>> = None;
        loop {
            let page = broker.storage().groups().load_groups(last.as_deref(), LOAD_PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = Some(end.row.id.clone());
            for stored in page {
                let group = Group::restore(&stored, &self.tools.settings, self.tools.now())?;
                let mut entry = Entry { group: Some(group), ..Entry::default() };
                entry.count(&mut self.tools.share);
                self.groups.insert(stored.row.id.clone(), entry);
                self.set_deadline(&stored.row.id);
            }
        }
    }

    /// Serves requests until nobody can ask any more, and then ends what is on its way.
    pub async fn run(mut self) {
        let mut topics = self.tools.broker.topic_changes();
        loop {
            let sleep = sleep(self.until_next());
            tokio::select! {
                biased;
                Ok(()) = topics.changed() => self.topics_changed(),
                Some(event) = self.events.recv() => self.hear(event),
                job = self.jobs.recv() => match job {
                    Some(job) => self.take_all(job),
                    None => break,
                },
                () = sleep => {}
            }
            self.pass_time();
            self.tell_some();
        }
        // Nothing more is handed to the settler: it ends with what it has.
        drop(self.tools);
        let _ = self.settler.await;
    }

    /// How long there is nothing to do, if nobody asks.
    fn until_next(&self) -> Duration {
        if !self.to_tell.is_empty() {
            return Duration::ZERO;
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let next = [deadline, self.resolution_due(), self.sweep_at].into_iter().flatten().min();
        next.map_or(SLEEP_MAX, |at| at.saturating_sub(self.tools.now()).min(SLEEP_MAX))
    }

    /// When regular expressions are to be resolved, if nobody does so already.
    fn resolution_due(&self) -> Option<Duration> {
        self.resolve_at.filter(|_| !self.is_resolving)
    }

    fn take_all(&mut self, first: Job<S>) {
        self.take(first);
        for _ in 1..JOBS_AT_ONCE {
            let Ok(job) = self.jobs.try_recv() else { return };
            self.take(job);
        }
    }

    fn take(&mut self, job: Job<S>) {
        let (group, work) = match job {
            Job::One(group, work) => (group, work),
            Job::All(answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.overview());
                return;
            }
        };
        let entry = self.groups.entry(group.clone()).or_default();
        entry.waiting.push_back(work);
        entry.is_used = true;
        if !entry.is_busy {
            self.go_on(&group);
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Loaded(id, loaded) => {
                let group = loaded.map_err(GroupError::from).and_then(|stored| self.found(&id, stored));
                match group {
                    Ok(group) => {
                        let Some(entry) = self.groups.get_mut(&id) else { return };
                        entry.group = Some(group);
                        entry.count(&mut self.tools.share);
                        entry.is_busy = false;
                        self.go_on(&id);
                    }
                    Err(error) => self.refuse_waiting(&id, &error),
                }
            }
            Event::Settled(id, settled) => {
                let Some(entry) = self.groups.get_mut(&id) else { return };
                entry.is_busy = false;
                // Where it failed, the rows are as they were before the step, and so is the group from now on.
                if (settled.is_err() || entry.group.as_ref().is_some_and(Group::is_dead))
                    && let Some(mut group) = entry.group.take()
                {
                    self.tools.answer_all(group.close());
                    entry.count(&mut self.tools.share);
                }
                self.go_on(&id);
            }
            Event::Resolved(resolved) => {
                self.is_resolving = false;
                self.resolved_at = Some(self.tools.now());
                self.bring_news(&Arc::new(resolved), Group::has_patterns);
            }
            Event::Granted(piece) => self.tools.share.grant(piece),
            Event::Swept => {
                let interval = self.tools.settings.expiry_interval;
                self.sweep_at = Some(self.tools.now().saturating_add(interval));
            }
        }
    }

    /// What is in memory of all groups.
    fn overview(&self) -> Vec<GroupOverview> {
        let groups = self.groups.values().filter_map(|entry| entry.group.as_ref());
        groups.filter(|group| !group.is_blank()).map(Group::overview).collect()
    }

    /// Topics were created or deleted.
    fn topics_changed(&mut self) {
        let earliest = self.resolved_at.map(|at| at.saturating_add(RESOLVE_INTERVAL)).unwrap_or_default();
        self.resolve_at = Some(self.tools.now().max(earliest));
        self.bring_news(&Arc::default(), Group::watches_topics);
    }

    /// Has groups told, one after the other, of other topics and of what regular expressions stand for.
    fn bring_news(&mut self, resolved: &Arc<Resolved>, concerns: impl Fn(&Group) -> bool) {
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

    fn tell_some(&mut self) {
        for _ in 0..NEWS_AT_ONCE {
            let Some(id) = self.to_tell.pop_front() else { return };
            self.go_on(&id);
        }
    }

    /// Has the regular expressions of all groups resolved.
    fn resolve_patterns(&mut self) {
        let groups = self.groups.values().filter_map(|entry| entry.group.as_ref());
        let texts: BTreeSet<Arc<str>> = groups.flat_map(Group::patterns).cloned().collect();
        if texts.is_empty() {
            return;
        }
        self.is_resolving = true;
        let (resolver, broker, to_owner) =
            (self.resolver.clone(), self.tools.broker.clone(), self.tools.to_owner.clone());
        tokio::spawn(async move {
            let resolved = resolver.resolve_all(&broker, texts.into_iter().collect()).await;
            let _ = to_owner.send(Event::Resolved(resolved));
        });
    }

    fn sweep(&mut self) {
        let (weak, to_owner) = (self.weak.clone(), self.tools.to_owner.clone());
        let (broker, retention) = (self.tools.broker.clone(), self.tools.settings.offsets_retention);
        tokio::spawn(async move {
            if let Err(error) = sweep(&weak, retention).await {
                broker.notices().failed("deleting expired offsets", &error);
            }
            let _ = to_owner.send(Event::Swept);
        });
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
            entry.count_step(&outcome, &mut self.tools.share);
            entry.is_busy = self.tools.carry_out(id, outcome);
        }
        self.set_deadline(id);
        self.let_go(id);
    }

    /// What has come to its time is done.
    fn pass_time(&mut self) {
        let now = self.tools.now();
        if self.resolution_due().is_some_and(|at| at <= now) {
            self.resolve_at = None;
            self.resolve_patterns();
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            self.sweep();
        }
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
                entry.count_step(&outcome, &mut self.tools.share);
                entry.is_busy = self.tools.carry_out(&id, outcome);
            }
            self.set_deadline(&id);
            self.let_go(&id);
        }
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
        while self.memberless.len() > self.tools.memberless_max {
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
    /// Whether its rows say all of it, and nothing is under way.
    fn is_idle(&self) -> bool {
        let memberless = self.group.as_ref().is_some_and(Group::is_memberless);
        memberless && !self.is_busy && self.waiting.is_empty() && self.news.is_none()
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

impl<S: Storage> std::fmt::Debug for Owner<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl<S: Storage> Tools<S> {
    pub(super) fn now(&self) -> Duration {
        self.broker.clock().monotonic()
    }

    pub(super) fn topics(&self) -> View<S> {
        View(self.broker.topics())
    }

    /// Asks for memory to grow into.
    pub(super) fn ask_for_memory(&mut self, more: usize) {
        if let Some(asked) = self.share.ask(more) {
            let to_owner = self.to_owner.clone();
            tokio::spawn(async move {
                let _ = to_owner.send(Event::Granted(asked.await));
            });
        }
    }

    /// Has the rows of a group read.
    fn load(&self, id: Arc<str>) {
        let (broker, to_owner) = (self.broker.clone(), self.to_owner.clone());
        tokio::spawn(async move {
            let loaded = broker.storage().groups().load_group(&id).await;
            // The owner has gone when the broker stops.
            let _ = to_owner.send(Event::Loaded(id, loaded));
        });
    }

    /// Notes who waits for an answer under a token.
    pub(super) fn token(&mut self, answer: oneshot::Sender<Answered>) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.asking.insert(token, answer);
        token
    }

    /// Has changes made durable and answers given then. Returns whether there are changes to wait for.
    fn carry_out(&mut self, id: &Arc<str>, outcome: Outcome) -> bool {
        let Outcome { before, changes, answers, mut told, .. } = outcome;
        if changes.is_empty() {
            self.answer_all(answers);
            return false;
        }
        let asking: Vec<_> = answers
            .into_iter()
            .filter_map(|(token, answer)| Some((self.asking.remove(&token)?, answer)))
            .collect();
        let (to_owner, id) = (self.to_owner.clone(), id.clone());
        let tell: Told = Box::new(move |result| {
            for (asking, answer) in asking {
                // Who asked may have gone.
                let _ = asking.send(result.clone().map(|()| answer).map_err(GroupError::from));
            }
            let _ = to_owner.send(Event::Settled(id, result.clone()));
        });
        let stored = self.broker.storage().groups().change_groups(changes);
        told.push(tell);
        let stored = Box::pin(async move {
            if let Some(before) = before {
                before.await?;
            }
            stored.await
        });
        self.settle(Settling { stored, told });
        true
    }

    fn settle(&self, settling: Settling) {
        // Who settles has gone when the broker stops: dropped answers say so.
        let _ = self.to_settle.send(settling);
    }

    fn answer_all(&mut self, answers: Vec<(Token, Answer)>) {
        for (token, answer) in answers {
            if let Some(asking) = self.asking.remove(&token) {
                let _ = asking.send(Ok(answer));
            }
        }
    }
}
