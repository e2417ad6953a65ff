//! Frames of consumer groups, classic and KIP-848, and what clients of the classic protocol write inside them.
//!
//! Versions: FindCoordinator 3, OffsetCommit 9, OffsetFetch 7, JoinGroup 9, SyncGroup 5, Heartbeat 4, LeaveGroup 5,
//! ConsumerGroupHeartbeat 1; of the consumer protocol inside JoinGroup and SyncGroup, version 1.

use std::{ops::Range, sync::Arc};

use super::{Malformed, NONE, Reader, Template, Writer};

/// The coordinator still reads what it must know of the group.
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// There is no coordinator yet.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// This broker is not the coordinator, or not yet.
pub const NOT_COORDINATOR: i16 = 16;
/// The member has to join again.
pub const REBALANCE_IN_PROGRESS: i16 = 27;
/// The answer holds a member id, with which to join again (KIP-394).
pub const MEMBER_ID_REQUIRED: i16 = 79;

const OFFSET_COMMIT: (i16, i16) = (8, 9);
const OFFSET_FETCH: (i16, i16) = (9, 7);
const FIND_COORDINATOR: (i16, i16) = (10, 3);
const JOIN_GROUP: (i16, i16) = (11, 9);
const HEARTBEAT: (i16, i16) = (12, 4);
const LEAVE_GROUP: (i16, i16) = (13, 5);
const SYNC_GROUP: (i16, i16) = (14, 5);
const CONSUMER_GROUP_HEARTBEAT: (i16, i16) = (68, 1);

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// How long a member may take to join again, in milliseconds: the default of Java's `max.poll.interval.ms`.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
/// The version of what is inside JoinGroup and SyncGroup.
const CONSUMER_PROTOCOL: i16 = 1;

/// Who speaks: a member of a group in one of its generations.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The group.
    pub group: &'a str,
    /// The member's id; empty for one that has none.
    pub member: &'a str,
    /// The generation, or the member epoch; -1 for a client that is no member.
    pub generation: i32,
}

/// FindCoordinator of a group.
pub fn find_coordinator(group: &str) -> Vec<u8> {
    let mut w = Writer::request(FIND_COORDINATOR);
    w.string(group);
    w.i8(0); // a group, not a transactional id
    w.tags();
    w.finish()
}

/// OffsetCommit of one partition, which is patched per request like the committed offset.
pub fn offset_commit(topic: &str, who: Who<'_>) -> Template {
    let mut w = Writer::request(OFFSET_COMMIT);
    w.string(who.group);
    w.i32(who.generation);
    w.string(who.member);
    w.null_string(); // instance id
    w.array(1);
    w.string(topic);
    w.array(1);
    let partition_at = w.out.len();
    w.i32(0);
    let offset_at = w.out.len();
    w.i64(0);
    w.i32(-1); // leader epoch
    w.string(""); // metadata
    w.tags();
    w.tags();
    w.tags();
    Template {
        head: w.finish(),
        tail: Arc::from(Vec::new()),
        partition_at,
        offset_at: Some(offset_at),
        batch_bytes: 0,
    }
}

/// OffsetFetch of partitions 0 to `partitions` of one topic.
pub fn offset_fetch(group: &str, topic: &str, partitions: i32) -> Vec<u8> {
    let mut w = Writer::request(OFFSET_FETCH);
    w.string(group);
    w.array(1);
    w.string(topic);
    w.array(partitions as usize);
    for partition in 0..partitions {
        w.i32(partition);
    }
    w.tags();
    w.i8(0); // pending transactions are not waited for
    w.tags();
    w.finish()
}

/// JoinGroup of the classic protocol with one protocol, whose metadata this is.
pub fn join_group(group: &str, member: &str, session_timeout_ms: i32, metadata: &[u8]) -> Vec<u8> {
    let mut w = Writer::request(JOIN_GROUP);
    w.string(group);
    w.i32(session_timeout_ms);
    w.i32(REBALANCE_TIMEOUT_MS);
    w.string(member);
    w.null_string(); // instance id
    w.string(PROTOCOL_TYPE);
    w.array(1);
    w.string(PROTOCOL);
    w.bytes(metadata);
    w.tags();
    w.null_string(); // reason
    w.tags();
    w.finish()
}

/// SyncGroup; the leader brings the assignments of all members, everyone else none.
pub fn sync_group(who: Who<'_>, assignments: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut w = Writer::request(SYNC_GROUP);
    w.string(who.group);
    w.i32(who.generation);
    w.string(who.member);
    w.null_string(); // instance id
    w.string(PROTOCOL_TYPE);
    w.string(PROTOCOL);
    w.array(assignments.len());
    for (member, assignment) in assignments {
        w.string(member);
        w.bytes(assignment);
        w.tags();
    }
    w.tags();
    w.finish()
}

