//! A connection to a broker: requests on their way, and their answers.
//!
//! One task drives it from the first attempt to connect until the end. Answers come in the order of the requests. Where
//! one does not come in time, the connection is closed: what a broker that was frozen says later must not be taken for
//! the answer to something else.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::{Encoder, Piece, Request, Str, decode_correlation_id, encode_request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::WriteHalf},
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument;

use super::{
    address::Address,
    handshake::shake_hands,
    versions::{Versions, api_name},
    wire::{LENGTH_BYTES, Wire, announced, read_answer, take_frame},
};
use crate::error::{Error, ErrorKind};

/// Pieces that are given to the socket at a time.
const PIECES_AT_ONCE: usize = 32;
/// Bytes that wait for the socket before more requests are taken.
const WAITING_BYTES_MAX: u64 = 1 << 20;
/// How much room there is at least to read into.
const READ_BYTES: usize = 16 << 10;

/// Whether a request that failed may have reached the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    /// No byte of it was given to a socket.
    No,
    /// Some of it was.
    Maybe,
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) sent: Sent,
    pub(crate) error: Error,
}

impl From<Error> for Failure {
    /// Of a request that could not even be made.
    fn from(error: Error) -> Self {
        Self { sent: Sent::No, error }
    }
}

/// How far a connection has come.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// The socket is being opened, or the handshake is under way.
    Connecting,
    /// Requests can be sent, in these versions.
    Up(Arc<Versions>),
    /// It has ended.
    Down {
        /// Why.
        error: Error,
        /// When.
        at: Instant,
        /// Whether it could be used before.
        was_up: bool,
    },
}

/// What a connection goes by.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    /// What brokers know the client by.
    pub(crate) client_id: Str,
    /// Until the handshake is complete.
    pub(crate) connect_timeout: Duration,
    /// Until an answer has come; then the connection is closed.
    pub(crate) request_timeout: Duration,
    /// Without a request under way.
    pub(crate) max_idle: Duration,
}

/// A connection, for those who send requests. It ends when the last of them has gone, and the last answer has come.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    jobs: mpsc::UnboundedSender<Job>,
    state: watch::Receiver<State>,
    last_correlation_id: Arc<AtomicI32>,
    client_id: Str,
}

/// A request on its way.
#[derive(Debug)]
struct Job {
    correlation_id: i32,
    api: &'static str,
    pieces: Vec<Bytes>,
    /// The largest answer; `None` where none comes: then it counts as answered when all of it was given to the socket.
    answer_max: Option<usize>,
    /// Until when whoever asks waits.
    deadline: Instant,
    answer: Answer,
}

/// Where an answer goes.
type Answer = oneshot::Sender<Result<Bytes, Failure>>;

impl Connection {
    /// A connection that begins to connect. `broker` names it in errors.
    pub(crate) fn open(
        runtime: &Handle,
        address: Address,
        broker: String,
        settings: ConnectionSettings,
    ) -> Self {
        let (jobs, taken) = mpsc::unbounded_channel();
        let (tell, state) = watch::channel(State::Connecting);
        let client_id = settings.client_id.clone();
        let span = tracing::debug_span!("connection", broker);
        let driver = Driver { address, broker, settings, jobs: taken, tell };
        runtime.spawn(driver.run().instrument(span));
        Self { jobs, state, last_correlation_id: Arc::default(), client_id }
    }

