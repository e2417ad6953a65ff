//! Offsets that nobody needs any more, by Kafka's rules (KIP-211).
//!
//! Those of a group without members expire some time after the last one has gone, or after their commit where nobody
//! ever joined; those of a group that has members do so after their commit, where no member subscribes to their topic.
//! A group that has neither members nor offsets is forgotten.
//!
//! The store finds what may have expired; the owner of the groups, which alone knows their members, has the last word.

use std::{sync::Arc, time::Duration};

use ottla_storage::{Expirable, Expiry, GroupStore, OffsetStore, Storage};

use super::{error::GroupError, handle::WeakGroups};

/// Groups that are looked at in one call of the store.
const PAGE: usize = 200;

/// Looks through all groups once. Ends early when the broker stops.
pub(super) async fn sweep<S: Storage>(groups: &WeakGroups<S>, retention: Duration) -> Result<(), GroupError> {
    let now = groups.broker().clock().wall();
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let expiry = Expiry { now, retention_ms };
    expire_of_memberless(groups, expiry).await?;
    expire_of_unsubscribed(groups, expiry).await?;
    forget_empty(groups).await
}

async fn expire_of_memberless<S: Storage>(groups: &WeakGroups<S>, expiry: Expiry) -> Result<(), GroupError> {
    let mut after: Option<Arc<str>> = None;
    loop {
        let store = groups.broker().storage().groups();
        let found = store.groups_with_expired_offsets(expiry, after.as_deref(), PAGE).await?;
        for id in found.groups {
            let groups = groups.upgrade().ok_or(GroupError::Stopping)?;
            groups.expire(&id, Expirable::OfMemberless, expiry).await?;
        }
        match found.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn expire_of_unsubscribed<S: Storage>(
    groups: &WeakGroups<S>,
    expiry: Expiry,
) -> Result<(), GroupError> {
    let in_memory = groups.upgrade().ok_or(GroupError::Stopping)?.in_memory().await?;
    for group in in_memory {
        if group.state == "Empty" {
            continue;
        }
        let topics = groups.broker().storage().groups().offset_topics(Some(&group.id)).await?;
        let which = Expirable::OfTopics(topics.into_iter().map(|topic| topic.id).collect());
        let groups = groups.upgrade().ok_or(GroupError::Stopping)?;
        groups.expire(&group.id, which, expiry).await?;
    }
    Ok(())
}

async fn forget_empty<S: Storage>(groups: &WeakGroups<S>) -> Result<(), GroupError> {
    let store = groups.broker().storage().groups();
    let mut last: Option<Arc<str>> = None;
    loop {
        let page = store.list_groups(last.as_deref(), PAGE).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some(end.id.clone());
        for group in page.into_iter().filter(|group| group.kind.is_some() && !group.has_members) {
            if !store.has_offsets(&group.id).await? {
                groups.upgrade().ok_or(GroupError::Stopping)?.forget(&group.id).await?;
            }
        }
    }
}
