//! Members of a group of KIP-848: heartbeats alone, which bring assignments and confirm them.
//!
//! A member that is given an assignment gives up what is not in it, takes what is, and says so in a heartbeat that it
//! sends at once, as Java's consumer does. All other heartbeats come at the interval that the broker names: so what
//! other members have given up reaches a member with its next one.

use std::time::Duration;

use super::{Clients, Next, PARTITIONS, owners};
use crate::{
    client::Topic,
    failure::{Doing, Result},
    frames::groups::{self, TopicId, Who},
};

/// The member epoch of a member that leaves.
const LEAVE: i32 = -1;

/// The members of one group.
pub struct Members {
    group: String,
    topic: String,
    members: Vec<Member>,
    topic_id: TopicId,
    interval: Duration,
}

struct Member {
    id: String,
    /// 0 until the first answer.
    epoch: i32,
    partitions: Vec<i32>,
    /// Whether a heartbeat that confirms the assignment is under way.
    confirms: bool,
}

impl Members {
    /// So many clients, none of which has joined.
    pub fn new(group: String, topic: &Topic, clients: usize) -> Members {
        let member = |client| Member {
            id: format!("{group}-member-{client:04}"),
            epoch: 0,
            partitions: Vec::new(),
            confirms: false,
        };
        Members {
            topic: topic.name.clone(),
            members: (0..clients).map(member).collect(),
            group,
            topic_id: [0; 16],
            // Until the broker names one.
            interval: Duration::from_secs(5),
        }
    }

    fn who(&self, client: usize) -> Who<'_> {
        let member = &self.members[client];
        Who { group: &self.group, member: &member.id, generation: member.epoch }
    }
}

impl Clients for Members {
    fn join(&mut self, client: usize) -> Vec<u8> {
        groups::consumer_heartbeat(self.who(client), Some(&self.topic), Some(&[]))
    }

    fn answered(&mut self, client: usize, answer: &[u8]) -> Result<Next> {
        let beaten = groups::read_beaten(answer).doing("heartbeat")?;
        groups::expect_none("heartbeat", beaten.error_code)?;
        self.interval = Duration::from_millis(u64::try_from(beaten.interval_ms).unwrap_or(0).max(100));
        let member = &mut self.members[client];
        if beaten.epoch < member.epoch || beaten.epoch <= 0 {
            let (id, epoch) = (&member.id, member.epoch);
            return Err(format!("member {id} came from epoch {epoch} to {}", beaten.epoch).into());
        }
        member.epoch = beaten.epoch;
        member.confirms = false;
        let Some(assignment) = beaten.assignment else { return Ok(Next::Wait) };
        member.confirms = true;
        member.partitions.clear();
        for (topic_id, partitions) in assignment {
            self.topic_id = topic_id;
            member.partitions.extend(partitions);
        }
        let owned = (&self.topic_id, &self.members[client].partitions[..]);
        let owned = if owned.1.is_empty() { &[][..] } else { &[owned][..] };
        Ok(Next::Send(groups::consumer_heartbeat(self.who(client), None, Some(owned))))
    }

    fn heartbeat(&self, client: usize) -> Vec<u8> {
        groups::consumer_heartbeat(self.who(client), None, None)
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn settled(&self, joined: usize) -> Result<bool> {
        let members = &self.members[..joined];
        // Both brokers balance evenly, so a target that not all members are in yet does not look like this.
        let even = PARTITIONS as usize / joined..=(PARTITIONS as usize).div_ceil(joined);
        let epoch = members[0].epoch;
        let done = |member: &Member| {
            member.epoch == epoch && !member.confirms && even.contains(&member.partitions.len())
        };
        // Also before all are done nobody may own what another owns.
        let owners = owners(members.iter().map(|member| &member.partitions[..]))?;
        Ok(epoch > 0 && members.iter().all(done) && owners.iter().all(Option::is_some))
    }

    fn state(&self, joined: usize) -> String {
        let members = &self.members[..joined];
        let (oldest, newest) = members.iter().fold((i32::MAX, 0), |(oldest, newest), member| {
            (oldest.min(member.epoch), newest.max(member.epoch))
        });
        let counts = || members.iter().map(|member| member.partitions.len());
        format!(
            "member epochs {oldest} to {newest}, {} partitions owned, {} to {} by a member",
            counts().sum::<usize>(),
            counts().min().unwrap_or(0),
            counts().max().unwrap_or(0)
        )
    }

    fn leave(&self, joined: usize) -> Vec<Vec<u8>> {
        let leave = |client| {
            let who = Who { generation: LEAVE, ..self.who(client) };
            groups::consumer_heartbeat(who, None, None)
        };
        (0..joined).map(leave).collect()
    }

    fn read_left(&self, answer: &[u8]) -> Result<i16> {
        Ok(groups::read_beaten(answer).doing("leave the group")?.error_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member that is at `epoch` and owns these partitions.
    fn check(members: &[(i32, std::ops::Range<i32>)]) -> Result<bool> {
        let mut group = Members::new("g".to_owned(), &Topic::new("t", PARTITIONS), members.len());
        for (client, (epoch, partitions)) in members.iter().cloned().enumerate() {
            group.members[client].epoch = epoch;
            group.members[client].partitions = partitions.collect();
        }
        group.settled(members.len())
    }

    #[test]
    fn a_group_has_settled_with_one_epoch_and_an_even_share_for_each() {
        assert_eq!(check(&[(3, 0..2500), (3, 2500..5000)]), Ok(true));
        assert_eq!(check(&[(3, 0..1667), (3, 1667..3334), (3, 3334..5000)]), Ok(true));
        assert_eq!(check(&[(3, 0..2500), (2, 2500..5000)]), Ok(false));
        assert_eq!(check(&[(3, 0..5000), (3, 0..0)]), Ok(false));
        assert_eq!(check(&[(3, 0..2500), (3, 2500..4999)]), Ok(false));
        assert_eq!(check(&[(0, 0..0)]), Ok(false));
        assert!(check(&[(3, 0..2500), (3, 2499..4999)]).is_err());
    }

    #[test]
    fn an_assignment_is_confirmed_at_once_and_before_that_not_settled() {
        let mut group = Members::new("g".to_owned(), &Topic::new("t", PARTITIONS), 1);
        let mut answer = vec![0; 13];
        answer.extend([0, 0, 0, 0]); // no error, no message, no member id
        answer.extend(1_i32.to_be_bytes());
        answer.extend(5_000_i32.to_be_bytes());
        let unchanged = [&answer[..], &[0xff]].concat();
        answer.extend([1, 2]);
        answer.extend([7; 16]);
        answer.extend([0x89, 0x27]); // 5,000 partitions
        (0..PARTITIONS).for_each(|partition| answer.extend(partition.to_be_bytes()));
        answer.extend([0, 0, 0]);

        let Ok(Next::Send(frame)) = group.answered(0, &answer) else { panic!("the member does not confirm") };
        assert!(frame.windows(16).any(|window| window == [7; 16]));
        assert_eq!(group.settled(1), Ok(false));
        assert!(matches!(group.answered(0, &unchanged), Ok(Next::Wait)));
        assert_eq!(group.settled(1), Ok(true));
    }
}
