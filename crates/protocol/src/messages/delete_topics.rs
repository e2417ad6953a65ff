//! DeleteTopics (key 20), versions 1 to 6.
//!
//! * 4: flexible.
//! * 5: error messages (KIP-599).
//! * 6: topics may be told by id (KIP-516), in an array of structs instead of one of names.

use ottla_protocol::{ErrorCode, Message, Str, TaggedFields, Uuid};

/// The topics to delete.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(request = DELETE_TOPICS, response = DeleteTopicsResponse, versions = "1-6")]
pub struct DeleteTopicsRequest {
    /// The topics, by name or id.
    #[kafka(versions = "6+")]
    pub topics: Vec<DeleteTopicState>,
    /// The names of the topics. Ignorable.
    #[kafka(versions = "0-5", ignorable)]
    pub topic_names: Vec<Str>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A topic to delete.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteTopicState {
    /// Its name; null if told by id.
    pub name: Option<Str>,
    /// Its id; zero if told by name.
    pub topic_id: Uuid,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(response_to = DeleteTopicsRequest)]
pub struct DeleteTopicsResponse {
    /// How long the request was held back because of a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub responses: Vec<DeletableTopicResult>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeletableTopicResult {
    /// Its name; null if it was told by an id that does not exist.
    #[kafka(nullable = "6+")]
    pub name: Option<Str>,
    /// Its id. Ignorable.
    #[kafka(versions = "6+", ignorable)]
    pub topic_id: Uuid,
    /// Why it was not deleted, or `NONE`.
    pub error_code: ErrorCode,
    /// What was wrong, for people; null if there is nothing to say. Ignorable.
    #[kafka(versions = "5+", ignorable)]
    pub error_message: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}
