//! A connection: reads frames, starts requests in the order in which they come, and writes answers in the same
//! order.
//!
//! Two tasks of one thread: the reader decodes and dispatches; the writer waits for each answer in turn and
//! gathers those that are ready into one write. Between them is a bounded queue: a client that does not read
//! its answers is not read from. Appends are started when they are read; other requests when their turn comes.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::{EncodeError, RequestFrame};
use ottla_storage::{Budget, FileRange, Reservation, Storage};
use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};

use crate::{
    context::Context,
    dispatch::{RequestError, dispatch},
    reply::{Frame, Part, Reply},
};

/// Requests of a connection that may wait for their answers.
const PENDING_MAX: usize = 64;
/// What is read at a time while nothing is known of the frame.
const READ_BYTES: usize = 16 << 10;
/// Answers are gathered up to this size before they are written.
const GATHER_BYTES: usize = 256 << 10;
/// Buffers of one vectored write.
const GATHER_PARTS: usize = 64;

/// The limits of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The largest request frame in bytes.
    pub(crate) request_bytes_max: usize,
    /// How long it may be silent.
    pub(crate) idle: Option<Duration>,
    /// What its buffers are taken from.
    pub(crate) budget: Budget,
}

type Pending = Pin<Box<dyn Future<Output = Result<Frame, EncodeError>>>>;

/// Serves a connection until it ends.
pub(crate) async fn serve<S: Storage>(stream: TcpStream, context: Context<S>, limits: Limits) {
    let peer = context.peer;
    let (reader, writer) = stream.into_split();
    let (answers, pending) = mpsc::channel(PENDING_MAX);
    let reading = read_requests(reader, context, limits, answers);
    let writing = write_answers(writer, pending);
    tokio::pin!(reading, writing);
    let ended = tokio::select! {
        ended = &mut reading => match ended {
            // What was asked before the client said goodbye is still answered.
            Ok(()) => writing.await.map_err(Ended::Io),
            Err(ended) => Err(ended),
        },
        ended = &mut writing => ended.map_err(Ended::Io),
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Io(error)) => tracing::debug!(%peer, "connection ended: {error}"),
        Err(Ended::Idle) => tracing::debug!(%peer, "connection closed after being idle"),
        Err(Ended::Misbehaved(what)) => tracing::warn!(%peer, "connection closed: {what}"),
    }
}

/// Why a connection ended.
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

async fn read_requests<S: Storage>(
    mut reader: OwnedReadHalf,
    context: Context<S>,
    limits: Limits,
    answers: mpsc::Sender<Pending>,
) -> Result<(), Ended> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut reserved: Option<Reservation> = None;
    loop {
        while let Some(frame) = next_frame(&mut buffer, &limits)? {
            context.door.ready(frame.len()).await;
            let request = RequestFrame::decode(&frame)
                .map_err(|error| Ended::Misbehaved(format!("a request that cannot be read: {error}")))?;
            drop(frame);
            let reply = dispatch(&context, &request)
                .map_err(|error: RequestError| Ended::Misbehaved(error.to_string()))?;
            drop(request);
            let pending: Pending = match reply {
                Reply::Nothing => continue,
                Reply::Now(frame) => Box::pin(std::future::ready(Ok(frame))),
                Reply::Later(pending) => pending,
            };
            if answers.send(pending).await.is_err() {
                return Ok(());
            }
        }
        make_room(&mut buffer, &mut reserved, &limits).await?;
        let read = reader.read_buf(&mut buffer);
        let read = match limits.idle {
            Some(idle) => timeout(idle, read).await.map_err(|_| Ended::Idle)??,
            None => read.await?,
        };
        if read == 0 {
            return if buffer.is_empty() {
                Ok(())
            } else {
                Err(Ended::Io(io::ErrorKind::UnexpectedEof.into()))
            };
        }
    }
}

