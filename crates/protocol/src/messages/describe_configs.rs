//! DescribeConfigs (key 32), versions 1 to 4.
//!
//! A client asks for the settings of topics, brokers and other resources.
//!
//! * 1: where values come from, and their synonyms (KIP-226).
//! * 3: types and documentation (KIP-569).
//! * 4: flexible.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields};

/// Whose settings are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DESCRIBE_CONFIGS, response = DescribeConfigsResponse, versions = "1-4")]
pub struct DescribeConfigsRequest {
    /// The resources.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to tell the other settings that a value could come from.
    pub include_synonyms: bool,
    /// Whether to tell the documentation.
    #[kafka(versions = "3+")]
    pub include_documentation: bool,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A resource whose settings are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResource {
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name: of a broker the id in digits, empty for what all brokers share.
    pub resource_name: Str,
    /// The names of the settings; null for all.
    pub configuration_keys: Option<Vec<Str>>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DescribeConfigsRequest)]
pub struct DescribeConfigsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub results: Vec<DescribeConfigsResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// The settings of one resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResult {
    /// Why they are not told, or `NONE`.
    pub error_code: ErrorCode,
    /// What was wrong, for people; null if there is nothing to say.
    pub error_message: Option<Str>,
    /// What the resource is, as in the request.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Str,
    /// Its settings.
    pub configs: Vec<DescribeConfigsResourceResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResourceResult {
    /// Its name.
    pub name: Str,
    /// Its value; null if it is sensitive or has none.
    pub value: Option<Str>,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Where its value comes from: 1 the topic, 2 this broker, dynamically, 3 all brokers, dynamically, 4 this
    /// broker's file, 5 the default, 6 this broker's loggers, 7 client metrics, 8 the group; -1 if not told.
    #[kafka(default = -1)]
    pub config_source: i8,
    /// Whether its value is a secret.
    pub is_sensitive: bool,
    /// The settings that its value could come from, the first that is set wins.
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// The type of its value: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class,
    /// 9 password; 0 if not told. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub config_type: i8,
    /// Its documentation; null if not asked for. The empty string by default. Ignorable.
    #[kafka(versions = "3+", ignorable, default = Some(Str::EMPTY))]
    pub documentation: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A setting that the value of another could come from.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsSynonym {
    /// Its name.
    pub name: Str,
    /// Its value; null if it is sensitive or has none.
    pub value: Option<Str>,
    /// Where that value comes from, with the numbers of `config_source`.
    pub source: i8,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
