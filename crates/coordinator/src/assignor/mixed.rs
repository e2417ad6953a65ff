//! The assignor `uniform` where the subscriptions of members differ.
//!
//! What members had stays where it may. Partitions without an owner go to the subscriber that has the least,
//! those of topics with few subscribers first, for there is the least choice. Then partitions move from one
//! subscriber to another that has at least two fewer, until there are no such two: no single move makes the
//! group more even then.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{AssignedGroup, Ownership};

/// How often the topics are gone through, at most, to even the group out. Each round takes time proportional to
/// the partitions, and almost all groups are even after two or three.
const ROUNDS_MAX: usize = 32;

pub(super) fn level(group: &AssignedGroup<'_>, ownership: &mut Ownership) {
    let mut wanted_by = vec![Vec::new(); group.topics.len()];
    for (subscription, topics) in group.subscriptions.iter().enumerate() {
        topics.iter().for_each(|topic| wanted_by[*topic].push(subscription));
    }
    let mut loads = Loads::new(group, ownership);
    let mut order: Vec<_> = (0..group.topics.len()).filter(|topic| !wanted_by[*topic].is_empty()).collect();
    order.sort_by_key(|topic| {
        wanted_by[*topic].iter().map(|subscription| loads.by_subscription[*subscription].len()).sum::<usize>()
    });

    for topic in &order {
        hand_out(*topic, &wanted_by[*topic], ownership, &mut loads);
    }
    for _ in 0..ROUNDS_MAX {
        let moved = order.iter().map(|topic| even_out(*topic, &wanted_by[*topic], ownership, &mut loads));
        if moved.sum::<usize>() == 0 {
            return;
        }
    }
}

/// Gives each partition of a topic that has no owner to the subscriber that has the least.
fn hand_out(topic: usize, wanted_by: &[usize], ownership: &mut Ownership, loads: &mut Loads) {
    let mut least = Least::new(wanted_by, loads);
    for partition in ownership.of_topic(topic) {
        if ownership.owner(partition).is_some() {
            continue;
        }
        let Some((_, member)) = least.find(loads) else { return };
        ownership.give(partition, member);
        least.note(loads, member, 1);
    }
}

/// Moves partitions of a topic from those that have much to those that have little; answers how many.
fn even_out(topic: usize, wanted_by: &[usize], ownership: &mut Ownership, loads: &mut Loads) -> usize {
    let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for partition in ownership.of_topic(topic) {
        if let Some(owner) = ownership.owner(partition) {
            owned.entry(owner).or_default().push(partition);
        }
    }
    let mut most: BinaryHeap<_> = owned.keys().map(|owner| (loads.of[*owner], Reverse(*owner))).collect();
    let mut least = Least::new(wanted_by, loads);
    let mut moved = 0;
    while let Some((load, Reverse(from))) = most.pop() {
        let Some((least_load, to)) = least.find(loads) else { break };
        if load < least_load + 2 {
            break;
        }
        let Some(partition) = owned.get_mut(&from).and_then(Vec::pop) else { continue };
        ownership.give(partition, to);
        least.note(loads, from, -1);
        least.note(loads, to, 1);
        // Who has just got one has at most one less than who gave it, and gives nothing on in this round.
        most.push((loads.of[from], Reverse(from)));
        moved += 1;
    }
    moved
}

/// How many partitions each member has, and per subscription the members in that order.
struct Loads {
    of: Vec<usize>,
    subscription_of: Vec<usize>,
    by_subscription: Vec<BTreeSet<(usize, usize)>>,
}

impl Loads {
    fn new(group: &AssignedGroup<'_>, ownership: &Ownership) -> Self {
        let of = ownership.counts.clone();
        let subscription_of: Vec<_> = group.members.iter().map(|member| member.subscription).collect();
        let mut by_subscription = vec![BTreeSet::new(); group.subscriptions.len()];
        for (member, load) in of.iter().enumerate() {
            by_subscription[subscription_of[member]].insert((*load, member));
        }
        Self { of, subscription_of, by_subscription }
    }

    fn change(&mut self, member: usize, by: isize) {
        let members = &mut self.by_subscription[self.subscription_of[member]];
        members.remove(&(self.of[member], member));
        self.of[member] = self.of[member].saturating_add_signed(by);
        members.insert((self.of[member], member));
    }
}

/// Finds who has the least among the subscribers of a topic, without a look at each of them.
struct Least {
    /// The least of each subscription at some time; what is no longer so is found out late.
    candidates: BinaryHeap<Reverse<(usize, usize)>>,
}

impl Least {
    fn new(subscriptions: &[usize], loads: &Loads) -> Self {
        let least =
            subscriptions.iter().filter_map(|subscription| loads.by_subscription[*subscription].first());
        Self { candidates: least.map(|least| Reverse(*least)).collect() }
    }

    /// The load and the index of the member that has the least.
    fn find(&mut self, loads: &Loads) -> Option<(usize, usize)> {
        while let Some(Reverse((load, member))) = self.candidates.peek().copied() {
            let members = &loads.by_subscription[loads.subscription_of[member]];
            if members.first() == Some(&(load, member)) {
                return Some((load, member));
            }
            self.candidates.pop();
        }
        None
    }

    /// Changes a load, which may give its subscription another least member.
    fn note(&mut self, loads: &mut Loads, member: usize, by: isize) {
        loads.change(member, by);
        let least = loads.by_subscription[loads.subscription_of[member]].first();
        self.candidates.extend(least.map(|least| Reverse(*least)));
    }
}
