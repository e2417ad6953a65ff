//! Members of a classic group: join, sync, heartbeat, and join again when a heartbeat says so.
//!
//! The leader gives each member an equal range of the partitions. All are given up at each rebalance (the eager
//! protocol, which is Java's default).

use std::time::Duration;

use super::{Clients, Next, PARTITIONS, owners};
use crate::{
    client::Topic,
    failure::{Doing, Result},
    frames::groups::{self, Who},
};

/// Defaults of Java's consumer.
const SESSION_TIMEOUT_MS: i32 = 45_000;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// The members of one group.
pub struct Members {
    group: String,
    topic: String,
    metadata: Vec<u8>,
    members: Vec<Member>,
    /// The newest generation and how many members its leader was told of.
    newest: (i32, usize),
}

#[derive(Default)]
struct Member {
    id: String,
    generation: i32,
    waits_for: Answer,
    /// What it was given in its generation.
    partitions: Vec<i32>,
}

/// The answer that a member waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Answer {
    #[default]
    Join,
    Sync,
    /// To a heartbeat, under way or to come: the member has its part of the generation.
    Heartbeat,
}

impl Members {
    /// So many clients, none of which has joined.
    pub fn new(group: String, topic: &Topic, clients: usize) -> Members {
        Members {
            group,
            topic: topic.name.clone(),
            metadata: groups::subscription(&topic.name),
            members: (0..clients).map(|_| Member::default()).collect(),
            newest: (0, 0),
        }
    }

    fn who(&self, client: usize) -> Who<'_> {
        let member = &self.members[client];
        Who { group: &self.group, member: &member.id, generation: member.generation }
    }

    fn rejoin(&mut self, client: usize) -> Next {
        Next::Rejoin(self.join(client))
    }

    fn joined(&mut self, client: usize, answer: &[u8]) -> Result<Next> {
        let joined = groups::read_joined(answer).doing("join the group")?;
        let member = &mut self.members[client];
        if joined.error_code == groups::MEMBER_ID_REQUIRED && member.id.is_empty() {
            member.id = joined.member;
            return Ok(self.rejoin(client));
        }
        groups::expect_none("join the group", joined.error_code)?;
        if joined.member != member.id || joined.generation <= member.generation {
            return Err(format!(
                "member {} of generation {} joined as {} in generation {}",
                member.id, member.generation, joined.member, joined.generation
            )
            .into());
        }
        member.generation = joined.generation;
        member.waits_for = Answer::Sync;
        if !joined.members.is_empty() {
            self.newest = (joined.generation, joined.members.len());
        }
        let assignments = self.assign(joined.members);
        Ok(Next::Send(groups::sync_group(self.who(client), &assignments)))
    }

    /// An equal range for each member, in the order of the list.
    fn assign(&self, members: Vec<String>) -> Vec<(String, Vec<u8>)> {
        let count = members.len() as i32;
        let bound = |member: i32| PARTITIONS * member / count;
        let with_range = |(member, id): (i32, String)| {
            (id, groups::assignment(&self.topic, bound(member)..bound(member + 1)))
        };
        (0..count).zip(members).map(with_range).collect()
    }

    fn synced(&mut self, client: usize, answer: &[u8]) -> Result<Next> {
        let (code, assignment) = groups::read_synced(answer).doing("sync the group")?;
        if code == groups::REBALANCE_IN_PROGRESS {
            return Ok(self.rejoin(client));
        }
        groups::expect_none("sync the group", code)?;
        let member = &mut self.members[client];
        member.partitions = groups::read_assignment(assignment).doing("sync the group")?;
        member.waits_for = Answer::Heartbeat;
        Ok(Next::Wait)
    }

    fn beaten(&mut self, client: usize, answer: &[u8]) -> Result<Next> {
        let code = groups::read_error(answer).doing("heartbeat")?;
        if code == groups::REBALANCE_IN_PROGRESS {
            return Ok(self.rejoin(client));
        }
        groups::expect_none("heartbeat", code)?;
        Ok(Next::Wait)
    }
}

impl Clients for Members {
    fn join(&mut self, client: usize) -> Vec<u8> {
        let member = &mut self.members[client];
        member.waits_for = Answer::Join;
        member.partitions.clear();
        groups::join_group(&self.group, &member.id, SESSION_TIMEOUT_MS, &self.metadata)
    }

    fn answered(&mut self, client: usize, answer: &[u8]) -> Result<Next> {
        match self.members[client].waits_for {
            Answer::Join => self.joined(client, answer),
            Answer::Sync => self.synced(client, answer),
            Answer::Heartbeat => self.beaten(client, answer),
        }
    }

    fn heartbeat(&self, client: usize) -> Vec<u8> {
        groups::heartbeat(self.who(client))
    }

    fn interval(&self) -> Duration {
        HEARTBEAT_INTERVAL
    }

    fn settled(&self, joined: usize) -> Result<bool> {
        let members = &self.members[..joined];
        let part =
            |member: &Member| member.waits_for == Answer::Heartbeat && member.generation == self.newest.0;
        if self.newest.1 != joined || !members.iter().all(part) {
            return Ok(false);
        }
        let owners = owners(members.iter().map(|member| &member.partitions[..]))?;
        match owners.iter().position(Option::is_none) {
            None => Ok(true),
            Some(partition) => {
                Err(format!("partition {partition} is nobody's in generation {}", self.newest.0).into())
            }
        }
    }

    fn state(&self, joined: usize) -> String {
        let waiting = |answer| self.members[..joined].iter().filter(|m| m.waits_for == answer).count();
        format!(
            "generation {} of {} members; {} wait for JoinGroup, {} for SyncGroup",
            self.newest.0,
            self.newest.1,
            waiting(Answer::Join),
            waiting(Answer::Sync)
        )
    }

    fn leave(&self, joined: usize) -> Vec<Vec<u8>> {
        let ids: Vec<&str> = self.members[..joined].iter().map(|member| &member.id[..]).collect();
        vec![groups::leave_group(&self.group, &ids)]
    }

    fn read_left(&self, answer: &[u8]) -> Result<i16> {
        groups::read_error(answer).doing("leave the group")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the leader assign, and gives each member what is meant for it.
    fn members(count: usize) -> Members {
        let mut members = Members::new("g".to_owned(), &Topic::new("t", PARTITIONS), count);
        members.newest = (1, count);
        let ids = (0..count).map(|client| client.to_string()).collect();
        for (client, (_, assignment)) in members.assign(ids).into_iter().enumerate() {
            let member = &mut members.members[client];
            member.generation = 1;
            member.waits_for = Answer::Heartbeat;
            member.partitions = groups::read_assignment(&assignment).unwrap();
        }
        members
    }

    #[test]
    fn a_group_has_settled_when_all_have_their_part_of_the_newest_generation() {
        for count in [1, 3, 500, 501] {
            assert_eq!(members(count).settled(count), Ok(true));
        }
        let mut one_generation_behind = members(3);
        one_generation_behind.newest.0 = 2;
        assert_eq!(one_generation_behind.settled(3), Ok(false));
        let mut one_not_told = members(3);
        one_not_told.members[1].waits_for = Answer::Sync;
        assert_eq!(one_not_told.settled(3), Ok(false));
        let mut one_not_counted = members(3);
        one_not_counted.newest.1 = 2;
        assert_eq!(one_not_counted.settled(3), Ok(false));
    }

    #[test]
    fn a_part_that_is_missing_is_an_error() {
        let mut members = members(3);
        members.members[2].partitions.pop();
        assert!(members.settled(3).unwrap_err().to_string().contains("partition 4999 is nobody's"));
    }
}
