//! The table of APIs: which there are, at which versions, and who handles them.

use ottla_protocol::{ApiKey, DecodeError, EncodeError, RequestFrame};
use ottla_storage::Storage;
use thiserror::Error;

use crate::{
    context::{Call, Context},
    handlers,
    reply::Reply,
};

/// An API of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// The oldest version advertised.
    pub min: i16,
    /// The newest version.
    pub max: i16,
    /// The oldest version that is answered: for Produce, later than the oldest advertised.
    pub served_from: i16,
    /// Whether it may be called before authentication.
    pub unauthenticated: bool,
}

const fn api(key: ApiKey, min: i16, max: i16) -> Api {
    Api { key, min, max, served_from: min, unauthenticated: false }
}

/// Every API that is answered, at the versions that Apache Kafka 4.3 offers. Produce 0 to 2 are advertised and
/// never served, as Kafka does, since librdkafka drops to old formats otherwise.
pub(crate) const TABLE: [Api; 11] = [
    Api { served_from: 3, ..api(ApiKey::PRODUCE, 0, 13) },
    api(ApiKey::FETCH, 4, 18),
    api(ApiKey::LIST_OFFSETS, 1, 11),
    api(ApiKey::METADATA, 0, 13),
    Api { unauthenticated: true, ..api(ApiKey::API_VERSIONS, 0, 4) },
    api(ApiKey::CREATE_TOPICS, 2, 7),
    api(ApiKey::DELETE_TOPICS, 1, 6),
    api(ApiKey::INIT_PRODUCER_ID, 0, 5),
    api(ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, 4),
    api(ApiKey::DESCRIBE_CONFIGS, 1, 4),
    api(ApiKey::DESCRIBE_CLUSTER, 0, 2),
];

/// The APIs that are answered.
pub fn apis() -> &'static [Api] {
    &TABLE
}

/// Why a request closes its connection.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("there is no {0} in version {1} here")]
    Unsupported(ApiKey, i16),
    #[error("a request that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a response that cannot be written: {0}")]
    Encode(#[from] EncodeError),
}

/// Begins to answer a request.
pub(crate) fn dispatch<S: Storage>(
    context: &Context<S>,
    request: &RequestFrame,
) -> Result<Reply, RequestError> {
    let (key, call) = (request.header.api_key, Call::from(&request.header));
    let served =
        TABLE.iter().any(|api| api.key == key && (api.served_from..=api.max).contains(&call.version));
    if !served && key != ApiKey::API_VERSIONS {
        return Err(RequestError::Unsupported(key, call.version));
    }
    match key {
        ApiKey::PRODUCE => handlers::produce::handle(context, call, request.request()?),
        ApiKey::FETCH => Ok(handlers::fetch::handle(context, call, request.request()?)),
        ApiKey::LIST_OFFSETS => handlers::list_offsets::handle(context, call, &request.request()?),
        ApiKey::METADATA => Ok(handlers::metadata::handle(context, call, request.request()?)),
        ApiKey::API_VERSIONS if served => handlers::api_versions::handle(call),
        ApiKey::API_VERSIONS => handlers::api_versions::refuse(call),
        ApiKey::CREATE_TOPICS => Ok(handlers::create_topics::handle(context, call, request.request()?)),
        ApiKey::DELETE_TOPICS => Ok(handlers::delete_topics::handle(context, call, request.request()?)),
        ApiKey::INIT_PRODUCER_ID => Ok(handlers::init_producer_id::handle(context, call, request.request()?)),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => {
            handlers::offset_for_leader_epoch::handle(context, call, &request.request()?)
        }
        ApiKey::DESCRIBE_CONFIGS => handlers::describe_configs::handle(context, call, &request.request()?),
        ApiKey::DESCRIBE_CLUSTER => handlers::describe_cluster::handle(context, call, &request.request()?),
        other => Err(RequestError::Unsupported(other, call.version)),
    }
}
