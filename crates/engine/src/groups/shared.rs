//! The groups, as those who ask and their owner share them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ottla_storage::Storage;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    group::GroupOverview,
    patterns::Resolver,
    step::Step,
    table::{Table, Work},
};
use crate::broker::Broker;

/// What somebody wants of groups.
pub(super) enum Job<S: Storage> {
    /// Something of this one.
    One(Arc<str>, Work<S>),
    /// What is in memory of all of them.
    All(oneshot::Sender<Vec<GroupOverview>>),
}

/// The groups, how many requests wait for their owner, and what both sides ask beside.
pub(super) struct Shared<S: Storage> {
    pub(super) broker: Arc<Broker<S>>,
    pub(super) resolver: Resolver,
    table: Mutex<Table<S>>,
    queued: AtomicUsize,
}

impl<S: Storage> Shared<S> {
    pub(super) fn new(broker: Arc<Broker<S>>, table: Table<S>) -> Self {
        let (table, queued) = (Mutex::new(table), AtomicUsize::new(0));
        Self { broker, resolver: Resolver::new(), table, queued }
    }

    /// The groups, for their owner.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table<S>> {
        self.table.lock()
    }

    /// Does something brief with a group on the spot, if nobody is at work on groups, and no request waits that it
    /// would overtake. Otherwise the work comes back.
    pub(super) fn at_once<T, W>(&self, group: &str, work: W) -> Result<T, W>
    where
        W: FnOnce(&mut Step<'_, S>) -> T,
    {
        match self.table.try_lock() {
            Some(mut table) if self.queued.load(Ordering::Acquire) == 0 => table.at_once(group, work),
            _ => Err(work),
        }
    }

    /// A request is about to be sent to the owner.
    pub(super) fn queue(&self) {
        self.queued.fetch_add(1, Ordering::AcqRel);
    }

    /// The owner does what was sent to it.
    pub(super) fn take(&self, job: Job<S>) {
        let mut table = self.table.lock();
        match job {
            Job::One(group, work) => table.take(&group, work),
            // Who asked may have gone.
            Job::All(answer) => drop(answer.send(table.overview())),
        }
        self.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
