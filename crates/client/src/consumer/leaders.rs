//! What news of the cluster mean for the partitions that are read.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    partition::{Key, NO_LEADER, Partition, Phase},
    state::State,
};
use crate::{
    error::{Error, ErrorKind},
    metadata::cluster::{Cluster, Leadership},
};

/// How long a partition may be unknown to the cluster before the reader is told; it may just have been created.
const UNKNOWN_MAX: Duration = Duration::from_secs(5);

impl State {
    /// Takes a snapshot of the cluster.
    pub(super) fn set_cluster(&mut self, cluster: Arc<Cluster>, now: Instant) {
        let keys: Vec<Key> = self.partitions.keys().cloned().collect();
        keys.iter().for_each(|key| self.lead(key, &cluster, now));
        let is_there = |id: &i32| cluster.brokers.contains_key(id);
        self.brokers.retain(|id, broker| is_there(id) || broker.is_fetching || broker.is_asked);
        for partition in self.partitions.values_mut() {
            partition.replica = partition.replica.filter(|(replica, _)| is_there(replica));
        }
        self.cluster = Some(cluster);
    }

    /// Takes what a snapshot says of one partition.
    pub(super) fn lead(&mut self, key: &Key, cluster: &Cluster, now: Instant) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        let Some(described) = cluster.topics.get(&key.topic) else {
            // The snapshot is from before the topic was in use.
            return self.want_refresh();
        };
        let led = cluster.leader(&key.topic, key.partition);
        let of_topic = described.as_ref().ok();
        let id = of_topic.map_or([0; 16], |topic| topic.id);
        let epoch =
            of_topic.and_then(|topic| topic.partitions.get(&key.partition)).map_or(-1, |led| led.epoch);
        if partition.is_of_another(id) {
            return self.recreated(key, id, led.ok(), epoch);
        }
        match led {
            Ok(leader) => {
                partition.unknown_since = None;
                if id != [0; 16] {
                    partition.topic_id = id;
                }
                partition.led_by(Leadership { leader: Some(leader), epoch });
            }
            Err(error) => self.has_no_leader(key, error, now),
        }
    }

    fn has_no_leader(&mut self, key: &Key, error: Error, now: Instant) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        partition.leadership.leader = None;
        let is_unknown = error.kind() == ErrorKind::UnknownTopic;
        let since = partition.unknown_since.filter(|_| is_unknown).unwrap_or(now);
        partition.unknown_since = Some(since).filter(|_| is_unknown);
        let patience = if is_unknown { UNKNOWN_MAX.min(self.client.call_timeout) } else { Duration::ZERO };
        if error.kind() != ErrorKind::Retriable && now >= since + patience {
            self.tell(key, error);
        }
        self.want_refresh();
    }

    /// The topic's name stands for another topic now, in which the position means nothing.
    fn recreated(&mut self, key: &Key, id: [u8; 16], leader: Option<i32>, epoch: i32) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        let offset = partition.position.offset;
        let was_read = !matches!(partition.phase, Phase::Locating(_) | Phase::Stopped);
        partition.topic_id = id;
        partition.leadership = NO_LEADER;
        (partition.replica, partition.watermarks, partition.unknown_since) = (None, None, None);
        partition.led_by(Leadership { leader, epoch });
        if was_read {
            let what = format!(
                "topic {} was deleted and created anew: offset {offset} of its partition {} was of the old one; seek to go on in \
                 the new one",
                key.topic, key.partition
            );
            self.reset(key, Error::new(ErrorKind::OffsetOutOfRange, what));
        }
        if leader.is_none() {
            self.want_refresh();
        }
    }
}

impl Partition {
    /// Whether the position is in a topic with another id.
    fn is_of_another(&self, id: [u8; 16]) -> bool {
        let unknown = [0; 16];
        self.topic_id != unknown && id != unknown && self.topic_id != id
    }

    /// Takes note of who leads. What was read under another leader may be lost.
    fn led_by(&mut self, leadership: Leadership) {
        let before = std::mem::replace(&mut self.leadership, leadership);
        if before == leadership {
            return;
        }
        if leadership.epoch > before.epoch && self.position.epoch.is_some() && self.phase == Phase::Fetching {
            self.phase = Phase::Validating;
        }
        if before.leader != leadership.leader {
            (self.failures, self.not_before, self.replica) = (0, None, None);
        }
    }
}
