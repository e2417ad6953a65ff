//! The messages, one file for each API: its request, its response and their parts.
//!
//! Every file opens with the versions and what changed in them. Fields that a version does not have hold their
//! default after decoding; a value that is not the default is an encoding error in such a version, unless the
//! field's documentation calls it ignorable. A nullable field is null by default unless it says otherwise.
//!
//! Every struct keeps the tagged fields that this code does not know in `unknown_tagged_fields`.

pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod fetch;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
