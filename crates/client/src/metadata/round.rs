//! One round of asking: the brokers that are known, one after the other, and then the addresses that the user gave.

use std::{sync::Arc, time::Duration};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use ottla_protocol::messages::metadata::MetadataRequest;
use tokio::time::{Instant, sleep_until};

use super::{EMPTY_IS_NONE_FROM, cluster::Cluster};
use crate::{
    error::{Error, ErrorKind},
    net::pool::{Peer, Pool, Purpose},
};

/// How long somebody may be silent before the next is asked beside.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a round lasts. A question that was lost on its way would else keep from asking anew for as long as the
/// longest deadline of those who wait.
const LASTS: Duration = Duration::from_secs(5);
/// How many are asked at a time.
const ASKED_MAX: usize = 4;
/// The largest answer.
const ANSWER_MAX: usize = 16 << 20;

/// What is asked of each.
pub(super) struct Question {
    pub(super) pool: Arc<Pool>,
    pub(super) request: MetadataRequest,
    /// How long one of those who are asked may take.
    pub(super) timeout: Duration,
    /// What was known before.
    pub(super) known: Option<Arc<Cluster>>,
}

impl Question {
    async fn ask(self: Arc<Self>, peer: Peer) -> Result<Cluster, Error> {
        let now = Instant::now();
        let connection = self.pool.connection(&peer, Purpose::Calls, now)?;
        let request = |_| self.request.clone();
        let answer = connection.call(EMPTY_IS_NONE_FROM, request, ANSWER_MAX, now + self.timeout).await;
        let answer = answer.map_err(|failure| failure.error)?;
        Cluster::told(&answer, self.known.as_deref())
    }
}

/// A round that goes on. Whoever drops it has ended it.
pub(super) struct Round {
    pub(super) began: Instant,
    question: Arc<Question>,
    /// Who is not asked yet.
    peers: std::vec::IntoIter<Peer>,
    asked: FuturesUnordered<BoxFuture<'static, Result<Cluster, Error>>>,
    /// When the next is asked, if nobody fails before.
    next_at: Instant,
    /// Why the last of those who failed did.
    error: Error,
}

impl Round {
    pub(super) fn begin(question: Question, peers: Vec<Peer>, began: Instant) -> Self {
        Self {
            began,
            question: Arc::new(question),
            peers: peers.into_iter(),
            asked: FuturesUnordered::new(),
            next_at: began,
            error: Error::new(ErrorKind::Retriable, "nobody has answered"),
        }
    }

    /// What the first says who answers; the error of the last where nobody does in time. Dropping it loses nothing: the next call
    /// goes on.
    pub(super) async fn answer(&mut self) -> Result<Cluster, Error> {
        loop {
            if self.asked.is_empty() && !self.ask_next() {
                return Err(self.error.clone());
            }
            let another = self.peers.len() > 0 && self.asked.len() < ASKED_MAX;
            tokio::select! {
                Some(answer) = self.asked.next() => match answer {
                    Ok(cluster) => return Ok(cluster),
                    Err(error) => {
                        self.error = error;
                        self.ask_next();
                    }
                },
                () = sleep_until(self.next_at), if another => {
                    self.ask_next();
                }
                () = sleep_until(self.began + LASTS) => return Err(self.error.clone()),
            }
        }
    }

    /// Why nobody has answered so far.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// False where everybody is asked.
    fn ask_next(&mut self) -> bool {
        self.next_at = Instant::now() + SILENCE;
        let Some(peer) = self.peers.next() else { return false };
        self.asked.push(Box::pin(self.question.clone().ask(peer)));
        true
    }
}
