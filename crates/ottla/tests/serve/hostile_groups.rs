//! One client that makes up groups and members without end: each request gets Kafka's error, memory stays within the
//! budget, and another group notices nothing.

use std::env;

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Request, Str,
    messages::{
        consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
        describe_groups::DescribeGroupsRequest,
        heartbeat::HeartbeatRequest,
        join_group::{JoinGroupRequest, JoinGroupRequestProtocol},
        offset_commit::OffsetCommitRequest,
        offset_fetch::OffsetFetchRequest,
        sync_group::{SyncGroupRequest, SyncGroupRequestAssignment},
    },
};
use ottla_testing_internal::TestClient;
use rustix::process::Signal;

use crate::{
    commit, create,
    process::{Ottla, dir},
};

const MIB: usize = 1 << 20;
const BUDGET: &str = "32MiB";
/// What the process may take beside the budget: the budget is for data, not for threads and code.
const LIMIT: usize = 48 * MIB;
/// Requests on their way.
const AT_ONCE: usize = 100;

/// A member alone in its group, which goes on while others misbehave.
struct Honest {
    client: TestClient,
    member_id: Str,
    commits: i64,
}

const HONEST: &str = "readers";
const GENERATION: i32 = 1;

impl Honest {
    fn join(broker: &Ottla) -> Self {
        let mut client = broker.client();
        create(&mut client, "orders");
        let joined = client.call(3, &joining(HONEST, 100));
        assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, GENERATION));
        let member_id = joined.member_id;
        let assignment = SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from_static(b"all"),
            ..SyncGroupRequestAssignment::default()
        };
        let syncing = SyncGroupRequest {
            group_id: HONEST.into(),
            generation_id: GENERATION,
            member_id: member_id.clone(),
            assignments: vec![assignment],
            ..SyncGroupRequest::default()
        };
        assert_eq!(client.call(2, &syncing).error_code, ErrorCode::NONE);
        Self { client, member_id, commits: 0 }
    }

    /// Its heartbeat is accepted, and so is a commit, which is there then.
    fn goes_on(&mut self) {
        let heartbeat = HeartbeatRequest {
            group_id: HONEST.into(),
            generation_id: GENERATION,
            member_id: self.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        assert_eq!(self.client.call(2, &heartbeat).error_code, ErrorCode::NONE);
        self.commits += 1;
        let committing = OffsetCommitRequest {
            generation_id_or_member_epoch: GENERATION,
            member_id: self.member_id.clone(),
            ..commit(HONEST, "orders", self.commits)
        };
        let committed = self.client.call(6, &committing);
        assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
        let all =
            OffsetFetchRequest { group_id: HONEST.into(), topics: None, ..OffsetFetchRequest::default() };
        let fetched = self.client.call(4, &all);
        assert_eq!(fetched.topics[0].partitions[0].committed_offset, self.commits);
    }
}

fn joining(group: &str, metadata: usize) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from(vec![0; metadata]),
        ..JoinGroupRequestProtocol::default()
    };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: "any".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}

/// Sends these requests, many at a time, and hands over the answers.
fn flood<R: Request>(
    broker: &Ottla,
    honest: &mut Honest,
    version: i16,
    requests: impl Iterator<Item = R>,
    mut answered: impl FnMut(R::Response),
) {
    let mut client = broker.client();
    let mut requests = requests.peekable();
    for turn in 0.. {
        if requests.peek().is_none() {
            return;
        }
        let sent: Vec<_> = requests.by_ref().take(AT_ONCE).map(|one| client.send(version, &one)).collect();
        sent.into_iter().for_each(|sent| answered(client.receive(sent)));
        if turn % 20 == 0 {
            honest.goes_on();
            let bytes = broker.anonymous_bytes();
            assert!(bytes < LIMIT, "{} MiB after {} requests", bytes / MIB, (turn + 1) * AT_ONCE);
        }
    }
}

/// How many names are made up for each kind of request.
fn names() -> usize {
    env::var("OTTLA_GROUP_NAMES").map_or(4000, |names| names.parse().unwrap())
}

fn name(number: usize) -> String {
    format!("group-with-a-name-that-somebody-made-up-{number}")
}

