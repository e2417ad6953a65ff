//! What can be set for a consumer group.

use std::time::Duration;

use crate::assignor::Assignor;

/// The settings of a consumer group, with Kafka's defaults. The bounds within which a group may set them for
/// itself (`group.consumer.min.…` and `max.…`) are checked where they are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// How long a member may be silent before it is taken for gone (`group.consumer.session.timeout.ms`,
    /// or `consumer.session.timeout.ms` of the group).
    pub session_timeout: Duration,
    /// How often members are told to send heartbeats (`group.consumer.heartbeat.interval.ms`, or
    /// `consumer.heartbeat.interval.ms` of the group).
    pub heartbeat_interval: Duration,
    /// How many members there may be (`group.consumer.max.size`).
    pub max_size: usize,
    /// The assignors that members can ask for (`group.consumer.assignors`). The first is taken where nobody
    /// asks for one; where there is none, [`Assignor::Uniform`].
    pub assignors: Vec<Assignor>,
    /// The least time from one target assignment to the next (`group.consumer.assignment.interval.ms`, or
    /// `consumer.assignment.interval.ms` of the group; KIP-1263), so that members that join one after the
    /// other are assigned to together. A group that was empty is assigned to at once.
    pub assignment_interval: Duration,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: i32::MAX as usize,
            assignors: Assignor::ALL.to_vec(),
            assignment_interval: Duration::from_secs(1),
        }
    }
}

impl ConsumerSettings {
    /// What a group uses where its members have no wish.
    pub fn default_assignor(&self) -> Assignor {
        self.assignors.first().copied().unwrap_or(Assignor::Uniform)
    }

    /// The assignor with this name, where members may ask for it.
    pub(super) fn assignor(&self, name: &str) -> Option<Assignor> {
        Assignor::named(name).filter(|assignor| self.assignors.contains(assignor))
    }
}
