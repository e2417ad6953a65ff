//! A connection: reads frames, starts requests in the order in which they come, and writes answers in the same
//! order.
//!
//! [`read`] decodes and dispatches; [`write`] waits for each answer in turn and gathers those that are ready
//! into one write. Both run in the connection's one task. Between them is a bounded queue: a client that does
//! not read its answers is not read from. Appends are started when they are read; other requests when their
//! turn comes.

mod read;
mod write;

use std::{future::Future, io, rc::Rc, time::Duration};

use ottla_storage::Storage;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use self::{read::Requests, write::Answers};
use crate::{
    context::Context,
    memory::{Held, Memory},
    reply::Answer,
};

/// Requests of a connection that may wait for their answers.
const PENDING_MAX: usize = 64;
/// How long the answers to what was asked may take once no more is read.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// How long the server waits for clients that do not get on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While memory is short: for an unfinished request or an answer that is not read.
    pub stalled: Duration,
    /// For records of an answer to be taken, before they are let go and read again later.
    pub records: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stalled: Duration::from_secs(5), records: Duration::from_secs(1) }
    }
}

/// The limits of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long it may be silent, or leave its answers unread.
    pub(crate) idle: Option<Duration>,
    /// What its buffers are taken from.
    pub(crate) memory: Memory,
    /// How long it is waited for.
    pub(crate) patience: Patience,
}

/// A request that was started.
struct Pending {
    answer: Answer,
    /// The memory of the frame and of what was read from it, where the answer still needs them.
    _request: Option<(Rc<Held>, Held)>,
}

/// Serves a connection until it ends, or until `stopping` does and what was asked is answered.
pub(crate) async fn serve<S: Storage>(
    stream: TcpStream,
    context: Context<S>,
    limits: Limits,
    stopping: impl Future<Output = ()>,
) {
    let peer = context.peer;
    let (reader, writer) = stream.into_split();
    let (answers, pending) = mpsc::channel(PENDING_MAX);
    let mut writing = std::pin::pin!(Answers::new(writer, &limits).write(pending));
    let read = {
        let reading = Requests::new(reader, context, &limits).read(answers);
        tokio::select! {
            ended = reading => Ok(ended),
            ended = &mut writing => Err(ended),
            () = stopping => Ok(Ok(())),
        }
    };
    let ended = match read {
        // What was asked before is still answered.
        Ok(read @ (Ok(()) | Err(Ended::Misbehaved(_)))) => {
            let written = timeout(LAST_ANSWERS, writing).await.unwrap_or(Ok(()));
            read.and(written)
        }
        Ok(ended) | Err(ended) => ended,
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Io(error)) => tracing::debug!(%peer, "connection ended: {error}"),
        Err(Ended::Idle) => tracing::debug!(%peer, "connection closed after being idle"),
        Err(Ended::Misbehaved(what)) => tracing::warn!(%peer, "connection closed: {what}"),
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    Io(io::Error),
    Idle,
    Misbehaved(String),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
