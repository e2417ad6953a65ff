//! Row k: committing offsets, as a client that is no member of its group and as a member.

use std::time::Duration;

use crate::{
    broker::{Broker, Kind},
    client::{Client, Topic, await_groups, create_topic},
    failure::{Doing, Result},
    frames::{
        self, Template,
        groups::{self, Who},
    },
    generator::{Generator, Outcome, Until, Work},
    rows::{Context, Figures, Reading, Used, blame},
};

const PARTITIONS: i32 = 64;
/// Members of this row send no heartbeats, so that nothing but commits is measured: half an hour, which is the most
/// that both brokers allow.
const SESSION_TIMEOUT_MS: i32 = 1_800_000;

/// Row k.
pub fn run(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let topic = Topic::new("commit", PARTITIONS);
    create_topic(context, &mut broker, &topic)?;
    await_groups(context, &mut broker)?;
    let cases = [
        Case { prefix: "simple.", connections: 64, members: false },
        Case { prefix: "member.", connections: 64, members: true },
        Case { prefix: "one.", connections: 1, members: false },
    ];
    for case in cases {
        rounds(context, &broker, &topic, &case, &mut figures)
            .map_err(|failure| blame(&mut broker, failure))?;
    }
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// One way to commit: each connection has a group of its own and one request under way.
struct Case {
    prefix: &'static str,
    connections: usize,
    /// Whether each connection has joined its group and commits as its member.
    members: bool,
}

fn rounds(
    context: &Context,
    broker: &Broker,
    topic: &Topic,
    case: &Case,
    figures: &mut Figures,
) -> Result<()> {
    let names: Vec<String> = (0..case.connections).map(|n| format!("{}{n:03}", case.prefix)).collect();
    let mut templates = Vec::new();
    for group in &names {
        let (member, generation) =
            if case.members { join(broker, topic, group)? } else { (String::new(), -1) };
        let who = Who { group, member: &member, generation };
        templates.push(groups::offset_commit(&topic.name, who));
    }
    for round_number in 1..=context.options.rounds {
        let (outcome, used) = round(context, broker, topic, &names, &templates)?;
        if round_number == context.options.rounds {
            figures.set_round(case.prefix, &outcome, &used);
        }
    }
    Ok(())
}

fn round(
    context: &Context,
    broker: &Broker,
    topic: &Topic,
    names: &[String],
    templates: &[Template],
) -> Result<(Outcome, Used)> {
    context.settle()?;
    let work = Commits { templates: templates.to_vec() };
    let mut generator = Generator::connect(broker.addr(), names.len(), 1, work, &context.interrupted)?;
    let before = Reading::take(context, broker)?;
    let outcome = generator.run(Until::Elapsed(context.round()))?;
    let used = Reading::take(context, broker)?.since(before);
    generator.drain()?;
    for (connection, group) in names.iter().enumerate() {
        check_committed(broker, topic, group, connection, generator.answered(connection))?;
    }
    Ok((outcome, used))
}

/// Joins a group as its only member, and returns the member's id and generation.
fn join(broker: &Broker, topic: &Topic, group: &str) -> Result<(String, i32)> {
    let mut client = Client::connect(broker.addr(), Duration::from_secs(60)).doing("connect")?;
    let metadata = groups::subscription(&topic.name);
    let mut join = |member: &str| {
        let answer = client.call(&groups::join_group(group, member, SESSION_TIMEOUT_MS, &metadata));
        groups::read_joined(&answer.doing("join a group")?).doing("join a group")
    };
    let first = join("")?;
    if first.error_code != groups::MEMBER_ID_REQUIRED {
        return Err(format!("joining without a member id: error {}, not 79", first.error_code).into());
    }
    let joined = join(&first.member)?;
    groups::expect_none("join a group", joined.error_code)?;
    let who = Who { group, member: &joined.member, generation: joined.generation };
    let all = vec![(joined.member.clone(), groups::assignment(&topic.name, 0..topic.partitions))];
    let answer = client.call(&groups::sync_group(who, &all)).doing("sync a group")?;
    let (code, assignment) = groups::read_synced(&answer).doing("sync a group")?;
    groups::expect_none("sync a group", code)?;
    let given = groups::read_assignment(assignment).doing("sync a group")?.len();
    if given != topic.partitions as usize {
        return Err(format!("a member alone was given {given} of {} partitions", topic.partitions).into());
    }
    Ok((joined.member, joined.generation))
}

/// Asks for what a group has committed, and compares it with the last commit of each partition.
fn check_committed(
    broker: &Broker,
    topic: &Topic,
    group: &str,
    connection: usize,
    commits: u64,
) -> Result<()> {
    let mut client = Client::connect(broker.addr(), Duration::from_secs(60)).doing("connect")?;
    let answer =
        client.call(&groups::offset_fetch(group, &topic.name, topic.partitions)).doing("fetch offsets")?;
    let committed = groups::read_offsets(&answer).doing("fetch offsets")?;
    groups::expect_none("fetch offsets", committed.error_code)?;
    if committed.partitions.len() != topic.partitions as usize {
        return Err(format!("group {group} has offsets of {} partitions", committed.partitions.len()).into());
    }
    let last = last_commits(connection, commits);
    for (partition, code, offset) in committed.partitions {
        groups::expect_none(&format!("offset of group {group}, partition {partition}"), code)?;
        let due = usize::try_from(partition).ok().and_then(|index| last.get(index)).copied().flatten();
        // A partition that this round did not reach keeps what an earlier one gave it, or -1.
        if due.is_some_and(|due| offset != due) {
            return Err(format!(
                "group {group}, partition {partition}: offset {offset} where {due:?} was committed"
            )
            .into());
        }
    }
    Ok(())
}

/// The last offset that a connection has committed to each partition.
fn last_commits(connection: usize, commits: u64) -> Vec<Option<i64>> {
    let mut last = vec![None; PARTITIONS as usize];
    for sequence in commits.saturating_sub(PARTITIONS as u64)..commits {
        last[partition(connection, sequence) as usize] = Some(sequence as i64);
    }
    last
}

/// Each connection goes round all partitions, starting at its own place.
fn partition(connection: usize, sequence: u64) -> i32 {
    ((connection as u64 + sequence) % PARTITIONS as u64) as i32
}

/// Commits that differ in partition and offset; a connection's frame names its group and member.
struct Commits {
    templates: Vec<Template>,
}

impl Work for Commits {
    fn template(&self, connection: usize) -> &Template {
        &self.templates[connection]
    }

    fn prepare(&mut self, connection: usize, sequence: u64, head: &mut [u8]) -> bool {
        let template = &self.templates[connection];
        template.patch(head, sequence as i32, partition(connection, sequence));
        template.patch_offset(head, sequence as i64);
        true
    }

    fn check(&mut self, connection: usize, sequence: u64, seen: &[u8]) -> std::result::Result<u64, String> {
        let due = partition(connection, sequence);
        match groups::read_committed(seen) {
            Ok((partition, frames::NONE)) if partition == due => Ok(0),
            Ok((partition, code)) => {
                let name = frames::error_name(code);
                Err(format!("commit of partition {due}: partition {partition}, error {code} ({name})"))
            }
            Err(error) => Err(format!("commit of partition {due}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_of_each_partition_is_known() {
        assert!(last_commits(3, 0).iter().all(Option::is_none));
        let few = last_commits(63, 2);
        assert_eq!((few[63], few[0], few[1]), (Some(0), Some(1), None));
        let many = last_commits(0, 130);
        assert_eq!((many[0], many[1], many[2], many[63]), (Some(128), Some(129), Some(66), Some(127)));
    }

    #[test]
    fn an_error_code_in_an_answer_is_an_error() {
        let mut work = Commits { templates: Vec::new() };
        let answer = |partition: u8, code: u8| {
            [&[0; 9][..], &[0; 4], &[2, 2, b't', 2, 0, 0, 0, partition, 0, code]].concat()
        };
        assert_eq!(work.check(1, 4, &answer(5, 0)), Ok(0));
        assert!(work.check(1, 4, &answer(5, 25)).unwrap_err().contains("UNKNOWN_MEMBER_ID"));
        assert!(work.check(1, 4, &answer(4, 0)).unwrap_err().contains("partition 5: partition 4"));
    }
}
