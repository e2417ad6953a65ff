//! The task that brings groups what comes by itself: time, other topics, what the store has done; and requests that
//! could not be served by who received them.

use std::{sync::Arc, time::Duration};

use ottla_storage::{GroupStore, OffsetStore, StateStoreError, Storage};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{
    error::GroupError,
    expiry::sweep,
    group::{Group, GroupSettings},
    handle::{Groups, WeakGroups},
    settling::settle,
    shared::{Job, Shared},
    table::Table,
    tools::{Event, Tools},
};
use crate::broker::Broker;

/// Groups that are read at a time at the start.
const LOAD_PAGE: usize = 1000;
/// The longest sleep: a deadline that time has passed is noticed after it, however the clock goes.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// The least time between two resolutions of regular expressions after topics have changed.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// Requests that are taken before time and news have their turn.
const JOBS_AT_ONCE: usize = 64;

/// The owner of all groups.
pub struct Owner<S: Storage> {
    jobs: mpsc::UnboundedReceiver<Job<S>>,
    events: mpsc::UnboundedReceiver<Event>,
    shared: Arc<Shared<S>>,
    settings: GroupSettings,
    /// When regular expressions are to be resolved again.
    resolve_at: Option<Duration>,
    resolved_at: Option<Duration>,
    is_resolving: bool,
    /// When offsets are to be looked through for expired ones; `None` while that goes on.
    sweep_at: Option<Duration>,
    /// For those who look through them: they must not keep the owner alive.
    weak: WeakGroups<S>,
    settler: JoinHandle<()>,
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
        let tools = Tools::new(broker.clone(), settings.clone(), to_settle, to_owner.clone());
        let mut table = Table::new(tools);
        delete_offsets_of_gone_topics(&broker).await?;
        load_all(&broker, &mut table).await?;
        let sweep_at = Some(broker.clock().monotonic().saturating_add(settings.expiry_interval));
        let shared = Arc::new(Shared::new(broker, table));
        let groups = Groups::new(to_jobs, shared.clone());
        let mut owner = Self {
            jobs,
            events,
            shared,
            resolve_at: None,
            resolved_at: None,
            is_resolving: false,
            sweep_at,
            weak: groups.downgrade(),
            settler: tokio::spawn(settle(settling)),
            to_owner,
            settings,
        };
        // Topics may have come or gone since the groups were stored.
        owner.topics_changed();
        Ok((owner, groups))
    }

    /// How many groups without members it may keep.
    #[cfg(test)]
    pub(super) fn keep_memberless(&mut self, most: usize) {
        self.shared.lock().keep_memberless(most);
    }

    /// Serves requests until nobody can ask any more, and then ends what is on its way.
    pub async fn run(mut self) {
        let mut topics = self.shared.broker.topic_changes();
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
        }
        // Whoever could ask has gone, so this is all there is of the groups: nothing more is handed to the settler, which
        // ends with what it has.
        drop(self.shared);
        let _ = self.settler.await;
    }

    /// How long there is nothing to do, if nobody asks.
    fn until_next(&self) -> Duration {
        let of_groups = self.shared.lock().next();
        let next = [of_groups, self.resolution_due(), self.sweep_at].into_iter().flatten().min();
        next.map_or(SLEEP_MAX, |at| at.saturating_sub(self.now()).min(SLEEP_MAX))
    }

    fn now(&self) -> Duration {
        self.shared.broker.clock().monotonic()
    }

    /// When regular expressions are to be resolved, if nobody does so already.
    fn resolution_due(&self) -> Option<Duration> {
        self.resolve_at.filter(|_| !self.is_resolving)
    }

    fn take_all(&mut self, first: Job<S>) {
        self.shared.take(first);
        for _ in 1..JOBS_AT_ONCE {
            let Ok(job) = self.jobs.try_recv() else { return };
            self.shared.take(job);
        }
    }

    fn hear(&mut self, event: Event) {
        let mut table = self.shared.lock();
        match event {
            Event::Loaded(id, loaded) => table.loaded(&id, loaded.map_err(GroupError::from)),
            Event::Settled(id, settled) => table.settled(&id, settled.is_ok()),
            Event::Resolved(resolved) => {
                table.bring_news(&Arc::new(resolved), Group::has_patterns);
                drop(table);
                self.is_resolving = false;
                self.resolved_at = Some(self.now());
            }
            Event::Granted(piece) => table.granted(piece),
            Event::Swept => {
                drop(table);
                self.sweep_at = Some(self.now().saturating_add(self.settings.expiry_interval));
            }
        }
    }

    /// Topics were created or deleted.
    fn topics_changed(&mut self) {
        let earliest = self.resolved_at.map(|at| at.saturating_add(RESOLVE_INTERVAL)).unwrap_or_default();
        self.resolve_at = Some(self.now().max(earliest));
        self.shared.lock().bring_news(&Arc::default(), Group::watches_topics);
    }

    /// What has come to its time is done.
    fn pass_time(&mut self) {
        let now = self.now();
        if self.resolution_due().is_some_and(|at| at <= now) {
            self.resolve_at = None;
            self.resolve_patterns();
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            self.sweep();
        }
        let mut table = self.shared.lock();
        table.pass_time();
        table.tell_some();
    }

    /// Has the regular expressions of all groups resolved.
    fn resolve_patterns(&mut self) {
        let texts = self.shared.lock().patterns();
        if texts.is_empty() {
            return;
        }
        self.is_resolving = true;
        let Shared { resolver, broker, .. } = &*self.shared;
        let (resolver, broker, to_owner) = (resolver.clone(), broker.clone(), self.to_owner.clone());
        tokio::spawn(async move {
            let resolved = resolver.resolve_all(&broker, texts.into_iter().collect()).await;
            let _ = to_owner.send(Event::Resolved(resolved));
        });
    }

    fn sweep(&self) {
        let (weak, to_owner) = (self.weak.clone(), self.to_owner.clone());
        let (broker, retention) = (self.shared.broker.clone(), self.settings.offsets_retention);
        tokio::spawn(async move {
            if let Err(error) = sweep(&weak, retention).await {
                broker.notices().failed("deleting expired offsets", &error);
            }
            let _ = to_owner.send(Event::Swept);
        });
    }
}

impl<S: Storage> std::fmt::Debug for Owner<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

/// A life may have ended after a topic was deleted and before its offsets were.
async fn delete_offsets_of_gone_topics<S: Storage>(broker: &Broker<S>) -> Result<(), StateStoreError> {
    let (store, topics) = (broker.storage().groups(), broker.topics());
    for topic in store.offset_topics(None).await? {
        if topics.with_id(topic.id).is_none() {
            store.delete_offsets_of_topic(topic.id).await?;
        }
    }
    Ok(())
}

async fn load_all<S: Storage>(broker: &Broker<S>, table: &mut Table<S>) -> Result<(), GroupError> {
    let mut last: Option<Arc<str>> = None;
    loop {
        let page = broker.storage().groups().load_groups(last.as_deref(), LOAD_PAGE).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some(end.row.id.clone());
        for stored in page {
            table.restore(&stored)?;
        }
    }
}