/// Heartbeat of the classic protocol.
pub fn heartbeat(who: Who<'_>) -> Vec<u8> {
    let mut w = Writer::request(HEARTBEAT);
    w.string(who.group);
    w.i32(who.generation);
    w.string(who.member);
    w.null_string(); // instance id
    w.tags();
    w.finish()
}

/// LeaveGroup of the classic protocol for several members at once.
pub fn leave_group(group: &str, members: &[&str]) -> Vec<u8> {
    let mut w = Writer::request(LEAVE_GROUP);
    w.string(group);
    w.array(members.len());
    for member in members {
        w.string(member);
        w.null_string(); // instance id
        w.null_string(); // reason
        w.tags();
    }
    w.tags();
    w.finish()
}

/// Id of a topic.
pub type TopicId = [u8; 16];

/// Partitions of a topic that a member owns.
pub type Owned<'a> = (&'a TopicId, &'a [i32]);

/// ConsumerGroupHeartbeat (KIP-848). A member that joins names its `topic`; `owned` is what the member owns where it
/// says so, and `None` where nothing has changed.
pub fn consumer_heartbeat(who: Who<'_>, topic: Option<&str>, owned: Option<&[Owned<'_>]>) -> Vec<u8> {
    let mut w = Writer::request(CONSUMER_GROUP_HEARTBEAT);
    w.string(who.group);
    w.string(who.member);
    w.i32(who.generation);
    w.null_string(); // instance id
    w.null_string(); // rack
    w.i32(if topic.is_some() { REBALANCE_TIMEOUT_MS } else { -1 });
    match topic {
        Some(topic) => {
            w.array(1);
            w.string(topic);
        }
        None => w.null_string(),
    }
    w.null_string(); // regular expression
    w.null_string(); // assignor: the broker's default
    match owned {
        Some(topics) => {
            w.array(topics.len());
            for (topic_id, partitions) in topics {
                w.out.extend_from_slice(*topic_id);
                w.array(partitions.len());
                for partition in *partitions {
                    w.i32(*partition);
                }
                w.tags();
            }
        }
        None => w.null_string(),
    }
    w.tags();
    w.finish()
}

/// What a member of a classic group that reads one topic says of itself in JoinGroup.
pub fn subscription(topic: &str) -> Vec<u8> {
    let mut w = Writer { out: Vec::new() };
    w.i16(CONSUMER_PROTOCOL);
    w.i32(1);
    w.old_string(topic);
    w.i32(-1); // user data
    w.i32(0); // owned partitions: none are kept over a rebalance
    w.out
}

/// What the leader of a classic group gives to one member: these partitions of one topic.
pub fn assignment(topic: &str, partitions: Range<i32>) -> Vec<u8> {
    let mut w = Writer { out: Vec::new() };
    w.i16(CONSUMER_PROTOCOL);
    w.i32(1);
    w.old_string(topic);
    w.i32(partitions.len() as i32);
    for partition in partitions {
        w.i32(partition);
    }
    w.i32(-1); // user data
    w.out
}

/// The error of the whole response, by an answer to [`heartbeat`] or [`leave_group`] or [`find_coordinator`].
pub fn read_error(response: &[u8]) -> Result<i16, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?; // throttle time
    r.i16()
}

/// What the answer to [`offset_commit`] says: partition and error code.
pub fn read_committed(response: &[u8]) -> Result<(i32, i16), Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    r.expect_array(1)?;
    r.skip_string()?;
    r.expect_array(1)?;
    Ok((r.i32()?, r.i16()?))
}

/// What the answer to [`offset_fetch`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The error of the whole response.
    pub error_code: i16,
    /// Of each partition its number, error code and offset; the offset is -1 where nothing was committed.
    pub partitions: Vec<(i32, i16, i64)>,
}

/// Reads an answer to [`offset_fetch`].
pub fn read_offsets(response: &[u8]) -> Result<Committed, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    let mut partitions = Vec::new();
    for _ in 0..r.array()? {
        r.skip_string()?;
        for _ in 0..r.array()? {
            let partition = r.i32()?;
            let offset = r.i64()?;
            r.skip(4)?; // leader epoch
            r.skip_string()?; // metadata
            partitions.push((partition, r.i16()?, offset));
            r.skip_tags()?;
        }
        r.skip_tags()?;
    }
    Ok(Committed { error_code: r.i16()?, partitions })
}

