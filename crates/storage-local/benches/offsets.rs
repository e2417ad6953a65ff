//! How fast committed offsets become durable, and what that costs:
//! `cargo bench -p ottla-storage-local --bench offsets -- [SECONDS]`
//!
//! Callers are tasks of one thread, as on a network thread of the broker; each has one request in flight. The
//! database lies below the target directory, or in the directory that `OTTLA_BENCH_DIR` names: that disk is what is
//! measured, and in a directory in memory what the processors could do.

use std::{env, fs, sync::Arc, time::Duration};

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};
use ottla_storage::{
    Clock, GroupChange, GroupKind, GroupRow, GroupStore, MemberRow, OffsetKey, OffsetRow, OffsetStore,
    Random, SeededRandom, SystemClock,
};
use ottla_storage_local::StateDb;
use tokio::task::JoinSet;

/// Groups in the database that is not small.
const GROUPS: u64 = 10_000;
/// Partitions that each of them has committed offsets for.
const PARTITIONS: i32 = 10;

fn main() {
    // Cargo adds an argument of its own.
    let seconds = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let bench = Bench { clock: Arc::new(SystemClock::new()), length: Duration::from_secs(seconds) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(bench.run());
}

struct Bench {
    clock: Arc<SystemClock>,
    length: Duration,
}

/// What a caller does over and over: of each round, the group and the offsets.
type Round = fn(caller: u64, round: u64, random: &SeededRandom) -> (String, Vec<OffsetRow>);

impl Bench {
    async fn run(&self) {
        let parent = env::var("OTTLA_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").into());
        let dir = tempfile::tempdir_in(parent).unwrap();
        let path = dir.path().join("state.db");
        let db = Arc::new(StateDb::open(&path, Arc::new(|fault: &str| panic!("{fault}"))).unwrap());

        self.commits(&db, "64 callers, a group each, one offset", 64, own_group).await;
        self.commits(&db, "one caller, one offset", 1, own_group).await;
        let start = self.clock.monotonic();
        fill(&db).await;
        let took = self.clock.monotonic() - start;
        let len = fs::metadata(&path).unwrap().len() >> 10;
        println!("{GROUPS} groups of 2 members and {PARTITIONS} offsets stored in {took:.2?}, {len} KiB");
        self.load(&db).await;
        self.commits(&db, "64 callers, any of 10,000 groups, one offset", 64, any_group).await;
        self.commits(&db, "64 callers, any of 10,000 groups, all its offsets", 64, whole_group).await;
        self.commits(&db, "one caller, any of 10,000 groups, one offset", 1, any_group).await;
        self.reads(&db, "64 callers read all offsets of any of 10,000 groups", 64).await;
        self.reads(&db, "one caller reads all offsets of any of 10,000 groups", 1).await;
        db.close();
    }

    async fn commits(&self, db: &Arc<StateDb>, name: &str, callers: u64, round: Round) {
        let work = move |db: Arc<StateDb>, caller, number, random: Arc<SeededRandom>| async move {
            let (group, rows) = round(caller, number, &random);
            db.commit_offsets(&group, rows).await.unwrap();
        };
        self.measure(db, name, callers, work).await;
    }

    async fn reads(&self, db: &Arc<StateDb>, name: &str, callers: u64) {
        let work = |db: Arc<StateDb>, _, _, random: Arc<SeededRandom>| async move {
            let (group, rows) = whole_group(0, 0, &random);
            let read = db.read_offsets(&group, rows.iter().map(|row| row.key).collect()).await.unwrap();
            assert_eq!(read.len(), rows.len());
        };
        self.measure(db, name, callers, work).await;
    }

    /// Has so many callers do something over and over, and prints how that went.
    async fn measure<F: Future<Output = ()> + Send + 'static>(
        &self,
        db: &Arc<StateDb>,
        name: &str,
        callers: u64,
        work: impl Fn(Arc<StateDb>, u64, u64, Arc<SeededRandom>) -> F + Copy + Send + Sync + 'static,
    ) {
        let (start, cpu) = (self.clock.monotonic(), cpu_time());
        let end = start + self.length;
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (db, clock) = (db.clone(), self.clock.clone());
            let random = Arc::new(SeededRandom::new(caller));
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut last = clock.monotonic();
                while last < end {
                    work(db.clone(), caller, latencies.len() as u64, random.clone()).await;
                    let now = clock.monotonic();
                    latencies.push(now - last);
                    last = now;
                }
                latencies
            });
        }
        let mut latencies = tasks.join_all().await.concat();
        let (took, cpu) = (self.clock.monotonic() - start, cpu_time() - cpu);
        latencies.sort_unstable();
        let count = latencies.len();
        let (p50, p99) = (latencies[count / 2], latencies[count * 99 / 100]);
        println!(
            "{name}: {:.0}/s, p50 {p50:.0?}, p99 {p99:.0?}, CPU {:.1?} each",
            count as f64 / took.as_secs_f64(),
            cpu / u32::try_from(count).unwrap()
        );
    }

    async fn load(&self, db: &Arc<StateDb>) {
        let start = self.clock.monotonic();
        let (mut after, mut groups, mut members): (Option<Arc<str>>, usize, usize) = (None, 0, 0);
        loop {
            let page = db.load_groups(after.as_deref(), 500).await.unwrap();
            let Some(last) = page.last() else { break };
            groups += page.len();
            members += page.iter().map(|group| group.members.len()).sum::<usize>();
            after = Some(last.row.id.clone());
        }
        assert_eq!(groups as u64, GROUPS);
        let took = self.clock.monotonic() - start;
        println!("{groups} groups with {members} members loaded in {took:.2?}");
    }
}

