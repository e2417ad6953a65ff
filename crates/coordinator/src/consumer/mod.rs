//! Consumer groups of the new protocol (KIP-848): the broker assigns, and members follow in their heartbeats.
//!
//! | module | what it holds |
//! |---|---|
//! | [`request`] | heartbeats, what they are answered, and why they are refused |
//! | [`settings`] | what can be set |
//! | [`stored`] | the rows that are durable, and their changes |
//! | [`topics`] | the broker's topics as a group sees them |
//! | [`describe`] | what a group tells of itself |
//! | [`offsets`] | who may commit and fetch offsets |
//! | `heartbeat` | members join, stay and leave |
//! | `group` | the parts that every input uses: epochs, target assignments, members that go |
//! | `reconcile` | how a member goes from what it has to what it is to have |
//! | `deadlines` | when a member's time is over |
//! | `memory` | how much memory a group holds |
//! | `diagram` | the states and their changes, as below |
//!
//! What a group must assign has a group epoch: it rises with every change of members, subscriptions or topics.
//! For it a target assignment is computed, which then has this epoch. Each member goes to the target in its own
//! time, and so to its epoch: first it gives up what it is to lose, and when it has confirmed that, it gets what
//! nobody else has.
//!
//! Invariants: no partition belongs to two members, where what a member has not confirmed to have given up still
//! belongs to it. The group epoch never falls, and the epoch of the target follows it. A step that refuses
//! changes nothing. A heartbeat that changes nothing takes the same time in every group, and has no effects.
//! Nothing that a member sends decides an allocation beyond what it has sent.
//!
//! Answers never wait: a member learns what others did with its next heartbeat. In these things a group differs
//! from Apache Kafka 4.3, each time to the good of members:
//! - A target is computed in the step that needs it, also when a member leaves, and not with the next heartbeat;
//!   a group that was empty does not wait for [`ConsumerSettings::assignment_interval`].
//! - A member that comes in its previous epoch is told its assignment again, for it cannot have heard of it; and
//!   the previous epoch stays known for as long as the member is in the one after it.
//! - A member that joins under another instance id than it has is refused, where Kafka loses track of it.
//!
//! # States of a group
//!
//! ```text
//! Empty       -> Stable       : the first member joins and gets all
//! Empty       -> Dead         : the group is deleted
//! Stable      -> Reconciling  : there is a new target, or a static member leaves for now
//! Stable      -> Assigning    : something changed too early for a new target
//! Stable      -> Empty        : the last member goes
//! Assigning   -> Reconciling  : there is a new target
//! Assigning   -> Stable       : there is a new target, and the only member has reached it
//! Assigning   -> Empty        : the last member goes
//! Reconciling -> Stable       : the last member has reached the target
//! Reconciling -> Assigning    : something changed too early for a new target
//! Reconciling -> Empty        : the last member goes
//! ```
//!
//! # States of a member
//!
//! ```text
//! Joining              -> Stable               : it gets all of its target
//! Joining              -> UnreleasedPartitions : others have some of its target
//! Stable               -> UnrevokedPartitions  : it must give up partitions
//! Stable               -> UnreleasedPartitions : a new target has partitions that others still have
//! UnrevokedPartitions  -> Stable               : it has given them up, and gets all of its target
//! UnrevokedPartitions  -> UnreleasedPartitions : it has given them up, and others have some of its target
//! UnreleasedPartitions -> Stable               : others have given up what it waited for
//! UnreleasedPartitions -> UnrevokedPartitions  : it must give up partitions
//! ```
//!
//! From each of them a member goes when it leaves, when its session ends, or, in UnrevokedPartitions, when it
//! does not give up what it must within its rebalance timeout.

mod deadlines;
pub mod describe;
#[cfg(test)]
mod diagram;
mod group;
mod heartbeat;
mod memory;
pub mod offsets;
mod reconcile;
pub mod request;
pub mod settings;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod topics;

pub use self::{
    describe::{DescribedTopic, GroupDescription, GroupState, MemberDescription},
    group::ConsumerGroup,
    offsets::{CommitVia, Commits, OffsetRefusal},
    request::{Accepted, Answer, Heartbeat, Invalid, Pattern, Refusal},
    settings::ConsumerSettings,
    stored::{Change, CurrentRow, GroupRow, MemberRow, MemberState, Stored, StoredMember},
    topics::{TopicInfo, Topics},
};
