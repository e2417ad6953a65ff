//! How a member goes from what it has to what it is to have.
//!
//! First it gives up what its target no longer has, and only when it has confirmed that, it goes on to the
//! epoch of the target and gets what nobody else has. What others have comes with its later heartbeats. Pure:
//! one row in, one row out.

use std::collections::HashSet;

use super::stored::{CurrentRow, MemberState};
use crate::{
    GroupEpoch, MemberEpoch,
    assignor::{Assignment, Partitions, TopicPartition},
};

/// What a member is reconciled with.
pub(super) struct Goal<'a, S> {
    /// The epoch of the target.
    pub(super) epoch: GroupEpoch,
    /// What the member is to have in it.
    pub(super) target: &'a Assignment,
    /// Whether the member subscribes to the topic of a partition: its target may be from before it changed its
    /// subscription.
    pub(super) subscribes: S,
    /// Whether the subscription has just changed.
    pub(super) resubscribed: bool,
    /// What the member says that it has, where it says that.
    pub(super) owned: Option<&'a Assignment>,
    /// What members have, and what they have not confirmed yet to have given up.
    pub(super) held: &'a HashSet<TopicPartition>,
}

/// The member's next step, or `None` where it stays as it is.
pub(super) fn next<S: Fn(TopicPartition) -> bool>(
    current: &CurrentRow,
    goal: &Goal<'_, S>,
) -> Option<CurrentRow> {
    let waits = current.state == MemberState::UnrevokedPartitions && goal.owns_any(&current.pending);
    let next = match (waits, goal.resubscribed) {
        (true, false) => return None,
        (true, true) => narrowed(current, goal),
        (false, false) if current.is_at(goal.epoch) => return None,
        (false, _) => toward(current, goal),
    };
    (next != *current).then_some(next)
}

/// The member has more to give up: what it does not subscribe to any more.
fn narrowed<S: Fn(TopicPartition) -> bool>(current: &CurrentRow, goal: &Goal<'_, S>) -> CurrentRow {
    let (assigned, unwanted) = current.assigned.split(&goal.subscribes);
    CurrentRow { assigned, pending: current.pending.clone().with(unwanted.entries()), ..current.clone() }
}

/// The member gives up what it must, or else gets what it may.
fn toward<S: Fn(TopicPartition) -> bool>(current: &CurrentRow, goal: &Goal<'_, S>) -> CurrentRow {
    let (target, _) = goal.target.split(&goal.subscribes);
    let (kept, unwanted) = current.assigned.split(|partition| target.contains(partition));
    if goal.owns_any(&unwanted) {
        return CurrentRow {
            state: MemberState::UnrevokedPartitions,
            assigned: kept,
            pending: unwanted,
            ..current.clone()
        };
    }
    let (_, missing) = target.split(|partition| kept.contains(partition));
    // What the member itself has given up just now is free, and so may come back to it.
    let (unreleased, free) =
        missing.split(|partition| goal.held.contains(&partition) && !current.pending.contains(partition));
    let epoch = MemberEpoch(goal.epoch.0);
    CurrentRow {
        epoch,
        // In the same epoch, the one before stays known: as many answers as there are may be lost.
        previous_epoch: if epoch == current.epoch { current.previous_epoch } else { current.epoch },
        state: match unreleased.is_empty() {
            true => MemberState::Stable,
            false => MemberState::UnreleasedPartitions,
        },
        assigned: kept.with(free.iter().map(|partition| (partition, epoch))),
        pending: Partitions::new(),
    }
}

impl<S> Goal<'_, S> {
    /// Whether the member still has any of these, as far as one knows: one that says nothing may have all.
    fn owns_any(&self, partitions: &Partitions<MemberEpoch>) -> bool {
        !partitions.is_empty() && self.owned.is_none_or(|owned| owned.intersects(partitions))
    }
}