fn own_group(caller: u64, round: u64, _random: &SeededRandom) -> (String, Vec<OffsetRow>) {
    (format!("own-group-{caller}"), vec![row(caller, i32::try_from(caller).unwrap(), round)])
}

fn any_group(_caller: u64, round: u64, random: &SeededRandom) -> (String, Vec<OffsetRow>) {
    let number = random.next_u64() % GROUPS;
    let partition = i32::try_from(random.next_u64() % PARTITIONS as u64).unwrap();
    (group_id(number), vec![row(number, partition, round)])
}

fn whole_group(_caller: u64, round: u64, random: &SeededRandom) -> (String, Vec<OffsetRow>) {
    let number = random.next_u64() % GROUPS;
    (group_id(number), (0..PARTITIONS).map(|partition| row(number, partition, round)).collect())
}

fn group_id(number: u64) -> String {
    format!("payments-service-{number:05}")
}

/// One of a hundred topics.
fn row(topic: u64, partition: i32, offset: u64) -> OffsetRow {
    let topic = topic % 100;
    OffsetRow {
        key: OffsetKey { topic: TopicId([topic as u8; 16]), partition: PartitionIndex(partition) },
        topic_name: format!("topic-{topic}").into(),
        offset: Offset(1_000_000 + offset.cast_signed()),
        leader_epoch: LeaderEpoch(3),
        metadata: String::new(),
        committed_at: TimestampMs(1_760_000_000_000 + offset.cast_signed()),
        expires_at: None,
    }
}

/// Stores groups of two members, and offsets of each.
async fn fill(db: &Arc<StateDb>) {
    let mut under_way = JoinSet::new();
    for number in 0..GROUPS {
        let id: Arc<str> = group_id(number).into();
        let row = GroupRow {
            id: id.clone(),
            kind: GroupKind::Classic,
            epoch: 1,
            protocol_type: "consumer".into(),
            state: vec![7; 100].into(),
            empty_since: None,
        };
        let member = |number: u64| MemberRow {
            member_id: format!("consumer-{id}-{number}-0123456789abcdef0123456789abcdef").into(),
            instance_id: None,
            client_id: format!("consumer-{id}-{number}"),
            client_host: "/192.168.100.200".into(),
            state: vec![number as u8; 300].into(),
        };
        let members = GroupChange::ReplaceMembers { group: id.clone(), members: vec![member(0), member(1)] };
        under_way.spawn(db.change_groups(vec![GroupChange::PutGroup(row), members]));
        let offsets = (0..PARTITIONS).map(|partition| self::row(number, partition, 0)).collect();
        under_way.spawn(db.commit_offsets(&id, offsets));
        if under_way.len() > 500 {
            under_way.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    for stored in under_way.join_all().await {
        stored.unwrap();
    }
}

/// What this process has used of the processors, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}
