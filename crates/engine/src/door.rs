//! A network thread's way into the broker: appending with its own appender, and hearing of advances.
//!
//! One task of the thread runs [`Advances::run`]: it receives what each commit has to tell the thread, answers
//! the tickets, and wakes whoever waits for the logs that advanced. All of that stays on the thread.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use bytes::Bytes;
use ottla_records::{BatchError, LogId, ProduceLimits, TimestampMs, TimestampType, check_produced};
use ottla_storage::{Appender, DeliveryReceiver, Log, Produced, Stamp, Storage, Ticket};
use thiserror::Error;
use tokio::sync::Notify;

use crate::broker::{Broker, Topic};

/// Why a batch was not taken.
#[derive(Debug, Error)]
pub enum ProduceError {
    /// The batch fails its checks.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The topic has no such partition.
    #[error("topic has no partition {0}")]
    UnknownPartition(i32),
}

type Waiters = Rc<RefCell<HashMap<LogId, Vec<Rc<Waiter>>>>>;

/// Somebody who waits for logs to advance.
#[derive(Default)]
struct Waiter {
    notify: Notify,
    advanced: RefCell<Vec<LogId>>,
}

/// A network thread's door. It stays on its thread.
pub struct Door<S: Storage> {
    broker: Arc<Broker<S>>,
    appender: S::Appender,
    waiters: Waiters,
}

impl<S: Storage> Door<S> {
    /// A door into `broker`, and what one task of the thread has to run.
    pub fn open(broker: Arc<Broker<S>>) -> (Self, Advances) {
        let (appender, deliveries) = broker.storage().appender();
        let waiters = Waiters::default();
        let advances = Advances { deliveries, waiters: waiters.clone() };
        (Self { broker, appender, waiters }, advances)
    }

    /// The broker behind it.
    pub fn broker(&self) -> &Arc<Broker<S>> {
        &self.broker
    }

    /// Waits until there is room for so many bytes more.
    pub async fn ready(&self, bytes: usize) {
        self.appender.ready(bytes).await;
    }

    /// Takes a batch for a partition, without waiting. Batches keep the order of the calls.
    ///
    /// # Errors
    /// See [`ProduceError`].
    pub fn append(&self, topic: &Topic<S>, partition: i32, bytes: &Bytes) -> Result<Ticket, ProduceError> {
        let log = topic.partition(partition).ok_or(ProduceError::UnknownPartition(partition))?;
        let now = self.broker.clock().wall();
        let settings = &topic.settings;
        let by_broker = settings.timestamp_type == TimestampType::AppendTime;
        let mut limits = ProduceLimits {
            size_max: settings.max_message_bytes as usize,
            key_required: settings.keys_required,
            ..ProduceLimits::default()
        };
        if !by_broker {
            limits.earliest = TimestampMs(now.0.saturating_sub(settings.timestamp_before_max_ms));
            limits.latest = TimestampMs(now.0.saturating_add(settings.timestamp_after_max_ms));
        }
        let checked = check_produced(bytes, &limits)?;
        let stamp = match by_broker {
            true => Stamp::AppendTime(now),
            false if checked.max_timestamp_differs() => Stamp::MaxTimestamp(checked.max_timestamp),
            false => Stamp::Keep,
        };
        let batch = Produced { bytes: bytes.clone(), header: checked.header, stamp };
        Ok(self.appender.append(log, batch))
    }

    /// Watches logs: [`Watch::advanced`] returns once some of them have advanced since this call. Whoever
    /// watches looks at the logs after this, and only then waits.
    pub fn watch<'a>(&self, logs: impl IntoIterator<Item = &'a Arc<S::Log>>) -> Watch<S>
    where
        S::Log: 'a,
    {
        let waiter = Rc::new(Waiter::default());
        let mut waiters = self.waiters.borrow_mut();
        let mut watched = Vec::new();
        for log in logs {
            waiters.entry(log.id()).or_default().push(waiter.clone());
            log.watch(self.appender.number());
            watched.push(log.clone());
        }
        drop(waiters);
        Watch { waiter, logs: watched, waiters: self.waiters.clone(), appender: self.appender.number() }
    }
}

impl<S: Storage> std::fmt::Debug for Door<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("appender", &self.appender.number()).finish_non_exhaustive()
    }
}

/// Logs that are watched, until this is dropped.
pub struct Watch<S: Storage> {
    waiter: Rc<Waiter>,
    logs: Vec<Arc<S::Log>>,
    waiters: Waiters,
    appender: usize,
}

impl<S: Storage> Watch<S> {
    /// Waits until some of the logs have advanced, and tells which.
    pub async fn advanced(&self) -> Vec<LogId> {
        loop {
            let advanced = self.waiter.advanced.take();
            if !advanced.is_empty() {
                return advanced;
            }
            self.waiter.notify.notified().await;
        }
    }
}

impl<S: Storage> Drop for Watch<S> {
    fn drop(&mut self) {
        let mut waiters = self.waiters.borrow_mut();
        for log in &self.logs {
            let Some(of_log) = waiters.get_mut(&log.id()) else { continue };
            of_log.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
            if of_log.is_empty() {
                waiters.remove(&log.id());
                log.unwatch(self.appender);
            }
        }
    }
}

/// What a thread hears from storage.
pub struct Advances {
    deliveries: DeliveryReceiver,
    waiters: Waiters,
}

impl Advances {
    /// Answers tickets and wakes waiters, until the storage is gone.
    pub async fn run(mut self) {
        while let Some(delivery) = self.deliveries.recv().await {
            for (ticket, answer) in delivery.answers {
                // Nobody waits for the answers of a connection that was closed.
                let _ = ticket.send(answer);
            }
            let waiters = self.waiters.borrow();
            for log in delivery.advanced {
                for waiter in waiters.get(&log).into_iter().flatten() {
                    waiter.advanced.borrow_mut().push(log);
                    waiter.notify.notify_one();
                }
            }
        }
    }
}

impl std::fmt::Debug for Advances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Advances").finish_non_exhaustive()
    }
}
