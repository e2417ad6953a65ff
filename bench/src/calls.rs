//! Whole frames of any kind over many connections: what members of groups send and wait for.
//!
//! The load of the other rows is in `generator.rs`, whose requests are all alike and have fixed slots. Here each
//! request is a frame of its own, copied into its connection's buffer, and each answer is handed out whole. Answers
//! come in the order of their connection's requests, which is checked by correlation id. One thread, epoll.
//!
//! A row that waits for ever is the row's fault: this module has no deadlines.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    failure::{Doing, Failure, Result},
    frames,
};

/// Longer answers than this are a fault of the broker, in bytes.
const ANSWER_MAX: usize = 64 << 20;
const SCRATCH: usize = 256 << 10;
/// How often Ctrl-C is looked for.
const SLICE: Duration = Duration::from_millis(50);

/// Connections to one broker.
pub struct Calls<'a> {
    connections: Vec<Connection>,
    epoll: OwnedFd,
    scratch: Vec<u8>,
    events: Vec<epoll::Event>,
    interrupted: &'a AtomicBool,
}

/// An answer and the request that it belongs to.
#[derive(Debug)]
pub struct Answer {
    /// What [`Calls::send`] was given.
    pub tag: usize,
    /// When the request was sent.
    pub sent: Instant,
    /// When the answer was there.
    pub at: Instant,
    /// The answer, its length field included.
    pub frame: Vec<u8>,
}

impl<'a> Calls<'a> {
    /// Opens so many connections.
    pub fn connect(addr: SocketAddr, connections: usize, interrupted: &'a AtomicBool) -> Result<Calls<'a>> {
        let mut calls = Calls {
            connections: Vec::with_capacity(connections),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).doing("create an epoll")?,
            scratch: vec![0; SCRATCH],
            events: Vec::with_capacity(connections.max(1)),
            interrupted,
        };
        for _ in 0..connections {
            calls.open(addr).doing(format_args!("connect to {addr}"))?;
        }
        Ok(calls)
    }

    fn open(&mut self, addr: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.connections.push(Connection {
            stream,
            out: Vec::new(),
            written: 0,
            under_way: VecDeque::new(),
            next_correlation_id: 0,
            watches_write: false,
            input: Vec::new(),
        });
        Ok(())
    }

    /// Sends a frame, whose correlation id is set here; its answer will carry `tag`.
    pub fn send(&mut self, connection: usize, tag: usize, frame: &[u8]) -> Result<()> {
        let target = &mut self.connections[connection];
        let start = target.out.len();
        target.out.extend_from_slice(frame);
        let correlation_id = target.next_correlation_id;
        target.next_correlation_id = correlation_id.wrapping_add(1);
        frames::set_correlation_id(&mut target.out[start..], correlation_id);
        target.under_way.push_back(UnderWay { tag, correlation_id, sent: Instant::now() });
        self.write(connection)
    }

