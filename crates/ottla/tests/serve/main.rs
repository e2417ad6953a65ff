//! `ottla serve` as a process: what it prints, what it serves, how it ends, and what it leaves.

mod hostile_groups;
mod process;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use ottla_protocol::{
    ErrorCode,
    messages::{
        api_versions::ApiVersionsRequest,
        describe_cluster::DescribeClusterRequest,
        fetch::{FetchPartition, FetchRequest, FetchTopic},
        heartbeat::HeartbeatRequest,
        join_group::{JoinGroupRequest, JoinGroupRequestProtocol},
        list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
        metadata::{MetadataRequest, MetadataRequestTopic},
        offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::OffsetFetchRequest,
        produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
        sync_group::{SyncGroupRequest, SyncGroupRequestAssignment},
    },
};
use ottla_records::{BatchBuilder, NewRecord};
use ottla_testing_internal::TestClient;
use rustix::process::Signal;

use crate::process::{Ottla, command, dir};

/// Runs a broker that is expected not to start, and expects its exit code and texts in its one error line.
fn check_refused(dir: &Path, args: &[&str], code: i32, texts: &[&str]) {
    let output = command(dir, args).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(output.stdout.is_empty(), "{args:?}: it said that it runs");
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("ottla: ")).collect();
    let [line] = lines[..] else { panic!("{args:?}: {error}") };
    for text in texts {
        assert!(line.contains(text), "{args:?}: {text:?} expected: {line}");
    }
}

fn produce(topic: &str, values: &[&str]) -> ProduceRequest {
    let mut batch = BatchBuilder::new();
    for value in values {
        batch.push(&NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() }).unwrap();
    }
    let records = batch.build().unwrap().into();
    let partition_data = vec![PartitionProduceData { records, ..PartitionProduceData::default() }];
    let topic = TopicProduceData { name: topic.into(), partition_data, ..TopicProduceData::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn check_produced(client: &mut TestClient, topic: &str, values: &[&str], base_offset: i64) {
    let answer = client.call(9, &produce(topic, values));
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, base_offset), "{answer:?}");
}

fn create(client: &mut TestClient, topic: &str) {
    let topics = vec![MetadataRequestTopic { name: Some(topic.into()), ..MetadataRequestTopic::default() }];
    let answer = client.call(9, &MetadataRequest { topics: Some(topics), ..MetadataRequest::default() });
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
}

fn end_offset(client: &mut TestClient, topic: &str) -> i64 {
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions, ..ListOffsetsTopic::default() }];
    let answer = client.call(6, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() });
    answer.topics[0].partitions[0].offset
}

/// A commit of the offset of partition 0.
fn commit(group: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition =
        OffsetCommitRequestPartition { committed_offset: offset, ..OffsetCommitRequestPartition::default() };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..OffsetCommitRequest::default() }
}

fn cluster_id(client: &mut TestClient) -> String {
    client.call(0, &DescribeClusterRequest::default()).cluster_id.to_string()
}

#[test]
fn the_start_block_tells_what_runs_where() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--data", "here", "--memory", "64MiB"]);
    assert_eq!(broker.block.lines().next(), Some(concat!("ottla ", env!("CARGO_PKG_VERSION"))));
    assert_eq!(broker.line("data"), Some("here"));
    assert!(broker.line("durability").unwrap().starts_with("fsync"), "{}", broker.block);
    assert_eq!(broker.line("memory"), Some("64 MiB"));
    assert_eq!(broker.line("topics"), Some("0"));
    let container = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists());
    assert_eq!(broker.block.contains("--advertise HOST:PORT"), container, "{}", broker.block);

    let [address] = broker.addresses[..] else { panic!("{}", broker.block) };
    assert_ne!(address.port(), 0, "the port that it got is printed");
    assert_eq!(broker.client().call(0, &ApiVersionsRequest::default()).error_code, ErrorCode::NONE);
    create(&mut broker.client(), "a");
    broker.stop(Signal::TERM);
    let broker = Ottla::start(dir.path(), &["--data", "here"]);
    assert_eq!(broker.line("topics"), Some("1"));
}

#[test]
#[cfg(target_os = "linux")]
fn as_many_files_may_be_open_as_the_system_allows() {
    let dir = dir();
    let broker = command(dir.path(), &["--listen", "127.0.0.1:0"]);
    // A shell with a low limit that may be raised, as is usual for services.
    let mut shell = Command::new("sh");
    let script = "ulimit -Sn 64; ulimit -Hn 512; exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(broker.get_program()).args(broker.get_args());
    shell.current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::null());
    let broker = Ottla::spawn(dir.path(), &mut shell);
    let limits = fs::read_to_string(broker.proc("limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "512"], "{files}");
}

#[test]
fn a_log_in_a_file_is_plain_text() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &[]);
    let mut client = broker.client();
    client.write(b"GET / HTTP/1.1\r\n\r\n");
    client.expect_close();
    let peer = client.local_address().to_string();
    broker.stop(Signal::TERM);
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains(&peer) && log.contains("WARN"), "{log}");
    assert!(!log.contains('\x1b'), "{log:?}");
}