/// What the answer to [`join_group`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its error code.
    pub error_code: i16,
    /// The generation that has begun.
    pub generation: i32,
    /// The member's own id.
    pub member: String,
    /// The ids of all members; empty for everyone but the leader.
    pub members: Vec<String>,
}

/// Reads an answer to [`join_group`].
pub fn read_joined(response: &[u8]) -> Result<Joined, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    let error_code = r.i16()?;
    let generation = r.i32()?;
    r.skip_string()?; // protocol type
    r.skip_string()?; // protocol
    r.skip_string()?; // leader
    r.skip(1)?; // skip assignment
    let member = r.string()?.unwrap_or_default();
    let mut members = Vec::new();
    for _ in 0..r.array()? {
        members.push(r.string()?.ok_or(Malformed)?);
        r.skip_string()?; // instance id
        r.skip_string()?; // metadata
        r.skip_tags()?;
    }
    Ok(Joined { error_code, generation, member, members })
}

/// What the answer to [`sync_group`] says: error code and assignment.
pub fn read_synced(response: &[u8]) -> Result<(i16, &[u8]), Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    let error_code = r.i16()?;
    r.skip_string()?; // protocol type
    r.skip_string()?; // protocol
    let len = r.array()?;
    let start = r.at;
    r.skip(len)?;
    Ok((error_code, &response[start..r.at]))
}

/// The partitions in an [`assignment`].
pub fn read_assignment(assignment: &[u8]) -> Result<Vec<i32>, Malformed> {
    let mut r = Reader { bytes: assignment, at: 0 };
    r.skip(2)?; // version
    let mut partitions = Vec::new();
    for _ in 0..r.i32()? {
        let name = r.i16()?;
        r.skip(usize::try_from(name).map_err(|_| Malformed)?)?;
        for _ in 0..r.i32()? {
            partitions.push(r.i32()?);
        }
    }
    Ok(partitions)
}

/// What the answer to [`consumer_heartbeat`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beaten {
    /// Its error code.
    pub error_code: i16,
    /// The epoch that the member has now.
    pub epoch: i32,
    /// When the next heartbeat is due, in milliseconds.
    pub interval_ms: i32,
    /// What the member is to own from now on, where that has changed.
    pub assignment: Option<Vec<(TopicId, Vec<i32>)>>,
}

/// Reads an answer to [`consumer_heartbeat`].
pub fn read_beaten(response: &[u8]) -> Result<Beaten, Malformed> {
    let mut r = Reader::response(response)?;
    r.skip(4)?;
    let error_code = r.i16()?;
    r.skip_string()?; // message
    r.skip_string()?; // member id
    let epoch = r.i32()?;
    let interval_ms = r.i32()?;
    let [present] = r.take()?;
    let mut beaten = Beaten { error_code, epoch, interval_ms, assignment: None };
    if present == 0xff {
        return Ok(beaten);
    }
    let mut topics = Vec::new();
    for _ in 0..r.array()? {
        let topic_id = r.take()?;
        let mut partitions = Vec::new();
        for _ in 0..r.array()? {
            partitions.push(r.i32()?);
        }
        r.skip_tags()?;
        topics.push((topic_id, partitions));
    }
    beaten.assignment = Some(topics);
    Ok(beaten)
}

/// Whether a coordinator says that it is not ready yet.
pub fn not_ready(code: i16) -> bool {
    matches!(code, COORDINATOR_LOAD_IN_PROGRESS | COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR)
}

