//! AlterConfigs (key 33), versions 0 to 2 (KIP-133).
//!
//! An admin client replaces all settings of topics, brokers and other resources. Since Kafka 2.3 there is
//! [IncrementalAlterConfigs](super::incremental_alter_configs), which leaves alone what it does not name.
//!
//! * 1: a response is sent before its client is held back (KIP-219).
//! * 2: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// The settings that replace those there are.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = ALTER_CONFIGS, response = AlterConfigsResponse, versions = "0-2")]
pub struct AlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether to check only whether they could be replaced.
    pub validate_only: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The settings of one resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// What it is, with the numbers of DescribeConfigs.
    pub resource_type: i8,
    /// Its name: of a broker the id in digits, empty for what all brokers share.
    pub resource_name: Str,
    /// Its settings; those that are not named go back to their defaults.
    pub configs: Vec<AlterableConfig>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterableConfig {
    /// Its name.
    pub name: Str,
    /// Its value; Kafka refuses null.
    pub value: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of the resources.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = AlterConfigsRequest)]
pub struct AlterConfigsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub responses: Vec<AlterConfigsResourceResponse>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResourceResponse {
    /// Why its settings were not replaced, or `NONE`.
    pub error_code: ErrorCode,
    /// What was wrong, for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// What it is, as in the request.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Str,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
