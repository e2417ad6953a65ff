//! The reading side of a connection: from bytes to started requests.
//!
//! A connection that has nothing to read holds no buffer. A buffer grows with what has arrived, not with what
//! was announced; where memory is short, a frame that does not get on is given up.

use std::{io, rc::Rc};

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::{ApiKey, ELEMENT_BYTES_MIN, RequestFrame};
use ottla_storage::Storage;
use tokio::{
    io::AsyncReadExt,
    net::tcp::OwnedReadHalf,
    sync::mpsc,
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};

use super::{Ended, Limits, Pending};
use crate::{
    context::Context,
    dispatch::dispatch,
    memory::{Held, ReadSize},
    reply::{Reply, RequestError},
};

/// After so many bytes of requests, or so many requests, the thread's other tasks have their turn: answers do
/// not wait for all that a busy client has sent.
const TURN_BYTES: usize = 256 << 10;
/// See [`TURN_BYTES`].
const TURN_FRAMES: usize = 64;
/// What must have arrived of an unfinished frame each time that it is looked at while memory is short.
const PROGRESS_BYTES: usize = 64 << 10;
/// The frame that others wait for is looked at so much more often, and the same must have arrived.
const TURN_LOOKS: u32 = 10;

/// The requests of a connection.
pub(super) struct Requests<'a, S: Storage> {
    stream: OwnedReadHalf,
    context: Context<S>,
    limits: &'a Limits,
    buffer: BytesMut,
    /// The memory of `buffer`'s allocation, shared with the frames that were taken from it.
    held: Rc<Held>,
    read_size: ReadSize,
    /// How the frame that is being read gets on; looked at anew when it is `None`.
    progress: Option<Progress>,
}

/// What has arrived since when.
struct Progress {
    since: Instant,
    bytes: usize,
}

impl Progress {
    fn begin() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }
}

impl<'a, S: Storage> Requests<'a, S> {
    pub(super) fn new(stream: OwnedReadHalf, context: Context<S>, limits: &'a Limits) -> Self {
        Self {
            stream,
            context,
            limits,
            buffer: BytesMut::new(),
            held: Rc::default(),
            read_size: ReadSize::new(),
            progress: None,
        }
    }

