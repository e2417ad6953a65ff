//! ApiVersions (key 18), versions 0 to 4.
//!
//! The first request on a connection: which APIs the broker has, in which versions. A broker that does not know
//! the request's version answers in version 0 with UNSUPPORTED_VERSION and its own range for this API, and the
//! client asks again (KIP-511). The header of the response is of version 0 always.
//!
//! * 1: throttle time.
//! * 3: flexible; name and version of the client's software (KIP-511); features (KIP-584).
//! * 4: the least version of a supported feature may be 0 (KIP-1022).

use ottla_protocol::{ApiKey, ErrorCode, Message, Str, TaggedFields};

/// Who asks for the broker's APIs.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = API_VERSIONS, response = ApiVersionsResponse, versions = "0-4")]
pub struct ApiVersionsRequest {
    /// The name of the client's software. Kafka wants letters, digits, dots and hyphens. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub client_software_name: Str,
    /// Its version, of the same characters. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub client_software_version: Str,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The APIs of the broker.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = ApiVersionsRequest)]
pub struct ApiVersionsResponse {
    /// What was wrong with the request, or `NONE`.
    pub error_code: ErrorCode,
    /// The APIs.
    pub api_keys: Vec<ApiVersion>,
    /// How long the request was held back because of a quota, in milliseconds. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// The features that the broker supports. Ignorable.
    #[kafka(versions = "3+", tagged = "3+", tag = 0, ignorable)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// The epoch of the finalized features; -1 if unknown. Ignorable.
    #[kafka(versions = "3+", tagged = "3+", tag = 1, ignorable, default = -1)]
    pub finalized_features_epoch: i64,
    /// The features that the cluster as a whole has agreed on. Ignorable.
    #[kafka(versions = "3+", tagged = "3+", tag = 2, ignorable)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Whether the cluster could leave ZooKeeper; of no use since Kafka 4.0. Ignorable.
    #[kafka(versions = "3+", tagged = "3+", tag = 3, ignorable)]
    pub zk_migration_ready: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// An API and its versions.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ApiVersion {
    /// Its key.
    pub api_key: ApiKey,
    /// The first version that is supported.
    pub min_version: i16,
    /// The last version that is supported.
    pub max_version: i16,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A feature that the broker supports.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SupportedFeatureKey {
    /// Its name, such as `metadata.version`.
    pub name: Str,
    /// The least level that is supported.
    pub min_version: i16,
    /// The greatest level that is supported.
    pub max_version: i16,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A feature that the cluster has agreed on.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FinalizedFeatureKey {
    /// Its name.
    pub name: Str,
    /// The greatest level that is in use.
    pub max_version_level: i16,
    /// The least level that is in use.
    pub min_version_level: i16,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
