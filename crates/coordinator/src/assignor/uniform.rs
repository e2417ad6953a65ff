//! The assignor `uniform`: members get equally many partitions, and keep what they have as far as that allows.
//!
//! Where all members have the same subscription, numbers of partitions differ by at most one, and no partition
//! moves that could have stayed: a member loses only what it has above its share. Where subscriptions differ,
//! see [`mixed`](super::mixed).

use super::{AssignedGroup, Assignment, Ownership, mixed};

pub(super) fn assign(group: &AssignedGroup<'_>) -> Vec<Assignment> {
    let mut ownership = Ownership::kept(group);
    match group.subscriptions.as_slice() {
        [] => return Vec::new(),
        [subscription] => level(&mut ownership, subscription),
        _ => mixed::level(group, &mut ownership),
    }
    ownership.targets(group)
}

/// Gives every member its share of the topics that all of them subscribe to.
fn level(ownership: &mut Ownership, subscription: &[usize]) {
    let partitions: Vec<_> = subscription.iter().flat_map(|topic| ownership.of_topic(*topic)).collect();
    let shares = shares(&ownership.counts, partitions.len());

    // From the last partition on, so that what a member keeps are the first of those that it has.
    for partition in partitions.iter().rev() {
        if let Some(owner) = ownership.owner(*partition)
            && ownership.counts[owner] > shares[owner]
        {
            ownership.take(*partition);
        }
    }

    // In turn, so that the partitions of one topic come to many members.
    let mut waiting: Vec<_> =
        (0..shares.len()).filter(|member| ownership.counts[*member] < shares[*member]).collect();
    let mut turn = 0;
    for partition in partitions {
        if ownership.owner(partition).is_some() {
            continue;
        }
        if turn >= waiting.len() {
            waiting.retain(|member| ownership.counts[*member] < shares[*member]);
            turn = 0;
        }
        // The shares add up to the partitions, so that somebody waits while a partition has no owner.
        let Some(member) = waiting.get(turn) else { return };
        ownership.give(partition, *member);
        turn += 1;
    }
}

/// How many partitions each member is to have. Where the division leaves a rest, those who have the most get
/// one more, so that they lose the least.
fn shares(counts: &[usize], partitions: usize) -> Vec<usize> {
    let (share, rest) = (partitions / counts.len(), partitions % counts.len());
    let mut by_count: Vec<_> = (0..counts.len()).collect();
    by_count.sort_by_key(|member| std::cmp::Reverse(counts[*member]));
    let mut shares = vec![share; counts.len()];
    by_count[..rest].iter().for_each(|member| shares[*member] += 1);
    shares
}
