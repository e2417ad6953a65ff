//! The task that asks for snapshots of the cluster: one round at a time.
//!
//! A round asks the brokers that are known, one after the other, and then the addresses that the user gave, resolved
//! anew (KIP-899). Who is silent for a moment is not waited for alone: the next is asked beside. After a round in which
//! nobody answered comes a backoff.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{EMPTY_IS_NONE_FROM, cluster::Cluster};
use crate::{
    config::ClientConfig,
    error::{Error, ErrorKind},
    jitter::Jitter,
    net::{
        address::Address,
        pool::{Peer, Pool, Purpose},
    },
};

/// How long somebody may be silent before the next is asked beside.
const SILENCE: Duration = Duration::from_millis(500);
/// How many are asked at a time.
const ASKED_MAX: usize = 4;
/// The largest answer.
const ANSWER_MAX: usize = 16 << 20;

/// Somebody who waits for a snapshot.
struct Wish {
    /// The topics that are to be in it.
    topics: Vec<Arc<str>>,
    deadline: Instant,
    /// How often in a row what it is for has failed.
    failures: u32,
    /// It is not for a round that begins before.
    not_before: Instant,
    answer: oneshot::Sender<Result<Arc<Cluster>, Error>>,
}

/// The way to the task, and what it has found.
pub(crate) struct Metadata {
    wishes: mpsc::UnboundedSender<Wish>,
    found: watch::Receiver<Option<Arc<Cluster>>>,
}

impl Metadata {
    /// Begins the task, which asks nobody until somebody wants to know, and ends when nobody can.
    pub(crate) fn start(
        runtime: &Handle,
        pool: Arc<Pool>,
        config: Arc<ClientConfig>,
        seeds: Vec<Address>,
        jitter: Jitter,
    ) -> Self {
        let (wishes, taken) = mpsc::unbounded_channel();
        let (tell, found) = watch::channel(None);
        let task = Task {
            wanted: HashMap::new(),
            pool,
            config,
            seeds,
            jitter,
            wishes: taken,
            waiting: Vec::new(),
            tell,
            failures: 0,
            said: false,
        };
        runtime.spawn(task.run());
        Self { wishes, found }
    }

    /// The newest snapshot, whenever there is one; `None` before the first.
    pub(crate) fn found(&self) -> watch::Receiver<Option<Arc<Cluster>>> {
        self.found.clone()
    }