/// An error where a code is not [`NONE`].
pub fn expect_none(what: &str, code: i16) -> Result<(), String> {
    match code {
        NONE => Ok(()),
        code => Err(format!("{what}: error {code} ({})", super::error_name(code))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who<'_> = Who { group: "g", member: "m", generation: 7 };

    /// A response: its head, then what `body` puts there.
    fn response(body: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer { out: vec![0; 8] };
        w.tags();
        w.i32(0); // throttle time
        body(&mut w);
        w.out
    }

    fn check_truncated<T: std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, Malformed>) {
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]).unwrap_err(), Malformed, "{end} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_commit_is_patched_where_partition_and_offset_stand() {
        let template = offset_commit("topic", WHO);
        let mut head = template.head.clone();
        template.patch(&mut head, 0, 258);
        template.patch_offset(&mut head, 99);
        let at = head.windows(5).position(|window| window == b"topic").unwrap() + 6;
        assert_eq!(head[at..at + 4], 258_i32.to_be_bytes());
        assert_eq!(head[at + 4..at + 12], 99_i64.to_be_bytes());
        assert_eq!(head.len(), template.head.len());
    }

    #[test]
    fn the_length_of_a_frame_is_its_own() {
        let frames = [
            find_coordinator("g"),
            offset_commit("t", WHO).head,
            offset_fetch("g", "t", 3),
            join_group("g", "", 45_000, &subscription("t")),
            sync_group(WHO, &[("m".to_owned(), assignment("t", 0..3))]),
            heartbeat(WHO),
            leave_group("g", &["m", "n"]),
            consumer_heartbeat(WHO, Some("t"), Some(&[])),
            consumer_heartbeat(WHO, None, Some(&[(&[7; 16], &[1, 2])])),
        ];
        for frame in frames {
            let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
            assert_eq!(length as usize, frame.len() - 4);
        }
    }

    #[test]
    fn a_heartbeat_is_laid_out_as_kafka_reads_it() {
        let expected = [
            &[0, 0, 0, 33, 0, 12, 0, 4, 0, 0, 0, 0, 0, 11][..],
            b"ottla-bench",
            &[0, 2, b'g', 0, 0, 0, 7, 2, b'm', 0, 0],
        ]
        .concat();
        let mut expected = expected;
        expected[3] = (expected.len() - 4) as u8;
        assert_eq!(heartbeat(WHO), expected);
    }

    #[test]
    fn an_assignment_gives_what_was_put_in() {
        let bytes = assignment("topic", 10..13);
        assert_eq!(read_assignment(&bytes), Ok(vec![10, 11, 12]));
        // Without the user data at the end it is still whole.
        check_truncated(&bytes[..bytes.len() - 4], read_assignment);
        assert_eq!(read_assignment(&[0xff; 40]), Ok(Vec::new()));
    }

    #[test]
    fn the_leader_reads_all_members() {
        let bytes = response(|w| {
            w.i16(0);
            w.i32(3);
            w.string("consumer");
            w.string("range");
            w.string("m1");
            w.i8(0);
            w.string("m1");
            w.array(2);
            for member in ["m1", "m2"] {
                w.string(member);
                w.null_string();
                w.bytes(&subscription("t"));
                w.tags();
            }
        });
        let members = vec!["m1".to_owned(), "m2".to_owned()];
        let due = Joined { error_code: 0, generation: 3, member: "m1".to_owned(), members };
        assert_eq!(read_joined(&bytes), Ok(due));
        check_truncated(&bytes, read_joined);
    }

    #[test]
    fn the_other_answers_of_a_group_are_read() {
        let synced = response(|w| {
            w.i16(27);
            w.string("consumer");
            w.null_string();
            w.bytes(b"abc");
        });
        assert_eq!(read_synced(&synced), Ok((REBALANCE_IN_PROGRESS, &b"abc"[..])));
        check_truncated(&synced, |bytes| read_synced(bytes).map(|_| ()));

        let committed = response(|w| {
            w.array(1);
            w.string("t");
            w.array(1);
            w.i32(5);
            w.i16(25);
        });
        assert_eq!(read_committed(&committed), Ok((5, 25)));
        check_truncated(&committed, read_committed);

        let offsets = response(|w| {
            w.array(1);
            w.string("t");
            w.array(1);
            w.i32(5);
            w.i64(77);
            w.i32(-1);
            w.string("");
            w.i16(0);
            w.tags();
            w.tags();
            w.i16(14);
        });
        let due = Committed { error_code: COORDINATOR_LOAD_IN_PROGRESS, partitions: vec![(5, 0, 77)] };
        assert_eq!(read_offsets(&offsets), Ok(due));
        check_truncated(&offsets, read_offsets);
    }

    #[test]
    fn an_assignment_of_kip_848_is_absent_empty_or_there() {
        let beaten = |assignment: &dyn Fn(&mut Writer)| {
            response(|w| {
                w.i16(0);
                w.null_string();
                w.string("m");
                w.i32(4);
                w.i32(5_000);
                assignment(w);
            })
        };
        let due = |assignment| Ok(Beaten { error_code: 0, epoch: 4, interval_ms: 5_000, assignment });
        assert_eq!(read_beaten(&beaten(&|w| w.i8(-1))), due(None));
        let empty = |w: &mut Writer| {
            w.i8(1);
            w.array(0);
        };
        assert_eq!(read_beaten(&beaten(&empty)), due(Some(Vec::new())));
        let two = beaten(&|w| {
            w.i8(1);
            w.array(1);
            w.out.extend([7; 16]);
            w.array(2);
            w.i32(8);
            w.i32(9);
            w.tags();
        });
        assert_eq!(read_beaten(&two), due(Some(vec![([7; 16], vec![8, 9])])));
        check_truncated(&two, read_beaten);
    }
}
