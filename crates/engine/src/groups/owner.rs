//! The task that all groups belong to.
//!
//! A request for a group that is not in memory waits until its rows are read; one for a group whose changes are on
//! their way to the disk waits until they are there.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ottla_coordinator::{
    Effects, Token,
    assignor::TopicPartition,
    classic::{self, Claim, ClassicEffects, Joining, Leaving, Syncing},
    consumer::{self, TopicInfo},
};
use ottla_records::TopicId;
use ottla_storage::{GroupStore, OffsetRow, OffsetStore, StateStoreError, Storage, StoredGroup};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

use super::{
    group::{Answer, CommitClaim, Group, GroupDescription, GroupSettings, Outcome, Protocol},
    handle::{Answered, GroupError, Groups},
    settling::{Settling, Told, settle},
};
use crate::broker::{Broker, Topics};

/// Groups without members that are kept in memory, because they were asked for lately.
const MEMBERLESS_MAX: usize = 4096;
/// Groups that are read at a time at the start.
const LOAD_PAGE: usize = 1000;
/// The longest sleep: a deadline that time has passed is noticed after it, however the clock goes.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// What somebody wants of a group.
pub(super) struct Job<S: Storage> {
    pub(super) group: Arc<str>,
    pub(super) work: Work<S>,
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
        }
    }
}

/// What the owner hears from the tasks that it has begun.
enum Event {
    Loaded(Arc<str>, Result<Option<StoredGroup>, StateStoreError>),
    Settled(Arc<str>, Result<(), StateStoreError>),
}

/// The owner of all groups.
pub struct Owner<S: Storage> {
    jobs: mpsc::UnboundedReceiver<Job<S>>,
    events: mpsc::UnboundedReceiver<Event>,
    groups: HashMap<Arc<str>, Entry<S>>,
    /// Groups that were without members once, the oldest first.
    memberless: VecDeque<Arc<str>>,
    deadlines: BTreeSet<(Duration, Arc<str>)>,
    settler: JoinHandle<()>,
    tools: Tools<S>,
}

/// What steps work with.
struct Tools<S: Storage> {
    broker: Arc<Broker<S>>,
    settings: GroupSettings,
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
        let tools = Tools {
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
            settler: tokio::spawn(settle(settling)),
            tools,
        };
        owner.load_all().await?;
        Ok((owner, Groups::new(to_jobs)))
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
                let entry = Entry { group: Some(group), ..Entry::default() };
                self.groups.insert(stored.row.id.clone(), entry);
                self.set_deadline(&stored.row.id);
            }
        }
    }

    /// Serves requests until nobody can ask any more, and then ends what is on its way.
    pub async fn run(mut self) {
        loop {
            let sleep = sleep(self.until_next_deadline());
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.hear(event),
                job = self.jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => break,
                },
                () = sleep => {}
            }
            self.pass_time();
        }
        // Nothing more is handed to the settler: it ends with what it has.
        drop(self.tools);
        let _ = self.settler.await;
    }

    fn until_next_deadline(&self) -> Duration {
        let next = self.deadlines.first().map_or(SLEEP_MAX, |(at, _)| at.saturating_sub(self.tools.now()));
        next.min(SLEEP_MAX)
    }

    fn take(&mut self, Job { group, work }: Job<S>) {
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
                }
                self.go_on(&id);
            }
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
        let Some(entry) = self.groups.remove(id) else { return };
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
                    self.groups.remove(id);
                    return;
                }
                entry.is_busy = true;
                self.tools.load(id.clone());
                break;
            };
            let Some(work) = entry.waiting.pop_front() else { break };
            let mut step = Step { group, tools: &mut self.tools, outcome: Outcome::default() };
            work(Ok(&mut step));
            let outcome = step.outcome;
            entry.is_busy = self.tools.carry_out(id, outcome);
        }
        self.set_deadline(id);
        self.let_go(id);
    }

    /// Groups whose time has come hear of it.
    fn pass_time(&mut self) {
        let now = self.tools.now();
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
            } else {
                self.groups.remove(&oldest);
            }
        }
    }
}

impl<S: Storage> Entry<S> {
    /// Whether its rows say all of it, and nothing is under way.
    fn is_idle(&self) -> bool {
        let memberless = self.group.as_ref().is_some_and(Group::is_memberless);
        memberless && !self.is_busy && self.waiting.is_empty()
    }
}

impl<S: Storage> std::fmt::Debug for Owner<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl<S: Storage> Tools<S> {
    fn now(&self) -> Duration {
        self.broker.clock().monotonic()
    }

