//! Very many classic groups of two members each, over a handful of connections.
//!
//! A JoinGroup may wait for other members, and then its connection waits too. So each lane has two connections, one
//! for the first members and one for the second ones, and makes one group after the other in an order that cannot
//! block itself:
//!
//! 1. The first member joins, is alone, leads, and syncs: generation 1.
//! 2. The second joins, which waits for the first.
//! 3. The first sends heartbeats until one says that there is a rebalance, and joins again: generation 2.
//! 4. Both sync; the leader brings the assignments.

use std::time::{Duration, Instant};

use super::{LANES, connection};
use crate::{
    calls::Calls,
    failure::{Doing, Result},
    frames::{
        self,
        groups::{self, Who},
    },
};

/// The topic that all members read.
pub const TOPIC: &str = "small";
/// Its partitions: one for each member of a group.
pub const PARTITIONS: i32 = 2;
/// Half an hour, the most that both brokers allow: members live on without heartbeats.
const SESSION_TIMEOUT_MS: i32 = 1_800_000;
/// A group that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Groups that exist.
pub struct Created {
    /// A Heartbeat of each member in its generation: those of group g at 2g and 2g + 1.
    pub heartbeats: Vec<Vec<u8>>,
}

/// Makes `count` groups, whose names start with `prefix`, over connections 0 to 2 x [`LANES`].
pub fn run(calls: &mut Calls<'_>, prefix: &str, count: usize) -> Result<Created> {
    let mut heartbeats = vec![Vec::new(); 2 * count];
    let begin =
        |calls: &mut _, number| (number < count).then(|| Group::begin(calls, prefix, number)).transpose();
    let mut lanes = (0..LANES).map(|lane| begin(calls, lane)).collect::<Result<Vec<_>>>()?;
    let mut left = count;
    let mut last_answer = Instant::now();
    while left > 0 {
        for answer in calls.wait(last_answer + PATIENCE)? {
            last_answer = answer.at;
            let number = answer.tag / 2;
            let lane = &mut lanes[number % LANES];
            let group = lane.as_mut().filter(|group| group.number == number).ok_or("an answer too many")?;
            group.answered(calls, answer.tag % 2, &answer.frame)?;
            if group.made() {
                for member in [FIRST, SECOND] {
                    heartbeats[2 * number + member] = groups::heartbeat(group.who(member));
                }
                left -= 1;
                *lane = begin(calls, number + LANES)?;
            }
        }
        if last_answer.elapsed() > PATIENCE {
            return Err(format!("{left} of {count} groups are missing, and nothing is answered").into());
        }
    }
    Ok(Created { heartbeats })
}

/// A group that comes together.
struct Group {
    number: usize,
    name: String,
    members: [Member; 2],
}

#[derive(Default)]
struct Member {
    id: String,
    generation: i32,
    waits_for: Answer,
}

/// The answer that a member waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// None: it has nothing under way.
    #[default]
    Nothing,
    Join,
    Sync,
    Heartbeat,
}

const FIRST: usize = 0;
const SECOND: usize = 1;

impl Group {
    fn begin(calls: &mut Calls<'_>, prefix: &str, number: usize) -> Result<Group> {
        let name = format!("{prefix}-{number:05}");
        let mut group = Group { number, name, members: Default::default() };
        group.join(calls, FIRST)?;
        Ok(group)
    }

    /// Whether both members have their part of a generation that both are in.
    fn made(&self) -> bool {
        let [first, second] = &self.members;
        second.generation > 0
            && first.generation == second.generation
            && self.members.iter().all(|member| member.waits_for == Answer::Nothing)
    }

