//! The load: one thread, epoll, prepared frames, nothing allocated per request.
//!
//! Each connection keeps a fixed number of requests in flight. A request's head is patched in its own slot, long
//! record batches are shared by all, and whatever is ready goes out in one `writev`. Every answer is checked; the
//! first wrong one ends the run with an error, so a rate always means that all of it succeeded.
//!
//! Latency runs from just before the write that sends a request's first byte to just after the read that brings
//! its answer's last one.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    failure::{Doing, Failure, Result},
    frames::Template,
};

/// The most requests that one connection may have in flight.
pub const IN_FLIGHT_MAX: usize = 8;
/// Longer answers than this are a fault of the broker, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// A run in which nothing is answered for this long has failed.
const STALL: Duration = Duration::from_secs(60);
const SCRATCH: usize = 256 << 10;

/// What to send and how to judge the answers.
pub trait Work {
    /// The frame of all requests of a connection, the same whenever it is asked for.
    fn template(&self, connection: usize) -> &Template;

    /// Patches the head of request number `sequence` of a connection; false when it has no more to send.
    fn prepare(&mut self, connection: usize, sequence: u64, head: &mut [u8]) -> bool;

    /// Checks an answer, of which `seen` holds the first [`Work::seen_len`] bytes, and returns how many bytes
    /// of record batches the request moved.
    fn check(&mut self, connection: usize, sequence: u64, seen: &[u8]) -> std::result::Result<u64, String>;

    /// How many bytes of an answer, its length field included, [`Work::check`] wants to see.
    fn seen_len(&self) -> usize {
        256
    }
}

/// When a run ends, apart from there being no more work.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this long.
    Elapsed(Duration),
    /// When every request that the work has is answered.
    Done,
}

/// What a run has counted.
pub struct Outcome {
    /// From the first request to the end.
    pub elapsed: Duration,
    /// Requests answered, without error.
    pub requests: u64,
    /// Bytes of record batches in them.
    pub bytes: u64,
    /// Latency in nanoseconds.
    pub latency: Histogram<u64>,
    /// Requests answered in each second since the start.
    pub per_second: Vec<u64>,
}

/// Connections to one broker and the work they do.
pub struct Generator<'a, W> {
    work: W,
    connections: Vec<Connection>,
    in_flight: usize,
    epoll: OwnedFd,
    scratch: Vec<u8>,
    interrupted: &'a AtomicBool,
}

