//! How much memory a classic group holds.

use super::{ClassicGroup, Protocol, member::Member, members::Members, sessions::Expiry};
use crate::{
    InstanceId, MemberId,
    memory::{COUNTS_BYTES, shared_bytes, tree_bytes},
};

impl ClassicGroup {
    /// About how many bytes the group holds, for a budget. Looks at each member.
    pub fn held_bytes(&self) -> usize {
        let pending = self.pending.keys().map(|id| shared_bytes(id.as_str())).sum::<usize>();
        size_of::<Self>()
            + self.members.held_bytes()
            + tree_bytes::<MemberId, Expiry>(self.pending.len())
            + pending
            + self.sessions.held_bytes()
    }
}

impl Members {
    fn held_bytes(&self) -> usize {
        let statics = self.iter().filter(|(_, member)| member.instance_id.is_some()).count();
        let members = self.iter().map(|(id, member)| shared_bytes(id.as_str()) + member.held_bytes());
        members.sum::<usize>()
            + tree_bytes::<MemberId, Box<Member>>(self.len())
            + tree_bytes::<InstanceId, MemberId>(statics)
            + tree_bytes::<Box<str>, usize>(self.protocol_names())
    }
}

impl Member {
    fn held_bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|own| {
            // The name is counted for each member, though all of them share it.
            size_of::<Protocol>() + shared_bytes(&own.name) + own.metadata.len()
        });
        size_of::<Self>()
            + self.instance_id.as_ref().map_or(0, |instance| shared_bytes(instance.as_str()))
            + shared_bytes(&self.client_id)
            + shared_bytes(&self.client_host)
            + COUNTS_BYTES
            + protocols.sum::<usize>()
            + self.assignment.len()
    }
}