    /// How far it has come.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The versions of the broker, once the connection can be used.
    ///
    /// # Errors
    /// It cannot, or no longer.
    pub(crate) async fn versions(&self) -> Result<Arc<Versions>, Error> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match ready.as_deref() {
            Ok(State::Up(versions)) => Ok(versions.clone()),
            Ok(State::Down { error, .. }) => Err(error.clone()),
            Ok(State::Connecting) | Err(_) => Err(ended()),
        }
    }

    /// Sends a request in the newest version that both sides know, `least` or a later one, and returns the answer, if it
    /// comes until the deadline.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn call<R: Request>(
        &self,
        least: i16,
        request: impl Fn(i16) -> R,
        answer_max: usize,
        deadline: Instant,
    ) -> Result<R::Response, Failure> {
        let calling = async {
            let version = self.versions().await?.from::<R>(least)?;
            let frame = self
                .send(version, &request(version), &[], Some(answer_max), deadline)?
                .await
                .unwrap_or_else(|_| Err(Failure { sent: Sent::Maybe, error: ended() }))?;
            read_answer::<R>(&frame, version).map_err(|error| Failure { sent: Sent::Maybe, error })
        };
        calling.instrument(tracing::debug_span!("call", api = api_name::<R>())).await
    }

    /// Puts a request on its way; the frame of its answer comes back, or nothing where there is no `answer_max`: no answer
    /// is expected then. `records` are what its external records stand for, by their numbers.
    ///
    /// # Errors
    /// The version cannot express it, or the connection has ended.
    pub(crate) fn send<R: Request>(
        &self,
        version: i16,
        request: &R,
        records: &[[Bytes; 2]],
        answer_max: Option<usize>,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Bytes, Failure>>, Error> {
        let correlation_id = self.last_correlation_id.fetch_add(1, Ordering::Relaxed);
        let mut encoder = Encoder::new();
        encode_request(&mut encoder, correlation_id, Some(&self.client_id), version, request).map_err(
            |error| {
                let what = format!("{} version {version} cannot express what is asked for", api_name::<R>());
                Error::because(ErrorKind::UnsupportedVersion, what, error)
            },
        )?;
        let mut pieces = Vec::new();
        for piece in encoder.finish() {
            match piece {
                Piece::Bytes(bytes) => pieces.push(bytes),
                Piece::External { id, .. } => {
                    pieces.extend(records.get(id as usize).into_iter().flatten().cloned())
                }
            }
        }
        let (answer, answered) = oneshot::channel();
        let api = api_name::<R>();
        let job = Job { correlation_id, api, pieces, answer_max, deadline, answer };
        self.jobs.send(job).map_err(|_| match self.state() {
            State::Down { error, .. } => error,
            _ => ended(),
        })?;
        Ok(answered)
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the client was closed")
}

/// The task of a connection, before it can be used.
struct Driver {
    address: Address,
    broker: String,
    settings: ConnectionSettings,
    jobs: mpsc::UnboundedReceiver<Job>,
    tell: watch::Sender<State>,
}

impl Drop for Driver {
    /// Where the runtime ends, so does the connection, whatever it was at.
    fn drop(&mut self) {
        let was_up = match &*self.tell.borrow() {
            State::Down { .. } => return,
            State::Up(_) => true,
            State::Connecting => false,
        };
        self.tell.send_replace(State::Down { error: ended(), at: Instant::now(), was_up });
    }
}

impl Driver {
    async fn run(mut self) {
        let (error, was_up) = match self.connect().await {
            Ok((wire, versions)) => {
                self.tell.send_replace(State::Up(Arc::new(versions)));
                tracing::debug!(broker = %self.broker, "connected");
                (self.serve(wire).await, true)
            }
            Err(error) => (error, false),
        };
        self.tell.send_replace(State::Down { error: error.clone(), at: Instant::now(), was_up });
        // Whoever sends now is told by the state.
        self.jobs.close();
        while let Some(job) = self.jobs.recv().await {
            let _ = job.answer.send(Err(Failure { sent: Sent::No, error: error.clone() }));
        }
    }

    async fn connect(&self) -> Result<(Wire, Versions), Error> {
        let within = self.settings.connect_timeout;
        let connecting = async {
            let stream = self.address.connect(within).await?;
            let mut wire = Wire::new(stream, self.settings.client_id.clone());
            let versions = shake_hands(&mut wire, &self.broker).await?;
            Ok((wire, versions))
        };
        let late = |_| {
            let what = format!("{} did not answer within {within:?} of connecting", self.broker);
            Err(Error::new(ErrorKind::Retriable, what))
        };
        tokio::select! {
            connected = timeout(within, connecting) => connected.unwrap_or_else(late),
            // Nobody wants it any more.
            () = self.tell.closed() => Err(ended()),
        }
    }

    /// Serves requests until the connection ends, which nobody is to blame for where it was idle.
    async fn serve(&mut self, wire: Wire) -> Error {
        let (mut stream, received) = wire.into_parts();
        let mut exchange = Exchange { received, ..Exchange::default() };
        let error = match exchange.run(&mut stream, &mut self.jobs, &self.settings).await {
            End::Unused => {
                let what = format!("the connection to {} was closed, as nothing used it", self.broker);
                Error::new(ErrorKind::Retriable, what)
            }
            End::Failed(what, source) => {
                let what = format!("the connection to {} ended: {what}", self.broker);
                match source {
                    Some(source) => Error::because(ErrorKind::Retriable, what, source),
                    None => Error::new(ErrorKind::Retriable, what),
                }
            }
            End::Damaged(error) => {
                let what = format!("{} answered what makes no sense; the connection is closed", self.broker);
                Error::because(ErrorKind::DataCorruption, what, error)
            }
        };
        exchange.fail(&error);
        error
    }
}

/// How a connection that could be used ends.
enum End {
    Unused,
    Failed(String, Option<io::Error>),
    Damaged(Error),
}

/// Requests and answers under way.
#[derive(Default)]
struct Exchange {
    received: BytesMut,
    /// What is to be written, in order.
    waiting: VecDeque<Bytes>,
    /// Bytes that were ever to be written, and those that were.
    taken: u64,
    written: u64,
    /// Nobody sends any more.
    is_closed: bool,
    unanswered: VecDeque<Unanswered>,
    /// Requests that no answer comes to, until all of each was written: with the number of the byte behind it.
    one_way: VecDeque<(u64, Unanswered)>,
}

/// A request that was written, at least in part, or is about to be.
struct Unanswered {
    correlation_id: i32,
    api: &'static str,
    answer_max: usize,
    /// When the connection is given up for it.
    gives_up_at: Instant,
    /// Where its bytes begin among all that were taken.
    begins_at: u64,
    /// Whoever waits for it, and until when.
    asking: Option<(Instant, Answer)>,
}

impl Unanswered {
    /// Tells whoever waits, if somebody still does, that there is no answer, where so many bytes of all were written.
    fn fail(&mut self, written: u64, error: Error) {
        if let Some((_, answer)) = self.asking.take() {
            let sent = if written > self.begins_at { Sent::Maybe } else { Sent::No };
            // Who asked may have gone.
            let _ = answer.send(Err(Failure { sent, error }));
        }
    }
}

impl Exchange {
    async fn run(
        &mut self,
        stream: &mut TcpStream,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
        settings: &ConnectionSettings,
    ) -> End {
        let (mut reader, mut writer) = stream.split();
        let mut idle_since = Instant::now();
        while !self.is_closed || !self.unanswered.is_empty() || !self.one_way.is_empty() {
            let wake_at = self.next_deadline().unwrap_or(idle_since + settings.max_idle);
            self.make_room();
            tokio::select! {
                biased;
                read = reader.read_buf(&mut self.received) => match read {
                    Ok(0) => return End::Failed("the broker closed it".into(), None),
                    Ok(_) => match self.take_answers() {
                        Ok(()) => idle_since = Instant::now(),
                        Err(error) => return End::Damaged(error),
                    },
                    Err(error) => return End::Failed("reading failed".into(), Some(error)),
                },
                written = write(&mut writer, &self.waiting), if !self.waiting.is_empty() => match written {
                    Ok(bytes) => self.written(bytes),
                    Err(error) => return End::Failed("writing failed".into(), Some(error)),
                },
                job = jobs.recv(), if self.takes_more() => match job {
                    Some(job) => self.take(job, settings.request_timeout),
                    // What is under way comes to its end.
                    None => self.is_closed = true,
                },
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if self.one_way.front().is_some_and(|(_, first)| first.gives_up_at <= now) {
                        let what = format!("nothing was taken within {:?}", settings.request_timeout);
                        return End::Failed(what, None);
                    }
                    match self.unanswered.front() {
                        None if !self.one_way.is_empty() => {}
                        None if jobs.is_empty() => return End::Unused,
                        None => idle_since = now,
                        Some(first) if first.gives_up_at <= now => {
                            let what = format!("no answer to {} within {:?}", first.api, settings.request_timeout);
                            return End::Failed(what, None);
                        }
                        Some(_) => self.tell_the_late(now),
                    }
                },
            }
        }
        End::Unused
    }

    /// Makes room to read into. A large answer gets memory of its own and no more than it needs: what is kept of it, keeps
    /// nothing else.
    fn make_room(&mut self) {
        let max = self.unanswered.front().map_or(0, |first| first.answer_max);
        match announced(&self.received).filter(|bytes| *bytes <= max.saturating_add(LENGTH_BYTES)) {
            Some(bytes) if bytes > self.received.capacity() => {
                let mut larger = BytesMut::with_capacity(bytes);
                larger.extend_from_slice(&self.received);
                self.received = larger;
            }
            Some(bytes) if bytes > self.received.len() => {}
            _ => self.received.reserve(READ_BYTES),
        }
    }

    fn takes_more(&self) -> bool {
        !self.is_closed && self.taken - self.written < WAITING_BYTES_MAX
    }

    /// When somebody has waited for long enough.
    fn next_deadline(&self) -> Option<Instant> {
        let asking = self.unanswered.iter().filter_map(|request| Some(request.asking.as_ref()?.0));
        let first = self.unanswered.front().map(|first| first.gives_up_at);
        let first_one_way = self.one_way.front().map(|(_, first)| first.gives_up_at);
        asking.chain(first).chain(first_one_way).min()
    }

    /// Those whose time is over are told. Their answers may still come, and are dropped then.
    fn tell_the_late(&mut self, now: Instant) {
        let is_late = |request: &&mut Unanswered| request.asking.as_ref().is_some_and(|(at, _)| *at <= now);
        for request in self.unanswered.iter_mut().filter(is_late) {
            let what = format!("no answer to {} in time", request.api);
            request.fail(self.written, Error::new(ErrorKind::Timeout, what));
        }
    }

    fn take(&mut self, job: Job, request_timeout: Duration) {
        let Job { correlation_id, api, pieces, answer_max, deadline, answer } = job;
        let (begins_at, gives_up_at) = (self.taken, Instant::now() + request_timeout);
        let asking = Some((deadline, answer));
        self.taken += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let request = Unanswered {
            correlation_id,
            api,
            answer_max: answer_max.unwrap_or_default(),
            gives_up_at,
            begins_at,
            asking,
        };
        match answer_max {
            Some(_) => self.unanswered.push_back(request),
            None => self.one_way.push_back((self.taken, request)),
        }
        self.waiting.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
    }

    fn written(&mut self, mut bytes: usize) {
        self.written += bytes as u64;
        while self.one_way.front().is_some_and(|(ends_at, _)| *ends_at <= self.written) {
            let asking = self.one_way.pop_front().and_then(|(_, request)| request.asking);
            if let Some((_, answer)) = asking {
                let _ = answer.send(Ok(Bytes::new()));
            }
        }
        while let Some(first) = self.waiting.front_mut() {
            let done = bytes.min(first.len());
            first.advance(done);
            bytes -= done;
            if !first.is_empty() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Hands out the answers that have come.
    fn take_answers(&mut self) -> Result<(), Error> {
        loop {
            let max = self.unanswered.front().map_or(0, |first| first.answer_max);
            if self.unanswered.is_empty() && self.received.len() >= LENGTH_BYTES {
                return Err(Error::new(ErrorKind::DataCorruption, "an answer came that nobody asked for"));
            }
            let Some(frame) = take_frame(&mut self.received, max)? else { return Ok(()) };
            let Some(first) = self.unanswered.pop_front() else { return Ok(()) };
            match decode_correlation_id(&frame) {
                // Who asked may have gone.
                Ok(id) if id == first.correlation_id => {
                    if let Some((_, answer)) = first.asking {
                        let _ = answer.send(Ok(frame));
                    }
                }
                _ => {
                    let what = format!("the answer to {} has another request's number", first.api);
                    self.unanswered.push_front(first);
                    return Err(Error::new(ErrorKind::DataCorruption, what));
                }
            }
        }
    }

    /// No answer will come any more.
    fn fail(&mut self, error: &Error) {
        let one_way = self.one_way.drain(..).map(|(_, request)| request);
        for mut request in self.unanswered.drain(..).chain(one_way) {
            request.fail(self.written, error.clone());
        }
    }
}

/// Gives to the socket what it takes.
async fn write(writer: &mut WriteHalf<'_>, waiting: &VecDeque<Bytes>) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); PIECES_AT_ONCE];
    let count = waiting.len().min(PIECES_AT_ONCE);
    for (slice, piece) in slices.iter_mut().zip(waiting) {
        *slice = IoSlice::new(piece);
    }
    let written = writer.write_vectored(&slices[..count]).await?;
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_answer_gets_memory_of_its_own_once_it_is_announced() {
        let mut exchange = Exchange::default();
        let (answer, _answered) = oneshot::channel();
        let (now, answer_max) = (Instant::now(), 1 << 20);
        exchange.unanswered.push_back(Unanswered {
            correlation_id: 0,
            api: "Fetch",
            answer_max,
            gives_up_at: now,
            begins_at: 0,
            asking: Some((now, answer)),
        });
        exchange.make_room();
        let first = exchange.received.capacity();
        assert!((READ_BYTES..READ_BYTES * 2).contains(&first), "{first}");
        // What nobody asked for gets nothing.
        exchange.received.extend_from_slice(&(answer_max as i32 + 1).to_be_bytes());
        exchange.make_room();
        assert!(exchange.received.capacity() < READ_BYTES * 3);

        exchange.received.clear();
        exchange.received.extend_from_slice(&500_000_i32.to_be_bytes());
        exchange.make_room();
        assert_eq!(exchange.received.capacity(), LENGTH_BYTES + 500_000);
        assert_eq!(exchange.received[..], 500_000_i32.to_be_bytes());
        exchange.received.resize(LENGTH_BYTES + 500_000, 0);
        exchange.take_answers().unwrap();
        exchange.make_room();
        assert!(exchange.received.capacity() < READ_BYTES * 10, "{}", exchange.received.capacity());
    }
}