    /// The newest snapshot that has these topics.
    ///
    /// # Errors
    /// As [`Metadata::refresh`].
    pub(crate) async fn cluster(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Arc<Cluster>, Error> {
        let found = self.found.borrow().clone();
        match found {
            Some(cluster) if topics.iter().all(|topic| cluster.topics.contains_key(topic)) => Ok(cluster),
            _ => self.refresh(topics, deadline, 0).await,
        }
    }

    /// A snapshot with these topics that is asked for after this call; after a backoff, where what it is for has failed so
    /// often in a row.
    ///
    /// # Errors
    /// `Timeout`: nobody answered until the deadline; the cause tells of the last attempt.
    pub(crate) async fn refresh(
        &self,
        topics: &[Arc<str>],
        deadline: Instant,
        failures: u32,
    ) -> Result<Arc<Cluster>, Error> {
        let (answer, answered) = oneshot::channel();
        let closed = || Error::new(ErrorKind::Closed, "the client was closed");
        let wish = Wish { topics: topics.to_vec(), deadline, failures, not_before: Instant::now(), answer };
        self.wishes.send(wish).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

struct Task {
    /// The topics in use, and when they were last wished for.
    wanted: HashMap<Arc<str>, Instant>,
    pool: Arc<Pool>,
    config: Arc<ClientConfig>,
    seeds: Vec<Address>,
    jitter: Jitter,
    wishes: mpsc::UnboundedReceiver<Wish>,
    waiting: Vec<Wish>,
    tell: watch::Sender<Option<Arc<Cluster>>>,
    /// Rounds in a row in which nobody answered.
    failures: u32,
    /// It was logged that nobody answers.
    said: bool,
}

impl Task {
    async fn run(mut self) {
        while self.something_is_wished().await {
            let (began, peers) = (Instant::now(), self.peers());
            let unused = self.config.metadata_max_age;
            self.wanted.retain(|_, wished| began.saturating_duration_since(*wished) < unused);
            let deadline = self.waiting.iter().map(|wish| wish.deadline).min().unwrap_or(began);
            let mut waiting = std::mem::take(&mut self.waiting);
            let ended = tokio::select! {
                ended = self.round(peers, deadline) => Some(ended),
                // Nobody waits for it any more.
                _ = join_all(waiting.iter_mut().map(|wish| wish.answer.closed())) => None,
            };
            self.waiting = waiting;
            match ended {
                Some(Ok(cluster)) => self.found(cluster, began),
                Some(Err(error)) => self.nobody_answered(&error).await,
                None => {}
            }
        }
    }

    /// Waits until it is time for a round; false where nobody can wish for one any more.
    async fn something_is_wished(&mut self) -> bool {
        loop {
            // Also while others have waited for long and in vain.
            while let Ok(wish) = self.wishes.try_recv() {
                self.take(wish);
            }
            self.waiting.retain(|wish| !wish.answer.is_closed());
            let due = self.waiting.iter().map(|wish| wish.not_before.min(wish.deadline)).min();
            if due.is_some_and(|due| due <= Instant::now()) {
                return true;
            }
            let sleep = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.take(wish),
                    None => return false,
                },
                () = sleep => {}
            }
        }
    }

    fn take(&mut self, mut wish: Wish) {
        self.wanted.extend(wish.topics.iter().map(|topic| (topic.clone(), wish.not_before)));
        if wish.failures > 0 {
            let (least, most) = (self.config.retry_backoff, self.config.retry_backoff_max);
            wish.not_before += self.jitter.backoff(wish.failures, least, most);
        }
        self.waiting.push(wish);
    }

    /// Who is asked: the brokers that are known, in another order each time, but those first to whom there is a connection;
    /// and then the addresses that the user gave.
    fn peers(&mut self) -> Vec<Peer> {
        let known = self.tell.borrow().clone();
        let brokers = known.iter().flat_map(|cluster| cluster.brokers.keys().map(|id| Peer::Broker(*id)));
        let mut brokers: Vec<Peer> = brokers.collect();
        let mut seeds: Vec<Peer> = self.seeds.iter().cloned().map(Peer::Seed).collect();
        for peers in [&mut brokers, &mut seeds] {
            if !peers.is_empty() {
                let first = self.jitter.next() as usize % peers.len();
                peers.rotate_left(first);
            }
        }
        brokers.sort_by_key(|broker| !self.pool.is_up(broker, Purpose::Calls));
        brokers.extend(seeds);
        brokers
    }

    /// Asks these until one has answered.
    async fn round(&self, peers: Vec<Peer>, deadline: Instant) -> Result<Cluster, Error> {
        let mut last = Error::new(ErrorKind::Retriable, "nobody has answered");
        let mut asked = FuturesUnordered::new();
        let mut peers = peers.into_iter();
        loop {
            asked.extend(peers.next().map(|peer| self.ask(peer)));
            if asked.is_empty() {
                return Err(last);
            }
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(cluster) => return Ok(cluster),
                    Err(error) => last = error,
                },
                () = sleep(SILENCE), if peers.len() > 0 && asked.len() < ASKED_MAX => {}
                () = sleep_until(deadline) => return Err(last),
            }
        }
    }

    async fn ask(&self, peer: Peer) -> Result<Cluster, Error> {
        // An empty list stands for none, and no list would for all.
        let topic =
            |name: &Arc<str>| MetadataRequestTopic { name: Some((&**name).into()), ..Default::default() };
        let request = |_| MetadataRequest {
            topics: Some(self.wanted.keys().map(topic).collect()),
            allow_auto_topic_creation: self.config.allow_auto_create_topics,
            ..MetadataRequest::default()
        };
        let deadline = Instant::now() + self.config.request_timeout;
        let connection = self.pool.connection(&peer, Purpose::Calls, Instant::now())?;
        let answer = connection.call(EMPTY_IS_NONE_FROM, request, ANSWER_MAX, deadline).await;
        let answer = answer.map_err(|failure| failure.error)?;
        Cluster::told(&answer, self.tell.borrow().as_deref())
    }

    /// Answers the wishes that the round was for.
    fn found(&mut self, cluster: Cluster, began: Instant) {
        self.failures = 0;
        if std::mem::take(&mut self.said) {
            tracing::info!(cluster = cluster.id.as_deref(), "the cluster answers again");
        }
        self.pool.set_brokers(cluster.addresses());
        let cluster = Arc::new(cluster);
        self.tell.send_replace(Some(cluster.clone()));
        for wish in self.take_those(|wish| wish.not_before <= began) {
            // Who asked may have gone.
            let _ = wish.answer.send(Ok(cluster.clone()));
        }
    }

    /// The wishes of which something is so; the others go on waiting.
    fn take_those(&mut self, is_so: impl Fn(&Wish) -> bool) -> Vec<Wish> {
        let (taken, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_so);
        self.waiting = waiting;
        taken
    }

    /// Tells those whose time is over, and waits before the next round.
    async fn nobody_answered(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, "no broker answers");
        }
        let backoff =
            self.jitter.backoff(self.failures, self.config.retry_backoff, self.config.retry_backoff_max);
        let earliest = self.waiting.iter().map(|wish| wish.deadline).min();
        let until = Instant::now() + backoff;
        sleep_until(earliest.map_or(until, |deadline| until.min(deadline))).await;
        let now = Instant::now();
        for wish in self.take_those(|wish| wish.deadline <= now) {
            let late = Error::because(
                ErrorKind::Timeout,
                "no broker of the cluster answered in time",
                error.clone(),
            );
            let _ = wish.answer.send(Err(late));
        }
    }
}
