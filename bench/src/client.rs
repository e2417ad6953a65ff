//! The slow path: one blocking connection that creates topics and asks for their state.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    broker::Broker,
    failure::{Doing, Result},
    frames::{self, groups},
    rows::Context,
};

const TOPIC_ALREADY_EXISTS: i16 = 36;
/// The largest answer that is read, in bytes.
const ANSWER_MAX: u32 = 64 << 20;
/// How long a topic may take from the first request until every partition answers.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(120);
/// Names of groups that are asked for until each is coordinated.
const GROUP_PROBES: usize = 200;

/// A connection that sends a frame and waits for its answer.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects; an answer may take up to `timeout`.
    pub fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        Ok(Client { stream })
    }

    /// Sends a frame and reads one, its length field included.
    pub fn call(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let size = u32::from_be_bytes(length);
        if size > ANSWER_MAX {
            return Err(io::Error::other(format!("an answer of {size} bytes")));
        }
        let mut answer = length.to_vec();
        let read = (&self.stream).take(u64::from(size)).read_to_end(&mut answer)?;
        if read < size as usize {
            return Err(io::Error::other("the connection closed inside an answer"));
        }
        Ok(answer)
    }
}

/// A topic to create.
#[derive(Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: i32,
    /// `retention.bytes` of all partitions together; `None` keeps everything.
    pub retention_bytes: Option<i64>,
}

impl Topic {
    /// A topic with the bench's retention: 4 GiB over all partitions.
    pub fn new(name: &str, partitions: i32) -> Topic {
        Topic { name: name.to_owned(), partitions, retention_bytes: Some(4 << 30) }
    }

    /// The CreateTopics frame: 64 MiB segments, and this topic's retention.
    pub fn create_frame(&self) -> Vec<u8> {
        let retention = self.retention_bytes.map_or(-1, |bytes| bytes / i64::from(self.partitions));
        let settings =
            [("segment.bytes", (64 << 20).to_string()), ("retention.bytes", retention.to_string())];
        frames::create_topic(&self.name, self.partitions, &settings)
    }
}

/// Creates a topic and waits until every partition has a leader that answers.
///
/// Apache Kafka answers CreateTopics before its partitions can be written to, and a broker that has just started
/// may refuse at first, so everything is tried again until it succeeds or the time is over.
pub fn create_topic(context: &Context, broker: &mut Broker, topic: &Topic) -> Result<()> {
    let what = format!("did not create topic {}", topic.name);
    until_done(context, broker, &what, |addr| try_create(addr, topic))
}

/// Waits until the broker coordinates every group: Apache Kafka makes its topic of groups when the first is asked for,
/// and loads each of that topic's 50 partitions by itself.
pub fn await_groups(context: &Context, broker: &mut Broker) -> Result<()> {
    until_done(context, broker, "coordinates no groups", try_groups)
}

/// Tries something again and again until it is done, or the time is over. `Ok(Some(..))` says what is still missing.
fn until_done(
    context: &Context,
    broker: &mut Broker,
    complaint: &str,
    attempt: impl Fn(SocketAddr) -> io::Result<Option<String>>,
) -> Result<()> {
    let deadline = Instant::now() + TOPIC_TIMEOUT;
    loop {
        let problem = match attempt(broker.addr()) {
            Ok(None) => return Ok(()),
            Ok(Some(problem)) => problem,
            Err(error) => error.to_string(),
        };
        context.check_interrupted()?;
        broker.check_alive()?;
        if Instant::now() >= deadline {
            let (kind, log) = (broker.kind().name(), broker.log_end());
            return Err(format!("{kind} {complaint}: {problem}; its log ends:\n{log}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The latest offset of each partition, by partition.
pub fn latest_offsets(addr: SocketAddr, topic: &Topic) -> Result<Vec<i64>> {
    let mut client = Client::connect(addr, Duration::from_secs(60)).doing("connect")?;
    let answer = client.call(&frames::latest_offsets(&topic.name, topic.partitions)).doing("list offsets")?;
    let mut offsets = vec![-1; topic.partitions as usize];
    for (partition, error, offset) in frames::read_latest_offsets(&answer).doing("list offsets")? {
        if error != frames::NONE {
            let name = frames::error_name(error);
            return Err(format!("latest offset of {}-{partition}: {error} ({name})", topic.name).into());
        }
        if let Some(slot) = usize::try_from(partition).ok().and_then(|index| offsets.get_mut(index)) {
            *slot = offset;
        }
    }
    Ok(offsets)
}

/// One attempt to ask for the offsets of groups that do not exist; `Some` says what is not ready yet.
fn try_groups(addr: SocketAddr) -> io::Result<Option<String>> {
    let mut client = Client::connect(addr, Duration::from_secs(30))?;
    for number in 0..GROUP_PROBES {
        // The partition is the hash of the name modulo 50, so that these reach all of them.
        let group = format!("probe-{number:03}");
        let found = groups::read_error(&client.call(&groups::find_coordinator(&group))?);
        let fetched = groups::read_offsets(&client.call(&groups::offset_fetch(&group, "none", 1))?);
        for code in [found.map_err(io::Error::other)?, fetched.map_err(io::Error::other)?.error_code] {
            if code != frames::NONE {
                return Ok(Some(format!("error {code} ({})", frames::error_name(code))));
            }
        }
    }
    Ok(None)
}

/// One attempt; `Some` says what is not ready yet.
fn try_create(addr: SocketAddr, topic: &Topic) -> io::Result<Option<String>> {
    let mut client = Client::connect(addr, Duration::from_secs(30))?;
    let (code, message) =
        frames::read_created(&client.call(&topic.create_frame())?).map_err(io::Error::other)?;
    if code != frames::NONE && code != TOPIC_ALREADY_EXISTS {
        return Ok(Some(format!("error {code} ({}) {message}", frames::error_name(code))));
    }
    let led =
        frames::read_leaders(&client.call(&frames::metadata(&topic.name))?).map_err(io::Error::other)?;
    if led < topic.partitions {
        return Ok(Some(format!("{led} of {} partitions have a leader", topic.partitions)));
    }
    let answer = client.call(&frames::latest_offsets(&topic.name, topic.partitions))?;
    let offsets = frames::read_latest_offsets(&answer).map_err(io::Error::other)?;
    let ready = offsets.iter().filter(|(_, error, _)| *error == frames::NONE).count();
    if ready < topic.partitions as usize {
        return Ok(Some(format!("{ready} of {} partitions answer", topic.partitions)));
    }
    Ok(None)
}