    fn topics(&self) -> View<S> {
        View(self.broker.topics())
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
    fn token(&mut self, answer: oneshot::Sender<Answered>) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.asking.insert(token, answer);
        token
    }

    /// Has changes made durable and answers given then. Returns whether there are changes to wait for.
    fn carry_out(&mut self, id: &Arc<str>, outcome: Outcome) -> bool {
        let Outcome { before, changes, answers, mut told } = outcome;
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

/// A request at work on its group.
pub(super) struct Step<'a, S: Storage> {
    group: &'a mut Group,
    tools: &'a mut Tools<S>,
    outcome: Outcome,
}

impl<S: Storage> Step<'_, S> {
    pub(super) fn join(&mut self, joining: Joining, answer: oneshot::Sender<Answered>) {
        self.classic(answer, |group, token, now| group.join(token, joining, now));
    }

    pub(super) fn sync(&mut self, syncing: Syncing<'_>, answer: oneshot::Sender<Answered>) {
        self.classic(answer, |group, token, now| group.sync(token, syncing, now));
    }

    pub(super) fn leave(&mut self, leaving: &[Leaving<'_>], answer: oneshot::Sender<Answered>) {
        self.classic(answer, |group, token, now| group.leave(token, leaving, now));
    }

    /// A step of a classic group that answers under a token.
    fn classic(
        &mut self,
        answer: oneshot::Sender<Answered>,
        step: impl FnOnce(&mut classic::ClassicGroup, Token, Duration) -> ClassicEffects,
    ) {
        let (now, wall) = (self.tools.now(), self.tools.broker.clock().wall());
        match self.group.as_classic(&self.tools.settings) {
            Ok(classic) => {
                let effects = step(classic, self.tools.token(answer), now);
                self.outcome = self.group.classic_outcome(effects, wall);
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    pub(super) fn heartbeat(&mut self, claim: &Claim<'_>) -> Result<(), GroupError> {
        let now = self.tools.now();
        match &mut self.group.protocol {
            Protocol::Classic(group) => Ok(group.heartbeat(claim, now)?),
            // No member of it sends these.
            Protocol::Consumer(_) => Err(classic::Refusal::UnknownMember.into()),
        }
    }

    pub(super) fn consumer_heartbeat(
        &mut self,
        heartbeat: &consumer::Heartbeat,
        answer: oneshot::Sender<Answered>,
    ) {
        let (now, topics) = (self.tools.now(), self.tools.topics());
        match self.group.as_consumer(&self.tools.settings) {
            Ok(consumer) => {
                let token = self.tools.token(answer);
                let effects: Effects<_, _> = consumer.heartbeat(token, heartbeat, &topics, now);
                self.outcome = self.group.consumer_outcome(effects);
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    pub(super) fn commit(
        &mut self,
        claim: &CommitClaim,
        offsets: Vec<OffsetRow>,
        answer: oneshot::Sender<Result<(), GroupError>>,
    ) {
        let now = self.tools.now();
        let partitions = offsets.iter().map(|row| TopicPartition::new(row.key.topic, row.key.partition));
        match self.group.may_commit(claim, partitions, now) {
            Ok(()) => {
                let groups = self.tools.broker.storage().groups();
                let stored = Box::pin(groups.commit_offsets(&self.group.id(), offsets));
                self.tools.settle(Settling { stored, told: vec![tell(answer)] });
            }
            // Who asked may have gone.
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        self.group.describe(&self.tools.topics())
    }

    pub(super) fn delete(&mut self, answer: oneshot::Sender<Result<(), GroupError>>) {
        match self.group.delete() {
            Ok(outcome) => {
                // Its offsets go first: a group that is left without them by a crash can be deleted again.
                let offsets = self.tools.broker.storage().groups().delete_offsets_of_group(&self.group.id());
                self.outcome =
                    Outcome { before: Some(Box::pin(offsets)), told: vec![tell(answer)], ..outcome };
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }
}

fn tell(answer: oneshot::Sender<Result<(), GroupError>>) -> Told {
    Box::new(move |result| {
        // Who asked may have gone.
        let _ = answer.send(result.clone().map_err(GroupError::from));
    })
}

/// The topics as groups see them.
struct View<S: Storage>(Arc<Topics<S>>);

impl<S: Storage> consumer::Topics for View<S> {
    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.0.named(name)?;
        Some(TopicInfo { id: topic.id, partitions: topic.partitions.len() as u32 })
    }

    fn name(&self, id: TopicId) -> Option<Arc<str>> {
        self.0.with_id(id).map(|topic| topic.name.as_str().into())
    }
}