    /// Waits until something arrives, `until` has come, or a moment has passed, and returns the answers that are
    /// there: none, or some.
    pub fn wait(&mut self, until: Instant) -> Result<Vec<Answer>> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        let slice = until.saturating_duration_since(Instant::now()).min(SLICE);
        let slice = Timespec { tv_sec: 0, tv_nsec: slice.subsec_nanos().into() };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&slice)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait for sockets"),
        }
        let mut answers = Vec::new();
        for event in &events {
            let (index, flags) = (event.data.u64() as usize, event.flags);
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.connections[index].receive(&mut self.scratch, &mut answers)?;
            }
            self.write(index)?;
        }
        self.events = events;
        Ok(answers)
    }

    /// Writes what the socket takes, and wants to know of room exactly while something waits for it.
    fn write(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.write().doing("send a request")?;
        let wants = !connection.out.is_empty();
        if wants != connection.watches_write {
            let data = epoll::EventData::new_u64(index as u64);
            let write = if wants { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            epoll::modify(&self.epoll, &connection.stream, data, epoll::EventFlags::IN | write)
                .doing("watch a socket")?;
            connection.watches_write = wants;
        }
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    /// Frames that are not wholly written, of which the first `written` bytes are out.
    out: Vec<u8>,
    written: usize,
    under_way: VecDeque<UnderWay>,
    next_correlation_id: i32,
    watches_write: bool,
    /// The answer that is coming in.
    input: Vec<u8>,
}

struct UnderWay {
    tag: usize,
    correlation_id: i32,
    sent: Instant,
}

impl Connection {
    fn write(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(sent) => self.written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once and takes the answers that are now whole.
    fn receive(&mut self, scratch: &mut [u8], answers: &mut Vec<Answer>) -> Result<()> {
        let read = match self.stream.read(scratch) {
            Ok(0) => return Err("the broker closed a connection".to_owned().into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).doing("read an answer"),
        };
        let at = Instant::now();
        let mut rest = &scratch[..read];
        while !rest.is_empty() {
            let missing = missing(&self.input)?.min(rest.len());
            self.input.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if self.input.len() >= 8 && self::missing(&self.input)? == 0 {
                answers.push(self.answered(at)?);
            }
        }
        Ok(())
    }

    fn answered(&mut self, at: Instant) -> Result<Answer> {
        let frame = std::mem::take(&mut self.input);
        let correlation_id = i32::from_be_bytes(frame[4..8].try_into().expect("four bytes"));
        match self.under_way.pop_front() {
            Some(UnderWay { tag, correlation_id: due, sent }) if due == correlation_id => {
                Ok(Answer { tag, sent, at, frame })
            }
            due => {
                let due = due.map_or_else(|| "none".to_owned(), |due| due.correlation_id.to_string());
                Err(format!("an answer with correlation id {correlation_id} where {due} is due").into())
            }
        }
    }
}

/// How many bytes an answer of which these are here still lacks, its length field first.
fn missing(input: &[u8]) -> Result<usize> {
    let Some(field) = input.first_chunk::<4>() else { return Ok(4 - input.len()) };
    let length = (u32::from_be_bytes(*field) as usize).saturating_add(4);
    if !(8..=ANSWER_MAX).contains(&length) {
        return Err(format!("the broker announced an answer of {length} bytes").into());
    }
    Ok(length - input.len())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A broker of one connection that answers `count` frames with their own bytes, in pieces; the answer to number
    /// `skipped` is left out.
    fn echo(listener: TcpListener, count: u32, skipped: u32) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut answers = Vec::new();
            for number in 0..count {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut frame = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut frame).unwrap();
                if number != skipped {
                    let body = &frame[4..];
                    answers.extend((body.len() as u32).to_be_bytes());
                    answers.extend(body);
                }
            }
            for piece in answers.chunks(1000) {
                stream.write_all(piece).unwrap();
            }
        })
    }

    fn check(skipped: u32) -> Result<Vec<Answer>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = echo(listener, 50, skipped);
        let interrupted = AtomicBool::new(false);
        let mut calls = Calls::connect(addr, 1, &interrupted).unwrap();
        let mut run = || {
            for tag in 0..50 {
                let member = "m".repeat(tag * 50);
                let who = frames::groups::Who { group: "g", member: &member, generation: tag as i32 };
                calls.send(0, tag, &frames::groups::heartbeat(who))?;
            }
            let mut answers = Vec::new();
            while answers.len() < 50 {
                answers.extend(calls.wait(Instant::now() + SLICE)?);
            }
            Ok(answers)
        };
        let outcome = run();
        broker.join().unwrap();
        outcome
    }

    #[test]
    fn answers_come_whole_with_the_tag_of_their_request() {
        let answers = check(u32::MAX).unwrap();
        let tags: Vec<usize> = answers.iter().map(|answer| answer.tag).collect();
        assert_eq!(tags, (0..50).collect::<Vec<_>>());
        for answer in answers {
            assert!(answer.frame.len() > answer.tag * 50);
            let generation = (answer.tag as i32).to_be_bytes();
            assert!(answer.frame.windows(4).any(|window| window == generation));
        }
    }

    #[test]
    fn an_answer_that_is_left_out_fails_the_run() {
        let message = check(20).unwrap_err().to_string();
        assert!(message.contains("correlation id 21 where 20 is due"), "{message}");
    }
}