    fn who(&self, member: usize) -> Who<'_> {
        let Member { id, generation, .. } = &self.members[member];
        Who { group: &self.name, member: id, generation: *generation }
    }

    fn answered(&mut self, calls: &mut Calls<'_>, member: usize, answer: &[u8]) -> Result<()> {
        let waited_for = std::mem::take(&mut self.members[member].waits_for);
        match waited_for {
            Answer::Nothing => Err("an answer that nobody waits for".to_owned().into()),
            Answer::Join => self.joined(calls, member, answer),
            Answer::Sync => self.synced(calls, answer),
            Answer::Heartbeat => self.beaten(calls, answer),
        }
    }

    fn joined(&mut self, calls: &mut Calls<'_>, member: usize, answer: &[u8]) -> Result<()> {
        let joined = groups::read_joined(answer).doing("join a group")?;
        if joined.error_code == groups::MEMBER_ID_REQUIRED && self.members[member].id.is_empty() {
            self.members[member].id = joined.member;
            self.join(calls, member)?;
            return if member == SECOND { self.beat(calls) } else { Ok(()) };
        }
        groups::expect_none("join a group", joined.error_code)?;
        self.members[member].generation = joined.generation;
        let bound = |index: usize| PARTITIONS * index as i32 / joined.members.len() as i32;
        let with_range = |(index, id): (usize, &String)| {
            (id.clone(), groups::assignment(TOPIC, bound(index)..bound(index + 1)))
        };
        let assignments: Vec<_> = joined.members.iter().enumerate().map(with_range).collect();
        let frame = groups::sync_group(self.who(member), &assignments);
        self.send(calls, member, Answer::Sync, &frame)
    }

    fn synced(&mut self, calls: &mut Calls<'_>, answer: &[u8]) -> Result<()> {
        let (code, assignment) = groups::read_synced(answer).doing("sync a group")?;
        groups::expect_none("sync a group", code)?;
        let alone = self.members[SECOND].id.is_empty();
        let due = if alone { PARTITIONS } else { PARTITIONS / 2 };
        let given = groups::read_assignment(assignment).doing("sync a group")?.len();
        if given != due as usize {
            return Err(format!("a member was given {given} partitions, not {due}").into());
        }
        if alone { self.join(calls, SECOND) } else { Ok(()) }
    }

    fn beaten(&mut self, calls: &mut Calls<'_>, answer: &[u8]) -> Result<()> {
        match groups::read_error(answer).doing("heartbeat")? {
            frames::NONE => self.beat(calls),
            groups::REBALANCE_IN_PROGRESS => self.join(calls, FIRST),
            code => Ok(groups::expect_none("heartbeat", code)?),
        }
    }

    fn join(&mut self, calls: &mut Calls<'_>, member: usize) -> Result<()> {
        let metadata = groups::subscription(TOPIC);
        let id = &self.members[member].id;
        let frame = groups::join_group(&self.name, id, SESSION_TIMEOUT_MS, &metadata);
        self.send(calls, member, Answer::Join, &frame)
    }

    /// The first member looks whether there is a rebalance.
    fn beat(&mut self, calls: &mut Calls<'_>) -> Result<()> {
        let frame = groups::heartbeat(self.who(FIRST));
        self.send(calls, FIRST, Answer::Heartbeat, &frame)
    }

    fn send(&mut self, calls: &mut Calls<'_>, member: usize, waits_for: Answer, frame: &[u8]) -> Result<()> {
        self.members[member].waits_for = waits_for;
        let tag = 2 * self.number + member;
        calls.send(connection(tag), tag, frame)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::atomic::AtomicBool,
        thread,
    };

    use super::*;

    const JOIN: u8 = 11;
    const HEARTBEAT: u8 = 12;
    const SYNC: u8 = 14;

    /// The connections of a lane, at the broker's end.
    struct Lane([TcpStream; 2]);

    impl Lane {
        /// Reads a request of this kind, and returns its correlation id.
        fn read(&mut self, member: usize, api: u8) -> [u8; 4] {
            let mut length = [0; 4];
            self.0[member].read_exact(&mut length).unwrap();
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.0[member].read_exact(&mut frame).unwrap();
            assert_eq!(frame[1], api, "member {member}");
            frame[4..8].try_into().unwrap()
        }

        /// Answers with a throttle time of 0, an error code, and the rest.
        fn answer(&mut self, member: usize, correlation_id: [u8; 4], code: u8, rest: &[u8]) {
            let body = [&correlation_id[..], &[0, 0, 0, 0, 0, 0, code], rest].concat();
            self.0[member].write_all(&(body.len() as u32).to_be_bytes()).unwrap();
            self.0[member].write_all(&body).unwrap();
        }

        fn exchange(&mut self, member: usize, api: u8, code: u8, rest: &[u8]) {
            let correlation_id = self.read(member, api);
            self.answer(member, correlation_id, code, rest);
        }
    }

    /// The rest of a JoinGroup's answer: no protocol type, protocol and leader.
    fn joined(generation: u8, own: u8, members: &[u8]) -> Vec<u8> {
        let mut rest = vec![0, 0, 0, generation, 0, 0, 1, 0, 2, own, members.len() as u8 + 1];
        members.iter().for_each(|&member| rest.extend([2, member, 0, 1, 0]));
        rest.push(0);
        rest
    }

    /// The rest of a SyncGroup's answer.
    fn synced(partitions: std::ops::Range<i32>) -> Vec<u8> {
        let assignment = groups::assignment(TOPIC, partitions);
        [&[0, 0, assignment.len() as u8 + 1], &assignment[..], &[0]].concat()
    }

    /// A coordinator of one group, whose second heartbeat tells of the rebalance; the second member is then given
    /// these partitions.
    fn coordinate(mut lane: Lane, second_gets: std::ops::Range<i32>) {
        lane.exchange(FIRST, JOIN, 79, &joined(0, b'a', &[]));
        lane.exchange(FIRST, JOIN, 0, &joined(1, b'a', b"a"));
        lane.exchange(FIRST, SYNC, 0, &synced(0..2));
        lane.exchange(SECOND, JOIN, 79, &joined(0, b'b', &[]));
        let waits = lane.read(SECOND, JOIN);
        lane.exchange(FIRST, HEARTBEAT, 0, &[0]);
        lane.exchange(FIRST, HEARTBEAT, 27, &[0]);
        lane.exchange(FIRST, JOIN, 0, &joined(2, b'a', b"ab"));
        lane.answer(SECOND, waits, 0, &joined(2, b'b', &[]));
        let waits = lane.read(SECOND, SYNC);
        lane.exchange(FIRST, SYNC, 0, &synced(0..1));
        lane.answer(SECOND, waits, 0, &synced(second_gets));
        // The generator closes when it has what it wants.
        let _ = lane.0[SECOND].read(&mut [0; 1]);
    }

    fn check(second_gets: std::ops::Range<i32>) -> Result<Created> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = thread::spawn(move || {
            let streams: Vec<_> = (0..2 * LANES).map(|_| listener.accept().unwrap().0).collect();
            let [first, second, ..] = &streams[..] else { panic!("too few connections") };
            coordinate(Lane([first.try_clone().unwrap(), second.try_clone().unwrap()]), second_gets);
        });
        let interrupted = AtomicBool::new(false);
        let mut calls = Calls::connect(addr, 2 * LANES, &interrupted).unwrap();
        let created = run(&mut calls, "g", 1);
        drop(calls);
        broker.join().unwrap();
        created
    }

    #[test]
    fn two_members_come_together_without_one_waiting_for_itself() {
        let heartbeats = check(1..2).unwrap().heartbeats;
        let who = |member| Who { group: "g-00000", member, generation: 2 };
        assert_eq!(heartbeats, ["a", "b"].map(|member| groups::heartbeat(who(member))));
    }

    #[test]
    fn a_member_that_is_given_what_its_leader_did_not_send_fails_the_run() {
        let message = check(0..2).err().unwrap().to_string();
        assert!(message.contains("given 2 partitions, not 1"), "{message}");
    }
}