#[test]
fn groups_that_one_client_makes_up_cost_no_more_than_the_budget() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--memory", BUDGET]);
    let mut honest = Honest::join(&broker);

    let unknown = |number| HeartbeatRequest {
        group_id: name(number).into(),
        member_id: "somebody".into(),
        ..HeartbeatRequest::default()
    };
    flood(&broker, &mut honest, 3, (0..names()).map(unknown), |answer| {
        assert_eq!(answer.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    });
    let described = |number| DescribeGroupsRequest {
        groups: vec![name(number).into()],
        ..DescribeGroupsRequest::default()
    };
    flood(&broker, &mut honest, 5, (0..names()).map(described), |answer| {
        assert_eq!((answer.groups[0].error_code, &*answer.groups[0].group_state), (ErrorCode::NONE, "Dead"));
    });
    let committed = |number| commit(&name(number), "orders", 1);
    flood(&broker, &mut honest, 6, (0..names()).map(committed), |answer| {
        assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE);
    });
    // Each is told an id, and the group waits for the member that has it.
    let waited_for = |number| joining(&name(number), 0);
    let mut refused = 0;
    flood(&broker, &mut honest, 9, (0..names()).map(waited_for), |answer| match answer.error_code {
        ErrorCode::MEMBER_ID_REQUIRED => {}
        ErrorCode::GROUP_MAX_SIZE_REACHED => refused += 1,
        // What others are to give back is not there yet.
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {}
        other => panic!("{other:?}"),
    });
    // Members that fill what groups may have, and are told so.
    let full = |number| joining(&name(number), 1000);
    let mut joined = 0;
    flood(&broker, &mut honest, 3, (0..names()).map(full), |answer| match answer.error_code {
        ErrorCode::NONE => joined += 1,
        ErrorCode::GROUP_MAX_SIZE_REACHED => refused += 1,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {}
        other => panic!("{other:?}"),
    });
    assert!(joined < names() && refused > 0, "{joined} joined, {refused} refused");
    honest.goes_on();
    broker.stop(Signal::TERM);

    // What is stored of them does not hold up the next start, and the honest one is still there.
    let broker = Ottla::start(dir.path(), &["--memory", BUDGET]);
    honest.client = broker.client();
    honest.goes_on();
    assert!(broker.anonymous_bytes() < LIMIT);
    broker.stop(Signal::TERM);
}

#[test]
fn ids_that_a_group_gives_out_come_to_an_end() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--memory", "64MiB"]);
    let mut honest = Honest::join(&broker);
    let (mut given, mut refused) = (0, 0);
    flood(&broker, &mut honest, 9, (0..12_000).map(|_| joining("crowd", 0)), |answer| {
        match answer.error_code {
            ErrorCode::MEMBER_ID_REQUIRED => given += 1,
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => refused += 1,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!((given, refused), (10_000, 2000));
    broker.stop(Signal::TERM);
}

#[test]
fn patterns_that_blow_up_are_refused_or_harmless() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--memory", BUDGET]);
    let mut honest = Honest::join(&broker);
    let heartbeat = |(number, pattern): (usize, &str)| ConsumerGroupHeartbeatRequest {
        group_id: format!("patterns-{number}").into(),
        member_id: "member".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_regex: Some(pattern.into()),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let large = ["((a{1000}){1000}){1000}", "(((((((((a*)*)*)*)*)*)*)*)*){999}{999}", r"\p{L}{1000}{1000}"];
    flood(&broker, &mut honest, 1, large.into_iter().enumerate().map(heartbeat), |answer| {
        assert_eq!(answer.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION, "{answer:?}");
    });
    let nested = "(".repeat(30_000);
    flood(&broker, &mut honest, 1, [(9, &*nested)].into_iter().map(heartbeat), |answer| {
        assert_eq!(answer.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION, "{answer:?}");
    });
    let harmless = ["(a*)*b", "(o|r|or|d)*(orders|x)+$", "(.*)*(.*)*(.*)*z"];
    flood(&broker, &mut honest, 1, (10..).zip(harmless).map(heartbeat), |answer| {
        assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    });
    honest.goes_on();
    broker.stop(Signal::TERM);
}
