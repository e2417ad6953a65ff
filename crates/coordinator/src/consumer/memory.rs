//! How much memory a consumer group holds.

use std::{sync::Arc, time::Duration};

use super::{
    group::{ConsumerGroup, Member},
    stored::{CurrentRow, MemberRow},
};
use crate::{
    InstanceId, MemberEpoch, MemberId,
    assignor::TopicPartition,
    memory::{shared_bytes, table_bytes, tree_bytes},
};

impl ConsumerGroup {
    /// About how many bytes the group holds, for a budget. Looks at each member.
    pub fn held_bytes(&self) -> usize {
        let members = self.members.iter().map(|(id, member)| shared_bytes(id.as_str()) + member.held_bytes());
        let deadlines = table_bytes::<MemberId, Duration>(self.members.len())
            + tree_bytes::<(Duration, MemberId), ()>(self.members.len());
        let named = self.subscribed_topics().map(|name| shared_bytes(name)).sum::<usize>();
        let stood_for = self.stored_patterns().map(|(_, topics)| size_of_val(topics)).sum::<usize>();
        size_of::<Self>()
            + members.sum::<usize>()
            + table_bytes::<MemberId, Member>(self.members.len())
            + table_bytes::<InstanceId, MemberId>(self.instances.len())
            + table_bytes::<TopicPartition, ()>(self.held.len())
            + deadlines
            + tree_bytes::<Arc<str>, usize>(self.subscribed_topics().count())
            + named
            + stood_for
    }
}

impl Member {
    fn held_bytes(&self) -> usize {
        self.row.held_bytes() + self.target.len() * size_of::<TopicPartition>() + self.current.held_bytes()
    }
}

impl MemberRow {
    /// The names of topics are the group's.
    fn held_bytes(&self) -> usize {
        let texts =
            [self.rack.as_deref(), self.pattern.as_deref(), Some(&*self.client_id), Some(&*self.client_host)];
        texts.into_iter().flatten().map(shared_bytes).sum::<usize>()
            + self.instance_id.as_ref().map_or(0, |instance| shared_bytes(instance.as_str()))
            + self.topics.len() * size_of::<Arc<str>>()
    }
}

impl CurrentRow {
    fn held_bytes(&self) -> usize {
        (self.assigned.len() + self.pending.len()) * size_of::<(TopicPartition, MemberEpoch)>()
    }
}
