//! [`Admin`]: topics, and what else can be looked at and changed in a cluster.

mod describe;
mod offsets;
mod partitions;
mod share;
mod topics;

pub use describe::{BrokerDescription, ClusterDescription, PartitionDescription, TopicDescription};
pub use offsets::{DeletedRecords, ListedOffset, OffsetSpec, RecordsToDelete};
pub use partitions::NewPartitions;
pub use topics::{NewTopic, TopicListing};

use ottla_protocol::ErrorCode;

use crate::{
    error::{Error, ErrorKind},
    kafka::Kafka,
};

/// How long a broker may take for what it has to wait for, in milliseconds; the call's own deadline may be earlier.
const BROKER_TIMEOUT_MS: i32 = 30_000;

/// What can be asked of a cluster as a whole, and changed in it. See [`Kafka::admin`].
#[derive(Clone, Debug)]
pub struct Admin {
    kafka: Kafka,
}

impl Admin {
    pub(crate) fn new(kafka: Kafka) -> Self {
        Self { kafka }
    }
}

/// The broker's answer leaves out something that was asked for.
fn unanswered(what: &str) -> Error {
    Error::new(ErrorKind::DataCorruption, format!("the broker's answer says nothing of {what}"))
}

/// What a broker's error code means for `doing`.
pub(crate) fn refused(code: ErrorCode, doing: &str, reason: Option<&str>) -> Error {
    let kind = match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => ErrorKind::UnknownTopic,
        ErrorCode::OFFSET_OUT_OF_RANGE => ErrorKind::OffsetOutOfRange,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::SASL_AUTHENTICATION_FAILED => ErrorKind::Auth,
        ErrorCode::UNSUPPORTED_VERSION => ErrorKind::UnsupportedVersion,
        code if code.is_retriable() => ErrorKind::Retriable,
        _ => ErrorKind::Broker,
    };
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => Error::new(kind, format!("{doing} was refused: {code}: {reason}")),
        None => Error::new(kind, format!("{doing} was refused: {code}")),
    }
}
