//! The task that asks for snapshots of the cluster: one round at a time.
//!
//! A round asks the brokers that are known, one after the other, and then the addresses that the user gave, resolved
//! anew (KIP-899). Who is silent for a moment is not waited for alone: the next is asked beside. After a round in which
//! nobody answered comes a backoff. Through both, new wishes are taken, and each is told in time that its deadline is over.

use std::{collections::HashMap, sync::Arc, task::Poll, time::Duration};

use futures_util::future::poll_fn;
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    cluster::Cluster,
    round::{Question, Round},
};
use crate::{
    config::ClientConfig,
    error::{Error, ErrorKind},
    jitter::Jitter,
    net::{
        address::Address,
        pool::{Peer, Pool, Purpose},
    },
};

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
            rests_until: Instant::now(),
            error: None,
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
    /// No round begins before.
    rests_until: Instant,
    /// Why the last round failed, if it did.
    error: Option<Error>,
    /// It was logged that nobody answers.
    said: bool,
}

impl Task {
    async fn run(mut self) {
        let mut round: Option<Round> = None;
        loop {
            let due = self.due().filter(|_| round.is_none());
            let late = self.waiting.iter().map(|wish| wish.deadline).min();
            tokio::select! {
                answer = answer(&mut round) => {
                    if let Some(round) = round.take() {
                        match answer {
                            Ok(cluster) => self.found(cluster, round.began),
                            Err(error) => self.failed(error),
                        }
                    }
                }
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.take(wish),
                    // Nobody can wish for anything any more.
                    None => return,
                },
                () = at(due) => round = Some(self.begin()),
                () = at(late) => {
                    let error = round.as_ref().map(Round::error).or(self.error.as_ref()).cloned();
                    self.tell_the_late(error.as_ref());
                }
                () = somebody_goes(&mut self.waiting) => {}
            }
            if self.waiting.is_empty() {
                round = None;
            }
        }
    }

    /// When the next round is to begin.
    fn due(&self) -> Option<Instant> {
        let due = self.waiting.iter().map(|wish| wish.not_before).min();
        due.map(|due| due.max(self.rests_until))
    }

    fn take(&mut self, mut wish: Wish) {
        self.wanted.extend(wish.topics.iter().map(|topic| (topic.clone(), wish.not_before)));
        if wish.failures > 0 {
            wish.not_before += self.backoff(wish.failures);
        }
        self.waiting.push(wish);
    }

    /// Begins a round about the topics that are in use.
    fn begin(&mut self) -> Round {
        let began = Instant::now();
        let unused = self.config.metadata_max_age;
        self.wanted.retain(|_, wished| began.saturating_duration_since(*wished) < unused);
        // An empty list stands for none, and no list would for all.
        let topic =
            |name: &Arc<str>| MetadataRequestTopic { name: Some((&**name).into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(self.wanted.keys().map(topic).collect()),
            allow_auto_topic_creation: self.config.allow_auto_create_topics,
            ..MetadataRequest::default()
        };
        let known = self.tell.borrow().clone();
        let peers = self.peers(known.as_deref());
        let question =
            Question { pool: self.pool.clone(), request, timeout: self.config.request_timeout, known };
        Round::begin(question, peers, began)
    }

    /// Who is asked: the brokers that are known, in another order each time, but those first to whom there is a connection;
    /// and then the addresses that the user gave.
    fn peers(&mut self, known: Option<&Cluster>) -> Vec<Peer> {
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

    /// Answers the wishes that the round was for.
    fn found(&mut self, cluster: Cluster, began: Instant) {
        self.failures = 0;
        self.error = None;
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

    /// Nobody has answered in a round.
    fn failed(&mut self, error: Error) {
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Instant::now() + self.backoff(self.failures);
        self.say_that_nobody_answers(&error);
        self.error = Some(error);
    }

    /// How long to wait after so many failures in a row.
    fn backoff(&mut self, failures: u32) -> Duration {
        self.jitter.backoff(failures, self.config.retry_backoff, self.config.retry_backoff_max)
    }

    /// Tells those whose time is over why they have no snapshot: the error of the round that goes on or has failed last.
    fn tell_the_late(&mut self, error: Option<&Error>) {
        let now = Instant::now();
        for wish in self.take_those(|wish| wish.deadline <= now) {
            let late = match error.filter(|_| wish.not_before <= now) {
                Some(error) => {
                    self.say_that_nobody_answers(error);
                    let what = "no broker of the cluster answered in time";
                    Error::because(ErrorKind::Timeout, what, error.clone())
                }
                None => Error::new(ErrorKind::Timeout, "the time was over before an attempt"),
            };
            let _ = wish.answer.send(Err(late));
        }
    }

    fn say_that_nobody_answers(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, "no broker answers");
        }
    }
}

/// What a round leads to, if there is one.
async fn answer(round: &mut Option<Round>) -> Result<Cluster, Error> {
    match round {
        Some(round) => round.answer().await,
        None => std::future::pending().await,
    }
}

/// Waits until then, if there is a then.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Waits until some of these are not waited for any more, and takes them out.
async fn somebody_goes(waiting: &mut Vec<Wish>) {
    poll_fn(|context| {
        let before = waiting.len();
        waiting.retain_mut(|wish| wish.answer.poll_closed(context).is_pending());
        if waiting.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::{Kafka, block_on};

    /// Wishes for a snapshot that may take this long, and says how long it took and why there is none.
    fn refused_after(kafka: &Kafka, within: Duration) -> (Duration, Error) {
        let began = Instant::now();
        let error = block_on(kafka.refresh(began + within)).unwrap_err();
        (began.elapsed(), error)
    }

    /// Those who can wait long do not keep those who cannot.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test on sockets: who came first is to be waited for already"
    )]
    fn check_that_each_waits_for_its_own_time(address: std::net::SocketAddr) {
        let kafka = Kafka::builder([address.to_string()]).build().unwrap();
        thread::scope(|scope| {
            let patient = scope.spawn(|| refused_after(&kafka, Duration::from_secs(4)));
            thread::sleep(Duration::from_millis(300));
            for within in [300, 0, 600] {
                let (took, error) = refused_after(&kafka, Duration::from_millis(within));
                assert_eq!(error.kind(), ErrorKind::Timeout);
                assert!(took < Duration::from_millis(within + 1500), "{took:?} of {within} ms");
            }
            let (took, error) = patient.join().unwrap();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(took >= Duration::from_secs(4), "{took:?}");
        });
    }

    #[test]
    fn each_waits_for_its_own_time_for_somebody_silent() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        check_that_each_waits_for_its_own_time(silent.local_addr().unwrap());
    }

    #[test]
    fn each_waits_for_its_own_time_where_nobody_listens() {
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        check_that_each_waits_for_its_own_time(refused);
    }
}
