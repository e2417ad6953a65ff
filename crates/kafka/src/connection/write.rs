//! The writing side of a connection: waits for each answer in turn, and writes what is ready.
//!
//! A client that does not read costs little memory: records that were not written within a second are let
//! go, and are read again, in small pieces, when the client goes on.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes};
use ottla_storage::FileRange;
use rustix::io::Errno;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
    time::timeout,
};

use super::{Ended, Limits, Pending};
use crate::reply::{Frame, Part};

/// Answers are gathered up to this size before they are written.
const GATHER_BYTES: usize = 256 << 10;
/// Buffers of one vectored write.
const SLICES_MAX: usize = 256;
/// How much of what was let go is read at a time.
const REREAD_BYTES: usize = 256 << 10;
/// Answers of more bytes, beside records, count against the memory of responses.
const SMALL_ANSWER: usize = 16 << 10;

/// The answers of a connection.
pub(super) struct Answers<'a> {
    stream: OwnedWriteHalf,
    limits: &'a Limits,
    /// What is to be written next.
    ready: Frame,
    bytes: usize,
}

impl<'a> Answers<'a> {
    pub(super) fn new(stream: OwnedWriteHalf, limits: &'a Limits) -> Self {
        Self { stream, limits, ready: Vec::new(), bytes: 0 }
    }

    /// Writes the answers to all requests that come.
    pub(super) async fn write(mut self, mut requests: mpsc::Receiver<Pending>) -> Result<(), Ended> {
        loop {
            let next = match requests.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    self.flush().await?;
                    requests.recv().await
                }
            };
            let Some(mut next) = next else { return Ok(()) };
            let answered = poll_fn(|context| match next.answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => Poll::Ready(None),
            });
            let answer = match answered.await {
                Some(answer) => answer,
                None => {
                    // It is not there yet: what is, goes now.
                    self.flush().await?;
                    next.answer.await
                }
            };
            let frame = answer
                .map_err(|error| Ended::Misbehaved(format!("a response cannot be written: {error}")))?;
            self.add(frame).await?;
        }
    }

    async fn add(&mut self, frame: Frame) -> Result<(), Ended> {
        let own = frame.iter().map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 });
        let own: usize = own.sum();
        self.bytes += frame.iter().map(Part::len).sum::<usize>();
        self.ready.extend(frame);
        if own > SMALL_ANSWER {
            let _counted = self.limits.memory.responses.reserve(own).await;
            return self.flush().await;
        }
        if self.bytes >= GATHER_BYTES || self.ready.len() >= SLICES_MAX { self.flush().await } else { Ok(()) }
    }

    /// Writes everything that is ready.
    async fn flush(&mut self) -> Result<(), Ended> {
        self.bytes = 0;
        let mut parts = std::mem::take(&mut self.ready);
        let mut next = 0;
        while next < parts.len() {
            next += match &parts[next] {
                Part::Bytes(_) | Part::Records { .. } => self.write_memory(&mut parts[next..]).await?,
                Part::File(range) => self.send_file(range).await?,
                Part::Reread { origin, len } => {
                    let (origin, len) = (origin.clone(), *len);
                    let mut written = 0;
                    while written < len {
                        self.writable().await?;
                        let some = REREAD_BYTES.min(len - written);
                        let _counted = self.limits.memory.responses.reserve(some).await;
                        let bytes = origin.read(written, some).await.map_err(gone)?;
                        written += self.write_some(bytes).await?;
                    }
                    1
                }
            };
        }
        parts.clear();
        // The memory of the list is used again.
        self.ready = parts;
        Ok(())
    }

    /// Writes parts that are in memory, and returns how many. Those that were not written soon enough are let
    /// go, and are left to be read again.
    async fn write_memory(&mut self, parts: &mut [Part]) -> Result<usize, Ended> {
        let (mut done, mut stalled) = (0, Duration::ZERO);
        loop {
            while parts.get(done).is_some_and(|part| part.in_memory().is_some_and(Bytes::is_empty)) {
                done += 1;
            }
            let slices: Vec<IoSlice<'_>> = parts[done..]
                .iter()
                .map_while(Part::in_memory)
                .take(SLICES_MAX)
                .map(|bytes| IoSlice::new(bytes))
                .collect();
            if slices.is_empty() {
                return Ok(done);
            }
            let Ok(written) =
                timeout(self.limits.patience.records, self.stream.write_vectored(&slices)).await
            else {
                parts.iter_mut().for_each(Part::forget);
                stalled += self.limits.patience.records;
                self.check_stall(stalled)?;
                continue;
            };
            stalled = Duration::ZERO;
            let mut written = written?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            while written > 0 {
                let len = parts[done].len().min(written);
                parts[done].advance(len);
                written -= len;
                if parts[done].len() == 0 {
                    done += 1;
                }
            }
        }
    }

    /// Writes as much of `bytes` as the client takes within a second.
    async fn write_some(&mut self, mut bytes: Bytes) -> Result<usize, Ended> {
        let len = bytes.len();
        while !bytes.is_empty() {
            match timeout(self.limits.patience.records, self.stream.write(&bytes)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => bytes.advance(written?),
                Err(_) => break,
            }
        }
        Ok(len - bytes.len())
    }

    /// A client that takes nothing of an answer for so long may have to go.
    fn check_stall(&self, stalled: Duration) -> Result<(), Ended> {
        if self.limits.idle.is_some_and(|idle| stalled >= idle) {
            return Err(Ended::Idle);
        }
        if stalled >= self.limits.patience.stalled && self.limits.memory.responses.free() < SMALL_ANSWER {
            let what = format!("memory is short, and it took nothing of its answer for {stalled:?}");
            return Err(Ended::Misbehaved(what));
        }
        Ok(())
    }

    /// Waits until the client takes more.
    async fn writable(&self) -> Result<(), Ended> {
        match self.limits.idle {
            Some(idle) => timeout(idle, self.stream.writable()).await.map_err(|_| Ended::Idle)??,
            None => self.stream.writable().await?,
        }
        Ok(())
    }

    /// Sends a range of a file, and returns that it was one part.
    async fn send_file(&self, range: &FileRange) -> Result<usize, Ended> {
        let stream: &TcpStream = self.stream.as_ref();
        let file = range.file.as_fd().ok_or(io::Error::from(io::ErrorKind::Unsupported))?;
        let (mut at, mut left) = (range.at, range.len as usize);
        while left > 0 {
            let sending = stream.async_io(Interest::WRITABLE, || {
                match rustix::fs::sendfile(stream, file, Some(&mut at), left) {
                    Ok(sent) => Ok(sent),
                    Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(io::Error::from(error)),
                }
            });
            let sent = match self.limits.idle {
                Some(idle) => timeout(idle, sending).await.map_err(|_| Ended::Idle)??,
                None => sending.await?,
            };
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left -= sent;
        }
        Ok(1)
    }
}

/// Records that were promised to the client cannot be read any more: the answer can only be broken off.
fn gone(error: ottla_storage::ReadError) -> Ended {
    Ended::Io(io::Error::other(format!("the records of a slow client's answer are gone: {error}")))
}