    /// Reads and starts requests until the client has said all it wants to.
    pub(super) async fn read(mut self, answers: mpsc::Sender<Pending>) -> Result<(), Ended> {
        let mut turn = 0;
        loop {
            while let Some(frame) = self.next_frame()? {
                self.progress = None;
                turn += frame.len().max(TURN_BYTES / TURN_FRAMES);
                self.context.door.ready(frame.len()).await;
                let pending = self.start(&frame).await?;
                drop(frame);
                if let Some(pending) = pending
                    && answers.send(pending).await.is_err()
                {
                    return Ok(());
                }
                if turn >= TURN_BYTES {
                    turn = 0;
                    yield_now().await;
                }
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
                self.held = Rc::default();
            }
            self.wait().await?;
            self.make_room().await;
            let room = self.buffer.capacity() - self.buffer.len();
            let read = self.stream.read_buf(&mut self.buffer).await?;
            self.read_size.note(read, room);
            if let Some(progress) = &mut self.progress {
                progress.bytes += read;
            }
            if read == 0 {
                let whole = self.buffer.is_empty();
                return if whole {
                    Ok(())
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
    }

    /// Takes a whole frame, without its length, off the buffer.
    fn next_frame(&mut self) -> Result<Option<Bytes>, Ended> {
        let Some(announced) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < announced {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(announced);
        frame.advance(4);
        Ok(Some(frame.freeze()))
    }

    /// The length of the frame that begins the buffer, with its four bytes of length.
    fn announced(&self) -> Result<Option<usize>, Ended> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let most = self.limits.memory.frames.frame_bytes_max();
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= most => Ok(Some(4 + bytes)),
            _ if self.buffer.starts_with(b"GET ") || self.buffer.starts_with(b"POST") => {
                Err(Ended::Misbehaved("it speaks HTTP, and this port speaks the Kafka protocol".into()))
            }
            _ if self.buffer.starts_with(&[0x16, 3]) => {
                Err(Ended::Misbehaved("it speaks TLS, and this port does not".into()))
            }
            _ => {
                let what = format!(
                    "it announced a frame of {length} bytes, and {most} are allowed (socket.request.max.bytes)"
                );
                Err(Ended::Misbehaved(what))
            }
        }
    }

    /// Starts the request in a frame; `None` if it is not answered.
    async fn start(&self, frame: &Bytes) -> Result<Option<Pending>, Ended> {
        let memory = &self.limits.memory;
        let request = RequestFrame::decode(frame)
            .map_err(|error| Ended::Misbehaved(format!("a request that cannot be read: {error}")))?
            .with_element_limit(memory.elements_max);
        // What is large in memory and waits for its answer is counted. Batches of records do not wait.
        let mut elements = Held::default();
        if request.element_bytes_max() > ELEMENT_BYTES_MIN && request.header.api_key != ApiKey::PRODUCE {
            memory.frames.grow(&mut elements, request.element_bytes_max()).await;
        }
        let reply = dispatch(&self.context, &request)
            .map_err(|error: RequestError| Ended::Misbehaved(error.to_string()))?;
        elements.shrink(request.element_bytes());
        let holds = || Some((self.held.clone(), elements));
        Ok(match reply {
            Reply::Nothing => None,
            Reply::Now(frame) => {
                Some(Pending { answer: Box::pin(std::future::ready(Ok(frame))), _request: None })
            }
            Reply::Appended(answer) => Some(Pending { answer, _request: None }),
            Reply::Later(answer) => Some(Pending { answer, _request: holds() }),
        })
    }

    /// Waits until there is something to read.
    async fn wait(&mut self) -> Result<(), Ended> {
        if self.buffer.is_empty() {
            self.progress = None;
            let readable = self.stream.readable();
            return match self.limits.idle {
                Some(idle) => timeout(idle, readable).await.map_err(|_| Ended::Idle)?,
                None => readable.await,
            }
            .map_err(Ended::Io);
        }
        let begun = Instant::now();
        loop {
            let stalled = self.limits.patience.stalled;
            let stalled = if self.held.has_turn() { stalled / TURN_LOOKS } else { stalled };
            let progress = self.progress.get_or_insert_with(Progress::begin);
            let look = progress.since + stalled;
            let check_at = self.limits.idle.map_or(look, |idle| look.min(begun + idle));
            if let Ok(readable) = timeout_at(check_at, self.stream.readable()).await
                && Instant::now() < check_at
            {
                return readable.map_err(Ended::Io);
            }
            if self.limits.idle.is_some_and(|idle| begun.elapsed() >= idle) {
                return Err(Ended::Idle);
            }
            if self.limits.memory.frames.is_short() && progress.bytes < PROGRESS_BYTES {
                let bytes = progress.bytes;
                let what = format!("memory is short, and {bytes} bytes of its frame came in {stalled:?}");
                return Err(Ended::Misbehaved(what));
            }
            self.progress = None;
        }
    }

    /// Makes room to read more: four times as much as has arrived of a frame, and no more than the frame.
    async fn make_room(&mut self) {
        let have = self.buffer.len();
        let whole = self.announced().ok().flatten().unwrap_or(0);
        let wanted = whole.min(have * 4).max(have + 1).max(self.read_size.get());
        let room = self.buffer.capacity();
        if room > have && room >= wanted.min(whole.max(have + self.read_size.get() / 4)) {
            return;
        }
        let frames = &self.limits.memory.frames;
        let waited = match Rc::get_mut(&mut self.held) {
            // No frame was taken from this allocation: it begins with the one that is being read.
            Some(held) if have > 0 => {
                let waited = frames.grow(held, wanted).await;
                self.buffer.reserve(wanted - have);
                waited
            }
            _ => {
                let mut held = Held::default();
                let waited = frames.grow(&mut held, wanted).await;
                let mut buffer = BytesMut::with_capacity(wanted);
                buffer.extend_from_slice(&self.buffer);
                (self.buffer, self.held) = (buffer, Rc::new(held));
                waited
            }
        };
        if waited {
            // That was not the client's fault.
            self.progress = None;
        }
    }
}
