//! What the state database is for others: the stores of topics, of groups and of committed offsets.
//!
//! What changes something goes to the writer when the method is called, so that calls take effect in their order.

use std::future::Future;

use ottla_records::TopicId;
use ottla_storage::{
    CreateTopicError, Expirable, Expired, ExpiringGroups, Expiry, GroupChange, GroupListing, GroupStore,
    NewTopic, OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetStore, OffsetTopic, ProducerIdBlock,
    StateStoreError, StoredGroup, TopicRow, TopicStore,
};

use super::{StateDb, expiry, groups, offsets, topics};

impl TopicStore for StateDb {
    async fn load(&self) -> Result<Vec<TopicRow>, StateStoreError> {
        self.request(topics::load).await
    }

    async fn create(&self, topic: NewTopic) -> Result<TopicRow, CreateTopicError> {
        let name = topic.name.clone();
        let created = self.request(move |db| topics::create(db, &topic)).await?;
        created.ok_or(CreateTopicError::Exists(name))
    }

    async fn mark_deleting(&self, id: TopicId) -> Result<bool, StateStoreError> {
        self.request(move |db| topics::mark_deleting(db, id)).await
    }

    async fn drop_deleted(&self, id: TopicId) -> Result<(), StateStoreError> {
        self.request(move |db| topics::drop_deleted(db, id)).await
    }

    async fn reserve_producer_ids(&self, count: u32) -> Result<ProducerIdBlock, StateStoreError> {
        self.request(move |db| topics::reserve_producer_ids(db, count)).await
    }

    async fn cluster_id(&self, proposed: &str) -> Result<String, StateStoreError> {
        let proposed = proposed.to_owned();
        self.request(move |db| topics::cluster_id(db, &proposed)).await
    }
}

impl GroupStore for StateDb {
    async fn load_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<StoredGroup>, StateStoreError> {
        let after = after.map(str::to_owned);
        self.read(move |db| groups::load_page(db, after.as_deref(), max)).await
    }

    async fn load_group(&self, group: &str) -> Result<Option<StoredGroup>, StateStoreError> {
        let group = group.to_owned();
        self.read(move |db| groups::load_one(db, &group)).await
    }

    fn change_groups(
        &self,
        changes: Vec<GroupChange>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        self.request(move |db| groups::change(db, &changes))
    }

    async fn list_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<GroupListing>, StateStoreError> {
        let after = after.map(str::to_owned);
        self.read(move |db| groups::list(db, after.as_deref(), max)).await
    }
}

impl OffsetStore for StateDb {
    fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetRow>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let group = group.to_owned();
        self.request(move |db| offsets::commit(db, &group, &offsets))
    }

    async fn read_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> Result<Vec<OffsetRow>, StateStoreError> {
        let group = group.to_owned();
        self.read(move |db| offsets::read(db, &group, &keys)).await
    }

    async fn read_offset_page(
        &self,
        group: &str,
        from: Option<OffsetCursor>,
        max: usize,
    ) -> Result<OffsetPage, StateStoreError> {
        let group = group.to_owned();
        self.read(move |db| offsets::page(db, &group, from, max)).await
    }

    async fn has_offsets(&self, group: &str) -> Result<bool, StateStoreError> {
        let group = group.to_owned();
        self.read(move |db| offsets::has_any(db, &group)).await
    }

    async fn offset_topics(&self, group: Option<&str>) -> Result<Vec<OffsetTopic>, StateStoreError> {
        let group = group.map(str::to_owned);
        self.read(move |db| offsets::topics(db, group.as_deref())).await
    }

    fn delete_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let group = group.to_owned();
        self.request(move |db| offsets::delete(db, &group, &keys))
    }

    fn delete_offsets_of_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let group = group.to_owned();
        self.request(move |db| offsets::delete_of_group(db, &group))
    }

    async fn delete_offsets_of_topic(&self, topic: TopicId) -> Result<(), StateStoreError> {
        // Others have their turn between the steps.
        let mut after = Some(0);
        while let Some(number) = after {
            after = self.request(move |db| offsets::delete_of_topic(db, topic, number)).await?;
        }
        Ok(())
    }

    async fn groups_with_expired_offsets(
        &self,
        expiry: Expiry,
        after: Option<&str>,
        max: usize,
    ) -> Result<ExpiringGroups, StateStoreError> {
        let after = after.map(str::to_owned);
        self.read(move |db| expiry::find(db, expiry, after.as_deref(), max)).await
    }

    fn expire_offsets(
        &self,
        group: &str,
        which: Expirable,
        expiry: Expiry,
        max: usize,
    ) -> impl Future<Output = Result<Expired, StateStoreError>> + Send + 'static + use<> {
        let group = group.to_owned();
        self.request(move |db| expiry::expire(db, &group, &which, expiry, max))
    }
}