impl<'a, W: Work> Generator<'a, W> {
    /// Opens `connections`, each of which will keep `in_flight` requests under way (1 to [`IN_FLIGHT_MAX`]).
    pub fn connect(
        addr: SocketAddr,
        connections: usize,
        in_flight: usize,
        work: W,
        interrupted: &'a AtomicBool,
    ) -> Result<Generator<'a, W>> {
        assert!((1..=IN_FLIGHT_MAX).contains(&in_flight), "{in_flight} requests in flight");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("create an epoll")?;
        let connections = (0..connections)
            .map(|index| Connection::open(addr, index, in_flight, &work, &epoll))
            .collect::<io::Result<Vec<_>>>()
            .doing(format_args!("connect to {addr}"))?;
        Ok(Generator { work, connections, in_flight, epoll, scratch: vec![0; SCRATCH], interrupted })
    }

    /// Sends and counts until the end; requests may still be under way when it returns.
    pub fn run(&mut self, until: Until) -> Result<Outcome> {
        let started = Instant::now();
        let end = match until {
            Until::Elapsed(time) => Some(started + time),
            Until::Done => None,
        };
        let mut count = Count {
            started,
            requests: 0,
            bytes: 0,
            latency: latencies(),
            per_second: vec![0; 1 + end.map_or(600, |end| (end - started).as_secs() as usize)],
        };
        for index in 0..self.connections.len() {
            self.send(index, true)?;
        }
        self.turn(end, true, &mut count)?;
        let elapsed = started.elapsed();
        let Count { requests, bytes, latency, per_second, .. } = count;
        Ok(Outcome { elapsed, requests, bytes, latency, per_second })
    }

    /// Waits for the answers that are still missing, uncounted but checked.
    pub fn drain(&mut self) -> Result<()> {
        let mut uncounted = Count {
            started: Instant::now(),
            requests: 0,
            bytes: 0,
            latency: latencies(),
            per_second: vec![0],
        };
        self.turn(None, false, &mut uncounted)
    }

    /// How many requests of a connection were answered so far.
    pub fn answered(&self, connection: usize) -> u64 {
        self.connections[connection].answered
    }

    /// Handles readiness until `end`, or until nothing is under way.
    fn turn(&mut self, end: Option<Instant>, send: bool, count: &mut Count) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.connections.len());
        let mut last_answer = Instant::now();
        let mut now = last_answer;
        while self.connections.iter().any(Connection::busy) {
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            events.clear();
            let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&slice)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).doing("wait for sockets"),
            }
            now = Instant::now();
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            for event in &events {
                let (index, flags) = (event.data.u64() as usize, event.flags);
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    now = self.receive(index, count)?;
                    last_answer = now;
                }
                self.send(index, send)?;
            }
            if now.duration_since(last_answer) > STALL {
                return Err(format!("the broker answered nothing for {} s", STALL.as_secs()).into());
            }
        }
        Ok(())
    }

    /// Reads once, and checks and counts the answers that are now whole.
    fn receive(&mut self, index: usize, count: &mut Count) -> Result<Instant> {
        let connection = &mut self.connections[index];
        let read = match connection.stream.read(&mut self.scratch) {
            Ok(0) => return Err("the broker closed a connection".to_owned().into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Instant::now()),
            Err(error) => return Err(error).doing("read an answer"),
        };
        let now = Instant::now();
        let mut rest = &self.scratch[..read];
        while let Some(sequence) = connection.take(&mut rest)? {
            let seen = connection.answer.seen();
            let bytes = self.work.check(index, sequence, seen)?;
            connection.answer.have = 0;
            count.add(now, connection.sent_at[sequence as usize % self.in_flight], bytes);
        }
        Ok(now)
    }

    /// Fills the free slots, if more is to be sent, and writes what the socket takes.
    fn send(&mut self, index: usize, more: bool) -> Result<()> {
        let connection = &mut self.connections[index];
        if more && !connection.exhausted {
            connection.fill(index, self.in_flight, &mut self.work);
        }
        if connection.written < connection.queued {
            let tail = &self.work.template(index).tail;
            connection.write(self.in_flight, tail).doing("send a request")?;
        }
        connection.watch(index, &self.epoll).doing("watch a socket")
    }
}

/// An empty histogram of nanoseconds: from a microsecond to five minutes, to three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 300_000_000_000, 3).expect("valid bounds")
}

struct Count {
    started: Instant,
    requests: u64,
    bytes: u64,
    latency: Histogram<u64>,
    per_second: Vec<u64>,
}

