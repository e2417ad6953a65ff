//! The table of APIs: which there are, at which versions, and who handles them. The page `docs/apis.md` is made
//! from it.

use std::ops::RangeInclusive;

use ottla_protocol::{ApiKey, RequestFrame};
use ottla_storage::Storage;

use crate::{
    context::{Call, Context},
    handlers::{
        api_versions, consumer_group_describe, consumer_group_heartbeat, create_topics, delete_groups,
        delete_topics, describe_cluster, describe_configs, describe_groups, fetch, find_coordinator,
        heartbeat, init_producer_id, join_group, leave_group, list_groups, list_offsets, metadata,
        offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
    },
    reply::{Reply, RequestError},
};

/// Decodes a request of one API and begins to answer it.
type Handler<S> = fn(&Context<S>, Call, &RequestFrame) -> Result<Reply, RequestError>;

/// An API of the table.
pub struct Api<S: Storage> {
    /// Its key.
    pub key: ApiKey,
    /// The oldest version advertised.
    pub min: i16,
    /// The newest version.
    pub max: i16,
    /// The oldest version that is answered: for Produce, later than the oldest advertised.
    pub served_from: i16,
    /// Whether it may be called before authentication.
    pub before_authentication: bool,
    handler: Handler<S>,
}

impl<S: Storage> Api<S> {
    const fn new(key: ApiKey, min: i16, max: i16, handler: Handler<S>) -> Self {
        Self { key, min, max, served_from: min, before_authentication: false, handler }
    }

    const fn served_from(self, served_from: i16) -> Self {
        Self { served_from, ..self }
    }

    const fn before_authentication(self) -> Self {
        Self { before_authentication: true, ..self }
    }

    /// The versions that are answered.
    pub fn served(&self) -> RangeInclusive<i16> {
        self.served_from..=self.max
    }

    /// Every API that is answered, at the versions that Apache Kafka 4.3 offers. Produce 0 to 2 are advertised
    /// and never served, as Kafka does, since librdkafka drops to old formats otherwise.
    pub const TABLE: &'static [Self] = &[
        Self::new(ApiKey::PRODUCE, 0, 13, |context, call, frame| {
            produce::handle(context, call, frame.request()?)
        })
        .served_from(3),
        Self::new(ApiKey::FETCH, 4, 18, |context, call, frame| {
            Ok(fetch::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::LIST_OFFSETS, 1, 11, |context, call, frame| {
            list_offsets::handle(context, call, &frame.request()?)
        }),
        Self::new(ApiKey::METADATA, 0, 13, |context, call, frame| {
            Ok(metadata::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::OFFSET_COMMIT, 2, 10, |context, call, frame| {
            offset_commit::handle(context, call, frame.request()?)
        }),
        Self::new(ApiKey::OFFSET_FETCH, 1, 10, |context, call, frame| {
            Ok(offset_fetch::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::FIND_COORDINATOR, 0, 6, |context, call, frame| {
            find_coordinator::handle(context, call, frame.request()?)
        }),
        Self::new(ApiKey::JOIN_GROUP, 0, 9, |context, call, frame| {
            join_group::handle(context, call, frame.header.client_id.as_ref(), &frame.request()?)
        }),
        Self::new(ApiKey::HEARTBEAT, 0, 4, |context, call, frame| {
            Ok(heartbeat::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::LEAVE_GROUP, 0, 5, |context, call, frame| {
            Ok(leave_group::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::SYNC_GROUP, 0, 5, |context, call, frame| {
            sync_group::handle(context, call, &frame.request()?)
        }),
        Self::new(ApiKey::DESCRIBE_GROUPS, 0, 6, |context, call, frame| {
            Ok(describe_groups::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::LIST_GROUPS, 0, 5, |context, call, frame| {
            Ok(list_groups::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::API_VERSIONS, 0, 4, |_: &Context<S>, call, frame| {
            api_versions::handle::<S>(call, &frame.request()?)
        })
        .before_authentication(),
        Self::new(ApiKey::CREATE_TOPICS, 2, 7, |context, call, frame| {
            Ok(create_topics::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::DELETE_TOPICS, 1, 6, |context, call, frame| {
            Ok(delete_topics::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::INIT_PRODUCER_ID, 0, 5, |context, call, frame| {
            Ok(init_producer_id::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, 4, |context, call, frame| {
            offset_for_leader_epoch::handle(context, call, &frame.request()?)
        }),
        Self::new(ApiKey::DESCRIBE_CONFIGS, 1, 4, |context, call, frame| {
            describe_configs::handle(context, call, &frame.request()?)
        }),
        Self::new(ApiKey::DELETE_GROUPS, 0, 2, |context, call, frame| {
            Ok(delete_groups::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::OFFSET_DELETE, 0, 0, |context, call, frame| {
            Ok(offset_delete::handle(context, call, frame.request()?))
        }),
        Self::new(ApiKey::DESCRIBE_CLUSTER, 0, 2, |context, call, frame| {
            describe_cluster::handle(context, call, &frame.request()?)
        }),
        Self::new(ApiKey::CONSUMER_GROUP_HEARTBEAT, 0, 1, |context, call, frame| {
            Ok(consumer_group_heartbeat::handle(
                context,
                call,
                frame.header.client_id.clone(),
                frame.request()?,
            ))
        }),
        Self::new(ApiKey::CONSUMER_GROUP_DESCRIBE, 0, 1, |context, call, frame| {
            Ok(consumer_group_describe::handle(context, call, frame.request()?))
        }),
    ];
}

/// Begins to answer a request.
pub(crate) fn dispatch<S: Storage>(
    context: &Context<S>,
    request: &RequestFrame,
) -> Result<Reply, RequestError> {
    let (key, call) = (request.header.api_key, Call::from(&request.header));
    match Api::TABLE.iter().find(|api| api.key == key) {
        Some(api) if api.served().contains(&call.version) => (api.handler)(context, call, request),
        // A client begins with this one, and may be newer than the broker.
        Some(Api { key: ApiKey::API_VERSIONS, .. }) => api_versions::refuse::<S>(call),
        _ => Err(RequestError::Unsupported(key, call.version)),
    }
}