#[test]
fn each_listener_gets_a_port_and_is_told_of_by_itself() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--listen", "127.0.0.1:0"]);
    let [one, other] = broker.addresses[..] else { panic!("{}", broker.block) };
    assert_ne!(one.port(), other.port());
    for address in [one, other] {
        let answer = TestClient::connect(address).call(9, &MetadataRequest::default());
        assert_eq!(answer.brokers[0].port, i32::from(address.port()));
    }
}

#[test]
fn a_client_is_told_the_address_it_dialled() {
    let dir = dir();
    let mut hosts = vec!["127.0.0.1", "127.0.0.2"];
    // Where the host has IPv6.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        hosts.push("::1");
    }
    let at = |host: &&str| SocketAddr::new(host.parse().unwrap(), 0).to_string();
    let listen: Vec<String> = hosts.iter().map(at).collect();
    let args: Vec<&str> = listen.iter().flat_map(|at| ["--listen", at]).collect();
    let broker = Ottla::start_on(dir.path(), &args);
    for (address, host) in broker.addresses.iter().zip(hosts) {
        let mut client = TestClient::connect(*address);
        let metadata = client.call(13, &MetadataRequest::default());
        let cluster = client.call(2, &DescribeClusterRequest::default());
        let port = i32::from(address.port());
        assert_eq!((&*metadata.brokers[0].host, metadata.brokers[0].port), (host, port));
        assert_eq!((&*cluster.brokers[0].host, cluster.brokers[0].port), (host, port));
    }
}

#[test]
fn what_is_advertised_is_told_by_every_api() {
    let dir = dir();
    let broker = Ottla::start(dir.path(), &["--advertise", "kafka.example:19092", "--set", "node.id=5"]);
    assert_eq!(broker.line("advertised"), Some("kafka.example:19092"));
    let mut client = broker.client();
    let metadata = client.call(13, &MetadataRequest::default());
    let cluster = client.call(2, &DescribeClusterRequest::default());
    let (one, other) = (&metadata.brokers[0], &cluster.brokers[0]);
    assert_eq!((one.node_id, &*one.host, one.port), (5, "kafka.example", 19092));
    assert_eq!((other.broker_id, &*other.host, other.port), (5, "kafka.example", 19092));
    assert_eq!((metadata.controller_id, cluster.controller_id), (5, 5));
    assert_eq!(metadata.cluster_id.as_deref(), Some(&*cluster.cluster_id));
}

#[test]
fn a_wrong_setting_ends_with_2_and_names_itself_its_place_and_the_nearest() {
    let dir = dir();
    let check = |args: &[&str], texts: &[&str]| check_refused(dir.path(), args, 2, texts);
    check(&["--set", "num.partition=3"], &["--set", "num.partition", "did you mean num.partitions?"]);
    check(&["--set", "num.partitions=0"], &["--set", "num.partitions", "at least 1"]);
    check(&["--set", "retention.bytes=1"], &["--set", "did you mean log.retention.bytes?"]);
    check(&["--memory", "1MiB"], &["--memory", "memory.budget", "32 MiB"]);
    check(&["--listen", "localhost"], &["--listen", "localhost", "HOST:PORT"]);
    check(&["--advertise", "0.0.0.0:9092"], &["--advertise", "0.0.0.0:9092"]);
    check(&["--config", "none.toml"], &["--config", "none.toml"]);

    fs::write(dir.path().join("o.toml"), "data = \"d\"\n\n\"num.partition\" = 3\n").unwrap();
    check(&["--config", "o.toml"], &["o.toml:3", "num.partition", "did you mean num.partitions?"]);
    fs::write(dir.path().join("o.toml"), "\"num.partitions\" = 3\nlisten = [\n").unwrap();
    check(&["--config", "o.toml"], &["o.toml:"]);
    assert!(!dir.path().join("ottla-data").exists(), "nothing was made");
}