impl Count {
    fn add(&mut self, now: Instant, sent_at: Instant, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
        self.latency.saturating_record(now.duration_since(sent_at).as_nanos() as u64);
        let second = now.duration_since(self.started).as_secs() as usize;
        if let Some(slot) = self.per_second.get_mut(second) {
            *slot += 1;
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// One copy of its template's head for each slot, side by side.
    heads: Vec<u8>,
    head_len: usize,
    sent_at: [Instant; IN_FLIGHT_MAX],
    /// Requests prepared, wholly written and answered so far; they are numbered from 0 and live in the slot
    /// of their number modulo the requests in flight.
    queued: u64,
    written: u64,
    answered: u64,
    /// Bytes of request number `written` that are already out.
    written_part: usize,
    exhausted: bool,
    watches_write: bool,
    answer: Answer,
}

/// The answer that is coming in.
struct Answer {
    bytes: Vec<u8>,
    have: usize,
}

impl Answer {
    /// The length of the whole frame, once its first four bytes are here.
    fn length(&self) -> Option<usize> {
        let field = self.bytes[..4].try_into().expect("four bytes");
        (self.have >= 4).then(|| (u32::from_be_bytes(field) as usize).saturating_add(4))
    }

    fn seen(&self) -> &[u8] {
        &self.bytes[..self.have.min(self.bytes.len())]
    }
}

impl Connection {
    fn open(
        addr: SocketAddr,
        index: usize,
        in_flight: usize,
        work: &impl Work,
        poll: &OwnedFd,
    ) -> io::Result<Connection> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(poll, &stream, data, epoll::EventFlags::IN)?;
        let head = &work.template(index).head;
        Ok(Connection {
            stream,
            heads: head.repeat(in_flight),
            head_len: head.len(),
            sent_at: [Instant::now(); IN_FLIGHT_MAX],
            queued: 0,
            written: 0,
            answered: 0,
            written_part: 0,
            exhausted: false,
            watches_write: false,
            answer: Answer { bytes: vec![0; work.seen_len().max(16)], have: 0 },
        })
    }

    fn busy(&self) -> bool {
        self.answered < self.queued
    }

    fn fill(&mut self, index: usize, in_flight: usize, work: &mut impl Work) {
        if self.queued - self.answered >= in_flight as u64 {
            return;
        }
        let now = Instant::now();
        while self.queued - self.answered < in_flight as u64 {
            let slot = self.queued as usize % in_flight;
            let head = &mut self.heads[slot * self.head_len..(slot + 1) * self.head_len];
            if !work.prepare(index, self.queued, head) {
                self.exhausted = true;
                return;
            }
            self.sent_at[slot] = now;
            self.queued += 1;
        }
    }

    /// Writes queued requests, several at a time, until the socket takes no more.
    fn write(&mut self, in_flight: usize, tail: &[u8]) -> io::Result<()> {
        let frame_len = self.head_len + tail.len();
        while self.written < self.queued {
            let mut slices = [IoSlice::new(&[]); 2 * IN_FLIGHT_MAX];
            let mut used = 0;
            for number in self.written..self.queued {
                let slot = number as usize % in_flight;
                let head = &self.heads[slot * self.head_len..(slot + 1) * self.head_len];
                let done = if number == self.written { self.written_part } else { 0 };
                for part in [&head[done.min(self.head_len)..], &tail[done.saturating_sub(self.head_len)..]] {
                    if !part.is_empty() {
                        slices[used] = IoSlice::new(part);
                        used += 1;
                    }
                }
            }
            match self.stream.write_vectored(&slices[..used]) {
                Ok(sent) => {
                    let position = self.written_part + sent;
                    self.written += (position / frame_len) as u64;
                    self.written_part = position % frame_len;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Wants to know of room to write exactly while something waits for it.
    fn watch(&mut self, index: usize, poll: &OwnedFd) -> io::Result<()> {
        let wants = self.written < self.queued;
        if wants != self.watches_write {
            let data = epoll::EventData::new_u64(index as u64);
            let write = if wants { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            epoll::modify(poll, &self.stream, data, epoll::EventFlags::IN | write)?;
            self.watches_write = wants;
        }
        Ok(())
    }

    /// Moves bytes into the current answer; the number of its request when it became whole.
    fn take(&mut self, rest: &mut &[u8]) -> Result<Option<u64>> {
        let answer = &mut self.answer;
        while !rest.is_empty() {
            let end = answer.length().unwrap_or(4);
            let step = rest.len().min(end - answer.have);
            let from = answer.have.min(answer.bytes.len());
            let kept = step.min(answer.bytes.len() - from);
            answer.bytes[from..from + kept].copy_from_slice(&rest[..kept]);
            answer.have += step;
            *rest = &rest[step..];
            let Some(length) = answer.length() else { continue };
            if !(8..=ANSWER_MAX).contains(&length) {
                return Err(format!("the broker announced an answer of {length} bytes").into());
            }
            if answer.have == length {
                return self.answered_one().map(Some);
            }
        }
        Ok(None)
    }

    fn answered_one(&mut self) -> Result<u64> {
        let sequence = self.answered;
        let field = self.answer.bytes[4..8].try_into().expect("four bytes");
        let correlation_id = i32::from_be_bytes(field);
        if correlation_id != sequence as i32 || sequence >= self.written {
            return Err(
                format!("an answer with correlation id {correlation_id} where {sequence} is due").into()
            );
        }
        self.answered += 1;
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::{
        frames::{Batch, produce},
        rows::produce::{Spread, Writes},
    };

    /// A broker of one connection that answers each Produce frame, whose bytes it returns at the end; answer
    /// number `bad.0` carries the error code `bad.1`.
    fn fake(listener: TcpListener, bad: (u32, i16)) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            for number in 0.. {
                let mut length = [0; 4];
                if stream.read_exact(&mut length).is_err() {
                    break;
                }
                let mut frame = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut frame).unwrap();
                let mut body = frame[4..8].to_vec();
                body.extend([0, 2, 2, b't', 2]);
                let at = frame.windows(4).position(|window| window == [2, 2, b't', 2]).unwrap() + 4;
                body.extend(&frame[at..at + 4]);
                body.extend(if number == bad.0 { bad.1 } else { 0 }.to_be_bytes());
                body.extend([0; 24]);
                body.extend([1, 0, 0, 0, 0, 0, 0, 0, 0]);
                stream.write_all(&(body.len() as u32).to_be_bytes()).unwrap();
                // In two pieces, so that answers are put together from parts.
                let (one, two) = body.split_at(3);
                stream.write_all(one).unwrap();
                stream.write_all(two).unwrap();
                received.extend(frame);
            }
            received
        })
    }

    fn check(batch: &Batch, requests: u64, bad: (u32, i16)) -> (Result<Outcome>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = fake(listener, bad);
        let interrupted = AtomicBool::new(false);
        let work = Writes::new(produce("t", batch), 3, 1, Spread::Own { requests });
        let mut generator = Generator::connect(addr, 1, 5, work, &interrupted).unwrap();
        let outcome = generator.run(Until::Done);
        drop(generator);
        (outcome, broker.join().unwrap())
    }

    #[test]
    fn every_frame_arrives_whole_and_is_counted_once() {
        for batch in [Batch::single(100, 0), Batch::filled(16_384, 100, 0), Batch::filled(1_000_000, 1024, 0)]
        {
            let (outcome, received) = check(&batch, 33, (u32::MAX, 0));
            let outcome = outcome.unwrap();
            assert_eq!((outcome.requests, outcome.bytes), (33, 33 * batch.bytes.len() as u64));
            assert_eq!(outcome.latency.len(), 33);
            assert_eq!(outcome.per_second.iter().sum::<u64>(), 33);
            let frame = received.len() / 33;
            for number in 0..33 {
                let bytes = &received[number * frame..(number + 1) * frame];
                assert_eq!(bytes[4..8], (number as i32).to_be_bytes());
                assert_eq!(&bytes[frame - 3 - batch.bytes.len()..frame - 3], batch.bytes);
            }
        }
    }

    #[test]
    fn one_error_code_fails_the_run() {
        let (outcome, _) = check(&Batch::single(100, 0), 33, (20, 56));
        let message = outcome.err().unwrap().to_string();
        assert!(message.contains("KAFKA_STORAGE_ERROR"), "{message}");
    }

    #[test]
    fn a_closed_connection_fails_the_run() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let interrupted = AtomicBool::new(false);
        let work = Writes::new(produce("t", &Batch::single(100, 0)), 1, 1, Spread::Rotating);
        let mut generator = Generator::connect(addr, 1, 1, work, &interrupted).unwrap();
        drop(listener.accept().unwrap());
        let message = generator.run(Until::Elapsed(Duration::from_secs(60))).err().unwrap().to_string();
        assert!(message.contains("closed") || message.contains("reset"), "{message}");
    }
}