/// Takes a whole frame, without its length, off the buffer.
fn next_frame(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Bytes>, Ended> {
    let Some(announced) = buffer.first_chunk::<4>() else { return Ok(None) };
    let announced = i32::from_be_bytes(*announced);
    let len = match usize::try_from(announced) {
        Ok(len) if len <= limits.request_bytes_max => len,
        _ => {
            let most = limits.request_bytes_max;
            let what = format!("it announced a frame of {announced} bytes, and {most} are allowed");
            return Err(Ended::Misbehaved(what));
        }
    };
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// Makes room to read more: the buffer grows with what has arrived, not with what was announced.
async fn make_room(
    buffer: &mut BytesMut,
    reserved: &mut Option<Reservation>,
    limits: &Limits,
) -> Result<(), Ended> {
    let missing = match buffer.first_chunk::<4>() {
        Some(announced) => {
            let whole = 4 + usize::try_from(i32::from_be_bytes(*announced)).unwrap_or(0);
            whole.saturating_sub(buffer.len()).min(buffer.len().max(READ_BYTES))
        }
        None => READ_BYTES,
    };
    if buffer.capacity() - buffer.len() >= missing.min(READ_BYTES / 4) {
        return Ok(());
    }
    *reserved = None;
    let wanted = buffer.len() + missing.max(READ_BYTES);
    match limits.budget.reserve(wanted).await {
        Some(reservation) => *reserved = Some(reservation),
        None => return Err(Ended::Misbehaved("its frame is larger than the memory budget".into())),
    }
    buffer.reserve(missing.max(READ_BYTES));
    Ok(())
}

async fn write_answers(mut writer: OwnedWriteHalf, mut pending: mpsc::Receiver<Pending>) -> io::Result<()> {
    let mut ready: Vec<Part> = Vec::new();
    let mut bytes = 0;
    loop {
        let next = match pending.try_recv() {
            Ok(next) => Some(next),
            Err(_) => {
                write_all(&mut writer, &mut ready).await?;
                bytes = 0;
                pending.recv().await
            }
        };
        let Some(mut next) = next else { return Ok(()) };
        let answered = poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        });
        let answer = match answered.await {
            Some(answer) => answer,
            None => {
                // It is not there yet: what is, goes now.
                write_all(&mut writer, &mut ready).await?;
                bytes = 0;
                next.await
            }
        };
        let frame =
            answer.map_err(|error| io::Error::other(format!("a response cannot be written: {error}")))?;
        bytes += frame.iter().map(part_len).sum::<usize>();
        ready.extend(frame);
        if bytes >= GATHER_BYTES || ready.len() >= GATHER_PARTS {
            write_all(&mut writer, &mut ready).await?;
            bytes = 0;
        }
    }
}

fn part_len(part: &Part) -> usize {
    match part {
        Part::Bytes(bytes) => bytes.len(),
        Part::File(range) => range.len as usize,
    }
}

async fn write_all(writer: &mut OwnedWriteHalf, parts: &mut Vec<Part>) -> io::Result<()> {
    let mut waiting: Vec<Bytes> = Vec::with_capacity(parts.len());
    for part in parts.drain(..) {
        match part {
            Part::Bytes(bytes) => waiting.push(bytes),
            Part::File(range) => {
                write_bytes(writer, &mut waiting).await?;
                send_file(writer, &range).await?;
            }
        }
    }
    write_bytes(writer, &mut waiting).await
}

async fn write_bytes(writer: &mut OwnedWriteHalf, waiting: &mut Vec<Bytes>) -> io::Result<()> {
    waiting.retain(|bytes| !bytes.is_empty());
    let mut first = 0;
    while first < waiting.len() {
        let slices: Vec<IoSlice<'_>> =
            waiting[first..].iter().take(GATHER_PARTS).map(|bytes| IoSlice::new(bytes)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let taken = written.min(waiting[first].len());
            waiting[first].advance(taken);
            written -= taken;
            if waiting[first].is_empty() {
                first += 1;
            }
        }
    }
    waiting.clear();
    Ok(())
}

async fn send_file(writer: &OwnedWriteHalf, range: &FileRange) -> io::Result<()> {
    let stream: &TcpStream = writer.as_ref();
    let file = range.file.as_fd().ok_or(io::ErrorKind::Unsupported)?;
    let (mut at, mut left) = (range.at, range.len as usize);
    while left > 0 {
        let sent = stream
            .async_io(Interest::WRITABLE, || match rustix::fs::sendfile(stream, file, Some(&mut at), left) {
                Ok(sent) => Ok(sent),
                Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => Err(error.into()),
            })
            .await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= sent;
    }
    Ok(())
}