#[test]
fn a_port_that_is_taken_ends_with_3() {
    let dir = dir();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(dir.path(), &["--listen", &address], 3, &[&address, "--listen"]);
    assert!(!dir.path().join("ottla-data").exists(), "nothing was made");
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_with_4() {
    let dir = dir();
    let listen = ["--listen", "127.0.0.1:0"];
    let check = |data: &str, texts: &[&str]| {
        check_refused(dir.path(), &[&listen[..], &["--data", data]].concat(), 4, texts);
    };
    fs::write(dir.path().join("file"), "").unwrap();
    check("file", &["file", "--data"]);
    check("file/below", &["file/below", "--data"]);

    let broker = Ottla::start(dir.path(), &["--data", "used"]);
    check("used", &["used", "in use by another process"]);
    check_produced_after(&broker);
    broker.kill();
    // What held it is gone, and so is the lock.
    Ottla::start(dir.path(), &["--data", "used"]).stop(Signal::TERM);

    fs::create_dir_all(dir.path().join("damaged")).unwrap();
    fs::write(dir.path().join("damaged/state.db"), "this is no database, and was never one").unwrap();
    check("damaged", &["damaged/state.db"]);
}

/// The broker works on, whoever else wanted its directory.
fn check_produced_after(broker: &Ottla) {
    let mut client = broker.client();
    create(&mut client, "a");
    check_produced(&mut client, "a", &["1"], 0);
}

#[test]
fn the_cluster_id_is_made_once_and_kept() {
    let (dir, other) = (dir(), tempfile::tempdir().unwrap());
    let broker = Ottla::start(dir.path(), &[]);
    let id = cluster_id(&mut broker.client());
    assert!(!id.is_empty());
    broker.stop(Signal::TERM);
    let broker = Ottla::start(dir.path(), &[]);
    assert_eq!(cluster_id(&mut broker.client()), id);
    broker.kill();
    let broker = Ottla::start(dir.path(), &[]);
    assert_eq!(cluster_id(&mut broker.client()), id);
    assert_ne!(cluster_id(&mut Ottla::start(other.path(), &[]).client()), id);
}

#[test]
fn it_stops_in_order_while_clients_are_connected() {
    let dir = dir();
    for (turn, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let broker = Ottla::start(dir.path(), &[]);
        let (mut idle, mut waiting, mut half) = (broker.client(), broker.client(), broker.client());
        create(&mut idle, "a");
        let written = turn as i64 * 2;
        check_produced(&mut idle, "a", &["1", "2"], written);
        // One waits for records that do not come, and one is in the middle of a frame.
        let partition = FetchPartition {
            fetch_offset: written + 2,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = FetchTopic { topic: "a".into(), partitions: vec![partition], ..FetchTopic::default() };
        let long = FetchRequest {
            max_wait_ms: 60_000,
            min_bytes: 1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let _ = waiting.send(12, &long);
        half.write(&[0, 0, 1, 0, 0, 3]);
        broker.stop(signal);
        assert!(idle.receive_frame().is_none(), "the connection is closed");
    }
    let broker = Ottla::start(dir.path(), &[]);
    assert_eq!(end_offset(&mut broker.client(), "a"), 4);
    assert_eq!(broker.line("replayed"), None, "a stop in order leaves nothing to replay");
}

#[test]
fn members_go_on_after_a_stop_that_waits_for_nobody_and_after_a_kill() {
    let dir = dir();
    let settings = &["--set", "group.initial.rebalance.delay.ms=0"];
    let broker = Ottla::start(dir.path(), settings);
    let (mut client, mut late) = (broker.client(), broker.client());
    create(&mut client, "orders");
    let protocols = || vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }];
    let joining = || JoinGroupRequest {
        group_id: "readers".into(),
        session_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: protocols(),
        ..JoinGroupRequest::default()
    };
    let joined = client.call(3, &joining());
    let (member_id, generation_id) = (joined.member_id.clone(), joined.generation_id);
    assert_eq!((joined.error_code, generation_id), (ErrorCode::NONE, 1), "{joined:?}");
    let all = SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: "all".into(),
        ..SyncGroupRequestAssignment::default()
    };
    let syncing = |assignments| SyncGroupRequest {
        group_id: "readers".into(),
        member_id: member_id.clone(),
        generation_id,
        assignments,
        ..SyncGroupRequest::default()
    };
    assert_eq!(client.call(3, &syncing(vec![all])).assignment, "all");
    let commit = |client: &mut TestClient, to| {
        let request = OffsetCommitRequest {
            member_id: member_id.clone(),
            generation_id_or_member_epoch: generation_id,
            ..commit("readers", "orders", to)
        };
        let answer = client.call(7, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE, "{answer:?}");
    };
    commit(&mut client, 7);
    // This one waits for the other to join again, which it does not.
    let waits = late.send(3, &joining());
    let beating = HeartbeatRequest {
        group_id: "readers".into(),
        member_id: member_id.clone(),
        generation_id,
        ..HeartbeatRequest::default()
    };
    while client.call(3, &beating).error_code != ErrorCode::REBALANCE_IN_PROGRESS {}
    broker.stop(Signal::TERM);
    assert_eq!(late.receive(waits).error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);

    let fetching = || OffsetFetchRequest { group_id: "readers".into(), topics: None, ..Default::default() };
    let check = |client: &mut TestClient, to| {
        assert_eq!(client.call(3, &beating).error_code, ErrorCode::NONE);
        assert_eq!(client.call(3, &syncing(Vec::new())).assignment, "all");
        assert_eq!(client.call(7, &fetching()).topics[0].partitions[0].committed_offset, to);
    };
    let broker = Ottla::start(dir.path(), settings);
    let mut client = broker.client();
    check(&mut client, 7);
    commit(&mut client, 8);
    broker.kill();
    let broker = Ottla::start(dir.path(), settings);
    check(&mut broker.client(), 8);
    broker.stop(Signal::INT);
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let dir = dir();
    for turn in 0..3 {
        let broker = Ottla::start(dir.path(), &[]);
        let mut client = broker.client();
        create(&mut client, "a");
        assert_eq!(end_offset(&mut client, "a"), turn * 2);
        check_produced(&mut client, "a", &["1", "2"], turn * 2);
        broker.kill();
    }
}
