//! The assignor `range`: each topic's partitions are dealt in ranges, to its subscribers in one order.
//!
//! All topics use the same order, so that where members have the same subscription and topics equally many
//! partitions, a member gets the same partitions of each. Static members come first, by their instance ids,
//! and so keep their ranges over restarts; what members had plays no part. This is Kafka's `RangeAssignor`.

use ottla_records::PartitionIndex;

use super::{AssignedGroup, AssignedMember, Assignment, TopicPartition};

/// How far a topic has been dealt.
#[derive(Clone, Default)]
struct Dealt {
    subscribers: usize,
    /// The first partition of the next range.
    next: usize,
    /// How many subscribers have got their range.
    served: usize,
}

pub(super) fn assign(group: &AssignedGroup<'_>) -> Vec<Assignment> {
    let mut order: Vec<_> = (0..group.members.len()).collect();
    order.sort_by_key(|member| rank(&group.members[*member]));

    let mut dealt = vec![Dealt::default(); group.topics.len()];
    for member in &order {
        group.subscription(*member).iter().for_each(|topic| dealt[*topic].subscribers += 1);
    }
    let mut targets = vec![Assignment::new(); group.members.len()];
    for member in order {
        let mut partitions = Vec::new();
        for topic in group.subscription(member) {
            let of = group.topics[*topic];
            let range = dealt[*topic].range(of.partitions as usize);
            partitions.extend(range.map(|index| TopicPartition::new(of.id, PartitionIndex(index as i32))));
        }
        targets[member] = partitions.into_iter().collect();
    }
    targets
}

impl Dealt {
    /// The range of the next subscriber. The first ones get one more where the division leaves a rest.
    fn range(&mut self, partitions: usize) -> std::ops::Range<usize> {
        let more = usize::from(self.served < partitions % self.subscribers);
        let from = self.next;
        self.next += partitions / self.subscribers + more;
        self.served += 1;
        from..self.next
    }
}

/// Static members by their instance ids, and then the others by their member ids.
fn rank<'a>(member: &AssignedMember<'a>) -> (bool, &'a str) {
    match member.instance_id {
        Some(instance) => (false, instance.as_str()),
        None => (true, member.id.as_str()),
    }
}
