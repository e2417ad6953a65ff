//! What an operator can set about classic groups.

use std::time::Duration;

/// Settings of classic groups; the defaults are Kafka's. All groups share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicSettings {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after the first has
    /// joined. While members come it waits on, up to their rebalance time-out. Zero ends the wait at the next
    /// [`tick`](super::ClassicGroup::tick).
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`: a member that asks for less is refused.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`: a member that asks for more is refused.
    pub session_timeout_max: Duration,
    /// `group.max.size`: how many members a group may have.
    pub group_size_max: usize,
    /// How long a join of a new member waits for the rebalance to complete. Until its join is answered such a
    /// member cannot send heartbeats, and one whose client has gone must not stay for ever. Kafka has five
    /// minutes, fixed.
    pub new_member_join_timeout: Duration,
    /// How many member ids may be given out (KIP-394) that nobody has joined with yet. Kafka knows no such
    /// limit; without one a peer could fill the memory with ids.
    pub pending_members_max: usize,
}

impl Default for ClassicSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            group_size_max: i32::MAX as usize,
            new_member_join_timeout: Duration::from_secs(300),
            pending_members_max: 10_000,
        }
    }
}
