//! IncrementalAlterConfigs (key 44), versions 0 and 1 (KIP-339).
//!
//! An admin client changes some settings of topics, brokers and other resources.
//!
//! * 1: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// What to change.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = INCREMENTAL_ALTER_CONFIGS, response = IncrementalAlterConfigsResponse, versions = "0-1")]
pub struct IncrementalAlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether to check only whether it could be changed.
    pub validate_only: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What to change of one resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// What it is, with the numbers of DescribeConfigs.
    pub resource_type: i8,
    /// Its name: of a broker the id in digits, empty for what all brokers share.
    pub resource_name: Str,
    /// The settings to change.
    pub configs: Vec<AlterableConfig>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting to change.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterableConfig {
    /// Its name.
    pub name: Str,
    /// How to change it: 0 sets it, 1 removes it so that its default holds, 2 adds to a list, 3 takes away from a
    /// list.
    pub config_operation: i8,
    /// The value, or the elements of the list; null if it is removed.
    pub value: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of the resources.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = IncrementalAlterConfigsRequest)]
pub struct IncrementalAlterConfigsResponse {
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
    /// Why nothing of it was changed, or `NONE`.
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
